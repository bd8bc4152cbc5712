import type {
  CustomerReference,
  ErasureContext,
  IdempotencyKey,
  StoredCustomer,
  WriteResult,
} from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import { retainedFieldsOf, rewrittenFields, unknownRetainedFields } from '../../../domain/anonymization.ts';
import type { ChangeWriter } from '../customers/change-writer.ts';
import type { CustomerReader } from '../customers/customer-reader.ts';
import type { CustomerQueries, Row } from '../customers/queries.ts';
import {
  ifSound,
  isAnonymizedRow,
  isReadableRow,
  type LogContent,
  type RecordEncryption,
} from '../customers/record-encryption.ts';
import { toUrn } from '../customers/urns.ts';
import type { Routine } from '../driver/query.ts';
import { type EarlierRequest, type idempotencyQueries, recordOf } from '../idempotency-records.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { Tombstones } from '../tombstones.ts';
import type { appliedQueries } from './applied-positions.ts';
import type { ErasureLog, LogEntry } from './erasure-log.ts';

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
    const begun = await this.#beginDurably(tenant, by, context, key);
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
  async #beginDurably(
    tenant: string,
    by: CustomerReference,
    context: ErasureContext,
    key: IdempotencyKey | undefined,
  ): Promise<Begun | WriteResult> {
    const { database } = this.#dependencies;
    try {
      return await database.write(() => this.#begin(tenant, by, context, key));
    } catch (error) {
      const begun = await database.read(() => this.#findBegun(tenant, by, context, key)).catch(() => undefined);
      if (begun === undefined) throw error;
      return begun;
    }
  }

  *#begin(
    tenant: string,
    by: CustomerReference,
    context: ErasureContext,
    key: IdempotencyKey | undefined,
  ): Routine<Begun | WriteResult> {
    const { reader, tombstones } = this.#dependencies;
    const before = key && (yield* reader.findEarlierRequest(tenant, key, context.now));
    if (before !== undefined) return yield* this.#replay(tenant, before);
    yield* tombstones.lock(tenant, context);
    const row = yield* reader.findRow(tenant, by);
    if (row === undefined) {
      // The delete may have overtaken the store of its customer.
      yield* tombstones.leave(tenant, externalIdOf(by), context);
      // The same request may just have succeeded in another process and freed the ExternalId.
      const meanwhile = key && (yield* reader.findEarlierRequest(tenant, key, context.now));
      return meanwhile === undefined ? { code: 'CUSTOMER_NOT_FOUND' } : yield* this.#replay(tenant, meanwhile);
    }
    return isAnonymizedRow(row)
      ? yield* this.#alreadyErased(tenant, row, key)
      : yield* this.#append(tenant, by, row, context, key);
  }

  /** Appends to the log, under the lock of its head, unless the erasure has begun already. */
  *#append(
    tenant: string,
    by: CustomerReference,
    row: Row,
    context: ErasureContext,
    key: IdempotencyKey | undefined,
  ): Routine<Begun | WriteResult> {
    const { database, log, idempotency, tombstones, encryption } = this.#dependencies;
    const { number } = row;
    const head = yield* log.lockHead(tenant);
    // Another process may have begun the erasure since the row was read.
    const raced = key && (yield* log.findByKey(tenant, key, context.now));
    if (raced !== undefined) {
      return isSameRequest(raced, key) ? { entry: raced, row, replayed: true } : { code: 'IDEMPOTENCY_KEY_REUSED' };
    }
    const record = recordOf(tenant, number, key);
    const known = yield* log.find(tenant, number);
    if (known !== undefined) {
      yield* tombstones.leave(tenant, externalIdOf(by), context);
      // `finish` stores only the record of the request that began the erasure.
      if (record !== undefined) yield* idempotency.insertRecord(record);
      return { entry: known, row, replayed: false };
    }
    const current = yield* this.#lockRow(tenant, row);
    const stored = isReadableRow(current) ? ifSound(() => encryption.openRecord(tenant, current)) : undefined;
    const { version } = current;
    const refused = context.check?.({ version, sourceRevision: stored?.customer.sourceRevision });
    if (refused !== undefined) return { code: refused };
    yield* tombstones.leave(tenant, externalIdOf(by, stored), context);
    // PostgreSQL stores the idempotency record here already, so that a concurrent request with the same key waits for
    // this transaction and then fails. SQLite has one writer, and its two files commit one after the other, so `finish`
    // stores the record there.
    if (record !== undefined && database.dialect.isPostgres) yield* idempotency.insertRecord(record);
    const content = contentOf(number, stored, context);
    const sealed = encryption.sealEntry(encryption.hashOf(tenant, number), content);
    const entry = { ...(yield* log.append(tenant, number, head, sealed, key)), number, content };
    // Finished in the same transaction: an update that waits for the locked row then finds that its version is gone.
    if (context.check !== undefined) yield* this.finish(entry);
    return { entry, row: current, replayed: false };
  }

  /** Locks a row until the transaction ends, and returns it as it is then: an update may have come since it was read. */
  *#lockRow(tenant: string, row: Row): Routine<Row> {
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
    if (entry === undefined) return yield* reader.replay(tenant, earlier);
    const [row] = yield* queries.findByNumber({ tenant, number: earlier.number });
    return { entry, row, replayed: true };
  }

  *#alreadyErased(tenant: string, row: Row, key: IdempotencyKey | undefined): Routine<WriteResult> {
    const record = recordOf(tenant, row.number, key);
    if (record !== undefined) yield* this.#dependencies.idempotency.insertRecord(record);
    return { code: 'SUCCESS', stored: yield* this.#dependencies.reader.view(tenant, row) };
  }

  /**
   * An erasure that was begun but not finished. If the request has a key or a revision, only one that the same request
   * began: another one has not left the tombstone of this request.
   */
  *#findBegun(
    tenant: string,
    by: CustomerReference,
    { requestId, tombstone }: ErasureContext,
    key: IdempotencyKey | undefined,
  ): Routine<Begun | undefined> {
    const row = yield* this.#dependencies.reader.findRow(tenant, by);
    if (row === undefined || isReadableRow(row) || isAnonymizedRow(row)) return undefined;
    const entry = yield* this.#dependencies.log.find(tenant, row.number);
    if (entry === undefined || (key !== undefined && !isSameRequest(entry, key))) return undefined;
    const isOther = key === undefined && entry.content.erasure.requestId !== requestId;
    return isOther && tombstone !== undefined ? undefined : { entry, row, replayed: false };
  }

  /**
   * The second step: stores the idempotency record if the entry has its digests, then anonymizes the row and stores the
   * change event. Skips the parts that an earlier call has done. Returns whether this call anonymized the row.
   */
  *finish(entry: LogEntry): Routine<boolean> {
    const { applied, idempotency, writer } = this.#dependencies;
    const { tenant, number, sequence, sealed, content } = entry;
    const [row] = yield* applied.findErasure({ tenant, number });
    if (row?.erasure === sequence && row.sealed.equals(sealed)) return false;
    const { key_digest, request_digest, expires_at } = entry;
    if (key_digest !== null && request_digest !== null && expires_at !== null) {
      yield* idempotency.insertIfAbsent({ tenant, number, code: 'SUCCESS', key_digest, request_digest, expires_at });
    }
    if (row === undefined) return false;
    if (row.erasure !== null) {
      yield* writer.correct({ tenant, number, erasure: sequence, sealed });
      return false;
    }
    const { keyId, requestId, erasedAt, rewritten = [] } = content.erasure;
    const anonymized = yield* writer.anonymize(
      { tenant, number, sealed, erasure: sequence, at: erasedAt },
      { type: 'customer.anonymized', changedFields: rewritten, actor: { keyId, requestId } },
    );
    return anonymized > 0;
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

/** The ExternalId of a customer that is to be erased; undefined if the record cannot be read and `by` is its URN. */
const externalIdOf = (by: CustomerReference, stored?: StoredCustomer): string | undefined =>
  'externalId' in by ? by.externalId : stored?.customer.externalIdentifier;

/** The content of a log entry. A record that cannot be decrypted can be erased too; its retained fields are then unknown. */
function contentOf(
  number: number,
  stored: StoredCustomer | undefined,
  { keyId, requestId, now, reference }: ErasureContext,
): LogContent {
  const erasure = {
    urn: toUrn(number),
    keyId,
    requestId,
    erasedAt: now,
    ...(reference !== undefined && { reference }),
  };
  if (stored === undefined) return { erasure, retained: unknownRetainedFields };
  const { customer } = stored;
  return { erasure: { ...erasure, rewritten: rewrittenFields(customer) }, retained: retainedFieldsOf(customer) };
}
