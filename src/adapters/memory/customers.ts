import {
  type CustomerReference,
  type CustomerRepository,
  changedBy,
  type Decision,
  type ErasureContext,
  type IdempotencyKey,
  type IdempotencyRecord,
  type StoredCustomer,
  type WriteContext,
  type WriteResult,
} from '../../application/ports/customer-repository.ts';
import type { Erasure } from '../../application/ports/erasures.ts';
import { anonymize, isAnonymized, rewrittenFields } from '../../domain/anonymization.ts';
import { type CustomerContent, newCustomer, timestamp, uniqueKeysOf } from '../../domain/customer.ts';
import {
  type CustomerUrn,
  conflictsOf,
  customerUrn,
  type ExternalId,
  type Holder,
  type TenantId,
  type UniqueKeys,
} from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';

interface KeptRecord extends IdempotencyRecord {
  readonly requestDigest: Uint8Array;
  /** The name of the record; see `nameOf`. */
  readonly name: string;
}

/** Customers in memory, for tests and embedding. No method awaits between a read and the write that depends on it. */
export class MemoryCustomers implements CustomerRepository {
  /** By tenant and URN; see `nameOf`. */
  readonly #records = new Map<string, StoredCustomer>();
  readonly #erasures = new Map<string, Erasure>();
  /** The names of records, by tenant, kind and value of a unique key. */
  readonly #holders = new Map<string, string>();
  /** By tenant and key digest. */
  readonly #idempotencyRecords = new Map<string, KeptRecord>();
  readonly #referenceData: ReferenceData;
  readonly #partition: string;
  #lastSequence = 0;

  /** @param partition two digits, the second part of every URN */
  constructor(referenceData: ReferenceData, partition = '00') {
    this.#referenceData = referenceData;
    this.#partition = partition;
  }

  async store(tenant: TenantId, content: CustomerContent, context: WriteContext, key?: IdempotencyKey) {
    const { keyId, requestId, now } = context;
    return this.#once(tenant, key, now, () => {
      this.#lastSequence += 1;
      const customer = newCustomer(content, customerUrn(this.#partition, this.#lastSequence), now);
      return this.#put(tenant, { customer, version: 1, origin: { storedBy: { keyId, requestId } } });
    });
  }

  find(tenant: TenantId, by: CustomerReference) {
    return this.#find(tenant, by);
  }

  hasExternalId(tenant: TenantId, externalId: ExternalId): boolean {
    return this.#find(tenant, { externalId }) !== undefined;
  }

  async update(tenant: TenantId, by: CustomerReference, decide: Decide, context: WriteContext, key?: IdempotencyKey) {
    return this.#once(tenant, key, context.now, () => {
      const current = this.#find(tenant, by);
      const decision = decide(current);
      if ('refuse' in decision) return { code: 'INVALID_REQUEST', violations: decision.refuse };
      if ('leave' in decision && decision.leave !== 'SUCCESS') return { code: decision.leave };
      if (current === undefined)
        throw new Error('decide returned a write or SUCCESS for a customer that does not exist');
      if ('leave' in decision) return { code: 'SUCCESS', stored: current };
      const origin = changedBy(current.origin, context);
      return this.#put(tenant, { customer: decision.write, version: current.version + 1, origin }, current);
    });
  }

  async erase(tenant: TenantId, by: CustomerReference, context: ErasureContext, key?: IdempotencyKey) {
    const { keyId, requestId, now, accepts, reference } = context;
    return this.#once(tenant, key, now, () => {
      const current = this.#find(tenant, by);
      if (current === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
      const { customer, version } = current;
      if (isAnonymized(customer)) return { code: 'SUCCESS', stored: current };
      if (accepts?.(version) === false) return { code: 'VERSION_MISMATCH' };
      const { customerUrn: urn } = customer;
      const rewritten = rewrittenFields(customer);
      const erasure = {
        urn,
        keyId,
        requestId,
        erasedAt: now,
        ...(reference !== undefined && { reference }),
        rewritten,
      };
      this.#erasures.set(nameOf(tenant, urn), erasure);
      return this.#put(tenant, { customer: anonymize(customer, timestamp(now)), version: version + 1 }, current);
    });
  }

  async recoverErasures() {
    return { erasedAgain: 0, findings: [] };
  }

  async deleteExpired(tenant: TenantId, now: number) {
    for (const [name, { expiresAt }] of this.#idempotencyRecords) {
      if (tenantIn(name) === tenant && expiresAt <= now) this.#idempotencyRecords.delete(name);
    }
  }

  async findErasure(tenant: TenantId, urn: CustomerUrn) {
    return this.#erasures.get(nameOf(tenant, urn));
  }

  async findIdempotencyRecords(tenant: TenantId, urn: CustomerUrn) {
    return [...this.#idempotencyRecords.values()]
      .filter(({ name }) => name === nameOf(tenant, urn))
      .map(({ code, expiresAt }) => ({ code, expiresAt }));
  }

  async findResidue(tenant: TenantId, urn: CustomerUrn) {
    const stored = this.#find(tenant, { urn });
    const isReadable = stored !== undefined && !isAnonymized(stored.customer);
    const held = [...this.#holders.values()].filter((name) => name === nameOf(tenant, urn));
    return {
      findings: [
        { kind: 'data_key', place: 'memory: plain record, readable without a data key', found: isReadable ? 1 : 0 },
        { kind: 'blind_index', place: 'memory: unique keys', found: held.length },
      ],
      unseen: ['memory of this process that was not garbage-collected yet'],
    } as const;
  }

  async countCustomers(tenant: TenantId) {
    const records = [...this.#records].filter(([name]) => tenantIn(name) === tenant);
    const anonymized = records.filter(([, { customer }]) => isAnonymized(customer)).length;
    return { customers: records.length - anonymized, anonymized };
  }

  #find(tenant: TenantId, by: CustomerReference): StoredCustomer | undefined {
    const name = 'urn' in by ? nameOf(tenant, by.urn) : this.#holders.get(`${tenant} externalId ${by.externalId}`);
    return name === undefined ? undefined : this.#records.get(name);
  }

  /** Returns the SUCCESS recorded under the key. If none is recorded, runs `work` and records its SUCCESS. */
  #once(tenant: TenantId, key: IdempotencyKey | undefined, now: number, work: () => WriteResult): WriteResult {
    if (key === undefined) return work();
    const keyName = `${tenant} ${Buffer.from(key.keyDigest).toString('hex')}`;
    const record = this.#idempotencyRecords.get(keyName);
    if (record !== undefined && record.expiresAt > now) {
      if (Buffer.compare(record.requestDigest, key.requestDigest) !== 0) return { code: 'IDEMPOTENCY_KEY_REUSED' };
      return { code: 'SUCCESS', stored: this.#records.get(record.name) as StoredCustomer, replayed: true };
    }
    const result = work();
    if (result.code === 'SUCCESS') {
      const { requestDigest, expiresAt } = key;
      const name = nameOf(tenant, result.stored.customer.customerUrn);
      this.#idempotencyRecords.set(keyName, { code: result.code, name, requestDigest, expiresAt });
    }
    return result;
  }

  /** Writes a record in place of `previous`, unless another customer has one of its unique keys. */
  #put(tenant: TenantId, stored: StoredCustomer, previous?: StoredCustomer): WriteResult {
    const name = nameOf(tenant, stored.customer.customerUrn);
    const keys = this.#keysOf(stored);
    const others = entriesOf(tenant, keys)
      .map((entry) => this.#holders.get(entry))
      .filter((holder) => holder !== undefined && holder !== name)
      .map((holder) => this.#holderIn(this.#records.get(holder as string) as StoredCustomer));
    const conflicts = keys === undefined ? [] : conflictsOf(keys, others);
    if (conflicts[0] !== undefined) return { code: conflicts[0].messageCode, conflicts };
    for (const entry of entriesOf(tenant, this.#keysOf(previous))) this.#holders.delete(entry);
    for (const entry of entriesOf(tenant, keys)) this.#holders.set(entry, name);
    this.#records.set(name, stored);
    return { code: 'SUCCESS', stored };
  }

  #holderIn(stored: StoredCustomer): Holder {
    return { customerUrn: stored.customer.customerUrn, keys: this.#keysOf(stored) ?? {} };
  }

  #keysOf(stored: StoredCustomer | undefined): UniqueKeys | undefined {
    return stored && uniqueKeysOf(stored.customer, this.#referenceData);
  }
}

type Decide = (current: StoredCustomer | undefined) => Decision;

const nameOf = (tenant: TenantId, urn: CustomerUrn): string => `${tenant} ${urn}`;
const tenantIn = (name: string): TenantId => name.slice(0, name.indexOf(' ')) as TenantId;

const entriesOf = (tenant: TenantId, keys: UniqueKeys | undefined): string[] =>
  Object.entries(keys ?? {}).map(([kind, value]) => `${tenant} ${kind} ${value}`);
