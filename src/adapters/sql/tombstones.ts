import { sql } from 'kysely';
import type { WriteContext } from '../../application/ports/customer-repository.ts';
import { isNotNewer } from '../../domain/source-revision.ts';
import type { RecordEncryption } from './customers/record-encryption.ts';
import { compileQuery, compileWrite, type Routine } from './driver/query.ts';
import { deletedAtOnce } from './idempotency-records.ts';
import type { Dialect } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

type Row = Tables['tombstones'];
type At = Pick<Row, 'tenant' | 'digest'>;
type AtTime = { readonly tenant: string; readonly now: number };

type Encryption = Pick<RecordEncryption, 'tombstoneDigest' | 'blindIndex'>;

/** What a write is fenced by; see the port. */
type Fence = Pick<WriteContext, 'tombstone' | 'now'>;

/**
 * The tombstones of ExternalIds that were freed by a write with a source revision. They are stored with the keys, in the
 * transaction that begins an erasure. Each has a keyed digest of the ExternalId, which no other table contains.
 */
export class Tombstones {
  readonly #run: ReturnType<typeof tombstoneQueries>;
  readonly #encryption: Encryption;

  constructor(dialect: Dialect, encryption: Encryption) {
    this.#run = tombstoneQueries(dialect);
    this.#encryption = encryption;
  }

  /** See `CustomerRepository.findTombstone`. */
  *find(tenant: string, externalId: string, now: number): Routine<number | undefined> {
    const digest = this.#encryption.tombstoneDigest(
      tenant,
      this.#encryption.blindIndex(tenant, 'externalId', externalId),
    );
    const [found] = yield* this.#run.find({ tenant, digest });
    return found !== undefined && found.expires_at > now ? found.revision : undefined;
  }

  /**
   * Whether a fenced write must not create a customer with this ExternalId. Until the transaction ends, nobody leaves a
   * tombstone for this tenant: one that is left now would not be seen, and the customer not be seen by its request.
   */
  *forbidCreating(tenant: string, externalId: string, fence: Fence): Routine<boolean> {
    if (fence.tombstone === undefined) return false;
    if (this.#run.lockForCreating !== undefined) yield* this.#run.lockForCreating({ tenant });
    return yield* this.#forbid(tenant, externalId, fence);
  }

  /** Whether a fenced write must not change the ExternalId of a customer to this one. Has the effect of `lock`. */
  *forbidRenaming(tenant: string, externalId: string, fence: Fence): Routine<boolean> {
    yield* this.lock(tenant, fence);
    return yield* this.#forbid(tenant, externalId, fence);
  }

  *#forbid(tenant: string, externalId: string, { tombstone, now }: Fence): Routine<boolean> {
    if (tombstone === undefined) return false;
    return isNotNewer(tombstone.revision, yield* this.find(tenant, externalId, now));
  }

  /** Keeps fenced writes of this tenant from creating customers until the transaction ends. To be called before `leave`. */
  *lock(tenant: string, { tombstone }: Fence): Routine<void> {
    if (tombstone !== undefined && this.#run.lockForLeaving !== undefined) yield* this.#run.lockForLeaving({ tenant });
  }

  /** Leaves a tombstone if the write is fenced. One with a higher revision stays, unless it has expired. */
  *leave(tenant: string, externalId: string, fence: Fence): Routine<void> {
    yield* this.leaveAt(tenant, this.#encryption.blindIndex(tenant, 'externalId', externalId), fence);
  }

  /** Like `leave`, for the blind index of an ExternalId. */
  *leaveAt(tenant: string, externalIdIndex: Buffer, { tombstone, now }: Fence): Routine<void> {
    if (tombstone === undefined) return;
    const digest = this.#encryption.tombstoneDigest(tenant, externalIdIndex);
    const { revision, expiresAt } = tombstone;
    yield* this.#run.leave({ tenant, digest, revision, expires_at: expiresAt, now });
  }

  *anyExpired(tenant: string, now: number): Routine<boolean> {
    return (yield* this.#run.anyExpired({ tenant, now })).length > 0;
  }

  /** Deletes at most `deletedAtOnce` tombstones, and returns how many. */
  *deleteExpired(tenant: string, now: number): Routine<number> {
    return yield* this.#run.deleteExpired({ tenant, now });
  }
}

export function tombstoneQueries({ builder, isPostgres }: Dialect) {
  const expired = (at: AtTime) =>
    builder.selectFrom('tombstones').where('tenant', '=', at.tenant).where('expires_at', '<=', at.now);
  return {
    ...(isPostgres && locks(builder)),
    find: compileQuery((at: At) =>
      builder
        .selectFrom('tombstones')
        .select(['revision', 'expires_at'])
        .where('tenant', '=', at.tenant)
        .where('digest', '=', at.digest),
    ),
    leave: compileWrite((row: Row & { now: number }) =>
      builder
        .insertInto('tombstones')
        .values({ tenant: row.tenant, digest: row.digest, revision: row.revision, expires_at: row.expires_at })
        .onConflict((on) =>
          on
            .columns(['tenant', 'digest'])
            .doUpdateSet({ revision: row.revision, expires_at: row.expires_at })
            .where((is) =>
              is.or([is('tombstones.revision', '<=', row.revision), is('tombstones.expires_at', '<=', row.now)]),
            ),
        ),
    ),
    anyExpired: compileQuery((at: AtTime) => expired(at).select('tenant').limit(1)),
    deleteExpired: compileWrite((at: AtTime) =>
      builder
        .deleteFrom('tombstones')
        .where('tenant', '=', at.tenant)
        // Checked again, because PostgreSQL may wait for a transaction that renews the tombstone.
        .where('expires_at', '<=', at.now)
        .where('digest', 'in', expired(at).select('digest').orderBy('expires_at').limit(deletedAtOnce)),
    ),
  };
}

/**
 * PostgreSQL: advisory locks of a tenant, until the transaction ends. Those who create customers share the lock, those who
 * leave tombstones have it alone. In the records' database, whose transaction ends last. SQLite has one writer at a time.
 *
 * Every transaction locks in this order: this lock, the head of the erasure log, rows of customers by their numbers. With
 * the keys in a separate database, PostgreSQL would not notice that two transactions wait for each other.
 */
function locks(builder: Dialect['builder']) {
  const lock = (name: string) =>
    compileQuery((of: { tenant: string }) => ({
      compile: () =>
        sql<object>`select ${sql.raw(name)}(hashtextextended('c2a tombstones ' || ${of.tenant}::text, 0))`.compile(
          builder,
        ),
    }));
  return { lockForCreating: lock('pg_advisory_xact_lock_shared'), lockForLeaving: lock('pg_advisory_xact_lock') };
}
