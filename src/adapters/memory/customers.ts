import {
  type CustomerReference,
  type CustomerRepository,
  changedBy,
  type Erasure,
  type IdempotencyKey,
  type KeptAnswer,
  keptAnswer,
  type StoredCustomer,
  type WriteResult,
} from '../../application/ports/customer-repository.ts';
import { anonymize, isAnonymized, rewrittenFields } from '../../domain/anonymization.ts';
import { newCustomer, timestamp, uniqueKeysOf } from '../../domain/customer.ts';
import { type CustomerUrn, customerUrn, firstConflict, type TenantId, type UniqueKeys } from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';

interface Record_ {
  readonly stored: StoredCustomer;
  readonly identity: UniqueKeys | undefined;
}
interface Answered {
  readonly expiresAt: number;
  /** Absent once the customer was erased: the request was about a person. */
  readonly fingerprint?: Uint8Array;
  readonly answer: KeptAnswer;
}
interface Shelf {
  readonly records: Map<CustomerUrn, Record_>;
  /** `<kind> <value>` → the customer that claims it. */
  readonly claims: Map<string, CustomerUrn>;
  readonly answers: Map<string, Answered>;
  readonly erasures: Map<CustomerUrn, Erasure>;
}

/**
 * Customers on Maps, for tests and embedding. Nothing awaits between a read and the write that depends on it, so
 * every method is atomic within the process.
 *
 * @param partition two digits, the second part of every URN
 */
export function createMemoryCustomers({
  partition = '00',
  referenceData,
}: {
  partition?: string;
  referenceData: ReferenceData;
}): CustomerRepository {
  const shelves = new Map<TenantId, Shelf>();
  let lastSequence = 0;

  function shelfOf(tenant: TenantId): Shelf {
    let shelf = shelves.get(tenant);
    if (shelf === undefined) {
      shelf = { records: new Map(), claims: new Map(), answers: new Map(), erasures: new Map() };
      shelves.set(tenant, shelf);
    }
    return shelf;
  }

  function find({ records, claims }: Shelf, by: CustomerReference): Record_ | undefined {
    const urn = 'urn' in by ? by.urn : claims.get(`externalId ${by.externalId}`);
    return urn && records.get(urn);
  }

  /** Puts a record in place of what it was, unless another customer claims one of its identities. */
  function put(shelf: Shelf, stored: StoredCustomer, previous?: UniqueKeys): WriteResult {
    const identity = uniqueKeysOf(stored.customer, referenceData);
    const { customerUrn: urn } = stored.customer;
    const others = claimsOf(identity).filter((claim) => (shelf.claims.get(claim) ?? urn) !== urn);
    if (identity !== undefined && others.length > 0) {
      const holders = others.map((claim) => shelf.records.get(shelf.claims.get(claim) as CustomerUrn)?.identity ?? {});
      return { code: firstConflict(identity, holders) as NonNullable<ReturnType<typeof firstConflict>> };
    }
    for (const claim of claimsOf(previous)) shelf.claims.delete(claim);
    for (const claim of claimsOf(identity)) shelf.claims.set(claim, urn);
    shelf.records.set(urn, { stored, identity });
    return { code: 'SUCCESS', stored };
  }

  /** Whether a customer is named that is there, and is another than the one with that URN. */
  function namesAnother(shelf: Shelf, by: CustomerReference, urn: CustomerUrn | undefined): boolean {
    const named = 'urn' in by ? by.urn : find(shelf, by)?.stored.customer.customerUrn;
    return named !== undefined && named !== urn;
  }

  /**
   * The kept answer of an earlier request with this key, else that of `work`, which is then kept.
   * @param by whom the request names; undefined for one that names nobody yet
   */
  function once(
    shelf: Shelf,
    now: number,
    key: IdempotencyKey | undefined,
    by: CustomerReference | undefined,
    work: () => WriteResult,
  ): WriteResult {
    if (key === undefined) return work();
    const name = Buffer.from(key.digest).toString('hex');
    const kept = shelf.answers.get(name);
    if (kept !== undefined && kept.expiresAt > now) {
      const isOther =
        kept.fingerprint === undefined
          ? by !== undefined && namesAnother(shelf, by, kept.answer.urn)
          : Buffer.compare(kept.fingerprint, key.requestDigest) !== 0;
      return isOther ? { code: 'IDEMPOTENCY_KEY_REUSED' } : repeat(shelf, kept.answer);
    }
    const answer = work();
    const answered = keptAnswer(answer);
    if (answered !== undefined) {
      const { expiresAt, requestDigest: fingerprint } = key;
      const isErased = answer.code === 'SUCCESS' && isAnonymized(answer.stored.customer);
      shelf.answers.set(name, { expiresAt, answer: answered, ...(!isErased && { fingerprint }) });
    }
    return answer;
  }

  return {
    async store(tenant, content, { keyId, requestId, now }, key) {
      const shelf = shelfOf(tenant);
      return once(shelf, now, key, undefined, () => {
        lastSequence += 1;
        const customer = newCustomer(content, customerUrn(partition, lastSequence), now);
        return put(shelf, { customer, version: 1, origin: { storedBy: { keyId, requestId } } });
      });
    },

    find(tenant, by) {
      return find(shelfOf(tenant), by)?.stored;
    },

    hasExternalId(tenant, externalId) {
      return find(shelfOf(tenant), { externalId }) !== undefined;
    },

    async update(tenant, by, decide, occasion, key) {
      const shelf = shelfOf(tenant);
      return once(shelf, occasion.now, key, by, () => {
        const current = find(shelf, by);
        const decision = decide(current?.stored);
        if ('refuse' in decision) return { code: 'INVALID_REQUEST', violations: decision.refuse };
        if ('write' in decision && current !== undefined) {
          const origin = changedBy(current.stored.origin, occasion);
          return put(
            shelf,
            { customer: decision.write, version: current.stored.version + 1, origin },
            current.identity,
          );
        }
        if ('leave' in decision && decision.leave !== 'SUCCESS') return { code: decision.leave };
        if (current === undefined) throw new Error('a decision to write or to succeed needs a record');
        return { code: 'SUCCESS', stored: current.stored };
      });
    },

    async erase(tenant, by, { keyId, requestId, now }, key) {
      const shelf = shelfOf(tenant);
      return once(shelf, now, key, by, () => {
        const current = find(shelf, by);
        if (current === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
        const { customer, version } = current.stored;
        if (isAnonymized(customer)) return { code: 'SUCCESS', stored: current.stored };
        const { customerUrn: urn } = customer;
        shelf.erasures.set(urn, { urn, erasedAt: now, keyId, requestId, rewritten: rewrittenFields(customer) });
        for (const [name, { expiresAt, answer }] of shelf.answers) {
          if (answer.urn === urn) shelf.answers.set(name, { expiresAt, answer });
        }
        return put(shelf, { customer: anonymize(customer, timestamp(now)), version: version + 1 }, current.identity);
      });
    },

    async deleteExpired(now) {
      for (const { answers } of shelves.values()) {
        for (const [name, { expiresAt }] of answers) if (expiresAt <= now) answers.delete(name);
      }
    },

    async findErasure(tenant, urn) {
      return shelfOf(tenant).erasures.get(urn);
    },

    async findIdempotencyRecords(tenant, urn) {
      const named = [...shelfOf(tenant).answers.values()].filter(({ answer }) => answer.urn === urn);
      return named.map(({ answer, expiresAt }) => ({ code: answer.code, expiresAt }));
    },

    async findResidue(tenant, urn) {
      const { records, claims, answers } = shelfOf(tenant);
      const readable = records.get(urn);
      const requests = [...answers.values()].filter(({ answer, fingerprint }) => answer.urn === urn && fingerprint);
      const findings = [
        { place: 'records', found: readable && !isAnonymized(readable.stored.customer) ? 1 : 0 },
        { place: 'claims', found: [...claims.values()].filter((holder) => holder === urn).length },
        { place: 'digests of requests', found: requests.length },
      ];
      return { findings, unseen: ['memory of this process that is not collected yet'] };
    },
  };
}

function repeat({ records }: Shelf, answer: KeptAnswer): WriteResult {
  if (answer.code !== 'SUCCESS') return { code: answer.code, replayed: true };
  const { stored } = records.get(answer.urn as CustomerUrn) as Record_;
  return { code: 'SUCCESS', stored, replayed: true };
}

const claimsOf = (identity: UniqueKeys | undefined): string[] =>
  Object.entries(identity ?? {}).map(([kind, value]) => `${kind} ${value}`);
