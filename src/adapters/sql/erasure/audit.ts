import type { AuditFinding, LogPosition } from '../../../application/ports/erasures.ts';
import type { AuditReport } from '../../../application/ports/maintenance.ts';
import type { CustomerQueries, Row } from '../customers/queries.ts';
import { ifSound, isAnonymizedRow, isReadableRow, type RecordEncryption } from '../customers/record-encryption.ts';
import { beforeAll } from '../customers/urns.ts';
import type { Routine } from '../driver/query.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { appliedQueries } from './applied-positions.ts';
import { type EntryRow, type ErasureLog, isSamePosition, type Position } from './erasure-log.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly queries: CustomerQueries;
  readonly applied: ReturnType<typeof appliedQueries>;
  readonly encryption: RecordEncryption;
  readonly log: ErasureLog;
}

/** How many records are read at once. */
const checkedAtOnce = 1000;

/** Checks a tenant's whole erasure log and compares it with the records. Changes nothing. */
export class ErasureAudit {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Returns the number of entries and every finding: first the findings in the log, then those in the records.
   * @param witnesses positions that were recorded elsewhere, e.g. in receipts: the log must still contain them
   */
  async verify(tenant: string, witnesses: readonly LogPosition[] = []): Promise<AuditReport> {
    const { database, log, applied } = this.#dependencies;
    const findings: AuditFinding[] = [];
    const [position = log.genesis(tenant)] = await database.read(() => applied.findPosition({ tenant }));
    const last = await this.#walk(tenant, position, findings);
    const head = await database.read(() => log.head(tenant));
    if (!(await this.#isHead(tenant, head, last))) {
      findings.push({ kind: 'head_mismatch', tenant, sequence: head.sequence });
    }
    for (const witness of witnesses) {
      const chain = await database.read(() => log.chainAt(tenant, witness.sequence));
      if (chain?.toString('base64url') !== witness.chain) {
        findings.push({ kind: 'witness_mismatch', tenant, sequence: witness.sequence });
      }
    }
    await this.#checkRecords(tenant, position, findings);
    return { entries: last.sequence, findings };
  }

  /** Whether the head names the last entry that was walked, or one that was appended since. */
  async #isHead(tenant: string, head: Position, last: Position): Promise<boolean> {
    if (isSamePosition(head, last)) return true;
    const { database, log } = this.#dependencies;
    return head.sequence > last.sequence && (await database.read(() => log.has(tenant, head)));
  }

  /**
   * Checks each entry's sequence, link and seal, and that the customer's data key is destroyed. Also checks that
   * the log contains `position`. Returns the last position.
   */
  async #walk(tenant: string, position: Position, findings: AuditFinding[]): Promise<Position> {
    const { database, log } = this.#dependencies;
    let last = log.genesis(tenant);
    let isPositionSeen = isSamePosition(last, position);
    for (;;) {
      const { sequence } = last;
      const entries = await database.read(() => log.entriesAfter(tenant, sequence));
      for (const entry of entries) {
        if (!log.follows(last, entry)) findings.push({ kind: 'broken_link', tenant, sequence: entry.sequence });
        findings.push(...(await database.read(() => this.#checkEntry(tenant, entry))));
        isPositionSeen ||= isSamePosition(entry, position);
        last = entry;
      }
      if (entries.length > 0) continue;
      if (!isPositionSeen) findings.push({ kind: 'position_mismatch', tenant, sequence: position.sequence });
      return last;
    }
  }

  *#checkEntry(tenant: string, row: EntryRow): Routine<AuditFinding[]> {
    const { log, queries } = this.#dependencies;
    const { sequence } = row;
    const entry = ifSound(() => log.open(row));
    if (entry === undefined) return [{ kind: 'broken_seal', tenant, sequence }];
    const keys = yield* queries.findKey({ tenant, number: entry.number });
    return keys.length === 0 ? [] : [{ kind: 'key_of_erased', tenant, sequence, number: entry.number }];
  }

  /** Anonymized records must match their entries; all others must decrypt, unless their erasure is unfinished. */
  async #checkRecords(tenant: string, position: Position, findings: AuditFinding[]): Promise<void> {
    const { database } = this.#dependencies;
    for await (const row of this.#records(tenant)) {
      const first = await database.read(() => this.#checkRecord(tenant, position, row));
      // Its erasure may have begun since the row was read. It begins only once, so a second look is right.
      const kind = first && (await database.read(() => this.#checkAgain(tenant, position, row.number)));
      if (kind !== undefined) findings.push({ kind, tenant, number: row.number });
    }
  }

  *#checkAgain(tenant: string, position: Position, number: number): Routine<AuditFinding['kind'] | undefined> {
    const [row] = yield* this.#dependencies.queries.findByNumber({ tenant, number });
    return row && (yield* this.#checkRecord(tenant, position, row));
  }

  /** The records up to the last one of now: others may be stored faster than they are checked. */
  async *#records(tenant: string): AsyncGenerator<Row> {
    const { database, queries } = this.#dependencies;
    const [highest] = await database.read(() => queries.findLast({ tenant }));
    for (let last = beforeAll; last < (highest?.number ?? beforeAll); ) {
      const after = { tenant, number: last, limit: checkedAtOnce };
      const rows = await database.read(() => queries.listAfter(after));
      yield* rows;
      const end = rows.at(-1);
      if (end === undefined) return;
      last = end.number;
    }
  }

  /**
   * How many records of a tenant cannot be decrypted, for example because they belong to another deployment. A record
   * without a data key does not count if the log contains its erasure.
   */
  async countUnreadable(tenant: string): Promise<number> {
    const { database } = this.#dependencies;
    let unreadable = 0;
    for await (const row of this.#records(tenant)) {
      if (!(await database.read(() => this.#isReadable(tenant, row)))) unreadable += 1;
    }
    return unreadable;
  }

  *#isReadable(tenant: string, row: Row): Routine<boolean> {
    const { encryption, log } = this.#dependencies;
    if (isAnonymizedRow(row)) return ifSound(() => encryption.openAnonymized(tenant, row)) !== undefined;
    if (isReadableRow(row)) return ifSound(() => encryption.openRecord(tenant, row)) !== undefined;
    return (yield* log.findRow(tenant, row.number)) !== undefined;
  }

  *#checkRecord(tenant: string, position: Position, row: Row): Routine<AuditFinding['kind'] | undefined> {
    const { log, encryption } = this.#dependencies;
    const entry = yield* log.findRow(tenant, row.number);
    if (isAnonymizedRow(row)) {
      if (entry === undefined) return 'entry_missing';
      return entry.sequence === row.erasure && entry.sealed.equals(row.sealed)
        ? undefined
        : 'record_differs_from_entry';
    }
    if (!isReadableRow(row)) {
      if (entry === undefined) return 'key_missing';
      // Every record erased up to the position must be anonymized. The next recovery anonymizes those erased later.
      return entry.sequence <= position.sequence ? 'record_differs_from_entry' : undefined;
    }
    if (entry !== undefined) return 'key_of_erased';
    return ifSound(() => encryption.openRecord(tenant, row)) === undefined ? 'unreadable_record' : undefined;
  }
}
