/** Examples for the contract suites: customers, a repository as one tenant uses it, the actor and time of writes. */
import { createHash } from 'node:crypto';
import type {
  ContactReference,
  CustomerReference,
  CustomerRepository,
  Decision,
  ErasureContext,
  IdempotencyKey,
  StoredCustomer,
  WriteContext,
  WriteResult,
} from '../../src/application/ports/customer-repository.ts';
import { decideSync } from '../../src/application/synchronization.ts';
import { isAnonymized } from '../../src/domain/anonymization.ts';
import { type Customer, type CustomerContent, contentOf, timestamp } from '../../src/domain/customer.ts';
import {
  type CustomerUrn,
  type ExternalId,
  parseCustomerUrn,
  parseTenantId,
  type TenantId,
} from '../../src/domain/identity.ts';

export const noon = Date.parse('2026-01-15T12:00:00.000Z');
export const tenantId = (name: string): TenantId => parseTenantId(name) as TenantId;
export const byUrn = (urn: string): CustomerReference => ({ urn: parseCustomerUrn(urn) as CustomerUrn });
export const byExternalId = (externalId: string): CustomerReference => ({ externalId: externalId as ExternalId });

/** A connection to a storage. */
export interface Connection {
  readonly repository: CustomerRepository;
  close(): Promise<void>;
}

export type Fields = Partial<Omit<CustomerContent, 'externalIdentifier'>>;
export type Decide = (current: StoredCustomer | undefined) => Decision;

const noConsents = {
  emailConsent: false,
  smsConsent: false,
  phoneConsent: false,
  pushConsent: false,
  profilingConsent: false,
};

/** The content that a store makes of these fields. */
export function content(externalIdentifier: string, fields: Fields = {}): CustomerContent {
  return contentOf({
    externalIdentifier,
    legalType: 'Individual',
    privacy: noConsents,
    status: 'Active',
    claimedRegion: { countryCode: 'DE', languageCode: 'de' },
    ...fields,
  });
}

/** Overwrites fields, a millisecond after noon; undefined removes a field. Treats an anonymized record as not found. */
export function overwrite(
  fields: { readonly [Name in keyof CustomerContent]?: CustomerContent[Name] | undefined },
): Decide {
  return (current) => {
    if (current === undefined || isAnonymized(current.customer)) return { leave: 'CUSTOMER_NOT_FOUND' };
    const { customerUrn, createdAt } = current.customer;
    const changed = contentOf({ ...current.customer, ...fields } as CustomerContent);
    return { write: { customerUrn, ...changed, createdAt, updatedAt: timestamp(noon + 1) } };
  };
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** An Idempotency-Key. Equal arguments make equal keys. */
export const idempotencyKey = (name: string, request: string, expiresAt: number): IdempotencyKey => ({
  keyDigest: digest(name),
  requestDigest: digest(request),
  expiresAt,
});

/** For an erasure: refuses every other version. */
export const onlyAt =
  (expected: number): ErasureContext['check'] =>
  ({ version }) =>
    version === expected ? undefined : 'VERSION_MISMATCH';

/** The actor of every write. */
export const actor = { keyId: 'key', requestId: 'request' };

interface When {
  /** Milliseconds since 1970. Default: noon; for an erasure or a merge one millisecond after noon. */
  readonly now?: number;
  readonly key?: IdempotencyKey;
  /** The source revision of the request; its tombstones expire a day after `now`. */
  readonly revision?: number;
}

export const tombstoneMs = 24 * 60 * 60 * 1000;

const contextOf = (now: number, revision: number | undefined): WriteContext => ({
  ...actor,
  now,
  ...(revision !== undefined && { tombstone: { revision, expiresAt: now + tombstoneMs } }),
});

type EraseRequest = Pick<ErasureContext, 'check' | 'reference'>;

interface Named {
  readonly by?: CustomerReference;
}

const withRevision = (content: CustomerContent, sourceRevision: number | undefined): CustomerContent =>
  sourceRevision === undefined ? content : { ...content, sourceRevision };

/** A change that replaces the whole content, by the rules of `sync`. */
function syncing(
  externalId: string,
  fields: Fields,
  { now = noon, revision, by = byExternalId(externalId) }: When & Named,
) {
  const wanted = withRevision(content(externalId, fields), revision);
  const decide = decideSync({ by, content: wanted }, undefined, now);
  return { by, decide, context: contextOf(now, revision) };
}

/** A repository as one tenant uses it. */
export function tenantOf(repository: CustomerRepository, tenant: TenantId = tenantId('acme')) {
  const scenario = {
    store: (externalId: string, fields: Fields = {}, { now = noon, key, revision }: When = {}) =>
      repository.store(tenant, withRevision(content(externalId, fields), revision), contextOf(now, revision), key),
    /** Stores a customer, and throws unless that succeeds. */
    mustStore: async (externalId: string, fields: Fields = {}, when: When = {}) =>
      storedIn(await scenario.store(externalId, fields, when)),
    list: (after?: CustomerUrn, limit = 1000) => repository.list(tenant, after, limit),
    find: async (by: CustomerReference | ContactReference) => repository.find(tenant, by),
    history: ({ customerUrn }: Pick<Customer, 'customerUrn'>) => repository.history(tenant, customerUrn),
    changes: (after = 0, limit = 1000) => repository.changes(tenant, after, limit),
    lastChange: () => repository.lastChange(tenant),
    hasExternalId: async (externalId: string) => repository.hasExternalId(tenant, externalId as ExternalId),
    update: (by: CustomerReference, decide: Decide, { now = noon, key, revision }: When = {}) =>
      repository.update(tenant, by, decide, contextOf(now, revision), key),
    /** Sets the whole content; `by` is the ExternalId unless `urn` is given. */
    sync: (externalId: string, fields: Fields = {}, when: When & Named = {}) => {
      const { by, decide, context } = syncing(externalId, fields, when);
      return repository.sync(tenant, by, decide, context, when.key);
    },
    exchange: (...changes: readonly (readonly [externalId: string, fields: Fields, when?: When & Named])[]) =>
      repository.exchange(
        tenant,
        changes.map(([externalId, fields, when = {}]) => syncing(externalId, fields, when)),
      ),
    findTombstone: async (externalId: string, now = noon) =>
      repository.findTombstone(tenant, externalId as ExternalId, now),
    erase: (by: CustomerReference, { now = noon + 1, key, revision, ...request }: When & EraseRequest = {}) =>
      repository.erase(tenant, by, { ...contextOf(now, revision), ...request }, key),
    merge: (from: CustomerReference, into: CustomerReference, { now = noon + 1, key, revision }: When = {}) =>
      repository.merge(tenant, urnOf(from), urnOf(into), contextOf(now, revision), key),
  };
  return scenario;
}

function urnOf(by: CustomerReference): CustomerUrn {
  if ('urn' in by) return by.urn;
  throw new Error('a merge names customers by their URNs');
}

/** The record in a result, and its reference; throws unless the result is SUCCESS. */
export function storedIn(result: WriteResult) {
  if (result.code !== 'SUCCESS') throw new Error(`expected SUCCESS, got ${result.code}`);
  const { customer, version } = result.stored;
  return { stored: result.stored, customer, version, by: byUrn(customer.customerUrn) };
}

/** The number of results with each code. */
export function tally(results: readonly WriteResult[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code } of results) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

/** The results of `times` calls in one turn of the event loop. */
export const atOnce = <Result>(times: number, call: (index: number) => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: times }, (_, index) => call(index)));
