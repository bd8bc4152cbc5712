import type { ChangeEvent, EventBody } from '../../application/ports/change-events.ts';
import type {
  ContactReference,
  CustomerReference,
  StoredCustomer,
  Tombstone,
  WriteContext,
} from '../../application/ports/customer-repository.ts';
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
export type Entries<Value> = Pick<Map<string, Value>, 'get' | 'set' | 'delete' | 'entries'>;
export type NewEntries = <Value>() => Entries<Value>;

/** Records with their unique keys, events and tombstones. */
export class CustomerTable {
  readonly #referenceData: ReferenceData;
  /** By tenant and URN; see `nameOf`. */
  readonly #records: Entries<StoredCustomer>;
  /** By the name of the record: one for each version. */
  readonly #events: Entries<readonly ChangeEvent[]>;
  /** The names of records, by tenant, kind and value of a unique key. */
  readonly #holders: Entries<string>;
  /** By tenant and ExternalId. */
  readonly #tombstones: Entries<Tombstone>;

  constructor(referenceData: ReferenceData, newEntries: NewEntries = () => new Map()) {
    this.#referenceData = referenceData;
    this.#records = newEntries();
    this.#events = newEntries();
    this.#holders = newEntries();
    this.#tombstones = newEntries();
  }

  find(tenant: TenantId, by: CustomerReference | ContactReference): StoredCustomer | undefined {
    const name = 'urn' in by ? nameOf(tenant, by.urn) : this.#holders.get(entriesOf(tenant, by)[0] as string);
    return name === undefined ? undefined : this.#records.get(name);
  }

  /** The record with a name of `nameOf`. */
  get(name: string): StoredCustomer | undefined {
    return this.#records.get(name);
  }

  /** The conflicts of a record with the unique keys of other records. */
  conflictsOf(tenant: TenantId, stored: StoredCustomer): readonly Conflict[] {
    const name = nameOf(tenant, stored.customer.customerUrn);
    const keys = this.#keysOf(stored);
    if (keys === undefined) return [];
    const others = entriesOf(tenant, keys)
      .map((entry) => this.#holders.get(entry))
      .filter((holder) => holder !== undefined && holder !== name)
      .map((holder): Holder => {
        const other = this.#records.get(holder as string) as StoredCustomer;
        return { customerUrn: other.customer.customerUrn, keys: this.#keysOf(other) ?? {} };
      });
    return conflictsOf(keys, others);
  }

  /** Writes a record, which conflicts with no other, in place of `previous`, and its event. */
  put(tenant: TenantId, stored: StoredCustomer, event: EventBody, previous: StoredCustomer | undefined): void {
    const name = nameOf(tenant, stored.customer.customerUrn);
    if (previous !== undefined) this.release(tenant, previous);
    for (const entry of entriesOf(tenant, this.#keysOf(stored))) this.#holders.set(entry, name);
    this.#records.set(name, stored);
    const { version, customer } = stored;
    const added = { version, at: Date.parse(customer.updatedAt), ...event };
    this.#events.set(name, [...(this.#events.get(name) ?? []), added]);
  }

  /** Frees the unique keys of a record. */
  release(tenant: TenantId, stored: StoredCustomer): void {
    const name = nameOf(tenant, stored.customer.customerUrn);
    for (const entry of entriesOf(tenant, this.#keysOf(stored))) {
      if (this.#holders.get(entry) === name) this.#holders.delete(entry);
    }
  }

  /** Puts records back as they were before. */
  restore(tenant: TenantId, before: readonly (StoredCustomer | undefined)[]): void {
    const records = before.filter((stored) => stored !== undefined);
    for (const { customer } of records) {
      this.release(tenant, this.#records.get(nameOf(tenant, customer.customerUrn)) as StoredCustomer);
    }
    for (const stored of records) {
      const name = nameOf(tenant, stored.customer.customerUrn);
      for (const entry of entriesOf(tenant, this.#keysOf(stored))) this.#holders.set(entry, name);
      this.#records.set(name, stored);
      this.#events.set(name, this.#events.get(name)?.slice(0, stored.version) ?? []);
    }
  }

  /** Adds a record of another repository, without an event. Returns false if the table has one with its URN. */
  load(tenant: TenantId, stored: StoredCustomer): boolean {
    const name = nameOf(tenant, stored.customer.customerUrn);
    if (this.#records.get(name) !== undefined) return false;
    this.#records.set(name, stored);
    for (const entry of entriesOf(tenant, this.#keysOf(stored))) {
      // A change in this table may have taken the key.
      if (this.#holders.get(entry) === undefined) this.#holders.set(entry, name);
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

  history(tenant: TenantId, urn: CustomerUrn): readonly ChangeEvent[] {
    return this.#events.get(nameOf(tenant, urn)) ?? [];
  }

  /** The number of unique keys that a customer holds. */
  countKeys(tenant: TenantId, urn: CustomerUrn): number {
    return [...this.#holders.entries()].filter(([, name]) => name === nameOf(tenant, urn)).length;
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

const entriesOf = (tenant: TenantId, keys: Partial<UniqueKeys> | undefined): string[] =>
  Object.entries(keys ?? {}).map(([kind, value]) => `${tenant} ${kind} ${value}`);
