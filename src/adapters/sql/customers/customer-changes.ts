import { eventBody } from '../../../application/ports/change-events.ts';
import type {
  CustomerReference,
  Exchange,
  IdempotencyKey,
  StoredCustomer,
  SyncDecision,
  WriteContext,
  WriteResult,
} from '../../../application/ports/customer-repository.ts';
import {
  changedBy,
  idempotencyCode,
  onlyExisting,
  referenceAfterRelease,
  resultWithoutWrite,
  syncEffect,
} from '../../../application/ports/write-rules.ts';
import { isAnonymized } from '../../../domain/anonymization.ts';
import { type Customer, type CustomerContent, hasSameUniqueKeys, newCustomer } from '../../../domain/customer.ts';
import { type Conflict, conflictsOf, type Holder, type UniqueKeys } from '../../../domain/identity.ts';
import type { Routine } from '../driver/query.ts';
import type { ErasureLog, LogEntry } from '../erasure/erasure-log.ts';
import { type idempotencyQueries, recordOf } from '../idempotency-records.ts';
import type { Tombstones } from '../tombstones.ts';
import type { ChangeWriter } from './change-writer.ts';
import type { CustomerReader } from './customer-reader.ts';
import { type CustomerId, NumberTaken } from './id-blocks.ts';
import type { BlindIndexes, CustomerQueries, Row } from './queries.ts';
import { isReadableRow, type RecordEncryption } from './record-encryption.ts';
import { toNumber, toUrn } from './urns.ts';

interface Dependencies {
  readonly queries: CustomerQueries;
  readonly idempotency: ReturnType<typeof idempotencyQueries>;
  readonly encryption: RecordEncryption;
  readonly reader: CustomerReader;
  readonly writer: ChangeWriter;
  readonly log: ErasureLog;
  readonly tombstones: Tombstones;
}

/** A request that changes one customer; see the port. */
export interface ChangeRequest {
  readonly tenant: string;
  readonly by: CustomerReference;
  readonly decide: (current: StoredCustomer | undefined) => SyncDecision;
  readonly context: WriteContext;
  readonly key?: IdempotencyKey | undefined;
  /** Whether the result has the outcome of a `sync`. */
  readonly isSync: boolean;
  /** The id of the customer that the request may create. Absent: it creates none. */
  readonly id?: CustomerId;
  /** Of an exchange: collects the ExternalIds that its changes free. Its tombstones are left at its end. */
  readonly freed?: Freed[];
}

/** An ExternalId that a change freed, and the context of the change. */
interface Freed {
  readonly externalId: string;
  readonly context: WriteContext;
}

interface Found {
  readonly row: Row | undefined;
  /** Undefined if there is no row, or if the customer is anonymized and not to be found by its ExternalId. */
  readonly current: StoredCustomer | undefined;
}

/**
 * Thrown to run a write again from its beginning, because another write came first. On PostgreSQL even an update that finds
 * a newer version keeps the lock of its row: a second attempt in the same transaction would not lock in the order of
 * `tombstones.ts`.
 */
export class RunAgain extends Error {
  /**
   * The erasure of a customer that still holds a unique key which the write needs. To be finished before, in a transaction
   * of its own, as the write may run without one.
   */
  readonly unfinished: LogEntry | undefined;

  constructor(unfinished?: LogEntry) {
    super('run the write again');
    this.unfinished = unfinished;
  }
}

/** Thrown by `exchange` to roll its transaction back. */
export class ExchangeFailed extends Error {
  readonly index: number;
  readonly result: WriteResult;

  constructor(index: number, result: WriteResult) {
    super('a change of an exchange cannot be applied');
    this.index = index;
    this.result = result;
  }
}

/** The routines that create and change customers: each decides, checks for conflicts, and writes by `change-writer.ts`. */
export class CustomerChanges {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Creates a customer. Throws `RunAgain` if a customer that held a unique key has just freed it; `NumberTaken` if another
   * record has the number, which happens only after the keys were restored.
   *
   * @param code see `idempotencyCode`
   */
  *insert(
    tenant: string,
    content: CustomerContent,
    { number, wrapped: ready }: CustomerId,
    context: WriteContext,
    key: IdempotencyKey | undefined,
    code?: string,
  ): Routine<WriteResult> {
    const { encryption, writer, queries, tombstones } = this.#dependencies;
    if (yield* tombstones.forbidCreating(tenant, content.externalIdentifier, context))
      return { code: 'STALE_REVISION' };
    const { keyId, requestId, now } = context;
    const customer = newCustomer(content, toUrn(number), now);
    const actor = { keyId, requestId };
    const stored: StoredCustomer = { customer, version: 1, origin: { storedBy: actor } };
    const indexes = encryption.blindIndexesOf(tenant, content);
    const { dataKey: wrapped, sealed } =
      ready === undefined
        ? encryption.sealNew(tenant, number, stored)
        : { dataKey: ready, sealed: encryption.sealRecord(tenant, number, ready, stored) };
    const row = { tenant, number, version: 1, sealed, wrapped, ...indexes, created_at: now, updated_at: now };
    const event = eventBody(undefined, customer, context);
    const record = recordOf(tenant, number, key, code);
    if ((yield* writer.insert(row, event, record)) > 0) return { code: 'SUCCESS', stored };
    const conflicts = yield* this.#conflicts(tenant, indexes, number);
    if (conflicts[0] !== undefined) return { code: conflicts[0].messageCode, conflicts };
    if ((yield* queries.findByNumber({ tenant, number })).length > 0) throw new NumberTaken();
    throw new RunAgain();
  }

  /** Reads a customer, decides, and carries out the decision. Throws `RunAgain` if another write came first. */
  *change(request: ChangeRequest): Routine<WriteResult> {
    const { tenant, by, decide } = request;
    const { row, current } = yield* this.#current(tenant, by);
    const decision = decide(current);
    const unwritten = resultWithoutWrite(decision, current);
    if (unwritten !== undefined) return yield* this.#unchanged(request, unwritten);
    if ('create' in decision) return yield* this.#create(request, decision.create);
    return yield* this.#replace(
      request,
      row as Row,
      current as StoredCustomer,
      (decision as { write: Customer }).write,
    );
  }

  *#current(tenant: string, by: CustomerReference): Routine<Found> {
    const { reader } = this.#dependencies;
    const row = yield* reader.findRow(tenant, by);
    return { row, current: row && (yield* reader.visible(tenant, by, row)) };
  }

  *#create({ tenant, by, context, key, id }: ChangeRequest, content: CustomerContent): Routine<WriteResult> {
    if (id === undefined) throw new Error('only sync creates a customer');
    const created = { outcome: 'created' } as const;
    const result = yield* this.insert(tenant, content, id, context, key, idempotencyCode(created));
    if (result.code === 'SUCCESS') return { ...result, ...created };
    // The ExternalId that names the customer was taken first: it now has a current record.
    if (result.code === 'CUSTOMER_ALREADY_STORED' && 'externalId' in by) throw new RunAgain();
    return result;
  }

  /**
   * Changes existing customers, which can exchange unique keys: all of them release their keys first. Throws
   * `ExchangeFailed` unless all are changed.
   */
  *exchange(tenant: string, changes: readonly Exchange[]): Routine<WriteResult[]> {
    const fenced = changes.find(({ context }) => context.tombstone !== undefined);
    if (fenced !== undefined) yield* this.#dependencies.tombstones.lock(tenant, fenced.context);
    const found: Found[] = [];
    for (const { by } of changes) found.push(yield* this.#current(tenant, by));
    // In one order for all exchanges, because this locks the rows: else two exchanges could wait for each other.
    const inOrder = [...changes.keys()].sort((one, other) => numberOf(found[one]) - numberOf(found[other]));
    for (const index of inOrder) {
      yield* this.#release(tenant, found[index] as Found, (changes[index] as Exchange).decide);
    }
    const results: WriteResult[] = [];
    const freed: Freed[] = [];
    for (const [index, { by, decide, context }] of changes.entries()) {
      const reference = referenceAfterRelease(by, found[index]?.current);
      const request = { tenant, by: reference, decide: onlyExisting(decide), context, isSync: true, freed };
      const result = yield* this.change(request);
      if (result.code !== 'SUCCESS') throw new ExchangeFailed(index, result);
      results.push(result);
    }
    // Not before: an ExternalId that one customer frees may be that of another one now, by an older revision.
    for (const { externalId, context } of freed) {
      yield* this.#dependencies.tombstones.leave(tenant, externalId, context);
    }
    return results;
  }

  /** Frees the unique keys of a customer if they are about to change. */
  *#release(tenant: string, { row, current }: Found, decide: ChangeRequest['decide']): Routine<void> {
    const decision = decide(current);
    if (row === undefined || current === undefined || !('write' in decision)) return;
    if (hasSameUniqueKeys(decision.write, current.customer)) return;
    yield* this.#dependencies.writer.release({ tenant, number: row.number, version: row.version });
  }

  /** The result of a decision that writes nothing. A success is recorded if the request has an Idempotency-Key. */
  *#unchanged({ tenant, key, isSync }: ChangeRequest, result: WriteResult): Routine<WriteResult> {
    if (result.code !== 'SUCCESS') return result;
    const { stored } = result;
    const effect = isSync ? syncEffect(stored, stored) : {};
    const record = recordOf(tenant, toNumber(stored.customer.customerUrn) as number, key, idempotencyCode(effect));
    if (record !== undefined) yield* this.#dependencies.idempotency.insertRecord(record);
    return { ...result, ...effect };
  }

  /** Writes new content. */
  *#replace(request: ChangeRequest, row: Row, current: StoredCustomer, customer: Customer): Routine<WriteResult> {
    const { tenant, context, key, isSync } = request;
    const { encryption, writer, tombstones } = this.#dependencies;
    if (!isReadableRow(row) || isAnonymized(customer)) throw new Error('only erase anonymizes a customer');
    const { externalIdentifier: old } = current.customer;
    const isRenamed = customer.externalIdentifier !== old;
    if (isRenamed && (yield* tombstones.forbidRenaming(tenant, customer.externalIdentifier, context)))
      return { code: 'STALE_REVISION' };
    const { number, wrapped } = row;
    const version = current.version + 1;
    const stored: StoredCustomer = { customer, version, origin: changedBy(current.origin, context) };
    const keepsUniqueKeys = hasSameUniqueKeys(customer, current.customer);
    const blindIndexes = keepsUniqueKeys ? undefined : encryption.blindIndexesOf(tenant, customer);
    if (blindIndexes !== undefined) {
      // If another write takes a unique key after this check, the unique constraint fails and the routine is retried.
      const conflicts = yield* this.#conflicts(tenant, blindIndexes, number);
      if (conflicts[0] !== undefined) return { code: conflicts[0].messageCode, conflicts };
      if (isRenamed) yield* this.#free(request, old);
    }
    const effect = isSync ? syncEffect(current, stored) : {};
    const written = yield* writer.update(
      {
        tenant,
        number,
        expected: current.version,
        version,
        sealed: encryption.sealRecord(tenant, number, wrapped, stored),
        updated_at: Date.parse(customer.updatedAt),
        ...(blindIndexes && { blindIndexes }),
      },
      eventBody(current.customer, customer, context),
      recordOf(tenant, number, key, idempotencyCode(effect)),
    );
    if (written === 0) throw new RunAgain();
    return { code: 'SUCCESS', stored, ...effect };
  }

  /** Leaves a tombstone of an ExternalId that is about to change, if the write is fenced. */
  *#free({ tenant, context, freed }: ChangeRequest, externalId: string): Routine<void> {
    if (freed === undefined) yield* this.#dependencies.tombstones.leave(tenant, externalId, context);
    else freed.push({ externalId, context });
  }

  /**
   * The conflicts with other customers and with aliases. Throws `RunAgain` for a customer that is being erased or merged.
   */
  *#conflicts(tenant: string, wanted: BlindIndexes, number: number): Routine<readonly Conflict[]> {
    const { queries, log } = this.#dependencies;
    const holders: Holder[] = [];
    for (const row of yield* queries.findHolders({ tenant, number, ...wanted })) {
      const holder = row.merged_into ?? row.number;
      const entry = isReadableRow(row) ? undefined : yield* log.find(tenant, holder);
      if (entry !== undefined) throw new RunAgain(entry);
      holders.push({ customerUrn: toUrn(holder), keys: comparable(row) });
    }
    return conflictsOf(comparable(wanted), holders);
  }
}

const numberOf = (found: Found | undefined): number => found?.row?.number ?? 0;

/** Blind indexes in the form in which the domain compares unique keys. */
const comparable = ({ external_id, email, phone_number }: BlindIndexes): UniqueKeys => ({
  externalId: (external_id?.toString('hex') ?? '') as UniqueKeys['externalId'],
  ...(email !== null && { email: email.toString('hex') }),
  ...(phone_number !== null && { phoneNumber: phone_number.toString('hex') }),
});
