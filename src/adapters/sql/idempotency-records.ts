import type { IdempotencyKey } from '../../application/ports/customer-repository.ts';
import { compileQuery, compileWrite, type Routine } from './driver/query.ts';
import type { Dialect } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

export type IdempotencyRow = Tables['idempotency_records'];

/** How many expired records one statement deletes. */
export const deletedAtOnce = 1000;

type AtTime = { readonly tenant: string; readonly now: number };
type KeyAt = { readonly tenant: string; readonly key_digest: Uint8Array };

export function idempotencyQueries({ builder }: Dialect) {
  return {
    find: compileQuery((at: KeyAt) =>
      builder
        .selectFrom('idempotency_records')
        .select(['request_digest', 'number', 'code', 'expires_at'])
        .where('tenant', '=', at.tenant)
        .where('key_digest', '=', at.key_digest),
    ),
    listOf: compileQuery((of: { tenant: string; number: number }) =>
      builder
        .selectFrom('idempotency_records')
        .select(['code', 'expires_at'])
        .where('tenant', '=', of.tenant)
        .where('number', '=', of.number),
    ),
    insertRecord: compileWrite((row: IdempotencyRow) => insert(builder, row)),
    /** Inserts the record of an erasure, unless it exists. */
    insertIfAbsent: compileWrite((row: IdempotencyRow) => insert(builder, row).onConflict((on) => on.doNothing())),
    deleteRecord: compileWrite((at: KeyAt) =>
      builder.deleteFrom('idempotency_records').where('tenant', '=', at.tenant).where('key_digest', '=', at.key_digest),
    ),
    anyExpired: compileQuery((at: AtTime) => expired(builder, at).select('tenant').limit(1)),
    deleteExpired: compileWrite((at: AtTime) =>
      builder
        .deleteFrom('idempotency_records')
        .where('tenant', '=', at.tenant)
        .where(
          'key_digest',
          'in',
          expired(builder, at).select('key_digest').orderBy('expires_at').limit(deletedAtOnce),
        ),
    ),
  };
}

const expired = (builder: Dialect['builder'], at: AtTime) =>
  builder.selectFrom('idempotency_records').where('tenant', '=', at.tenant).where('expires_at', '<=', at.now);

const insert = (builder: Dialect['builder'], row: IdempotencyRow) =>
  builder.insertInto('idempotency_records').values({
    tenant: row.tenant,
    key_digest: row.key_digest,
    request_digest: row.request_digest,
    code: row.code,
    number: row.number,
    expires_at: row.expires_at,
  });

/**
 * The idempotency record of a successful write to this customer; undefined if the request had no Idempotency-Key.
 *
 * @param code see `idempotencyCode`
 */
export const recordOf = (
  tenant: string,
  number: number,
  key: IdempotencyKey | undefined,
  code = 'SUCCESS',
): IdempotencyRow | undefined =>
  key && {
    tenant,
    number,
    code,
    key_digest: key.keyDigest,
    request_digest: key.requestDigest,
    expires_at: key.expiresAt,
  };

/** The earlier request with the same Idempotency-Key: its customer's number and its code, or that the requests differ. */
export type EarlierRequest = { readonly number: number; readonly code: string } | 'another request';

/** Compares the earlier and the present request with the same Idempotency-Key, by their digests. */
export const earlierRequest = (
  found: { readonly request_digest: Uint8Array | null; readonly number: number; readonly code?: string },
  key: IdempotencyKey,
): EarlierRequest =>
  found.request_digest !== null && Buffer.compare(found.request_digest, key.requestDigest) === 0
    ? { number: found.number, code: found.code ?? 'SUCCESS' }
    : 'another request';

/** The unexpired record of a key, or undefined. Deletes an expired record, so that the key can be used again. */
export function* findUnexpired(
  run: ReturnType<typeof idempotencyQueries>,
  tenant: string,
  { keyDigest }: IdempotencyKey,
  now: number,
): Routine<Pick<IdempotencyRow, 'request_digest' | 'number' | 'code'> | undefined> {
  const [found] = yield* run.find({ tenant, key_digest: keyDigest });
  if (found === undefined || found.expires_at > now) return found;
  yield* run.deleteRecord({ tenant, key_digest: keyDigest });
  return undefined;
}
