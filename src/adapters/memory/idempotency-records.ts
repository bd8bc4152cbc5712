import type {
  IdempotencyKey,
  IdempotencyRecord,
  StoredCustomer,
  WriteResult,
} from '../../application/ports/customer-repository.ts';
import { idempotencyCode, replayOf } from '../../application/ports/write-rules.ts';
import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import { nameOf, tenantIn } from './customer-table.ts';

interface KeptRecord extends IdempotencyRecord {
  readonly requestDigest: Uint8Array;
  /** The name of the record; see `nameOf`. */
  readonly name: string;
}

/** The idempotency records of customers. */
export class MemoryIdempotencyRecords {
  /** By tenant and key digest. */
  readonly #records = new Map<string, KeptRecord>();
  readonly #find: (name: string) => StoredCustomer | undefined;

  /** @param find the customer with a name of `nameOf` */
  constructor(find: (name: string) => StoredCustomer | undefined) {
    this.#find = find;
  }

  /** Returns the SUCCESS recorded under the key. If none is recorded, runs `work` and records its SUCCESS. */
  once(tenant: TenantId, key: IdempotencyKey | undefined, now: number, work: () => WriteResult): WriteResult {
    if (key === undefined) return work();
    const keyName = `${tenant} ${Buffer.from(key.keyDigest).toString('hex')}`;
    const record = this.#records.get(keyName);
    if (record !== undefined && record.expiresAt > now) {
      if (Buffer.compare(record.requestDigest, key.requestDigest) !== 0) return { code: 'IDEMPOTENCY_KEY_REUSED' };
      return replayOf(this.#find(record.name) as StoredCustomer, record.code);
    }
    const result = work();
    if (result.code === 'SUCCESS') {
      const { requestDigest, expiresAt } = key;
      const name = nameOf(tenant, result.stored.customer.customerUrn);
      this.#records.set(keyName, { code: idempotencyCode(result), name, requestDigest, expiresAt });
    }
    return result;
  }

  listOf(tenant: TenantId, urn: CustomerUrn): readonly IdempotencyRecord[] {
    return [...this.#records.values()]
      .filter(({ name }) => name === nameOf(tenant, urn))
      .map(({ code, expiresAt }) => ({ code, expiresAt }));
  }

  deleteExpired(tenant: TenantId, now: number): void {
    for (const [name, { expiresAt }] of this.#records) {
      if (tenantIn(name) === tenant && expiresAt <= now) this.#records.delete(name);
    }
  }
}
