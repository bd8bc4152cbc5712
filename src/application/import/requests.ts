import { type CustomerContent, sourceRevision } from '../../domain/customer.ts';
import { group, isObject, readPatch, required } from '../../domain/field-schema.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { onePerField, requiredViolation, type Violation } from '../../domain/violations.ts';
import { customerReferenceFields, exactlyOneReference, referenceOf } from '../customer-reference.ts';
import { invalid, type Refusal, refusal } from '../outcome.ts';
import type { CustomerReference } from '../ports/customer-repository.ts';
import { readSync } from '../synchronization.ts';
import { hasCustomer } from '../write-requests.ts';
import type { ImportRow } from './rows.ts';

/** What a row of an import asks for. */
export type ImportRequest =
  | { readonly kind: 'sync'; readonly line: number; readonly by: CustomerReference; readonly content: CustomerContent }
  | { readonly kind: 'delete'; readonly line: number; readonly by: CustomerReference; readonly revision?: number }
  /** `by` is the customer that the row names, if it names one. */
  | { readonly kind: 'refused'; readonly line: number; readonly refusal: Refusal; readonly by?: CustomerReference };

/** A row that erases a customer. */
export const deleteRowFields = {
  delete: required(group({ ...customerReferenceFields, sourceRevision }, 'The customer to erase.')),
} as const;

/** The request of a row; undefined for the last line of an export, which is no row. */
export function readRequest(row: ImportRow, referenceData: ReferenceData): ImportRequest | undefined {
  const { line } = row;
  if ('problem' in row) {
    return { kind: 'refused', line, refusal: row.problem === 'too long' ? refusal('PAYLOAD_TOO_LARGE') : unreadable };
  }
  const { value } = row;
  if (isExportEnd(value)) return undefined;
  if (isObject(value) && 'delete' in value) return readDelete(line, value, referenceData);
  return readSyncRow(line, isCanonicalRecord(value) ? stateOf(value) : value, referenceData);
}

const unreadable: Refusal = {
  status: {
    messageCode: 'BAD_REQUEST',
    message: 'The row cannot be read: it is not one JSON object (or CSV row) with customer or delete.',
  },
};

const isExportEnd = (value: unknown): boolean => isObject(value) && 'next' in value && Object.keys(value).length === 1;

/** Whether a row is a canonical record, as `export` writes it. */
export const isCanonicalRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isObject(value) && !('customer' in value) && 'externalIdentifier' in value;

/** The body of a sync for a canonical record. Its CustomerUrn and times are those of another deployment. */
function stateOf(record: Readonly<Record<string, unknown>>): object {
  const { customerUrn: _, createdAt: __, updatedAt: ___, claimedRegion, sourceRevision, ...customer } = record;
  return { customer, claimedRegion, ...(sourceRevision !== undefined && { sourceRevision }) };
}

function readSyncRow(line: number, body: unknown, referenceData: ReferenceData): ImportRequest {
  if (!hasCustomer(body)) return { kind: 'refused', line, refusal: unreadable };
  const parsed = readSync(body, referenceData);
  if (parsed.ok) return { kind: 'sync', line, ...parsed.value };
  const { customer } = body as { readonly customer: unknown };
  const by = isObject(customer) ? namedBy(customer, referenceData) : undefined;
  return { kind: 'refused', line, refusal: invalid(parsed.violations), ...(by && { by }) };
}

function readDelete(
  line: number,
  value: Readonly<Record<string, unknown>>,
  referenceData: ReferenceData,
): ImportRequest {
  const violations: Violation[] = [];
  const given = readPatch(deleteRowFields, value, '', referenceData, violations).delete;
  if (given === null) violations.push(requiredViolation('delete'));
  const by = given ? exactlyOneReference(given, violations, 'delete') : undefined;
  if (by === undefined || violations.length > 0) {
    const named = isObject(value.delete) ? namedBy(value.delete, referenceData) : undefined;
    return { kind: 'refused', line, refusal: invalid(onePerField(violations)), ...(named && { by: named }) };
  }
  const revision = given?.sourceRevision;
  return { kind: 'delete', line, by, ...(revision != null && { revision }) };
}

/** The customer that a row names, although it breaks rules. */
function namedBy(
  fields: Readonly<Record<string, unknown>>,
  referenceData: ReferenceData,
): CustomerReference | undefined {
  const { customerUrn, customerUuid, externalIdentifier } = fields;
  const given = { customerUrn, customerUuid, externalIdentifier };
  const patch = readPatch(customerReferenceFields, given, '', referenceData, []);
  return referenceOf(patch.customerUrn ?? patch.customerUuid, patch.externalIdentifier);
}

/** A request that can change a customer. */
export type WriteRequest = Exclude<ImportRequest, { readonly kind: 'refused' }>;
export type SyncRow = ImportRequest & { readonly kind: 'sync' };

/** A request with all names that its customer may have; see `named`. */
export interface NamedRequest<Request extends WriteRequest = WriteRequest> {
  readonly request: Request;
  readonly names: readonly string[];
}

/** The names that a request uses for its customer: its CustomerUrn, its ExternalId, the ExternalId that it gives it. */
export function namesOf(request: WriteRequest): string[] {
  const name = nameIn(request);
  return request.kind === 'delete' ? [name] : [...new Set([name, idName(request.content.externalIdentifier)])];
}

/** The name by which a request finds its customer. */
export const nameIn = ({ by }: WriteRequest): string => ('urn' in by ? by.urn : idName(by.externalId));

/** The name of a customer with this ExternalId. */
export const idName = (externalId: string): string => `id ${externalId}`;

/** The source revision of a request; undefined if it has none. */
export const revisionOf = (request: WriteRequest): number | undefined =>
  request.kind === 'delete' ? request.revision : request.content.sourceRevision;
