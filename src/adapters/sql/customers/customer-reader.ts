import type {
  Alias,
  ContactReference,
  CustomerReference,
  IdempotencyKey,
  StoredCustomer,
  WriteResult,
} from '../../../application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { SummarizedCustomer } from '../../../application/ports/references.ts';
import { replayOf } from '../../../application/ports/write-rules.ts';
import { isAnonymized } from '../../../domain/anonymization.ts';
import type { CustomerUrn, ExternalId, UniqueKeys } from '../../../domain/identity.ts';
import { type SubscriptionSummary, subscriptionSummary } from '../../../domain/references.ts';
import type { Routine } from '../driver/query.ts';
import type { ErasureLog } from '../erasure/erasure-log.ts';
import { type EarlierRequest, earlierRequest, findUnexpired, type idempotencyQueries } from '../idempotency-records.ts';
import { type CustomerQueries, type Row, type RowQueries, readSummary } from './queries.ts';
import { isAnonymizedRow, isReadableRow, type RecordEncryption } from './record-encryption.ts';
import { toNumber, toUrn } from './urns.ts';

interface Dependencies {
  readonly queries: CustomerQueries;
  readonly idempotency: ReturnType<typeof idempotencyQueries>;
  readonly encryption: RecordEncryption;
  readonly log: ErasureLog;
}

/** The row of a customer that was found by a reference. */
export type FoundRow<Found extends Row = Row> = Found & {
  /** See `StoredCustomer.alias`. */
  readonly alias?: Alias;
};

/** Reads customers. Writes nothing, except that it deletes what is stored for an expired Idempotency-Key. */
export class CustomerReader {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  findRow(tenant: string, by: CustomerReference | ContactReference): Routine<FoundRow | undefined> {
    return this.#findRow(tenant, by, this.#dependencies.queries);
  }

  *#findRow<Found extends Row>(
    tenant: string,
    by: CustomerReference | ContactReference,
    run: RowQueries<Found>,
  ): Routine<FoundRow<Found> | undefined> {
    if ('urn' in by) {
      const number = toNumber(by.urn);
      return number === undefined ? undefined : (yield* run.findByNumber({ tenant, number }))[0];
    }
    const [[key, value]] = Object.entries(by) as [[keyof UniqueKeys, string]];
    const index = this.#dependencies.encryption.blindIndex(tenant, key, value);
    const [row] = yield* run.findByIndex[key]({ tenant, index });
    if (row === undefined || isReadableRow(row) || !('externalId' in by)) return row;
    return yield* this.#afterMerge(tenant, by.externalId, row, run);
  }

  /** The row that the ExternalId of a row without a data key finds: after a merge, that of another customer. */
  *#afterMerge<Found extends Row>(
    tenant: string,
    externalId: ExternalId,
    row: Found,
    run: RowQueries<Found>,
  ): Routine<FoundRow<Found> | undefined> {
    const { log } = this.#dependencies;
    const entry = yield* log.find(tenant, row.number);
    if (entry?.into === undefined) return row;
    const number = row.merged_into ?? (yield* log.lastOf(tenant, entry.into));
    const [into] = number === undefined ? [] : yield* run.findByNumber({ tenant, number });
    const { sourceRevision } = entry.content.erasure;
    return into && { ...into, alias: { externalId, ...(sourceRevision !== undefined && { sourceRevision }) } };
  }

  /** The customer in a row. If its erasure is not finished, the anonymized record is built from the log entry. */
  *view(tenant: string, row: FoundRow): Routine<StoredCustomer> {
    const stored = yield* this.#contentOf(tenant, row);
    return row.alias === undefined ? stored : { ...stored, alias: row.alias };
  }

  *#contentOf(tenant: string, row: Row): Routine<StoredCustomer> {
    const { encryption, log } = this.#dependencies;
    if (isAnonymizedRow(row)) return encryption.openAnonymized(tenant, row);
    if (isReadableRow(row)) return encryption.openRecord(tenant, row);
    const entry = yield* log.find(tenant, row.number);
    // Never assume an erasure: without an entry, the key was lost, or the keys belong to other records.
    if (entry === undefined) {
      throw new DatabaseFailure(
        new Error(`the key of ${toUrn(row.number)} is missing and its erasure is not in the log`),
      );
    }
    return encryption.anonymizedView({ ...row, version: row.version + 1 }, entry.content);
  }

  /** The customer; undefined if there is none. An anonymized customer is found only by its URN. */
  *find(tenant: string, by: CustomerReference | ContactReference): Routine<StoredCustomer | undefined> {
    const row = yield* this.findRow(tenant, by);
    return row && (yield* this.visible(tenant, by, row));
  }

  /** Like `find`, with the summary of the references. */
  *findSummarized(tenant: string, by: CustomerReference | ContactReference): Routine<SummarizedCustomer | undefined> {
    const { queries } = this.#dependencies;
    const row = yield* this.#findRow(tenant, by, queries.summarized);
    const stored = row && (yield* this.visible(tenant, by, row));
    if (row === undefined || stored === undefined) return undefined;
    const { mergedInto } = stored.customer;
    const subscriptions =
      mergedInto === undefined ? readSummary(row) : yield* this.#summaryAfterMerge(tenant, mergedInto);
    return { stored, subscriptions };
  }

  /** The summary of the customer that has the references of one that was merged. */
  *#summaryAfterMerge(tenant: string, mergedInto: CustomerUrn): Routine<SubscriptionSummary> {
    const { queries, log } = this.#dependencies;
    const { number } = yield* log.endOf(tenant, toNumber(mergedInto) as number);
    const [row] = yield* queries.summarized.findByNumber({ tenant, number });
    // A restored backup of the records may lack the customer.
    return row === undefined ? subscriptionSummary(0, 0) : readSummary(row);
  }

  /** The customer in the row that `by` found; undefined if the customer is anonymized and `by` is not its URN. */
  *visible(
    tenant: string,
    by: CustomerReference | ContactReference,
    row: FoundRow,
  ): Routine<StoredCustomer | undefined> {
    const stored = yield* this.view(tenant, row);
    return !('urn' in by) && isAnonymized(stored.customer) ? undefined : stored;
  }

  /**
   * The earlier successful request with the same Idempotency-Key, from its idempotency record. If the second step of an
   * erasure has not stored the record yet, from the erasure log. Undefined if the key was not used or has expired.
   */
  *findEarlierRequest(tenant: string, key: IdempotencyKey, now: number): Routine<EarlierRequest | undefined> {
    const { idempotency, log } = this.#dependencies;
    const record = yield* findUnexpired(idempotency, tenant, key, now);
    if (record !== undefined) return earlierRequest(record, key);
    const entry = yield* log.findByKey(tenant, key, now);
    return entry && earlierRequest({ ...entry, number: entry.into ?? entry.number }, key);
  }

  /** The answer to a replayed request: the success of the earlier request, with the record as it is now. */
  *replay(tenant: string, earlier: EarlierRequest): Routine<WriteResult> {
    if (earlier === 'another request') return { code: 'IDEMPOTENCY_KEY_REUSED' };
    const [row] = yield* this.#dependencies.queries.findByNumber({ tenant, number: earlier.number });
    // A restored backup of the records may lack the customer.
    if (row === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
    return replayOf(yield* this.view(tenant, row), earlier.code);
  }
}
