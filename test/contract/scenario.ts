/** What the contracts work with: customers to store, a repository as one tenant uses it, and who asks. */
import { createHash } from 'node:crypto';
import type {
  CustomerReference,
  CustomerRepository,
  Decision,
  IdempotencyKey,
  StoredCustomer,
  WriteResult,
} from '../../src/application/ports/customer-repository.ts';
import { isAnonymized } from '../../src/domain/anonymization.ts';
import { type CustomerContent, contentOf, timestamp } from '../../src/domain/customer.ts';
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

/** One connection to a storage. */
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

/** A customer as a store makes it of these fields. */
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

/** Overwrites these fields, a millisecond after noon; undefined removes one. An anonymised record is not found. */
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

/** An Idempotency-Key; the same words make the same one. */
export const requestKey = (name: string, request: string, expiresAt: number): IdempotencyKey => ({
  digest: digest(name),
  requestDigest: digest(request),
  expiresAt,
});

/** Who asks for everything that tests write. */
export const asker = { keyId: 'key', requestId: 'request' };

interface When {
  readonly now?: number;
  readonly key?: IdempotencyKey;
}

/** A repository as one tenant uses it, at noon unless it says otherwise. */
export function tenantOf(repository: CustomerRepository, tenant: TenantId = tenantId('acme')) {
  const change = (by: CustomerReference, decide: Decide, { now = noon, key }: When = {}) =>
    repository.update(tenant, by, decide, { ...asker, now }, key);
  const add = (externalId: string, fields: Fields = {}, { now = noon, key }: When = {}) =>
    repository.store(tenant, content(externalId, fields), { ...asker, now }, key);

  const forget = (by: CustomerReference, { now = noon + 1, key }: When = {}) =>
    repository.erase(tenant, by, { ...asker, now }, key);

  return {
    add,
    change,
    forget,
    find: async (by: CustomerReference) => repository.find(tenant, by),
    holds: async (externalId: string) => repository.hasExternalId(tenant, externalId as ExternalId),
    /** Adds what cannot be refused. */
    has: async (externalId: string, fields: Fields = {}, when: When = {}) =>
      storedIn(await add(externalId, fields, when)),
  };
}

/** The record of an answer that must be SUCCESS, and how to name it. */
export function storedIn(answer: WriteResult) {
  if (answer.code !== 'SUCCESS') throw new Error(`expected SUCCESS, got ${answer.code}`);
  const { customer, version } = answer.stored;
  return { stored: answer.stored, customer, version, by: byUrn(customer.customerUrn) };
}

/** How often each code was answered. */
export function tally(answers: readonly WriteResult[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code } of answers) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

/** The results of `times` calls that are made in one turn. */
export const atOnce = <Result>(times: number, call: (index: number) => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: times }, (_, index) => call(index)));
