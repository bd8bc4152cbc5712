import { eventBody } from '../../application/ports/change-events.ts';
import {
  type ContactReference,
  type CustomerReference,
  type CustomerRepository,
  changedBy,
  type ErasureContext,
  type Exchange,
  type IdempotencyKey,
  type IdempotencyRecord,
  ofExisting,
  recordedCode,
  replayOf,
  type StoredCustomer,
  type SyncDecision,
  syncEffect,
  type WriteContext,
  type WriteResult,
  withoutWriting,
} from '../../application/ports/customer-repository.ts';
import type { Erasure } from '../../application/ports/erasures.ts';
import { anonymize, isAnonymized, rewrittenFields } from '../../domain/anonymization.ts';
import {
  type Customer,
  type CustomerContent,
  hasSameUniqueKeys,
  newCustomer,
  timestamp,
} from '../../domain/customer.ts';
import { type CustomerUrn, customerUrn, type ExternalId, type TenantId } from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { isOlder, isSameRevision } from '../../domain/source-revision.ts';
import { CustomerTable, nameOf, tenantIn } from './customer-table.ts';

interface KeptRecord extends IdempotencyRecord {
  readonly requestDigest: Uint8Array;
  /** The name of the record; see `nameOf`. */
  readonly name: string;
}

/** Customers in memory, for tests and embedding. No method awaits between a read and the write that depends on it. */
export class MemoryCustomers implements CustomerRepository {
  readonly #table: CustomerTable;
  /** By tenant and URN; see `nameOf`. */
  readonly #erasures = new Map<string, Erasure>();
  /** By tenant and key digest. */
  readonly #idempotencyRecords = new Map<string, KeptRecord>();
  readonly #partition: string;
  #lastSequence = 0;

  /** @param partition two digits, the second part of every URN */
  constructor(referenceData: ReferenceData, partition = '00', table = new CustomerTable(referenceData)) {
    this.#partition = partition;
    this.#table = table;
  }

  async store(tenant: TenantId, content: CustomerContent, context: WriteContext, key?: IdempotencyKey) {
    return this.#once(tenant, key, context.now, () => this.#create(tenant, content, context));
  }

  find(tenant: TenantId, by: CustomerReference | ContactReference) {
    return this.#table.find(tenant, by);
  }

  async list(tenant: TenantId, after: CustomerUrn | undefined, limit: number) {
    const found: StoredCustomer[] = [];
    for (
      let sequence = this.#firstAfter(after);
      sequence <= this.#lastSequence && found.length < limit;
      sequence += 1
    ) {
      const stored = this.#table.find(tenant, { urn: customerUrn(this.#partition, sequence) });
      if (stored !== undefined) found.push(stored);
    }
    return found;
  }

  hasExternalId(tenant: TenantId, externalId: ExternalId): boolean {
    return this.#table.find(tenant, { externalId }) !== undefined;
  }

  async update(tenant: TenantId, by: CustomerReference, decide: Decide, context: WriteContext, key?: IdempotencyKey) {
    return this.#once(tenant, key, context.now, () => {
      const changed = this.#change(tenant, by, decide, context);
      this.#leaveTombstone(tenant, changed, context);
      return changed.result;
    });
  }

  async sync(tenant: TenantId, by: CustomerReference, decide: Decide, context: WriteContext, key?: IdempotencyKey) {
    return this.#once(tenant, key, context.now, () => {
      const changed = this.#change(tenant, by, decide, context);
      this.#leaveTombstone(tenant, changed, context);
      return withEffect(changed);
    });
  }

  async exchange(tenant: TenantId, changes: readonly Exchange[]) {
    const before = changes.map(({ by }) => this.#table.find(tenant, by));
    for (const [index, { decide }] of changes.entries()) {
      const stored = before[index];
      const decision = decide(stored);
      if (stored === undefined || !('write' in decision)) continue;
      if (!hasSameUniqueKeys(decision.write, stored.customer)) this.#table.release(tenant, stored);
    }
    const done: Changed[] = [];
    for (const [index, { by, decide, context }] of changes.entries()) {
      const urn = before[index]?.customer.customerUrn;
      // A released record is no longer found by its ExternalId.
      const changed = this.#change(tenant, urn === undefined ? by : { urn }, ofExisting(decide), context);
      if (changed.result.code !== 'SUCCESS') {
        this.#table.restore(tenant, before);
        return { failed: index, result: changed.result };
      }
      done.push(changed);
    }
    for (const [index, { context }] of changes.entries()) {
      this.#leaveTombstone(tenant, done[index] as Changed, context);
    }
    return { results: done.map(withEffect) };
  }

  findTombstone(tenant: TenantId, externalId: ExternalId, now: number): number | undefined {
    return this.#table.findTombstone(tenant, externalId, now);
  }

  async erase(tenant: TenantId, by: CustomerReference, context: ErasureContext, key?: IdempotencyKey) {
    const { keyId, requestId, now, check, reference } = context;
    return this.#once(tenant, key, now, () => {
      const current = this.#table.find(tenant, by);
      if (current === undefined) {
        if ('externalId' in by) this.#table.leaveTombstone(tenant, by.externalId, context);
        return { code: 'CUSTOMER_NOT_FOUND' };
      }
      const { customer, version } = current;
      if (isAnonymized(customer)) return { code: 'SUCCESS', stored: current };
      const refused = check?.({ version, sourceRevision: customer.sourceRevision });
      if (refused !== undefined) return { code: refused };
      this.#table.leaveTombstone(tenant, customer.externalIdentifier as ExternalId, context);
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
      const stored = { customer: anonymize(customer, timestamp(now)), version: version + 1 };
      return this.#put(tenant, stored, context, current);
    });
  }

  async recoverErasures() {
    return { erasedAgain: 0, findings: [] };
  }

  async deleteExpired(tenant: TenantId, now: number) {
    for (const [name, { expiresAt }] of this.#idempotencyRecords) {
      if (tenantIn(name) === tenant && expiresAt <= now) this.#idempotencyRecords.delete(name);
    }
    this.#table.deleteExpiredTombstones(tenant, now);
  }

  async findErasure(tenant: TenantId, urn: CustomerUrn) {
    return this.#erasures.get(nameOf(tenant, urn));
  }

  async history(tenant: TenantId, urn: CustomerUrn) {
    return this.#table.history(tenant, urn);
  }

  async findIdempotencyRecords(tenant: TenantId, urn: CustomerUrn) {
    return [...this.#idempotencyRecords.values()]
      .filter(({ name }) => name === nameOf(tenant, urn))
      .map(({ code, expiresAt }) => ({ code, expiresAt }));
  }

  async findResidue(tenant: TenantId, urn: CustomerUrn) {
    const stored = this.#table.find(tenant, { urn });
    const isReadable = stored !== undefined && !isAnonymized(stored.customer);
    return {
      findings: [
        { kind: 'data_key', place: 'memory: plain record, readable without a data key', found: isReadable ? 1 : 0 },
        { kind: 'blind_index', place: 'memory: unique keys', found: this.#table.countKeys(tenant, urn) },
      ],
      unseen: ['memory of this process that was not garbage-collected yet'],
    } as const;
  }

  async countCustomers(tenant: TenantId) {
    const records = this.#table.recordsOf(tenant);
    const anonymized = records.filter(({ customer }) => isAnonymized(customer)).length;
    return { customers: records.length - anonymized, anonymized };
  }

  /** The first sequence in this partition whose URN is after `urn`. */
  #firstAfter(urn: CustomerUrn | undefined): number {
    const [, partition = '', sequence] = urn?.split('.') ?? [];
    if (partition < this.#partition) return 1;
    return partition === this.#partition ? Number(sequence) + 1 : Number.POSITIVE_INFINITY;
  }

  /** Returns the SUCCESS recorded under the key. If none is recorded, runs `work` and records its SUCCESS. */
  #once(tenant: TenantId, key: IdempotencyKey | undefined, now: number, work: () => WriteResult): WriteResult {
    if (key === undefined) return work();
    const keyName = `${tenant} ${Buffer.from(key.keyDigest).toString('hex')}`;
    const record = this.#idempotencyRecords.get(keyName);
    if (record !== undefined && record.expiresAt > now) {
      if (Buffer.compare(record.requestDigest, key.requestDigest) !== 0) return { code: 'IDEMPOTENCY_KEY_REUSED' };
      return replayOf(this.#table.get(record.name) as StoredCustomer, record.code);
    }
    const result = work();
    if (result.code === 'SUCCESS') {
      const { requestDigest, expiresAt } = key;
      const name = nameOf(tenant, result.stored.customer.customerUrn);
      this.#idempotencyRecords.set(keyName, { code: recordedCode(result), name, requestDigest, expiresAt });
    }
    return result;
  }

  #create(tenant: TenantId, content: CustomerContent, context: WriteContext): WriteResult {
    const { keyId, requestId, now } = context;
    if (this.#isForbidden(tenant, content.externalIdentifier, context)) return { code: 'STALE_REVISION' };
    this.#lastSequence += 1;
    const customer = newCustomer(content, customerUrn(this.#partition, this.#lastSequence), now);
    return this.#put(tenant, { customer, version: 1, origin: { storedBy: { keyId, requestId } } }, context);
  }

  #change(tenant: TenantId, by: CustomerReference, decide: Decide, context: WriteContext): Changed {
    const before = this.#table.find(tenant, by);
    const decision = decide(before);
    const unwritten = withoutWriting(decision, before);
    if (unwritten !== undefined) return { before, result: unwritten };
    if ('create' in decision) return { before, result: this.#create(tenant, decision.create, context) };
    const { write } = decision as { write: Customer };
    return { before, result: this.#replace(tenant, before as StoredCustomer, write, context) };
  }

  #replace(tenant: TenantId, before: StoredCustomer, customer: Customer, context: WriteContext): WriteResult {
    const { externalIdentifier } = customer;
    const isRenamed = externalIdentifier !== before.customer.externalIdentifier;
    if (isRenamed && this.#isForbidden(tenant, externalIdentifier, context)) return { code: 'STALE_REVISION' };
    const stored = { customer, version: before.version + 1, origin: changedBy(before.origin, context) };
    return this.#put(tenant, stored, context, before);
  }

  /** Whether a fenced write must not give this ExternalId to a customer. */
  #isForbidden(tenant: TenantId, externalId: string, { tombstone, now }: WriteContext): boolean {
    const found = tombstone && this.findTombstone(tenant, externalId as ExternalId, now);
    return isOlder(tombstone?.revision, found) || isSameRevision(tombstone?.revision, found);
  }

  /** Leaves a tombstone of the ExternalId that a customer had before a fenced change, if it has another one now. */
  #leaveTombstone(tenant: TenantId, { before, result }: Changed, context: WriteContext): void {
    const from = before?.customer.externalIdentifier;
    if (from === undefined || result.code !== 'SUCCESS') return;
    if (result.stored.customer.externalIdentifier === from) return;
    this.#table.leaveTombstone(tenant, from as ExternalId, context);
  }

  /** Writes a record in place of `previous`, and its event, unless another customer has one of its unique keys. */
  #put(tenant: TenantId, stored: StoredCustomer, context: WriteContext, previous?: StoredCustomer): WriteResult {
    const conflicts = this.#table.conflictsOf(tenant, stored);
    if (conflicts[0] !== undefined) return { code: conflicts[0].messageCode, conflicts };
    this.#table.put(tenant, stored, eventBody(previous?.customer, stored.customer, context), previous);
    return { code: 'SUCCESS', stored };
  }
}

type Decide = (current: StoredCustomer | undefined) => SyncDecision;

/** The result of a change, and the record before it. */
interface Changed {
  readonly before: StoredCustomer | undefined;
  readonly result: WriteResult;
}

const withEffect = ({ before, result }: Changed): WriteResult =>
  result.code === 'SUCCESS' ? { ...result, ...syncEffect(before, result.stored) } : result;
