import type {
  CustomerReference,
  ErasureContext,
  IdempotencyKey,
  StoredCustomer,
  WriteResult,
} from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import { forAlias, idempotencyCode } from '../../../application/ports/write-rules.ts';
import type { ChangeWriter } from '../customers/change-writer.ts';
import type { CustomerReader, FoundRow } from '../customers/customer-reader.ts';
import type { CustomerQueries, Row } from '../customers/queries.ts';
import {
  ifSound,
  isAnonymizedRow,
  isReadableRow,
  type LogContent,
  type RecordEncryption,
} from '../customers/record-encryption.ts';
import { toNumber } from '../customers/urns.ts';
import type { Routine } from '../driver/query.ts';
import { type EarlierRequest, type idempotencyQueries, recordOf } from '../idempotency-records.ts';
import type { FlowReferences } from '../references.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { Tombstones } from '../tombstones.ts';
import type { appliedQueries } from './applied-positions.ts';
import { contentOf, eventOf } from './entry-content.ts';
import { type ErasureLog, entryOf, type LogEntry, type Position } from './erasure-log.ts';
import { lockLast } from './merge-target.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly queries: CustomerQueries;
  readonly applied: ReturnType<typeof appliedQueries>;
  readonly idempotency: ReturnType<typeof idempotencyQueries>;
  readonly encryption: RecordEncryption;
  readonly reader: CustomerReader;
  readonly writer: ChangeWriter;
  readonly log: ErasureLog;
  readonly tombstones: Tombstones;
  readonly references: Pick<FlowReferences, 'move'>;
}

/** See `CustomerRepository.erase`. */
interface ErasureRequest {
  readonly tenant: string;
  readonly by: CustomerReference;
  readonly context: ErasureContext;
  readonly key: IdempotencyKey | undefined;
}

/** An erasure after its first step: it is irrevocable, even if the record has not been anonymized yet. */
interface Begun {
  readonly entry: LogEntry;
  /** The customer's row before the erasure; undefined if the records do not contain the customer. */
  readonly row: Row | undefined;
  readonly replayed: boolean;
}

/**
 * Erases customers in two steps, each one transaction. `begin` destroys the data key and appends to the erasure log,
 * which makes the erasure irrevocable. `finish` anonymizes the record; if `finish` did not run, `recovery.ts` runs it.
 */
export class Eraser {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** See `CustomerRepository.erase`. */
  async erase(
    tenant: string,
    by: CustomerReference,
    context: ErasureContext,
    key: IdempotencyKey | undefined,
  ): Promise<WriteResult> {
    const { database } = this.#dependencies;
    const begun = await this.#beginDurably({ tenant, by, context, key });
    if ('code' in begun) return begun;
    const { entry, row, replayed } = begun;
    await database.checkpoint('keys');
    // The erasure is irrevocable now. If the database refuses this second step (a full disk), a recovery runs it later.
    const stored = await database
      .write(() => this.#finishRequest(entry))
      .catch((error) => {
        if (error instanceof DatabaseFailure) return this.#viewOf(entry, row);
        throw error;
      });
    await database.checkpoint('data');
    return { code: 'SUCCESS', stored, ...(replayed && { replayed: true }) };
  }

  /** The first step. The keys commit before the records: if the second commit fails, the erasure has begun anyway. */
  async #beginDurably(request: ErasureRequest): Promise<Begun | WriteResult> {
    const { database } = this.#dependencies;
    try {
      return await database.write(() => this.#begin(request));
    } catch (error) {
      const begun = await database.read(() => this.#findBegun(request)).catch(() => undefined);
      if (begun === undefined) throw error;
      return begun;
    }
  }

  *#begin(request: ErasureRequest): Routine<Begun | WriteResult> {
    const { tenant, by, context, key } = request;
    const { reader, tombstones } = this.#dependencies;
    const before = key && (yield* reader.findEarlierRequest(tenant, key, context.now));
    if (before !== undefined) return yield* this.#replay(tenant, before);
    yield* tombstones.lock(tenant, context);
    const row = yield* reader.findRow(tenant, by);
    if (row === undefined) {
      // The delete may have overtaken the store of its customer.
      if ('externalId' in by) yield* tombstones.leave(tenant, by.externalId, context);
      // The same request may just have succeeded in another process and freed the ExternalId.
      const meanwhile = key && (yield* reader.findEarlierRequest(tenant, key, context.now));
      return meanwhile === undefined ? { code: 'CUSTOMER_NOT_FOUND' } : yield* this.#replay(tenant, meanwhile);
    }
    if (isAnonymizedRow(row)) return yield* this.#alreadyErased(tenant, row, key);
    return (yield* this.#append(request, row)) ?? (yield* this.#begin(request));
  }

  /**
   * Appends to the log, under the lock of its head, unless the erasure has begun already. Undefined if the customer was
   * merged since the row was read, and its ExternalId finds another one now.
   */
  *#append(request: ErasureRequest, row: FoundRow): Routine<Begun | WriteResult | undefined> {
    const { tenant, context, key } = request;
    const { log, encryption } = this.#dependencies;
    const { number, alias } = row;
    const head = yield* log.lockHead(tenant);
    // Another process may have begun the erasure since the row was read.
    const raced = key && (yield* log.findByKey(tenant, key, context.now));
    if (raced !== undefined) {
      return isSameRequest(raced, key) ? { entry: raced, row, replayed: true } : { code: 'IDEMPOTENCY_KEY_REUSED' };
    }
    const known = yield* log.find(tenant, number);
    if (known !== undefined) return yield* this.#repeat(request, { entry: known, row, replayed: false });
    const current = yield* this.lockRow(tenant, row);
    const stored = isReadableRow(current) ? ifSound(() => encryption.openRecord(tenant, current)) : undefined;
    const { version } = current;
    const refused = context.check?.({ version, sourceRevision: stored?.customer.sourceRevision, alias });
    if (refused !== undefined) return { code: refused };
    yield* this.#leaveTombstones(tenant, number, context);
    const entry = yield* this.enter(tenant, head, contentOf(number, stored, context), key);
    // Finished in the same transaction: an update that waits for the locked row then finds that its version is gone.
    if (context.check !== undefined) yield* this.finish(entry);
    return { entry, row: current, replayed: false };
  }

  /** A further erasure of a customer whose erasure has begun. Undefined as in `#append`. */
  *#repeat({ tenant, by, context, key }: ErasureRequest, begun: Begun): Routine<Begun | WriteResult | undefined> {
    const { idempotency, tombstones } = this.#dependencies;
    const { number, into } = begun.entry;
    if (yield* this.#isMerged(tenant, into)) {
      if ('urn' in by) return { code: 'CUSTOMER_MERGED' };
      // Else the ExternalId could still find this customer.
      yield* this.finish(begun.entry);
      return undefined;
    }
    // Its own ExternalId may be freed already.
    if ('externalId' in by) yield* tombstones.leave(tenant, by.externalId, context);
    yield* this.#leaveTombstones(tenant, number, context);
    const record = recordOf(tenant, number, key);
    // `finish` stores only the record of the request that began the erasure.
    if (record !== undefined) yield* idempotency.insertRecord(record);
    return begun;
  }

  /** Leaves a tombstone for each ExternalId that finds a customer, if the erasure is fenced. */
  *#leaveTombstones(tenant: string, number: number, context: ErasureContext): Routine<void> {
    if (context.tombstone === undefined) return;
    const { queries, log, tombstones } = this.#dependencies;
    for (const found of yield* queries.findExternalIds({ tenant, number })) {
      const merge = found.number === number ? undefined : yield* log.find(tenant, found.number);
      yield* tombstones.leaveAt(tenant, found.external_id, forAlias(context, merge?.content.erasure.sourceRevision));
    }
  }

  /** Appends an entry and destroys the data key: the erasure is irrevocable. The caller must hold the lock of `head`. */
  *enter(tenant: string, head: Position, content: LogContent, key: IdempotencyKey | undefined): Routine<LogEntry> {
    const { database, log, idempotency, encryption } = this.#dependencies;
    const { urn, mergedInto } = content.erasure;
    const number = toNumber(urn) as number;
    const record = recordOf(tenant, mergedInto === undefined ? number : (toNumber(mergedInto) as number), key);
    // PostgreSQL stores the idempotency record here already, so that a concurrent request with the same key waits for
    // this transaction and then fails. SQLite has one writer, and its two files commit one after the other, so `finish`
    // stores the record there.
    if (record !== undefined && database.dialect.isPostgres) yield* idempotency.insertRecord(record);
    const sealed = encryption.sealEntry(encryption.hashOf(tenant, number), content);
    return entryOf(yield* log.append(tenant, number, head, sealed, key), content);
  }

  /** Whether a customer was merged into another one that is not erased. @param into undefined if it was not merged */
  *#isMerged(tenant: string, into: number | undefined | null): Routine<boolean> {
    return into != null && (yield* this.#dependencies.log.lastOf(tenant, into)) !== undefined;
  }

  /** Locks a row until the transaction ends, and returns it as it is then: an update may have come since it was read. */
  *lockRow(tenant: string, row: Row): Routine<Row> {
    const { applied, queries } = this.#dependencies;
    if (applied.lockVersion === undefined) return row;
    const at = { tenant, number: row.number };
    const [locked] = yield* applied.lockVersion(at);
    return locked?.version === row.version ? row : ((yield* queries.findByNumber(at))[0] ?? row);
  }

  /** Replays a request. Returns its answer or, for an erasure, its entry: the caller then finishes the erasure. */
  *#replay(tenant: string, earlier: EarlierRequest): Routine<Begun | WriteResult> {
    const { queries, log, reader } = this.#dependencies;
    if (earlier === 'another request') return { code: 'IDEMPOTENCY_KEY_REUSED' };
    const entry = yield* log.find(tenant, earlier.number);
    // Another code is the outcome of a sync, or of an erasure that was repeated.
    if (entry === undefined || earlier.code !== 'SUCCESS') return yield* reader.replay(tenant, earlier);
    const [row] = yield* queries.findByNumber({ tenant, number: earlier.number });
    return { entry, row, replayed: true };
  }

  *#alreadyErased(tenant: string, row: Row, key: IdempotencyKey | undefined): Routine<WriteResult> {
    if (yield* this.#isMerged(tenant, row.merged_into)) return { code: 'CUSTOMER_MERGED' };
    const effect = { outcome: 'unchanged' } as const;
    const record = recordOf(tenant, row.number, key, idempotencyCode(effect));
    if (record !== undefined) yield* this.#dependencies.idempotency.insertRecord(record);
    return { code: 'SUCCESS', stored: yield* this.#dependencies.reader.view(tenant, row), ...effect };
  }

  /**
   * An erasure that was begun but not finished. If the request has a key or a revision, only one that the same request
   * began: another one has not left the tombstone of this request.
   */
  *#findBegun({ tenant, by, context, key }: ErasureRequest): Routine<Begun | undefined> {
    const { requestId, tombstone } = context;
    const row = yield* this.#dependencies.reader.findRow(tenant, by);
    if (row === undefined || isReadableRow(row) || isAnonymizedRow(row)) return undefined;
    const entry = yield* this.#dependencies.log.find(tenant, row.number);
    if (entry === undefined || entry.into !== undefined) return undefined;
    if (key !== undefined && !isSameRequest(entry, key)) return undefined;
    const isOther = key === undefined && entry.content.erasure.requestId !== requestId;
    return isOther && tombstone !== undefined ? undefined : { entry, row, replayed: false };
  }

  /**
   * The second step: stores the idempotency record if the entry has its digests, then anonymizes the row and stores the
   * change event, then frees the aliases, or moves them and the references after a merge. Skips the parts that an earlier
   * call has done. Returns whether this call anonymized the row.
   */
  *finish(entry: LogEntry): Routine<boolean> {
    const { applied, idempotency, writer, log, references } = this.#dependencies;
    const { tenant, number, into, sequence, sealed, content } = entry;
    const [row] = yield* applied.findErasure({ tenant, number });
    if (row?.erasure === sequence && row.sealed.equals(sealed)) return false;
    const { key_digest, request_digest, expires_at } = entry;
    if (key_digest !== null && request_digest !== null && expires_at !== null) {
      yield* idempotency.insertIfAbsent({
        tenant,
        number: into ?? number,
        code: 'SUCCESS',
        key_digest,
        request_digest,
        expires_at,
      });
    }
    if (row === undefined) return false;
    const merged_into = into === undefined ? null : yield* lockLast({ applied, log }, tenant, into);
    const kept = { tenant, number, sealed, erasure: sequence, merged_into };
    const isFirst = row.erasure === null;
    const written = isFirst
      ? yield* writer.anonymize({ ...kept, at: content.erasure.erasedAt }, eventOf(content))
      : yield* writer.correct(kept);
    if (written === 0) return false;
    // After the row, which a merge into this customer locks: its alias is seen here, or it sees this erasure.
    yield* writer.moveAliases({ tenant, number, to: merged_into });
    if (into !== undefined)
      yield* references.move(tenant, number, merged_into ?? (yield* log.endOf(tenant, into)).number);
    return isFirst;
  }

  /** The second step of a request: finishes the erasure and returns the anonymized record. */
  *#finishRequest(entry: LogEntry): Routine<StoredCustomer> {
    const { queries, reader } = this.#dependencies;
    const { tenant, number } = entry;
    yield* this.finish(entry);
    const [row] = yield* queries.findByNumber({ tenant, number });
    return row === undefined ? this.#viewOf(entry, undefined) : yield* reader.view(tenant, row);
  }

  /** The record as it will be when the erasure is finished. */
  #viewOf({ number, content }: LogEntry, row: Row | undefined): StoredCustomer {
    const { version, created_at } = row ?? { version: 0, created_at: content.erasure.erasedAt };
    return this.#dependencies.encryption.anonymizedView({ number, version: version + 1, created_at }, content);
  }
}

const isSameRequest = ({ request_digest }: LogEntry, key: IdempotencyKey | undefined): boolean =>
  request_digest !== null && key !== undefined && Buffer.compare(request_digest, key.requestDigest) === 0;
