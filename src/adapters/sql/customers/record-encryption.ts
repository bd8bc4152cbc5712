import type { Erasure, Origin, StoredCustomer } from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import { anonymized, type RetainedFields } from '../../../domain/anonymization.ts';
import { type Customer, type CustomerContent, contentOf, timestamp, uniqueKeysOf } from '../../../domain/customer.ts';
import type { TenantId } from '../../../domain/identity.ts';
import type { ReferenceData } from '../../../domain/reference-data.ts';
import type { Vault } from '../../crypto/vault.ts';
import type { Holding, Row } from './queries.ts';
import { toUrn } from './urn-numbers.ts';

/** A row of a customer whose key is there. */
export type ReadableRow = Row & { readonly wrapped: Buffer };
/** A row of a customer that was erased. */
export type ErasedRow = Pick<Row, 'number' | 'version' | 'sealed' | 'created_at'> & { readonly anonymized_at: number };

/** What the ledger keeps of an erasure: enough to rewrite a record that a restored copy has brought back. */
interface LedgerEntry {
  readonly erasure: Erasure;
  readonly remainder: RetainedFields;
}

export type RecordSeals = ReturnType<typeof recordSeals>;

/**
 * What of a customer is stored sealed, under which key, and bound to what. A record is bound to its tenant, URN and
 * version, a data key to its tenant and URN: none can be put in place of another's.
 */
export function recordSeals(vault: Vault, referenceData: ReferenceData) {
  const ownerOf = (tenant: string, number: number): string => `${tenant} ${toUrn(number)}`;
  const atVersion = (owner: string, version: number): string => `${owner} ${version}`;
  const textOf = ({ customer, origin }: StoredCustomer): string => JSON.stringify([contentOf(customer), origin]);
  const remainderOf = (owner: string): string => `${owner} remainder`;

  const damaged = (owner: string) =>
    new DatabaseFailure(new Error(`the record of ${owner} is damaged, or belongs to other keys`));

  return {
    /** Seals a customer's first record, under a key that is made for it. */
    sealNew(tenant: TenantId, number: number, stored: StoredCustomer): { dataKey: Buffer; sealed: Buffer } {
      const owner = ownerOf(tenant, number);
      return vault.sealNew(owner, textOf(stored), atVersion(owner, stored.version));
    },

    /** A data key for a customer that is to come, wrapped. */
    newKey: (tenant: TenantId, number: number): Buffer => vault.newDataKey(ownerOf(tenant, number)),

    sealRecord(tenant: TenantId, number: number, wrapped: Buffer, stored: StoredCustomer): Buffer {
      const owner = ownerOf(tenant, number);
      return vault.seal(wrapped, owner, textOf(stored), atVersion(owner, stored.version));
    },

    /** Throws `DatabaseFailure` where the row is damaged, was tampered with, or belongs to other keys. */
    openRecord(tenant: TenantId, row: ReadableRow): StoredCustomer {
      const { number, version, wrapped, sealed, created_at, updated_at } = row;
      const owner = ownerOf(tenant, number);
      let text: string;
      try {
        text = vault.open(wrapped, owner, sealed, atVersion(owner, version));
      } catch {
        throw damaged(owner);
      }
      const [content, origin] = JSON.parse(text) as [CustomerContent, Origin];
      const createdAt = timestamp(created_at);
      // Most were never changed; and to put a time in words costs a microsecond.
      const updatedAt = updated_at === created_at ? createdAt : timestamp(updated_at);
      const customer: Customer = { customerUrn: toUrn(number), ...content, createdAt, updatedAt };
      return { customer, version, origin };
    },

    /** The same; undefined where it is damaged. */
    recordIfSound(tenant: TenantId, row: ReadableRow): StoredCustomer | undefined {
      try {
        return this.openRecord(tenant, row);
      } catch {
        return undefined;
      }
    },

    sealRemainder: (tenant: string, number: number, remainder: RetainedFields): Buffer =>
      vault.sealForLog(JSON.stringify(remainder), remainderOf(ownerOf(tenant, number))),

    /** What is left in the record of a customer that was erased. Throws `DatabaseFailure` where that is damaged. */
    openRemainder(tenant: string, { number, sealed }: Pick<ErasedRow, 'number' | 'sealed'>): RetainedFields {
      const owner = ownerOf(tenant, number);
      try {
        return JSON.parse(vault.openFromLog(sealed, remainderOf(owner))) as RetainedFields;
      } catch {
        throw damaged(owner);
      }
    },

    /** The same; undefined where it is damaged. */
    remainderIfSound(tenant: string, of: Pick<ErasedRow, 'number' | 'sealed'>): RetainedFields | undefined {
      try {
        return this.openRemainder(tenant, of);
      } catch {
        return undefined;
      }
    },

    /** The record of a customer that was erased. */
    openErased(tenant: TenantId, row: ErasedRow): StoredCustomer {
      return this.erased(row, this.openRemainder(tenant, row), row.anonymized_at);
    },

    /** The record of a customer of whom this remains. @param at when it was erased, in milliseconds since 1970 */
    erased(
      { number, version, created_at }: Pick<Row, 'number' | 'version' | 'created_at'>,
      remainder: RetainedFields,
      at: number,
    ): StoredCustomer {
      const identity = { customerUrn: toUrn(number), createdAt: timestamp(created_at) };
      return { customer: anonymized(identity, remainder, timestamp(at)), version };
    },

    /** By which the ledger knows a customer: it tells nothing without the key. */
    ledgerHash: (tenant: string, number: number): Buffer => vault.erasureHash(ownerOf(tenant, number)),

    sealEntry: (hash: Buffer, entry: LedgerEntry): Buffer =>
      vault.sealForLog(JSON.stringify(entry), hash.toString('hex')),

    openEntry(hash: Buffer, sealed: Buffer): LedgerEntry {
      try {
        return JSON.parse(vault.openFromLog(sealed, hash.toString('hex'))) as LedgerEntry;
      } catch (cause) {
        throw new DatabaseFailure(
          new Error('an entry of the ledger of erasures is damaged, or belongs to other keys', { cause }),
        );
      }
    },

    /** The same; undefined where it is damaged. */
    entryIfSound(hash: Buffer, sealed: Buffer): LedgerEntry | undefined {
      try {
        return this.openEntry(hash, sealed);
      } catch {
        return undefined;
      }
    },

    /** Blind indexes of what a customer claims for itself alone; an anonymised one claims nothing. */
    holdingOf(tenant: TenantId, content: CustomerContent): Holding {
      const identity = uniqueKeysOf(content, referenceData);
      if (identity === undefined) return { external_id: null, email: null, phone_number: null };
      const { externalId, email, phoneNumber } = identity;
      return {
        external_id: this.indexOf(tenant, externalId),
        email: email === undefined ? null : vault.blindIndex(tenant, 'email', email),
        phone_number: phoneNumber === undefined ? null : vault.blindIndex(tenant, 'phoneNumber', phoneNumber),
      };
    },

    /** The blind index of an ExternalId. */
    indexOf: (tenant: TenantId, externalId: string): Buffer => vault.blindIndex(tenant, 'externalId', externalId),
  };
}
