import { andThen } from '../../../application/maybe-promise.ts';
import type {
  CustomerRepository,
  IdempotencyKey,
  StoredCustomer,
  WriteContext,
  WriteResult,
} from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure, unlessDatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { RecoveryReport } from '../../../application/ports/erasures.ts';
import type { TenantId } from '../../../domain/identity.ts';
import type { ChangeFeed } from '../change-feed.ts';
import type { Routine } from '../driver/query.ts';
import type { Eraser } from '../erasure/erase.ts';
import { type ErasureLog, positionOf } from '../erasure/erasure-log.ts';
import type { Merger } from '../erasure/merge.ts';
import type { Recovery } from '../erasure/recovery.ts';
import type { ResidueSearch } from '../erasure/residue.ts';
import { deletedAtOnce, type idempotencyQueries } from '../idempotency-records.ts';
import type { SqlDatabase } from '../schema/database.ts';
import type { Tombstones } from '../tombstones.ts';
import { type CustomerChanges, ExchangeFailed, RunAgain } from './customer-changes.ts';
import type { CustomerReader } from './customer-reader.ts';
import type { IdBlocks } from './id-blocks.ts';
import type { CustomerQueries } from './queries.ts';
import type { RecordEncryption } from './record-encryption.ts';
import { beforeAll, lastNumberUpTo, toNumber, type UrnSequence } from './urns.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly queries: CustomerQueries;
  readonly idempotency: ReturnType<typeof idempotencyQueries>;
  readonly encryption: Pick<RecordEncryption, 'blindIndex'>;
  readonly reader: CustomerReader;
  readonly changes: CustomerChanges;
  readonly feed: ChangeFeed;
  readonly tombstones: Tombstones;
  readonly ids: IdBlocks;
  readonly log: ErasureLog;
  readonly eraser: Eraser;
  readonly merger: Merger;
  readonly recovery: Recovery;
  readonly sequence: UrnSequence;
  readonly residue: ResidueSearch;
}

/**
 * Customers in SQL, each encrypted with its own data key. Only `store` and `sync` create data keys, for new customers. So
 * an update that races an erasure encrypts with the key that is being destroyed, and writes nothing readable.
 */
export class SqlCustomers implements CustomerRepository {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  store: CustomerRepository['store'] = (tenant, content, context, key) =>
    this.#dependencies.ids.use(tenant, async (id) => {
      const { changes } = this.#dependencies;
      const result = await this.#write(tenant, context, key, () => changes.insert(tenant, content, id, context, key));
      return { result, isUsed: result.code === 'SUCCESS' && !result.replayed };
    });

  find: CustomerRepository['find'] = (tenant, by) =>
    this.#dependencies.database.readShort(() => this.#dependencies.reader.find(tenant, by));

  list: CustomerRepository['list'] = (tenant, after, limit) => {
    const { database, queries, reader } = this.#dependencies;
    const from = { tenant, number: after === undefined ? beforeAll : lastNumberUpTo(after), limit };
    return database.read(function* () {
      const found: StoredCustomer[] = [];
      for (const row of yield* queries.listAfter(from)) found.push(yield* reader.view(tenant, row));
      return found;
    });
  };

  hasExternalId: CustomerRepository['hasExternalId'] = (tenant, externalId) => {
    const { database, queries, encryption } = this.#dependencies;
    const at = { tenant, externalId: encryption.blindIndex(tenant, 'externalId', externalId) };
    const found = database.readShort(() => queries.findHolder(at));
    return andThen(found, ([row]) => {
      if (row === undefined) return false;
      // Without a data key, the customer is being erased or its key was lost: `find` checks the erasure log.
      return row.wrapped !== null || andThen(this.find(tenant, { externalId }), (stored) => stored !== undefined);
    });
  };

  update: CustomerRepository['update'] = (tenant, by, decide, context, key) => {
    const request = { tenant, by, decide, context, key, isSync: false };
    return this.#write(tenant, context, key, () => this.#dependencies.changes.change(request));
  };

  sync: CustomerRepository['sync'] = (tenant, by, decide, context, key) =>
    this.#dependencies.ids.use(tenant, async (id) => {
      const request = { tenant, by, decide, context, key, isSync: true, id };
      const result = await this.#write(tenant, context, key, () => this.#dependencies.changes.change(request));
      return { result, isUsed: result.code === 'SUCCESS' && result.outcome === 'created' && !result.replayed };
    });

  exchange: CustomerRepository['exchange'] = async (tenant, requests) => {
    const { database, changes } = this.#dependencies;
    try {
      return { results: await this.#run(database.write, () => changes.exchange(tenant, requests)) };
    } catch (error) {
      if (error instanceof ExchangeFailed) return { failed: error.index, result: error.result };
      throw error;
    }
  };

  findTombstone: CustomerRepository['findTombstone'] = (tenant, externalId, now) =>
    this.#dependencies.database.readShort(() => this.#dependencies.tombstones.find(tenant, externalId, now));

  erase: CustomerRepository['erase'] = (...request) => this.#dependencies.eraser.erase(...request);

  merge: CustomerRepository['merge'] = (...request) => this.#dependencies.merger.merge(...request);

  async recoverErasures(tenant: TenantId): Promise<RecoveryReport> {
    const { recovery, sequence } = this.#dependencies;
    const report = await recovery.recover(tenant);
    // Not at a start only, which may have been unable to read the tenant's records. A failure must not hide the report:
    // the next recovery repeats this step.
    await sequence.raiseOnce(tenant).catch(unlessDatabaseFailure);
    return report;
  }

  async deleteExpired(tenant: TenantId, now: number): Promise<void> {
    const { database, idempotency, log, tombstones } = this.#dependencies;
    const at = { tenant, now };
    // Looked for first, so that the tenants without expired records cost no transaction.
    if (await database.read(() => log.anyExpired(tenant, now))) {
      await database.write(() => log.deleteExpired(tenant, now));
    }
    // In batches, so that other writes need not wait long.
    if (await database.read(() => tombstones.anyExpired(tenant, now))) {
      while ((await database.write(() => tombstones.deleteExpired(tenant, now))) === deletedAtOnce);
    }
    const any = await database.read(() => idempotency.anyExpired(at));
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

  history: CustomerRepository['history'] = (...of) => this.#dependencies.feed.history(...of);

  changes: CustomerRepository['changes'] = (...of) => this.#dependencies.feed.changes(...of);

  lastChange: CustomerRepository['lastChange'] = (tenant) => this.#dependencies.feed.lastChange(tenant);

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
    { now, tombstone }: WriteContext,
    key: IdempotencyKey | undefined,
    work: () => Routine<WriteResult>,
  ): Promise<WriteResult> {
    const { database, reader } = this.#dependencies;
    // The locks of fenced writes last until the end of a transaction.
    const write = tombstone === undefined ? database.writeWithoutTransaction : database.write;
    if (key === undefined) return this.#run(write, work);
    return this.#run(write, function* (): Routine<WriteResult> {
      const before = yield* reader.findEarlierRequest(tenant, key, now);
      if (before !== undefined) return yield* reader.replay(tenant, before);
      const result = yield* work();
      if (result.code === 'SUCCESS') return result;
      // The same request may have just succeeded in another process and thereby caused this refusal.
      const meanwhile = yield* reader.findEarlierRequest(tenant, key, now);
      return meanwhile === undefined ? result : yield* reader.replay(tenant, meanwhile);
    });
  }

  /** Runs a write, again whenever another one came first. */
  async #run<Result>(write: SqlDatabase['write'], work: () => Routine<Result>): Promise<Result> {
    const { database, eraser } = this.#dependencies;
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      try {
        return await write(work);
      } catch (error) {
        if (!(error instanceof RunAgain)) throw error;
        const { unfinished } = error;
        if (unfinished !== undefined) await database.write(() => eraser.finish(unfinished));
      }
    }
    throw new DatabaseFailure(new Error(`gave up after ${maxAttempts} write conflicts`));
  }
}

/** How often a write is run after conflicts. Each conflict means that another write succeeded. */
const maxAttempts = 100;

const none = { count: 0 };
