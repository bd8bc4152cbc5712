import type { CustomerReference, StoredCustomer } from '../../../application/ports/customer-repository.ts';
import type { TenantId } from '../../../domain/identity.ts';
import type { SqlDatabase } from '../driver/database.ts';
import type { ReadableRow } from './record-encryption.ts';
import { toUrn } from './urn-numbers.ts';

/** What was opened from a row, as long as that is the row. */
interface Opened {
  readonly stored: StoredCustomer;
  readonly sealed: Buffer;
  readonly wrapped: Buffer;
  /** See `SqlDatabase.epoch`. */
  readonly epoch: number | undefined;
}

/** Some 20 MB, where all are in use. */
const maxOpened = 10_000;
/** Of how many reads the second of a record has to be one, for it to be kept. */
const maxReadOnce = 2_000;

/**
 * Records that were read a moment ago, so that reading one again costs no cryptography, and mostly no look-up. Two rules
 * keep a record that was changed or erased from being served:
 *
 * - `recall` gives what was opened in the present epoch of the database, in which no other process has written; and what
 *   this process writes goes through `drop`. Where the database cannot tell, it gives nothing.
 * - `open` gives what was opened from the same bytes, sealed record and wrapped key. Whatever row has them says that.
 *
 * What is opened stays in the memory of the process for no longer than two calls of `age`.
 */
export function openedRecords(database: Pick<SqlDatabase, 'epoch'>) {
  const opened = generations<Opened>(maxOpened);
  /** Where to look in `opened`; it may not be true any more. */
  const byExternalId = generations<string>(maxOpened);
  /** What is read again only after many others is not worth keeping: that costs more than reading it (docs/performance.md). */
  const readOnce = generations<true>(maxReadOnce);

  const keyOf = (tenant: TenantId, name: string): string => `${tenant} ${name}`;

  function find(tenant: TenantId, by: CustomerReference): Opened | undefined {
    if ('urn' in by) return opened.get(keyOf(tenant, by.urn));
    const key = byExternalId.get(keyOf(tenant, by.externalId));
    const found = key === undefined ? undefined : opened.get(key);
    return found?.stored.customer.externalIdentifier === by.externalId ? found : undefined;
  }

  return {
    /** The record as it is now; undefined where the database has to be asked. */
    recall(tenant: TenantId, by: CustomerReference): StoredCustomer | undefined {
      const found = find(tenant, by);
      return found?.epoch !== undefined && found.epoch === database.epoch() ? found.stored : undefined;
    },

    /** What is sealed in a row; undefined where it has to be opened. */
    open(tenant: TenantId, { number, sealed, wrapped }: ReadableRow): StoredCustomer | undefined {
      const found = opened.get(keyOf(tenant, toUrn(number)));
      return found?.sealed.equals(sealed) && found.wrapped.equals(wrapped) ? found.stored : undefined;
    },

    /** Keeps what a read has opened, from the second time on. Not for writes: what they have written may be taken back. */
    keep(tenant: TenantId, { sealed, wrapped }: ReadableRow, stored: StoredCustomer): void {
      const { customerUrn, externalIdentifier } = stored.customer;
      const key = keyOf(tenant, customerUrn);
      if (readOnce.get(key) === undefined) {
        readOnce.set(key, true);
        return;
      }
      opened.set(key, { stored, sealed, wrapped, epoch: database.epoch() });
      byExternalId.set(keyOf(tenant, externalIdentifier), key);
    },

    /** To be called with every write to a row. */
    drop: (tenant: string, number: number): void => opened.delete(keyOf(tenant as TenantId, toUrn(number))),

    /** Forgets what was not asked for since the last call. */
    age(): void {
      opened.age();
      byExternalId.age();
      readOnce.age();
    },
  };
}

/** A map that forgets what was not asked for lately: what is asked for moves from the last generation to the present. */
function generations<Value>(maxInGeneration: number) {
  let present = new Map<string, Value>();
  let last = new Map<string, Value>();

  function set(key: string, value: Value): void {
    if (present.size >= maxInGeneration) age();
    present.set(key, value);
  }
  function age(): void {
    last = present;
    present = new Map();
  }
  return {
    set,
    age,
    get(key: string): Value | undefined {
      const value = present.get(key);
      if (value !== undefined) return value;
      const older = last.get(key);
      if (older !== undefined) {
        last.delete(key);
        set(key, older);
      }
      return older;
    },
    delete(key: string): void {
      present.delete(key);
      last.delete(key);
    },
  };
}
