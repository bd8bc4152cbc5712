import type { CustomerRepository, WriteResult } from '../../../src/application/ports/customer-repository.ts';
import type { Conflict, ConflictCode, CustomerUrn } from '../../../src/domain/identity.ts';
import { byUrn, type Decide, idempotencyKey, noon, type tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';

/** A repository as one tenant uses it. */
export type Tenant = ReturnType<typeof tenantOf>;

/** Adds a test of one clause. `acme` uses `repository`, which is empty. */
export type TestRepository<Test extends ContractTest> = (
  clause: string,
  run: (t: Test, acme: Tenant, repository: CustomerRepository) => Promise<void>,
) => void;

export const email = 'jane.doe@example.com';
export const phoneNumber = '+491701234567';
export const second = 1_000;
/** A well-formed URN that was never issued. */
export const unknown = byUrn('cu.00.404');

/** In their order of precedence. */
export const conflicts = [
  'CUSTOMER_ALREADY_STORED',
  'USER_WITH_SAME_EMAIL_EXISTS',
  'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
] as const satisfies readonly ConflictCode[];

/** Three customers, each with one of the unique keys of {@link collisions}. */
export const holders = [
  ['has-the-id', {}],
  ['has-the-email', { email }],
  ['has-the-phone', { phoneNumber }],
] as const;

const conflictFields = ['customer.externalIdentifier', 'customer.email', 'customer.phoneNumber'] as const;

/** The result of a write that conflicts with these customers: one for each unique key, in order; undefined: none. */
export function conflicting(...urns: readonly (CustomerUrn | undefined)[]): WriteResult {
  const found = conflicts.flatMap((messageCode, index) => {
    const customerUrn = urns[index];
    return customerUrn === undefined ? [] : [{ field: conflictFields[index] as string, messageCode, customerUrn }];
  });
  return { code: (found[0] as Conflict).messageCode, conflicts: found };
}

/** Every combination of unique keys of {@link holders}, and the result when each holder has a given URN. */
export const collisions = [0b001, 0b010, 0b100, 0b011, 0b101, 0b110, 0b111].map((mask) => {
  const hits = [0, 1, 2].filter((index) => mask & (1 << index));
  const taken = {
    ...(hits.includes(0) && { externalIdentifier: 'has-the-id' }),
    ...(hits.includes(1) && { email }),
    ...(hits.includes(2) && { phoneNumber }),
  };
  const expected = (urns: readonly CustomerUrn[]) =>
    conflicting(...urns.map((urn, index) => (hits.includes(index) ? urn : undefined)));
  return { taken, expected };
});

export const violations = [
  { field: 'customer.email', code: 'invalid_format', message: 'Must be an e-mail address.' },
] as const;

export const leave =
  (code: 'SUCCESS' | 'VERSION_MISMATCH' | 'CUSTOMER_NOT_FOUND'): Decide =>
  () => ({ leave: code });
export const refuse: Decide = () => ({ refuse: violations });
export const decideError = new RangeError('thrown by decide');
export const fail: Decide = () => {
  throw decideError;
};

/** An Idempotency-Key that expires a second after noon. */
export const key = (name: string, request = 'a request', expiresAt = noon + second) =>
  idempotencyKey(name, request, expiresAt);
export const reused = { code: 'IDEMPOTENCY_KEY_REUSED' } as const;
