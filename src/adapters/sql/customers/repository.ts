import { andThen } from '../../../application/maybe-promise.ts';
import {
  type CustomerRepository,
  changedBy,
  type IdempotencyKey,
  type StoredCustomer,
  type WriteContext,
  type WriteResult,
} from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure, unlessDatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { RecoveryReport } from '../../../application/ports/erasures.ts';
import { isAnonymized } from '../../../domain/anonymization.ts';
import { type Customer, type CustomerContent, newCustomer } from '../../../domain/customer.ts';
import { changedFields } from '../../../domain/events.ts';
import { type Conflict, conflictsOf, type Holder, type TenantId, type UniqueKeys } from '../../../domain/identity.ts';
import type { Routine } from '../driver/query.ts';
import type { Eraser } from '../erasure/erase.ts';
import { type ErasureLog, positionOf } from '../erasure/erasure-log.ts';
import type { Recovery } from '../erasure/recovery.ts';
import type { ResidueSearch } from '../erasure/residue.ts';
import { deletedAtOnce, type idempotencyQueries, recordOf } from '../idempotency-records.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { ChangeWriter } from './change-writer.ts';
import type { CustomerReader } from './customer-reader.ts';
import { type CustomerId, type IdBlocks, NumberTaken } from './id-blocks.ts';
import type { BlindIndexes, CustomerQueries, Row } from './queries.ts';
import { isReadableRow, type RecordEncryption } from './record-encryption.ts';
import { toNumber, toUrn, type UrnSequence } from './urns.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly queries: CustomerQueries;
  readonly idempotency: ReturnType<typeof idempotencyQueries>;
  readonly encryption: RecordEncryption;
  readonly reader: CustomerReader;
  readonly writer: ChangeWriter;
  readonly ids: IdBlocks;
  readonly log: ErasureLog;
  readonly eraser: Eraser;
  readonly recovery: Recovery;
  readonly sequence: UrnSequence;
  readonly residue: ResidueSearch;
}

/** How often a write is retried after a conflict. Each conflict means that another write succeeded. */
const maxAttempts = 100;
const contention = () => new DatabaseFailure(new Error(`gave up after ${maxAttempts} write conflicts`));

/**
 * Customers in SQL, each encrypted with its own data key. Only `store` creates data keys. So an update that races an
 * erasure encrypts with the key that is being destroyed, and writes nothing readable.
 */
export class SqlCustomers implements CustomerRepository {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  store: CustomerRepository['store'] = (tenant, content, context, key) =>
    this.#dependencies.ids.use(tenant, async (id) => {
      const result = await this.#write(tenant, context, key, () => this.#insert(tenant, content, id, context, key));
      return { result, isUsed: result.code === 'SUCCESS' && !result.replayed };
    });

  find: CustomerRepository['find'] = (tenant, by) =>
    this.#dependencies.database.readShort(() => this.#dependencies.reader.find(tenant, by));

  hasExternalId: CustomerRepository['hasExternalId'] = (tenant, externalId) => {
    const { database, queries, encryption } = this.#dependencies;
    const at = { tenant, externalId: encryption.externalIdIndex(tenant, externalId) };
    const found = database.readShort(() => queries.findHolder(at));
    return andThen(found, ([row]) => {
      if (row === undefined) return false;
      // Without a data key, the customer is being erased or its key was lost: `find` checks the erasure log.
      return row.wrapped !== null || andThen(this.find(tenant, { externalId }), (stored) => stored !== undefined);
    });
  };

  update: CustomerRepository['update'] = (tenant, by, decide, context, key) =>
    this.#write(tenant, context, key, () => this.#change(tenant, by, decide, context, key));

  erase: CustomerRepository['erase'] = (...request) => this.#dependencies.eraser.erase(...request);

  async recoverErasures(tenant: TenantId): Promise<RecoveryReport> {
    const { recovery, sequence } = this.#dependencies;
    const report = await recovery.recover(tenant);
    // Not at a start only, which may have been unable to read the tenant's records. A failure must not hide the report:
    // the next recovery repeats this step.
    await sequence.raiseOnce(tenant).catch(unlessDatabaseFailure);
    return report;
  }

  async deleteExpired(tenant: TenantId, now: number): Promise<void> {
    const { database, idempotency, log } = this.#dependencies;
    const at = { tenant, now };
    // Looked for first, so that the tenants without expired records cost no transaction.
    if (await database.read(() => log.anyExpired(tenant, now))) {
      await database.write(() => log.deleteExpired(tenant, now));
    }
    const any = await database.read(() => idempotency.anyExpired(at));
    // In batches, so that other writes need not wait long.
    while (any.length > 0 && (await database.write(() => idempotency.deleteExpired(at))) === deletedAtOnce);
  }

  findErasure: CustomerRepository['findErasure'] = (tenant, urn) => {
    const { database, log } = this.#dependencies;
    return database.read(function* () {
      const number = toNumber(urn);
      const entry = number === undefined ? undefined : yield* log.find(tenant, number);
      return entry && { ...entry.content.erasure, position: positionOf(entry) };
    });
  };

  findIdempotencyRecords: CustomerRepository['findIdempotencyRecords'] = (tenant, urn) => {
    const { database, idempotency } = this.#dependencies;
    return database.read(function* () {
      const records = yield* idempotency.listOf({ tenant, number: toNumber(urn) ?? -1 });
      return records.map(({ code, expires_at }) => ({ code, expiresAt: expires_at }));
    });
  };

  findResidue: CustomerRepository['findResidue'] = (tenant, urn) =>
    this.#dependencies.residue.find(tenant, toNumber(urn) ?? -1);

  countCustomers: CustomerRepository['countCustomers'] = (tenant) => {
    const { database, queries } = this.#dependencies;
    return database.read(function* () {
      // Counted before all customers, so that an erasure in between cannot make the difference negative.
      const [{ count: anonymized } = none] = yield* queries.countAnonymized({ tenant });
      const [{ count } = none] = yield* queries.countAll({ tenant });
      return { customers: count - anonymized, anonymized };
    });
  };

  /** Runs a write, or replays an earlier request with the same Idempotency-Key. */
  #write(
    tenant: string,
    { now }: WriteContext,
    key: IdempotencyKey | undefined,
    work: () => Routine<WriteResult>,
  ): Promise<WriteResult> {
    const { database, reader } = this.#dependencies;
    if (key === undefined) return database.writeWithoutTransaction(work);
    return database.writeWithoutTransaction(function* (): Routine<WriteResult> {
      const before = yield* reader.findEarlierRequest(tenant, key, now);
      if (before !== undefined) return yield* reader.replay(tenant, before);
      const result = yield* work();
      if (result.code === 'SUCCESS') return result;
      // The same request may have just succeeded in another process and thereby caused this refusal.
      const meanwhile = yield* reader.findEarlierRequest(tenant, key, now);
      return meanwhile === undefined ? result : yield* reader.replay(tenant, meanwhile);
    });
  }

  /** Throws `NumberTaken` if another record has the number, which happens only after the keys were restored. */
  *#insert(
    tenant: string,
    content: CustomerContent,
    { number, wrapped: ready }: CustomerId,
    { keyId, requestId, now }: WriteContext,
    key: IdempotencyKey | undefined,
  ): Routine<WriteResult> {
    const { encryption, writer, queries } = this.#dependencies;
    const customer = newCustomer(content, toUrn(number), now);
    const actor = { keyId, requestId };
    const stored: StoredCustomer = { customer, version: 1, origin: { storedBy: actor } };
    const indexes = encryption.blindIndexesOf(tenant, content);
    const { dataKey: wrapped, sealed } =
      ready === undefined
        ? encryption.sealNew(tenant, number, stored)
        : { dataKey: ready, sealed: encryption.sealRecord(tenant, number, ready, stored) };
    const row = { tenant, number, version: 1, sealed, wrapped, ...indexes, created_at: now, updated_at: now };
    const event = { type: 'customer.stored', changedFields: changedFields(undefined, customer), actor } as const;
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      if ((yield* writer.insert(row, event, recordOf(tenant, number, key))) > 0) return { code: 'SUCCESS', stored };
      const conflicts = yield* this.#conflicts(tenant, indexes, number);
      if (conflicts[0] !== undefined) return { code: conflicts[0].messageCode, conflicts };
      if ((yield* queries.findByNumber({ tenant, number })).length > 0) throw new NumberTaken();
    }
    throw contention();
  }

  *#change(
    tenant: string,
    by: Parameters<CustomerRepository['update']>[1],
    decide: Parameters<CustomerRepository['update']>[2],
    context: WriteContext,
    key: IdempotencyKey | undefined,
  ): Routine<WriteResult> {
    const { reader } = this.#dependencies;
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const row = yield* reader.findRow(tenant, by);
      const current = row && (yield* reader.visible(tenant, by, row));
      const decision = decide(current);
      if ('refuse' in decision) return { code: 'INVALID_REQUEST', violations: decision.refuse };
      if ('leave' in decision && decision.leave !== 'SUCCESS') return { code: decision.leave };
      if (row === undefined || current === undefined)
        throw new Error('decide returned a write or SUCCESS for a customer that does not exist');
      const result =
        'leave' in decision
          ? yield* this.#unchanged(tenant, row.number, current, key)
          : yield* this.#replace(tenant, row, current, decision.write, context, key);
      if (result !== undefined) return result;
    }
    throw contention();
  }

  /** Records the success of a request that changes nothing, if it has an Idempotency-Key. */
  *#unchanged(
    tenant: string,
    number: number,
    stored: StoredCustomer,
    key: IdempotencyKey | undefined,
  ): Routine<WriteResult> {
    const record = recordOf(tenant, number, key);
    if (record !== undefined) yield* this.#dependencies.idempotency.insertRecord(record);
    return { code: 'SUCCESS', stored };
  }

  /** Writes new content. Undefined if another write came first. */
  *#replace(
    tenant: string,
    row: Row,
    current: StoredCustomer,
    customer: Customer,
    context: WriteContext,
    key: IdempotencyKey | undefined,
  ): Routine<WriteResult | undefined> {
    const { encryption, writer } = this.#dependencies;
    if (!isReadableRow(row) || isAnonymized(customer)) throw new Error('only erase anonymizes a customer');
    const { number, wrapped } = row;
    const version = current.version + 1;
    const stored: StoredCustomer = { customer, version, origin: changedBy(current.origin, context) };
    const keepsUniqueKeys = hasSameUniqueKeys(customer, current.customer);
    const blindIndexes = keepsUniqueKeys ? undefined : encryption.blindIndexesOf(tenant, customer);
    if (blindIndexes !== undefined) {
      // If another write takes a unique key after this check, the unique constraint fails and the routine is retried.
      const conflicts = yield* this.#conflicts(tenant, blindIndexes, number);
      if (conflicts[0] !== undefined) return { code: conflicts[0].messageCode, conflicts };
    }
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
      {
        type: 'customer.updated',
        changedFields: changedFields(current.customer, customer),
        actor: { keyId: context.keyId, requestId: context.requestId },
      },
      recordOf(tenant, number, key),
    );
    return written > 0 ? { code: 'SUCCESS', stored } : undefined;
  }

  /**
   * The conflicts with other customers. Finishes the erasure of one that is being erased: this frees its keys.
   */
  *#conflicts(tenant: string, wanted: BlindIndexes, number: number): Routine<readonly Conflict[]> {
    const { queries, log, eraser } = this.#dependencies;
    const holders: Holder[] = [];
    for (const row of yield* queries.findHolders({ tenant, number, ...wanted })) {
      const entry = isReadableRow(row) ? undefined : yield* log.find(tenant, row.number);
      if (entry === undefined) holders.push({ customerUrn: toUrn(row.number), keys: comparable(row) });
      else yield* eraser.finish(entry);
    }
    return conflictsOf(comparable(wanted), holders);
  }
}

const none = { count: 0 };

/** Blind indexes in the form in which the domain compares unique keys. */
const comparable = ({ external_id, email, phone_number }: BlindIndexes): UniqueKeys => ({
  externalId: (external_id?.toString('hex') ?? '') as UniqueKeys['externalId'],
  ...(email !== null && { email: email.toString('hex') }),
  ...(phone_number !== null && { phoneNumber: phone_number.toString('hex') }),
});

const hasSameUniqueKeys = (one: CustomerContent, other: CustomerContent): boolean =>
  one.externalIdentifier === other.externalIdentifier &&
  one.email === other.email &&
  one.phoneNumber === other.phoneNumber;
