import { type Customer, type CustomerContent, uniqueKeysOf } from '../domain/customer.ts';
import type { ExternalId, TenantId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import type {
  CustomerReference,
  CustomerRepository,
  ErasureContext,
  Exchange,
  StoredCustomer,
  SyncRepository,
  WriteContext,
} from './ports/customer-repository.ts';
import type { ScratchRepository } from './ports/scratch-repository.ts';
import { forAlias } from './ports/write-rules.ts';

interface Dependencies {
  readonly repository: Pick<CustomerRepository, 'find' | 'findTombstone'>;
  readonly scratch: ScratchRepository;
  readonly referenceData: ReferenceData;
}

/** What is stored and concerns one request. */
interface Stored {
  readonly customers: readonly StoredCustomer[];
  readonly tombstone?: { readonly externalId: ExternalId; readonly revision: number };
}

/**
 * A repository that reads what is stored and stores nothing: each request runs on copies of the customers that it concerns
 * (those that it names, and those that hold its unique keys), in a scratch repository. The scratch repository has the
 * contract of the real one, so a request gets the same result. It keeps only customers that would change.
 */
export class DryRun implements SyncRepository {
  readonly #dependencies: Dependencies;
  /** Fulfilled when the last request has run. */
  #last: Promise<void> = Promise.resolve();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  async sync(tenant: TenantId, by: CustomerReference, decide: Exchange['decide'], context: WriteContext) {
    const stored = this.#storedFor(tenant, { by, decide, context }).then((found) => [found]);
    return this.#onCopies(tenant, stored, context.now, (scratch) => scratch.sync(tenant, by, decide, context));
  }

  async exchange(tenant: TenantId, changes: readonly Exchange[]) {
    const stored = Promise.all(changes.map((change) => this.#storedFor(tenant, change)));
    const now = Math.max(...changes.map(({ context }) => context.now));
    return this.#onCopies(tenant, stored, now, (scratch) => scratch.exchange(tenant, changes));
  }

  async erase(tenant: TenantId, by: CustomerReference, context: ErasureContext) {
    const stored = this.#storedAs(tenant, by).then((customers) => [{ customers }]);
    return this.#onCopies(tenant, stored, context.now, (scratch) => scratch.erase(tenant, by, context));
  }

  async find(tenant: TenantId, by: CustomerReference): Promise<StoredCustomer | undefined> {
    return this.#asInRun(tenant, by, await this.#dependencies.repository.find(tenant, by));
  }

  /** The customer that a request names, and those into which it was merged: they are erased together. */
  async #storedAs(tenant: TenantId, by: CustomerReference): Promise<readonly StoredCustomer[]> {
    const { repository } = this.#dependencies;
    const customers: StoredCustomer[] = [];
    let stored = await repository.find(tenant, by);
    while (stored !== undefined) {
      customers.push(stored);
      const { mergedInto: urn }: Customer = stored.customer;
      stored = urn && (await repository.find(tenant, { urn }));
    }
    return customers;
  }

  async #storedFor(tenant: TenantId, { by, decide, context }: Exchange): Promise<Stored> {
    const { repository } = this.#dependencies;
    const stored = await repository.find(tenant, by);
    const decision = decide(this.#asInRun(tenant, by, stored));
    const content = 'create' in decision ? decision.create : 'write' in decision ? decision.write : undefined;
    const holders = content === undefined ? [] : await this.#holdersOf(tenant, by, content, stored);
    const customers = [stored, ...holders].filter((found) => found !== undefined);
    if (context.tombstone === undefined || content === undefined) return { customers };
    const externalId = content.externalIdentifier as ExternalId;
    const revision =
      (await repository.findTombstone(tenant, externalId, context.now)) ?? (await this.#leftFor(tenant, stored));
    return { customers, ...(revision !== undefined && { tombstone: { externalId, revision } }) };
  }

  /** The revision of the tombstone that this run has left for the alias by which a customer was found, if any. */
  async #leftFor(tenant: TenantId, stored: StoredCustomer | undefined): Promise<number | undefined> {
    if (stored?.alias === undefined) return undefined;
    const erasure = await this.#dependencies.scratch.findErasure(tenant, stored.customer.customerUrn);
    return erasure && forAlias(erasure, stored.alias.sourceRevision).tombstone?.revision;
  }

  /** A stored customer as the run has it: the run may have changed it, given it another ExternalId, or erased it. */
  #asInRun(tenant: TenantId, by: CustomerReference, stored: StoredCustomer | undefined): StoredCustomer | undefined {
    const { scratch } = this.#dependencies;
    const present = scratch.find(tenant, by);
    if (present !== undefined || stored === undefined) return present;
    const { customerUrn: urn } = stored.customer;
    return scratch.find(tenant, { urn }) === undefined ? stored : undefined;
  }

  /** The stored customers that hold unique keys of a content, except for keys that its customer has stored itself. */
  #holdersOf(tenant: TenantId, by: CustomerReference, content: CustomerContent, stored: StoredCustomer | undefined) {
    const { repository, referenceData } = this.#dependencies;
    const own = (stored && uniqueKeysOf(stored.customer, referenceData)) ?? by;
    const wanted = uniqueKeysOf(content, referenceData) ?? {};
    const keys = Object.entries(wanted).filter(([name, value]) => own[name as keyof typeof own] !== value);
    return Promise.all(keys.map(([name, value]) => repository.find(tenant, { [name]: value } as CustomerReference)));
  }

  /**
   * Runs `work`, which writes before it returns, on copies. Removes the copies that it did not change. Requests run in the
   * order in which they were made, although what they need is read at the same time.
   */
  async #onCopies<Result>(
    tenant: TenantId,
    reading: Promise<readonly Stored[]>,
    now: number,
    work: (scratch: ScratchRepository) => Result,
  ): Promise<Awaited<Result>> {
    const before = this.#last;
    let done = (): void => {};
    this.#last = new Promise((resolve) => {
      done = resolve;
    });
    try {
      const stored = await reading.finally(() => before);
      return await this.#run(tenant, stored, now, work);
    } finally {
      done();
    }
  }

  #run<Result>(
    tenant: TenantId,
    stored: readonly Stored[],
    now: number,
    work: (scratch: ScratchRepository) => Result,
  ): Result {
    const { scratch } = this.#dependencies;
    const loaded: StoredCustomer[] = [];
    for (const { customers, tombstone } of stored) {
      loaded.push(...customers.filter((customer) => scratch.load(tenant, customer)));
      if (tombstone !== undefined) {
        const { externalId, revision } = tombstone;
        // For this request only: the next one reads the stored tombstone again.
        scratch.loadTombstone(tenant, externalId, { revision, expiresAt: now + 1 });
      }
    }
    const result = work(scratch);
    for (const customer of loaded) scratch.unload(tenant, customer);
    return result;
  }
}
