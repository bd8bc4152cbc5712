import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { RecoveryFinding, RecoveryReport } from '../../../application/ports/erasures.ts';
import { unknownRetainedFields } from '../../../domain/anonymization.ts';
import type { ChangeWriter } from '../customers/change-writer.ts';
import type { CustomerQueries } from '../customers/queries.ts';
import { ifSound, isReadableRow, type RecordEncryption } from '../customers/record-encryption.ts';
import { toUrn } from '../customers/urns.ts';
import type { Routine } from '../driver/query.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { appliedQueries } from './applied-positions.ts';
import type { Eraser } from './erase.ts';
import { type EntryRow, type ErasureLog, isSamePosition, type Position } from './erasure-log.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly queries: Pick<CustomerQueries, 'findKey' | 'findByNumber'>;
  readonly applied: ReturnType<typeof appliedQueries>;
  readonly encryption: RecordEncryption;
  readonly log: ErasureLog;
  readonly eraser: Pick<Eraser, 'finish'>;
  readonly writer: Pick<ChangeWriter, 'correct'>;
}

/** How often the recovery of a tenant is repeated if another process moves the position first. */
const maxLooks = 20;

/** The values that decide whether a tenant needs recovery; see `isEqual`. */
interface State {
  readonly head: Position;
  readonly position: Position;
  /** The highest erasure sequence in the tenant's rows; 0 if no row is anonymized. */
  readonly highest: number;
}

/** An anonymized row, with the `sealed` bytes and sequence of the log entry that it keeps. */
interface KeptRow {
  readonly number: number;
  readonly sealed: Buffer;
  readonly erasure: number | null;
}

/** The result of one pass over a tenant. */
interface Pass {
  readonly erasedAgain: number;
  readonly findings: readonly RecoveryFinding[];
  /** `overtaken`: another process came first. `refused`: the database refused a page. `blocked`: a log is in use. */
  readonly ended: 'done' | 'overtaken' | 'refused' | 'blocked';
}

/**
 * Applies the erasure log to the records, as a replica applies a log: finishes erasures, erases again the customers
 * that a restored backup of the records brought back, and appends entries that a restored backup of the keys lacks. Any
 * number of processes may run a recovery at once. The steps are those of docs/decisions/0011-erasure-log.md.
 */
export class Recovery {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** Recovers a tenant, if it needs recovery. If it does not, the cost is one comparison. */
  async recover(tenant: string): Promise<RecoveryReport> {
    let erasedAgain = 0;
    const findings: RecoveryFinding[] = [];
    for (let look = 0; look < maxLooks; look += 1) {
      const state = await this.#stateOf(tenant);
      if (isEqual(state)) break;
      const pass = await this.#pass(tenant, state);
      erasedAgain += pass.erasedAgain;
      if (look === 0) findings.push(...pass.findings);
      if (pass.ended === 'refused') return { erasedAgain, findings, isUnfinished: true };
      if (pass.ended !== 'overtaken') break;
    }
    return { erasedAgain, findings };
  }

  #stateOf(tenant: string): Promise<State> {
    const { database, log, applied } = this.#dependencies;
    return database.read(function* (): Routine<State> {
      const [position = log.genesis(tenant)] = yield* applied.findPosition({ tenant });
      const [row] = yield* applied.highest({ tenant });
      return { position, highest: Number(row?.highest ?? 0), head: yield* log.head(tenant) };
    });
  }

  async #pass(tenant: string, { head, position }: State): Promise<Pass> {
    const { database, log } = this.#dependencies;
    const isInLog = await database.read(() => log.has(tenant, position));
    const isHeadSound = head.sequence >= position.sequence && (await database.read(() => log.has(tenant, head)));
    const from: Position = isInLog ? position : log.genesis(tenant);
    // First append the entries that rows keep but the log has lost, so that the walk below finds them.
    const damaged = await this.#appendFromRows(tenant, from.sequence);
    const walked = await this.#walk(tenant, from);
    const lost = Math.max(0, position.sequence - walked.last.sequence);
    const findings = [
      ...(isInLog && head.sequence >= position.sequence ? [] : difference(tenant, head, position, lost)),
      ...damaged,
      ...walked.findings,
    ];
    if (isInLog && !isHeadSound) {
      findings.push(...wrongHead(tenant, head, position, walked.findings));
      await database.write(() => log.repairHead(tenant, walked.last));
    }
    const result = { erasedAgain: walked.erasedAgain, findings };
    if (!walked.isComplete) return { ...result, ended: 'refused' };
    if (!(await this.#emptyLogs())) return { ...result, ended: 'blocked' };
    return { ...result, ended: (await this.#movePosition(tenant, position, walked.last)) ? 'done' : 'overtaken' };
  }

  /**
   * Appends the entries that rows keep but the log lacks, and destroys data keys that a restored backup brought back.
   * Returns a finding for each of these rows whose `sealed` bytes are not a valid entry.
   */
  async #appendFromRows(tenant: string, from: number): Promise<readonly RecoveryFinding[]> {
    const { database, applied } = this.#dependencies;
    const findings: RecoveryFinding[] = [];
    let last = { tenant, erasure: from, number: Number.MAX_SAFE_INTEGER };
    for (;;) {
      const after = last;
      const rows = await database.read(() => applied.rowsAfter(after));
      const end = rows.at(-1);
      if (end === undefined) return findings;
      for (const row of rows) {
        const isSound = await this.#appendIfLacking(tenant, row);
        if (!isSound) findings.push({ kind: 'broken_seal', tenant, sequence: row.erasure as number });
      }
      last = { tenant, erasure: end.erasure as number, number: end.number };
    }
  }

  /** Runs `#appendFromRows` for one row. Returns false if the row causes a finding. */
  async #appendIfLacking(tenant: string, { number, sealed, erasure }: KeptRow): Promise<boolean> {
    const { database, log, queries, writer, encryption, eraser } = this.#dependencies;
    const isKept = function* (): Routine<boolean> {
      const entry = yield* log.findRow(tenant, number);
      return entry?.sequence === erasure && (yield* queries.findKey({ tenant, number })).length === 0;
    };
    if (await database.read(isKept)) return true;
    const isSound = ifSound(() => encryption.openEntry(encryption.hashOf(tenant, number), sealed)) !== undefined;
    const bytes = isSound ? sealed : await database.read(() => this.#unknownEntry(tenant, number));
    if (bytes === undefined) return false;
    await database.write(function* () {
      const head = yield* log.lockHead(tenant);
      const entry = yield* log.findRow(tenant, number);
      if (entry === undefined) {
        yield* log.append(tenant, number, head, bytes, undefined);
        return;
      }
      yield* log.destroyKey(tenant, number);
      if (entry.sequence === erasure) return;
      const opened = ifSound(() => log.open(entry));
      const { sequence, sealed } = entry;
      if (opened !== undefined) yield* eraser.finish(opened);
      else yield* writer.correct({ tenant, number, erasure: sequence, sealed, merged_into: null });
    });
    return isSound;
  }

  /**
   * Creates an entry for a damaged row that is marked as anonymized by its `erasure` column. Undefined if the data key
   * still decrypts the row: then only that column is wrong.
   */
  *#unknownEntry(tenant: string, number: number): Routine<Buffer | undefined> {
    const { queries, encryption } = this.#dependencies;
    const [row] = yield* queries.findByNumber({ tenant, number });
    if (row === undefined) return undefined;
    if (isReadableRow(row) && ifSound(() => encryption.openRecord(tenant, row)) !== undefined) return undefined;
    const erasure = { urn: toUrn(number), keyId: 'unknown', requestId: 'unknown', erasedAt: row.updated_at };
    return encryption.sealEntry(encryption.hashOf(tenant, number), { erasure, retained: unknownRetainedFields });
  }

  /** Applies the entries after a position, in order; stops at the first page that the database refuses. */
  async #walk(tenant: string, from: Position) {
    const { database, log } = this.#dependencies;
    const findings: RecoveryFinding[] = [];
    let last = from;
    let erasedAgain = 0;
    for (;;) {
      const { sequence } = last;
      const entries = await database.read(() => log.entriesAfter(tenant, sequence));
      if (entries.length === 0) return { last, erasedAgain, findings, isComplete: true };
      findings.push(...brokenLinks(log, last, entries));
      const applied = await this.#apply(tenant, entries, findings);
      if (applied === undefined) return { last, erasedAgain, findings, isComplete: false };
      erasedAgain += applied;
      last = entries.at(-1) as EntryRow;
    }
  }

  /** Finishes a page of erasures in one transaction. Returns how many rows it anonymized; undefined on a failure. */
  async #apply(tenant: string, rows: readonly EntryRow[], findings: RecoveryFinding[]): Promise<number | undefined> {
    const { database, log, eraser } = this.#dependencies;
    const entries = rows.map((row) => ifSound(() => log.open(row)));
    for (const [index, entry] of entries.entries()) {
      if (entry === undefined)
        findings.push({ kind: 'broken_seal', tenant, sequence: rows[index]?.sequence as number });
    }
    try {
      return await database.write(function* () {
        let anonymized = 0;
        for (const entry of entries) {
          if (entry !== undefined && (yield* eraser.finish(entry))) anonymized += 1;
        }
        return anonymized;
      });
    } catch (error) {
      if (error instanceof DatabaseFailure) return undefined;
      throw error;
    }
  }

  /** Empties both write-ahead logs. Returns false if a log could not be emptied: the next recovery tries again. */
  async #emptyLogs(): Promise<boolean> {
    const { database } = this.#dependencies;
    return (await database.checkpoint('keys')) !== false && (await database.checkpoint('data')) !== false;
  }

  /** Compare-and-set: returns false if another process moved the position first. */
  #movePosition(tenant: string, from: Position, to: Position): Promise<boolean> {
    const { database, applied } = this.#dependencies;
    return database.write(function* () {
      const { sequence, chain } = to;
      const move = { tenant, sequence, chain, fromSequence: from.sequence, fromChain: from.chain };
      if ((yield* applied.movePosition(move)) > 0) return true;
      return from.sequence === 0 && (yield* applied.insertPosition({ tenant, sequence, chain })) > 0;
    });
  }
}

const isEqual = ({ head, position, highest }: State): boolean =>
  isSamePosition(head, position) && highest <= position.sequence;

/** The findings for a log that does not contain the position of the records, or whose head is before that position. */
function difference(tenant: string, head: Position, position: Position, lost: number): RecoveryFinding[] {
  const kind = position.sequence > head.sequence ? 'keys_older_than_records' : 'keys_and_records_mismatch';
  return [{ kind, tenant }, ...(lost > 0 ? [{ kind: 'unknown_erasures' as const, tenant, count: lost }] : [])];
}

/** The finding for a head that is not an entry of the log, unless another finding covers it. */
function wrongHead(
  tenant: string,
  { sequence }: Position,
  position: Position,
  broken: readonly RecoveryFinding[],
): RecoveryFinding[] {
  const isNamed = sequence < position.sequence || broken.some((finding) => finding.sequence === sequence);
  return isNamed ? [] : [{ kind: 'broken_link', tenant, sequence }];
}

/** A finding for each entry that does not follow from the entry before it. */
function brokenLinks(log: ErasureLog, from: Position, entries: readonly EntryRow[]): RecoveryFinding[] {
  return entries
    .filter((entry, index) => !log.follows(entries[index - 1] ?? from, entry))
    .map(({ tenant, sequence }) => ({ kind: 'broken_link', tenant, sequence }));
}
