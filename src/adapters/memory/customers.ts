import { eventBody } from '../../application/ports/change-events.ts';
import type {
  ContactReference,
  CustomerReference,
  CustomerRepository,
  ErasureContext,
  Exchange,
  IdempotencyKey,
  StoredCustomer,
  SyncDecision,
  WriteContext,
  WriteResult,
} from '../../application/ports/customer-repository.ts';
import type { Erasure } from '../../application/ports/erasures.ts';
import {
  changedBy,
  forAlias,
  onlyExisting,
  referenceAfterRelease,
  resultWithoutWrite,
  syncEffect,
} from '../../application/ports/write-rules.ts';
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
import { isNotNewer, isOlder } from '../../domain/source-revision.ts';
import { CustomerTable } from './customer-table.ts';
import { MemoryIdempotencyRecords } from './idempotency-records.ts';

/** Customers in memory, for tests and embedding. No method awaits between a read and the write that depends on it. */
export class MemoryCustomers implements CustomerRepository {
  readonly #table: CustomerTable;
  readonly #idempotencyRecords: MemoryIdempotencyRecords;
  readonly #partition: string;
  #lastSequence = 0;

  /** @param partition two digits, the second part of every URN */
  constructor(referenceData: ReferenceData, partition = '00', table = new CustomerTable(referenceData)) {
    this.#partition = partition;
    this.#table = table;
    this.#idempotencyRecords = new MemoryIdempotencyRecords((name) => table.get(name));
  }

  async store(tenant: TenantId, content: CustomerContent, context: WriteContext, key?: IdempotencyKey) {
    return this.#idempotencyRecords.once(tenant, key, context.now, () => this.#create(tenant, content, context));
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
    return this.#idempotencyRecords.once(tenant, key, context.now, () => {
      const changed = this.#change(tenant, by, decide, context);
      this.#leaveTombstone(tenant, changed, context);
      return changed.result;
    });
  }

  async sync(tenant: TenantId, by: CustomerReference, decide: Decide, context: WriteContext, key?: IdempotencyKey) {
    return this.#idempotencyRecords.once(tenant, key, context.now, () => {
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
      const changed = this.#change(tenant, referenceAfterRelease(by, before[index]), onlyExisting(decide), context);
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
    const { check, reference } = context;
    return this.#idempotencyRecords.once(tenant, key, context.now, () => {
      const current = this.#table.find(tenant, by);
      if (current === undefined) {
        if ('externalId' in by) this.#table.leaveTombstone(tenant, by.externalId, context);
        return { code: 'CUSTOMER_NOT_FOUND' };
      }
      const { customer, version, alias } = current;
      if (this.#isMerged(tenant, customer)) return { code: 'CUSTOMER_MERGED' };
      if (isAnonymized(customer)) return { code: 'SUCCESS', stored: current, outcome: 'unchanged' };
      const refused = check?.({ version, sourceRevision: customer.sourceRevision, alias });
      if (refused !== undefined) return { code: refused };
      this.#table.leaveTombstone(tenant, customer.externalIdentifier as ExternalId, context);
      for (const { externalId, sourceRevision } of this.#table.removeAliases(tenant, customer.customerUrn)) {
        this.#table.leaveTombstone(tenant, externalId, forAlias(context, sourceRevision));
      }
      return this.#anonymize(tenant, current, context, { ...(reference !== undefined && { reference }) });
    });
  }

  async merge(tenant: TenantId, from: CustomerUrn, into: CustomerUrn, context: WriteContext, key?: IdempotencyKey) {
    return this.#idempotencyRecords.once(tenant, key, context.now, () => {
      const [merged, kept] = [this.#table.find(tenant, { urn: from }), this.#table.find(tenant, { urn: into })];
      if (merged === undefined || kept === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
      const { customer } = merged;
      if (customer.mergedInto === into) return { code: 'SUCCESS', stored: kept };
      if (isAnonymized(customer) || isAnonymized(kept.customer)) return { code: 'CUSTOMER_NOT_FOUND' };
      const { tombstone, ...unfenced } = context;
      const revision = tombstone?.revision;
      if (isOlder(revision, customer.sourceRevision)) return { code: 'STALE_REVISION' };
      const sourceRevision = revision ?? customer.sourceRevision;
      const fence = { ...(sourceRevision !== undefined && { sourceRevision }) };
      this.#anonymize(tenant, merged, unfenced, { mergedInto: into, ...fence });
      const alias = { externalId: customer.externalIdentifier as ExternalId, ...fence };
      for (const moved of [alias, ...this.#table.removeAliases(tenant, from)])
        this.#table.addAlias(tenant, into, moved);
      return { code: 'SUCCESS', stored: kept };
    });
  }

  async recoverErasures() {
    return { erasedAgain: 0, findings: [] };
  }

  async deleteExpired(tenant: TenantId, now: number) {
    this.#idempotencyRecords.deleteExpired(tenant, now);
    this.#table.deleteExpiredTombstones(tenant, now);
  }

  async findErasure(tenant: TenantId, urn: CustomerUrn) {
    return this.#table.findErasure(tenant, urn);
  }

  async history(tenant: TenantId, urn: CustomerUrn) {
    const events = this.#table.feedOf(tenant).filter(({ customerUrn }) => customerUrn === urn);
    return events.map(({ position: _, ...event }) => event);
  }

  async changes(tenant: TenantId, after: number, limit: number) {
    return this.#table.feedOf(tenant).slice(after, after + limit);
  }

  async lastChange(tenant: TenantId) {
    return this.#table.feedOf(tenant).length;
  }

  async findIdempotencyRecords(tenant: TenantId, urn: CustomerUrn) {
    return this.#idempotencyRecords.listOf(tenant, urn);
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

  /** Whether a customer was merged into another one that is not erased. */
  #isMerged(tenant: TenantId, { mergedInto: urn }: Customer): boolean {
    const into = urn && this.#table.find(tenant, { urn })?.customer;
    return into !== undefined && (!isAnonymized(into) || this.#isMerged(tenant, into));
  }

  /** Erases a record, or merges it, as `more` says. */
  #anonymize(
    tenant: TenantId,
    current: StoredCustomer,
    context: WriteContext,
    more: Pick<Erasure, 'reference' | 'mergedInto' | 'sourceRevision'>,
  ): WriteResult {
    const { customer, version } = current;
    const { customerUrn: urn } = customer;
    const { keyId, requestId, now, tombstone } = context;
    const rewritten = rewrittenFields(customer);
    const left = { ...more, ...(tombstone !== undefined && { tombstone }) };
    this.#table.addErasure(tenant, { urn, keyId, requestId, erasedAt: now, ...left, rewritten });
    const anonymized = anonymize(customer, timestamp(now), more.mergedInto);
    return this.#put(tenant, { customer: anonymized, version: version + 1 }, context, current);
  }

  /** The first sequence in this partition whose URN is after `urn`. */
  #firstAfter(urn: CustomerUrn | undefined): number {
    const [, partition = '', sequence] = urn?.split('.') ?? [];
    if (partition < this.#partition) return 1;
    return partition === this.#partition ? Number(sequence) + 1 : Number.POSITIVE_INFINITY;
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
    const unwritten = resultWithoutWrite(decision, before);
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
    return isNotNewer(tombstone?.revision, this.findTombstone(tenant, externalId as ExternalId, now));
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
