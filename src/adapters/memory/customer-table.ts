import { randomUUID } from 'node:crypto';
import type { EventBody, FeedEvent } from '../../application/ports/change-events.ts';
import type {
  Alias,
  ContactReference,
  CustomerReference,
  StoredCustomer,
  WriteContext,
} from '../../application/ports/customer-repository.ts';
import type { Erasure } from '../../application/ports/erasures.ts';
import type { Tombstone } from '../../application/ports/tombstone.ts';
import { isAnonymized } from '../../domain/anonymization.ts';
import { uniqueKeysOf } from '../../domain/customer.ts';
import {
  type Conflict,
  type CustomerUrn,
  conflictsOf,
  type ExternalId,
  type Holder,
  type TenantId,
  type UniqueKeys,
} from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';

/** A `Map`, or what stands in for one that is too large for memory. */
export interface Entries<Value> extends Pick<Map<string, Value>, 'get' | 'delete' | 'entries'> {
  set(name: string, value: Value): void;
}
/** @param name says which of the table's maps it is: records, feeds, holders, aliases, tombstones or erasures */
export type NewEntries = <Value>(name: string) => Entries<Value>;

/** The record that has a unique key, by its name. With `alias`, the key is an ExternalId that a merge has left. */
interface Held {
  readonly name: string;
  readonly alias?: Alias;
}

/** Records with their unique keys, events, tombstones and erasures. */
export class CustomerTable {
  readonly #referenceData: ReferenceData;
  /** By tenant and URN; see `nameOf`. */
  readonly #records: Entries<StoredCustomer>;
  /** By tenant. */
  readonly #feeds: Entries<FeedEvent[]>;
  /** By tenant, kind and value of a unique key. */
  readonly #holders: Entries<Held>;
  /** By the name of the record that they find. */
  readonly #aliases: Entries<readonly Alias[]>;
  /** By tenant and ExternalId. */
  readonly #tombstones: Entries<Tombstone>;
  /** By the name of the record. */
  readonly #erasures: Entries<Erasure>;

  constructor(referenceData: ReferenceData, newEntries: NewEntries = () => new Map()) {
    this.#referenceData = referenceData;
    this.#records = newEntries('records');
    this.#feeds = newEntries('feeds');
    this.#holders = newEntries('holders');
    this.#aliases = newEntries('aliases');
    this.#tombstones = newEntries('tombstones');
    this.#erasures = newEntries('erasures');
  }

  find(tenant: TenantId, by: CustomerReference | ContactReference): StoredCustomer | undefined {
    if ('urn' in by) return this.#records.get(nameOf(tenant, by.urn));
    const held = this.#holders.get(entriesOf(tenant, by)[0] as string);
    const stored = held && this.#records.get(held.name);
    return stored && held?.alias ? { ...stored, alias: held.alias } : stored;
  }

  /** The record with a name of `nameOf`. */
  get(name: string): StoredCustomer | undefined {
    return this.#records.get(name);
  }

  /** The conflicts of a record with the unique keys of other records, and with aliases, its own too. */
  conflictsOf(tenant: TenantId, stored: StoredCustomer): readonly Conflict[] {
    const name = nameOf(tenant, stored.customer.customerUrn);
    const keys = this.#keysOf(stored);
    if (keys === undefined) return [];
    const others = Object.entries(keys).flatMap(([kind, value]): Holder[] => {
      const held = this.#holders.get(entryOf(tenant, kind, value));
      const isFree = held === undefined || (held.name === name && held.alias === undefined);
      return isFree ? [] : [{ customerUrn: urnIn(held.name), keys: { [kind]: value } }];
    });
    return conflictsOf(keys, others);
  }

  /** Writes a record, which conflicts with no other, in place of `previous`, and its event. */
  put(tenant: TenantId, stored: StoredCustomer, event: EventBody, previous: StoredCustomer | undefined): void {
    const name = nameOf(tenant, stored.customer.customerUrn);
    if (previous !== undefined) this.release(tenant, previous);
    for (const entry of entriesOf(tenant, this.#keysOf(stored))) this.#holders.set(entry, { name });
    this.#records.set(name, stored);
    const { version, customer } = stored;
    const { customerUrn, updatedAt } = customer;
    const feed = this.#feeds.get(tenant) ?? [];
    const position = feed.length + 1;
    feed.push({ position, id: randomUUID(), customerUrn, version, at: Date.parse(updatedAt), ...event });
    this.#feeds.set(tenant, feed);
  }

  /** Frees the unique keys of a record. */
  release(tenant: TenantId, stored: StoredCustomer): void {
    const name = nameOf(tenant, stored.customer.customerUrn);
    for (const entry of entriesOf(tenant, this.#keysOf(stored))) {
      if (this.#holders.get(entry)?.name === name) this.#holders.delete(entry);
    }
  }

  /** Makes an ExternalId an alias of a customer. */
  addAlias(tenant: TenantId, urn: CustomerUrn, alias: Alias): void {
    const name = nameOf(tenant, urn);
    this.#holders.set(entryOf(tenant, 'externalId', alias.externalId), { name, alias });
    const others = this.#aliases.get(name)?.filter(({ externalId }) => externalId !== alias.externalId) ?? [];
    this.#aliases.set(name, [...others, alias]);
  }

  /** Removes and returns the aliases of a customer. */
  removeAliases(tenant: TenantId, urn: CustomerUrn): readonly Alias[] {
    const name = nameOf(tenant, urn);
    const aliases = this.#aliases.get(name) ?? [];
    for (const { externalId } of aliases) this.#holders.delete(entryOf(tenant, 'externalId', externalId));
    this.#aliases.delete(name);
    return aliases;
  }

  /** Puts records back as they were before, and removes the last events of the feed, which are theirs. */
  restore(tenant: TenantId, before: readonly (StoredCustomer | undefined)[]): void {
    const named = before.flatMap((stored) => (stored ? [[stored.customer.customerUrn, stored] as const] : []));
    const records = [...new Map(named).values()];
    let changed = 0;
    for (const { customer, version } of records) {
      const present = this.#records.get(nameOf(tenant, customer.customerUrn)) as StoredCustomer;
      changed += present.version - version;
      this.release(tenant, present);
    }
    for (const { alias: _, ...stored } of records) {
      const name = nameOf(tenant, stored.customer.customerUrn);
      for (const entry of entriesOf(tenant, this.#keysOf(stored))) this.#holders.set(entry, { name });
      this.#records.set(name, stored);
    }
    // A scratch repository has no feed.
    this.#feeds.get(tenant)?.splice(-changed, changed);
  }

  /**
   * Adds a record of another repository, without an event, and the alias by which it was found. Returns false if the
   * table has a record with its URN.
   */
  load(tenant: TenantId, { alias, ...stored }: StoredCustomer): boolean {
    const { customerUrn } = stored.customer;
    const name = nameOf(tenant, customerUrn);
    const present = this.#records.get(name);
    if (alias !== undefined && !(present && isAnonymized(present.customer))) this.addAlias(tenant, customerUrn, alias);
    if (present !== undefined) return false;
    this.#records.set(name, stored);
    for (const entry of entriesOf(tenant, this.#keysOf(stored))) {
      // A change in this table may have taken the key.
      if (this.#holders.get(entry) === undefined) this.#holders.set(entry, { name });
    }
    return true;
  }

  /** Removes a record that was loaded, unless it was changed. */
  unload(tenant: TenantId, stored: StoredCustomer): void {
    const name = nameOf(tenant, stored.customer.customerUrn);
    if (this.#records.get(name)?.version !== stored.version) return;
    this.release(tenant, stored);
    this.#records.delete(name);
  }

  findTombstone(tenant: TenantId, externalId: ExternalId, now: number): number | undefined {
    const found = this.#tombstones.get(tombstoneName(tenant, externalId));
    return found !== undefined && found.expiresAt > now ? found.revision : undefined;
  }

  /** Leaves a tombstone if the write is fenced. One with a higher revision stays. */
  leaveTombstone(tenant: TenantId, externalId: ExternalId, { tombstone, now }: WriteContext): void {
    if (tombstone === undefined) return;
    const present = this.findTombstone(tenant, externalId, now);
    if (present === undefined || present <= tombstone.revision) {
      this.#tombstones.set(tombstoneName(tenant, externalId), tombstone);
    }
  }

  deleteExpiredTombstones(tenant: TenantId, now: number): void {
    for (const [name, { expiresAt }] of this.#tombstones.entries()) {
      if (tenantIn(name) === tenant && expiresAt <= now) this.#tombstones.delete(name);
    }
  }

  addErasure(tenant: TenantId, erasure: Erasure): void {
    this.#erasures.set(nameOf(tenant, erasure.urn), erasure);
  }

  findErasure(tenant: TenantId, urn: CustomerUrn): Erasure | undefined {
    return this.#erasures.get(nameOf(tenant, urn));
  }

  /** The change events of a tenant, in the order of their positions. */
  feedOf(tenant: TenantId): readonly FeedEvent[] {
    return this.#feeds.get(tenant) ?? [];
  }

  /** The number of unique keys that a customer holds. */
  countKeys(tenant: TenantId, urn: CustomerUrn): number {
    return [...this.#holders.entries()].filter(([, { name }]) => name === nameOf(tenant, urn)).length;
  }

  recordsOf(tenant: TenantId): StoredCustomer[] {
    return [...this.#records.entries()].filter(([name]) => tenantIn(name) === tenant).map(([, stored]) => stored);
  }

  #keysOf(stored: StoredCustomer): UniqueKeys | undefined {
    return uniqueKeysOf(stored.customer, this.#referenceData);
  }
}

/** The name of a record. */
export const nameOf = (tenant: TenantId, urn: CustomerUrn): string => `${tenant} ${urn}`;
export const tenantIn = (name: string): TenantId => name.slice(0, name.indexOf(' ')) as TenantId;
const tombstoneName = (tenant: TenantId, externalId: ExternalId): string => `${tenant} ${externalId}`;

const urnIn = (name: string): CustomerUrn => name.slice(name.indexOf(' ') + 1) as CustomerUrn;

const entryOf = (tenant: TenantId, kind: string, value: string): string => `${tenant} ${kind} ${value}`;
const entriesOf = (tenant: TenantId, keys: Partial<UniqueKeys> | undefined): string[] =>
  Object.entries(keys ?? {}).map(([kind, value]) => entryOf(tenant, kind, value));
