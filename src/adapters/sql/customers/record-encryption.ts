import type { Origin, StoredCustomer } from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { Erasure } from '../../../application/ports/erasures.ts';
import { anonymized, type RetainedFields } from '../../../domain/anonymization.ts';
import { type Customer, type CustomerContent, contentOf, timestamp, uniqueKeysOf } from '../../../domain/customer.ts';
import type { UniqueKeys } from '../../../domain/identity.ts';
import type { ReferenceData } from '../../../domain/reference-data.ts';
import type { Vault } from '../../crypto/vault.ts';
import type { BlindIndexes, Row } from './queries.ts';
import { toUrn } from './urns.ts';

/** A row whose data key exists. */
export type ReadableRow = Row & { readonly wrapped: Buffer };
/** An anonymized row: its `sealed` bytes are those of its log entry. */
export type AnonymizedRow = Row & { readonly erasure: number };

/** The encrypted content of a log entry: enough to anonymize a record that a restored backup brings back. */
export interface LogContent {
  readonly erasure: Omit<Erasure, 'position'>;
  readonly retained: RetainedFields;
}

export const isAnonymizedRow = (row: Row): row is AnonymizedRow => row.erasure !== null;
export const isReadableRow = (row: Row): row is ReadableRow => row.wrapped !== null;

/**
 * Encrypts a customer's rows. A record is bound to its tenant, URN and version, a data key to its tenant and URN, and a
 * log entry to the hash of tenant and URN, so that no ciphertext can replace another. Every method that decrypts throws
 * `DatabaseFailure` if the bytes are damaged or were encrypted with other keys.
 */
export class RecordEncryption {
  readonly #vault: Vault;
  readonly #referenceData: ReferenceData;

  constructor(vault: Vault, referenceData: ReferenceData) {
    this.#vault = vault;
    this.#referenceData = referenceData;
  }

  /** A new data key for a customer, wrapped. */
  newKey(tenant: string, number: number): Buffer {
    return this.#vault.newDataKey(ownerOf(tenant, number));
  }

  /** Encrypts a new customer with a new data key, which is returned wrapped. */
  sealNew(tenant: string, number: number, stored: StoredCustomer): { dataKey: Buffer; sealed: Buffer } {
    const owner = ownerOf(tenant, number);
    return this.#vault.sealNew(owner, textOf(stored), contextOf(owner, stored.version));
  }

  /** Encrypts a record with its customer's wrapped data key. */
  sealRecord(tenant: string, number: number, wrapped: Buffer, stored: StoredCustomer): Buffer {
    const owner = ownerOf(tenant, number);
    return this.#vault.seal(wrapped, owner, textOf(stored), contextOf(owner, stored.version));
  }

  openRecord(tenant: string, row: ReadableRow): StoredCustomer {
    const { number, version, wrapped, sealed, created_at, updated_at } = row;
    const owner = ownerOf(tenant, number);
    const text = decrypted(`the record of ${owner}`, () =>
      this.#vault.open(wrapped, owner, sealed, contextOf(owner, version)),
    );
    const [content, origin] = JSON.parse(text) as [CustomerContent, Origin];
    const createdAt = timestamp(created_at);
    // Most records were never changed, and formatting a time costs a microsecond.
    const updatedAt = updated_at === created_at ? createdAt : timestamp(updated_at);
    const customer: Customer = { customerUrn: toUrn(number), ...content, createdAt, updatedAt };
    return { customer, version, origin };
  }

  /** The keyed hash that identifies a customer in the erasure log. */
  hashOf(tenant: string, number: number): Buffer {
    return this.#vault.erasureHash(ownerOf(tenant, number));
  }

  sealEntry(hash: Buffer, content: LogContent): Buffer {
    return this.#vault.sealForLog(JSON.stringify(content), hash.toString('hex'));
  }

  openEntry(hash: Buffer, sealed: Buffer): LogContent {
    const text = decrypted('an entry of the erasure log', () => this.#vault.openFromLog(sealed, hash.toString('hex')));
    return JSON.parse(text) as LogContent;
  }

  /** The anonymized record of a row that was erased. */
  openAnonymized(tenant: string, row: AnonymizedRow): StoredCustomer {
    return this.anonymizedView(row, this.openEntry(this.hashOf(tenant, row.number), row.sealed));
  }

  /** Builds the anonymized record from a row and its log entry. */
  anonymizedView(
    { number, version, created_at }: Pick<Row, 'number' | 'version' | 'created_at'>,
    { erasure, retained }: LogContent,
  ): StoredCustomer {
    const identity = { customerUrn: toUrn(number), createdAt: timestamp(created_at) };
    const { erasedAt, mergedInto } = erasure;
    return { customer: anonymized(identity, retained, timestamp(erasedAt), mergedInto), version };
  }

  /** The blind indexes of a customer's unique keys; an anonymized customer has none. */
  blindIndexesOf(tenant: string, content: CustomerContent): BlindIndexes {
    const keys = uniqueKeysOf(content, this.#referenceData);
    if (keys === undefined) return { external_id: null, email: null, phone_number: null };
    const { externalId, email, phoneNumber } = keys;
    return {
      external_id: this.blindIndex(tenant, 'externalId', externalId),
      email: email === undefined ? null : this.blindIndex(tenant, 'email', email),
      phone_number: phoneNumber === undefined ? null : this.blindIndex(tenant, 'phoneNumber', phoneNumber),
    };
  }

  /**
   * The digest of an ExternalId in the tombstones: not the blind index, so that the two cannot be compared, but made from
   * it, as of an alias nothing else is left.
   */
  tombstoneDigest(tenant: string, externalIdIndex: Buffer): Buffer {
    return this.#vault.blindIndex(tenant, 'tombstone', externalIdIndex.toString('hex'));
  }

  /** The blind index of a unique key. @param value in its canonical form; see `UniqueKeys` */
  blindIndex(tenant: string, key: keyof UniqueKeys, value: string): Buffer {
    return this.#vault.blindIndex(tenant, key, value);
  }
}

const ownerOf = (tenant: string, number: number): string => `${tenant} ${toUrn(number)}`;
const contextOf = (owner: string, version: number): string => `${owner} ${version}`;
const textOf = ({ customer, origin }: StoredCustomer): string => JSON.stringify([contentOf(customer), origin]);

function decrypted(what: string, decrypt: () => string): string {
  try {
    return decrypt();
  } catch (cause) {
    throw new DatabaseFailure(new Error(`${what} cannot be decrypted: damaged or sealed with other keys`, { cause }));
  }
}

/** The result of a decryption; undefined if the bytes cannot be decrypted. */
export function ifSound<Result>(decrypt: () => Result): Result | undefined {
  try {
    return decrypt();
  } catch (error) {
    if (error instanceof DatabaseFailure) return undefined;
    throw error;
  }
}
