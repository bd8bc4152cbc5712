/** `c2a-customers/ports`: what an adapter of somebody else's is written with. */
export { referenceData } from './adapters/reference-data.ts';
export type * from './application/ports.ts';
export { changedBy, DatabaseFailure, keptAnswer } from './application/ports.ts';
export {
  type Customer,
  type CustomerContent,
  contentOf,
  identityOf,
  newCustomer,
  timestamp,
} from './domain/customer.ts';
export { anonymize, isAnonymized, rewrittenFields } from './domain/deletion.ts';
export {
  type Conflict,
  type CustomerUrn,
  customerUrn,
  type ExternalId,
  firstConflict,
  type Identity,
  parseCustomerUrn,
  parseTenantId,
  type TenantId,
} from './domain/identity.ts';
export type { Problem } from './domain/problems.ts';
export type { ReferenceData } from './domain/reference-data.ts';
