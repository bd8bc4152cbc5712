import type { IdempotencyKey, WriteContext, WriteResult } from '../../../application/ports/customer-repository.ts';
import type { CustomerUrn } from '../../../domain/identity.ts';
import { isOlder } from '../../../domain/source-revision.ts';
import type { CustomerReader } from '../customers/customer-reader.ts';
import type { CustomerQueries, Row } from '../customers/queries.ts';
import { isAnonymizedRow } from '../customers/record-encryption.ts';
import type { Routine } from '../driver/query.ts';
import { type idempotencyQueries, recordOf } from '../idempotency-records.ts';
import type { SqlDatabase } from '../schema/database.ts';
import { contentOf } from './entry-content.ts';
import type { Eraser } from './erase.ts';
import type { ErasureLog } from './erasure-log.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly queries: CustomerQueries;
  readonly idempotency: ReturnType<typeof idempotencyQueries>;
  readonly reader: CustomerReader;
  readonly log: ErasureLog;
  readonly eraser: Eraser;
}

/**
 * Merges customers. A merge is an erasure of the customer that is merged, with another event, and with an ExternalId that
 * stays as an alias: so restores and recoveries hold for it as they do for an erasure.
 */
export class Merger {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** See `CustomerRepository.merge`. */
  async merge(
    tenant: string,
    from: CustomerUrn,
    into: CustomerUrn,
    context: WriteContext,
    key: IdempotencyKey | undefined,
  ): Promise<WriteResult> {
    const { database } = this.#dependencies;
    const result = await database.write(() => this.#merge(tenant, from, into, context, key));
    if (result.code === 'SUCCESS') {
      await database.checkpoint('keys');
      await database.checkpoint('data');
    }
    return result;
  }

  /** Under the lock of the log's head, so that neither customer is erased or merged meanwhile. */
  *#merge(
    tenant: string,
    from: CustomerUrn,
    into: CustomerUrn,
    { tombstone, ...context }: WriteContext,
    key: IdempotencyKey | undefined,
  ): Routine<WriteResult> {
    const { reader, log, eraser, idempotency } = this.#dependencies;
    const head = yield* log.lockHead(tenant);
    const before = key && (yield* reader.findEarlierRequest(tenant, key, context.now));
    if (before !== undefined) return yield* reader.replay(tenant, before);
    const kept = yield* this.#find(tenant, into);
    const merged = yield* this.#find(tenant, from);
    if (kept === undefined || merged === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
    const record = recordOf(tenant, kept.number, key);
    const known = yield* log.find(tenant, merged.number);
    if (known?.into === kept.number) {
      yield* eraser.finish(known);
      if (record !== undefined) yield* idempotency.insertRecord(record);
      return { code: 'SUCCESS', stored: yield* reader.view(tenant, kept) };
    }
    const isGone = isAnonymizedRow(kept) || (yield* log.findRow(tenant, kept.number)) !== undefined;
    if (isGone || known !== undefined || isAnonymizedRow(merged)) return { code: 'CUSTOMER_NOT_FOUND' };
    const current = yield* reader.view(tenant, yield* eraser.lockRow(tenant, merged));
    const stored = current.customer.sourceRevision;
    const revision = tombstone?.revision;
    if (isOlder(revision, stored)) return { code: 'STALE_REVISION' };
    const sourceRevision = revision ?? stored;
    const merge = { mergedInto: into, ...(sourceRevision !== undefined && { sourceRevision }) };
    const entry = yield* eraser.enter(tenant, head, contentOf(merged.number, current, context, merge), key);
    yield* eraser.finish(entry);
    return { code: 'SUCCESS', stored: yield* reader.view(tenant, kept) };
  }

  *#find(tenant: string, urn: CustomerUrn): Routine<Row | undefined> {
    return yield* this.#dependencies.reader.findRow(tenant, { urn });
  }
}
