import { FifoMap } from 'toad-cache';
import { andThen } from '../../../application/maybe-promise.ts';
import type {
  ContactReference,
  CustomerReference,
  CustomerRepository,
  StoredCustomer,
} from '../../../application/ports/customer-repository.ts';
import type { ReferenceRepository, SummarizedCustomer } from '../../../application/ports/references.ts';
import { isAnonymized } from '../../../domain/anonymization.ts';

/** About 20 MB of records. */
const maxRecords = 10_000;
/** How many records that were read once are remembered: a record is cached at its second read. */
const maxReadOnce = 2_000;

interface Cached {
  readonly found: SummarizedCustomer;
  readonly epoch: number;
}

/**
 * Decrypted records that were read recently, with the summaries of their references. A cache hit costs no query and no decryption
 * (docs/decisions/0035-optimizations-kept.md). A record is returned only in the epoch in which it was read, that is, until
 * another process writes. This process drops the records that it writes, and those whose references it writes. If the database has no epoch, nothing is cached.
 */
export class RecordCache {
  readonly #epoch: () => number | undefined;
  // First in, first out: moving an entry at each hit would gain little, as a job empties the cache every few seconds.
  readonly #records = new FifoMap<Cached>(maxRecords);
  /** The key in `#records` for each ExternalId; may be outdated. */
  readonly #byExternalId = new FifoMap<string>(maxRecords);
  /** Records that were read once and not cached: caching a record that is read only once costs more than it saves. */
  readonly #readOnce = new FifoMap<true>(maxReadOnce);

  /** @param epoch see `SqlDatabase.epoch` */
  constructor(epoch: () => number | undefined) {
    this.#epoch = epoch;
  }

  /** Undefined for a contact reference: the cache has no index of e-mail addresses and phone numbers. */
  find(tenant: string, by: CustomerReference | ContactReference): SummarizedCustomer | undefined {
    if ('email' in by || 'phoneNumber' in by) return undefined;
    const key = 'urn' in by ? keyOf(tenant, by.urn) : this.#byExternalId.get(keyOf(tenant, by.externalId));
    const cached = key === undefined ? undefined : this.#records.get(key);
    if (cached === undefined || cached.epoch !== this.#epoch()) return undefined;
    const { found } = cached;
    return 'urn' in by || found.stored.customer.externalIdentifier === by.externalId ? found : undefined;
  }

  /** Must be called in the event-loop turn of the read, so that nothing is written in between. */
  keep(tenant: string, found: SummarizedCustomer): void {
    const { customerUrn, externalIdentifier } = found.stored.customer;
    const key = keyOf(tenant, customerUrn);
    if (this.#readOnce.get(key) === undefined) {
      this.#readOnce.set(key, true);
      return;
    }
    const epoch = this.#epoch();
    if (epoch === undefined) return;
    this.#records.set(key, { found, epoch });
    this.#byExternalId.set(keyOf(tenant, externalIdentifier), key);
  }

  /**
   * Must be called for every row that is written and every data key that is destroyed, and for a customer whose references
   * change.
   */
  drop(tenant: string, urn: string): void {
    this.#records.delete(keyOf(tenant, urn));
  }

  /** Removes everything: decrypted records must not stay in memory. A job calls it every few seconds. */
  clear(): void {
    this.#records.clear();
    this.#byExternalId.clear();
    this.#readOnce.clear();
  }
}

const keyOf = (tenant: string, name: string): string => `${tenant} ${name}`;

/**
 * Whether a record is found by the ExternalId that it shows, as the cache assumes. Nobody finds an anonymized one by its
 * placeholder; and a customer that was found by an alias is overwritten by other rules.
 */
const hasOwnExternalId = ({ customer, alias }: StoredCustomer): boolean =>
  alias === undefined && !isAnonymized(customer);

type Find = ReferenceRepository['find'];

/** A function that finds customers through a cache. */
export const cachedFind =
  (find: Find, cache: RecordCache): Find =>
  (tenant, by) => {
    const hit = cache.find(tenant, by);
    if (hit !== undefined) return hit;
    const found = find(tenant, by);
    // A promise is not cached: it resolves in a later turn, and by then the record may have been written again.
    if (found !== undefined && 'stored' in found && hasOwnExternalId(found.stored)) cache.keep(tenant, found);
    return found;
  };

/** A repository whose reads go through a cache. @param find see `cachedFind` */
export function cached(repository: CustomerRepository, cache: RecordCache, find: Find): CustomerRepository {
  return {
    find: (tenant, by) => andThen(find(tenant, by), (found) => found?.stored),
    // Not cached: a list would displace the records that are read often.
    list: (...request) => repository.list(...request),
    hasExternalId: (tenant, externalId) =>
      cache.find(tenant, { externalId }) !== undefined || repository.hasExternalId(tenant, externalId),
    store: (...request) => repository.store(...request),
    update: (...request) => repository.update(...request),
    sync: (...request) => repository.sync(...request),
    exchange: (...request) => repository.exchange(...request),
    findTombstone: (...of) => repository.findTombstone(...of),
    erase: (...request) => repository.erase(...request),
    merge: (...request) => repository.merge(...request),
    recoverErasures: (tenant) => repository.recoverErasures(tenant),
    deleteExpired: (tenant, now) => repository.deleteExpired(tenant, now),
    findErasure: (...of) => repository.findErasure(...of),
    history: (...of) => repository.history(...of),
    changes: (...of) => repository.changes(...of),
    lastChange: (tenant) => repository.lastChange(tenant),
    findIdempotencyRecords: (...of) => repository.findIdempotencyRecords(...of),
    findResidue: (...of) => repository.findResidue(...of),
    countCustomers: (tenant) => repository.countCustomers(tenant),
  };
}
