import { isAnonymized, type RetentionGround, retentionGrounds } from '../domain/anonymization.ts';
import { timestamp } from '../domain/customer.ts';
import { format, isObject, readObject, readPatch, required } from '../domain/field-schema.ts';
import type { CustomerUrn, TenantId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { onePerField, type Violation } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { customerReferenceFields, exactlyOneReference, findUrn } from './customer-reference.ts';
import { accessReference } from './look-up.ts';
import type { MaybePromise } from './maybe-promise.ts';
import { completed, invalid, type Outcome, refusal } from './outcome.ts';
import type { Access, AccessRecords } from './ports/access-records.ts';
import type { Clock } from './ports/clock.ts';
import type { CustomerReference, CustomerRepository, StoredCustomer } from './ports/customer-repository.ts';
import { DatabaseFailure } from './ports/database-failure.ts';
import type { Erasure, ResidueFinding, ResidueKind } from './ports/erasures.ts';
import type { ReferenceRepository } from './ports/references.ts';
import type { Signer } from './ports/signer.ts';
import { showReference } from './references.ts';

/** A receipt of one erasure, and the deployment's signature. */
export type SignedReceipt = NonNullable<Awaited<ReturnType<PrivacyReports['receipt']>>>;
/** All data about one customer. */
export type SubjectExport = NonNullable<Awaited<ReturnType<PrivacyReports['subjectExport']>>>;

const tombstoneGround =
  "Art. 5(1)(d) and 17(1) GDPR: a keyed digest, so that a late message of the tenant's queue does not store the data again";
const idempotencyGround =
  'Art. 6(1)(b) GDPR: a retry gets the result of the first request; the record holds only keyed digests, code and URN';
const referenceGround =
  'Art. 17(3)(b) and (e) GDPR: contracts, invoices and payments refer to them and must be kept; they name no person';
/** Derived data; the record cannot be reconstructed from it. */
const derivedData = [
  'keyed digests (blind indexes) of the external identifier, the e-mail address and the phone number, and of the external identifiers of customers that were merged into this one',
  'a data key that encrypts only this record',
  'keyed digests of requests with an Idempotency-Key, for 24 hours',
  'keyed digests (tombstones) of former external identifiers, for 30 days or as configured, if their change had a sourceRevision',
];
/** Findings of these kinds could make an erased record readable again. */
const keyKinds: readonly ResidueKind[] = ['data_key', 'keys_log', 'keys_copy'];
const copyKinds: readonly ResidueKind[] = ['records_copy', 'keys_copy'];

/** The query of `erasure`. */
export const erasureFields = { urn: required(format('customerUrn', 'The CustomerUrn.')) } as const;

/** The body of `subject-export`. */
export const subjectExportFields = { ...customerReferenceFields, reference: accessReference } as const;

interface Dependencies {
  readonly repository: CustomerRepository;
  readonly accessRecords: AccessRecords;
  readonly references: Pick<ReferenceRepository, 'list'>;
  readonly signer: Signer;
  readonly referenceData: ReferenceData;
  readonly clock: Clock;
}

/** Reports about erasures and stored data. Times are ISO 8601, UTC, milliseconds. */
export class PrivacyReports {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * A signed receipt, including a search of the storage at this moment. Undefined if no customer with this URN was erased.
   * Of a customer that was merged it is the receipt of the one into which it was merged: nobody has asked for the erasure
   * of the first, and all that was known of the person is in the second.
   * The signature covers the receipt as JSON without white space; signature and public key are base64url.
   */
  async receipt(tenant: TenantId, customer: CustomerUrn) {
    const { repository, signer, clock } = this.#dependencies;
    const erasure = await this.#findErasure(tenant, customer);
    if (erasure === undefined) return undefined;
    const { urn } = erasure;
    const { findings, unseen } = await repository.findResidue(tenant, urn);
    const receipt = {
      receiptVersion: 1,
      tenant,
      customerUrn: urn,
      erasedAt: timestamp(erasure.erasedAt),
      // The actor: both ids also appear in the access log. Both are `unknown` if the entry was lost.
      keyId: erasure.keyId,
      requestId: erasure.requestId,
      ...(erasure.reference !== undefined && { reference: erasure.reference }),
      rewritten: erasure.rewritten ?? null,
      kept: await this.#kept(tenant, erasure),
      dataKeyDestroyed: isDataKeyDestroyed(findings),
      // Lets a verifier detect a log that was truncated or replaced later: it lacks this chain value at this position.
      erasureLog: erasure.position ?? null,
      residualScan: {
        scannedAt: timestamp(clock()),
        clean: findings.every(({ found }) => found === 0),
        findings,
        unseen,
      },
    } as const;
    const value = base64url(signer.sign(JSON.stringify(receipt)));
    return { receipt, signature: { algorithm: 'Ed25519', publicKey: this.publicKey(), value } } as const;
  }

  /** The receipt of an erasure, for the tenant. Refusals: INVALID_REQUEST, ERASURE_NOT_FOUND. */
  async show({ tenant }: Caller, { urn }: Readonly<Record<string, unknown>>): Promise<Outcome<SignedReceipt>> {
    const query = readObject(erasureFields, { urn }, this.#dependencies.referenceData);
    if (!query.ok) return invalid(query.violations);
    const signed = await this.receipt(tenant.id, query.value.urn as CustomerUrn);
    return signed === undefined ? refusal('ERASURE_NOT_FOUND') : completed(signed);
  }

  /** See {@link findUrn}. */
  async findUrn(tenant: TenantId, by: CustomerReference): Promise<CustomerUrn | undefined> {
    return findUrn(this.#dependencies.repository, tenant, by);
  }

  /**
   * All data about one customer (GDPR Art. 15 and 20). Undefined if there is neither a record nor an erasure. Records the
   * access.
   */
  async subjectExport(tenant: TenantId, urn: CustomerUrn, by: Pick<Access, 'actor' | 'reference'>) {
    const { repository, accessRecords, clock } = this.#dependencies;
    const stored = await repository.find(tenant, { urn });
    const erasure = await repository.findErasure(tenant, urn);
    if (stored === undefined && erasure === undefined) return undefined;
    const { findings, unseen } = await repository.findResidue(tenant, urn);
    await accessRecords.add(tenant, { ...by, customerUrn: urn, at: clock(), operation: 'subject-export' });
    return {
      tenant,
      exportedAt: timestamp(clock()),
      record: stored?.customer ?? null,
      ...(stored && { provenance: provenanceOf(stored) }),
      derived: stored === undefined || isAnonymized(stored.customer) ? [] : derivedData,
      references: (await this.#references(tenant, urn)).map(showReference),
      idempotencyRecords: await this.#idempotencyRecords(tenant, urn),
      // Files that a restore replaced and that still contain data of the customer.
      copies: findings.filter(({ kind, found }) => found > 0 && copyKinds.includes(kind)).map(({ place }) => place),
      unseen,
      ...(erasure && {
        erasure: {
          erasedAt: timestamp(erasure.erasedAt),
          keyId: erasure.keyId,
          requestId: erasure.requestId,
          ...(erasure.reference !== undefined && { reference: erasure.reference }),
          ...(erasure.rewritten && { rewritten: erasure.rewritten }),
          ...(erasure.mergedInto !== undefined && { mergedInto: erasure.mergedInto }),
        },
      }),
    };
  }

  /** All data about one customer, for the tenant. Refusals: BAD_REQUEST, INVALID_REQUEST, CUSTOMER_NOT_FOUND. */
  async showSubjectExport(
    { tenant, keyId }: Caller,
    body: unknown,
    requestId: string,
  ): Promise<Outcome<SubjectExport>> {
    if (!isObject(body)) return refusal('BAD_REQUEST');
    const violations: Violation[] = [];
    const given = readPatch(subjectExportFields, body, '', this.#dependencies.referenceData, violations);
    const by = exactlyOneReference(given, violations);
    if (by === undefined || violations.length > 0) return invalid(onePerField(violations));
    const urn = await this.findUrn(tenant.id, by);
    const why = given.reference ? { reference: given.reference } : {};
    const exported = urn && (await this.subjectExport(tenant.id, urn, { actor: { keyId, requestId }, ...why }));
    return exported === undefined ? refusal('CUSTOMER_NOT_FOUND') : completed(exported);
  }

  /** The public key that verifies this deployment's receipts: base64url. */
  publicKey(): string {
    return base64url(this.#dependencies.signer.publicKey);
  }

  /** The erasure of a customer, or of the one into which it was merged. */
  async #findErasure(tenant: TenantId, urn: CustomerUrn): Promise<Erasure | undefined> {
    const erasure = await this.#dependencies.repository.findErasure(tenant, urn);
    return erasure?.mergedInto === undefined ? erasure : this.#findErasure(tenant, erasure.mergedInto);
  }

  async #kept(tenant: TenantId, { urn, tombstone }: Erasure): Promise<RetentionGround[]> {
    const { repository } = this.#dependencies;
    const stored = await ifReadable(() => repository.find(tenant, { urn }));
    const references = await ifReadable(() => this.#references(tenant, urn));
    const idempotencyRecords = await this.#idempotencyRecords(tenant, urn);
    return [
      ...retentionGrounds(stored?.customer),
      ...(references === undefined || references.length > 0
        ? [{ field: 'references of flows', ground: referenceGround }]
        : []),
      ...(tombstone !== undefined && tombstone.expiresAt > this.#dependencies.clock()
        ? [{ field: `tombstone of the ExternalId, until ${timestamp(tombstone.expiresAt)}`, ground: tombstoneGround }]
        : []),
      ...idempotencyRecords.map(({ keptUntil }) => ({
        field: `idempotency record, until ${keptUntil}`,
        ground: idempotencyGround,
      })),
    ];
  }

  /** What flows have bound to the customer; empty if the record is missing. */
  async #references(tenant: TenantId, urn: CustomerUrn) {
    return (await this.#dependencies.references.list(tenant, urn)) ?? [];
  }

  /** The customer's idempotency records that have not expired. */
  async #idempotencyRecords(tenant: TenantId, urn: CustomerUrn) {
    const { repository, clock } = this.#dependencies;
    const now = clock();
    const records = await repository.findIdempotencyRecords(tenant, urn);
    return records
      .filter(({ expiresAt }) => expiresAt > now)
      .map(({ code, expiresAt }) => ({ code, keptUntil: timestamp(expiresAt) }));
  }
}

/** What is read; undefined if it is damaged, because a receipt needs only the erasure log. */
async function ifReadable<Value>(read: () => MaybePromise<Value>): Promise<Value | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DatabaseFailure) return undefined;
    throw error;
  }
}

/** A scan without a `data_key` finding did not search for the key, so it does not prove that the key is destroyed. */
const isDataKeyDestroyed = (findings: readonly ResidueFinding[]): boolean =>
  findings.some(({ kind }) => kind === 'data_key') &&
  findings.every(({ kind, found }) => found === 0 || !keyKinds.includes(kind));

const provenanceOf = ({ customer, version, origin }: StoredCustomer) => ({
  source: "sent by the tenant's backend (C2A-01 store and update, sync, import) or by c2a import",
  firstReceivedAt: customer.createdAt,
  lastChangedAt: customer.updatedAt,
  version,
  ...origin,
});

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
