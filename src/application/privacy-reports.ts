import { isAnonymized, retentionGrounds } from '../domain/anonymization.ts';
import { type Customer, timestamp } from '../domain/customer.ts';
import { format, merge, missingFields, readPatch, required } from '../domain/field-schema.ts';
import type { CustomerUrn, TenantId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { onePerField, type Violation } from '../domain/violations.ts';
import { completed, invalid, type Outcome, refusal } from './outcome.ts';
import type { Clock } from './ports/clock.ts';
import type { Actor, CustomerRepository, ResidueFinding, StoredCustomer } from './ports/customer-repository.ts';
import { DatabaseFailure } from './ports/database-failure.ts';
import type { Signer } from './ports/signer.ts';
import type { Caller } from './tenants.ts';

/** What a deployment asserts of one erasure. Times are ISO 8601, UTC, with milliseconds. */
export interface ErasureReceipt {
  readonly receiptVersion: 1;
  readonly tenant: string;
  readonly customerUrn: CustomerUrn;
  readonly erasedAt: string;
  /** The API key and the request that asked for it; both are in the log. `unknown` where the entry was lost with its keys. */
  readonly keyId: string;
  readonly requestId: string;
  /** Fields that had a value and were rewritten or removed; null where that is not known any more. */
  readonly rewritten: readonly string[] | null;
  /** What was kept, and on what ground. */
  readonly kept: readonly { readonly field: string; readonly ground: string }[];
  /** Whether the key under which the record was sealed is gone from the store of keys, its log, and copies that were put aside. */
  readonly dataKeyDestroyed: boolean;
  /** What was found when the receipt was made. */
  readonly residualScan: {
    readonly scannedAt: string;
    readonly clean: boolean;
    readonly findings: readonly ResidueFinding[];
    /** Where it could not look. */
    readonly unseen: readonly string[];
  };
}

export interface SignedReceipt {
  readonly receipt: ErasureReceipt;
  readonly signature: {
    readonly algorithm: 'Ed25519';
    /** base64url; compare it with the one that the deployment publishes. */
    readonly publicKey: string;
    /** base64url, over the receipt as JSON without white space. */
    readonly value: string;
  };
}

/** All that is held about one customer (GDPR Art. 15 and 20). */
export interface SubjectExport {
  readonly tenant: string;
  readonly exportedAt: string;
  /** What the tenant's backend sent, by `store` and `update`; for one that was erased, what remains; null where it is not there. */
  readonly record: Customer | null;
  readonly provenance?: {
    readonly source: string;
    readonly firstReceivedAt: string;
    readonly lastChangedAt: string;
    /** How often it was written. */
    readonly version: number;
    /** The API key and the request that sent it first, and last. */
    readonly storedBy?: Actor;
    readonly changedBy?: Actor;
  };
  /** What is made of the record and kept beside it, in words: it cannot be read back. */
  readonly derived: readonly string[];
  /** Answers that are kept for repeats of a request: they name the customer by its URN alone. */
  readonly keptAnswers: readonly { readonly code: string; readonly keptUntil: string }[];
  /** Copies of our files that a restore has put aside, and that hold something of the customer. */
  readonly copies: readonly string[];
  /** Where nobody looked. */
  readonly unseen: readonly string[];
  /** The entry in the ledger of erasures, where there is one. */
  readonly erasure?: Actor & { readonly erasedAt: string; readonly rewritten?: readonly string[] };
}

/** Findings of places where keys are, or were, begin with this. */
const keysPlace = 'keys';
/** And those of our tables and indexes with one of these; any other place is a copy. */
const ownPlace = /^(keys|customers): /;
const groundOfAnswers = 'Art. 6(1)(b) GDPR: a repeat of a request gets its first answer; holds code and URN alone';
const derivedValues = [
  'keyed digests (blind indexes) of the external identifier, the e-mail address and the phone number',
  'a data key of its own, under which the record is sealed',
  'keyed digests of requests with an Idempotency-Key, for 24 hours',
];

export const erasureFields = { urn: required(format('customerUrn', 'The CustomerUrn.')) } as const;

interface Dependencies {
  readonly repository: CustomerRepository;
  readonly signer: Signer;
  readonly referenceData: ReferenceData;
  readonly clock: Clock;
}

export type PrivacyReports = ReturnType<typeof createPrivacyReports>;

/** What can be shown of erasures, and of what is held. */
export function createPrivacyReports({ repository, signer, referenceData, clock }: Dependencies) {
  /** A signed receipt, with a look through the storage made now; undefined where nobody was erased under that URN. */
  async function receipt(tenant: TenantId, urn: CustomerUrn): Promise<SignedReceipt | undefined> {
    const erasure = await repository.findErasure(tenant, urn);
    if (erasure === undefined) return undefined;
    // First, as it completes what was left half done.
    const stored = await findIfSound(tenant, urn);
    const { findings, unseen } = await repository.findResidue(tenant, urn);
    const answers = await findKeptAnswers(tenant, urn);
    const receipt: ErasureReceipt = {
      receiptVersion: 1,
      tenant,
      customerUrn: urn,
      erasedAt: timestamp(erasure.erasedAt),
      keyId: erasure.keyId,
      requestId: erasure.requestId,
      rewritten: erasure.rewritten ?? null,
      kept: [
        ...retentionGrounds(stored?.customer),
        ...answers.map(({ keptUntil }) => ({
          field: `answer to a repeated request, until ${keptUntil}`,
          ground: groundOfAnswers,
        })),
      ],
      dataKeyDestroyed: findings.every(({ place, found }) => !place.startsWith(keysPlace) || found === 0),
      residualScan: {
        scannedAt: timestamp(clock()),
        clean: findings.every(({ found }) => found === 0),
        findings,
        unseen,
      },
    };
    const value = Buffer.from(signer.sign(JSON.stringify(receipt))).toString('base64url');
    return { receipt, signature: { algorithm: 'Ed25519', publicKey: publicKey(), value } };
  }

  /** The receipt of an erasure, for the tenant. Answers INVALID_REQUEST, ERASURE_NOT_FOUND. */
  async function show({ tenant }: Caller, query: Readonly<Record<string, unknown>>): Promise<Outcome<SignedReceipt>> {
    const violations: Violation[] = [];
    const given = readPatch(erasureFields, { urn: query.urn }, '', referenceData, violations);
    violations.push(...missingFields(erasureFields, merge(erasureFields, {}, given), ''));
    if (violations.length > 0) return invalid(onePerField(violations));
    const signed = await receipt(tenant.id, given.urn as CustomerUrn);
    return signed === undefined ? refusal('ERASURE_NOT_FOUND') : completed(signed);
  }

  /** Everything that is held about one customer; undefined where there is nothing. */
  async function subjectExport(tenant: TenantId, urn: CustomerUrn): Promise<SubjectExport | undefined> {
    const stored = await repository.find(tenant, { urn });
    const erasure = await repository.findErasure(tenant, urn);
    if (stored === undefined && erasure === undefined) return undefined;
    const { findings, unseen } = await repository.findResidue(tenant, urn);
    return {
      tenant,
      exportedAt: timestamp(clock()),
      record: stored?.customer ?? null,
      ...(stored && {
        provenance: {
          source: "sent by the tenant's backend (C2A-01 store and update)",
          firstReceivedAt: stored.customer.createdAt,
          lastChangedAt: stored.customer.updatedAt,
          version: stored.version,
          ...stored.origin,
        },
      }),
      derived: stored === undefined || isAnonymized(stored.customer) ? [] : derivedValues,
      keptAnswers: await findKeptAnswers(tenant, urn),
      copies: findings.filter(({ place, found }) => found > 0 && !ownPlace.test(place)).map(({ place }) => place),
      unseen,
      ...(erasure && {
        erasure: {
          erasedAt: timestamp(erasure.erasedAt),
          keyId: erasure.keyId,
          requestId: erasure.requestId,
          ...(erasure.rewritten && { rewritten: erasure.rewritten }),
        },
      }),
    };
  }

  /** The record; undefined where it cannot be read: the ledger knows of the erasure all the same. */
  async function findIfSound(tenant: TenantId, urn: CustomerUrn): Promise<StoredCustomer | undefined> {
    try {
      return await repository.find(tenant, { urn });
    } catch (error) {
      if (error instanceof DatabaseFailure) return undefined;
      throw error;
    }
  }

  /** Those whose time is not over. */
  async function findKeptAnswers(tenant: TenantId, urn: CustomerUrn) {
    const kept = await repository.findIdempotencyRecords(tenant, urn);
    return kept
      .filter(({ expiresAt }) => expiresAt > clock())
      .map(({ code, expiresAt }) => ({ code, keptUntil: timestamp(expiresAt) }));
  }

  /** The key that checks this deployment's receipts: base64url. */
  const publicKey = (): string => Buffer.from(signer.publicKey).toString('base64url');

  return { receipt, show, subjectExport, publicKey };
}
