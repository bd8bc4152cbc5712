import { type Expression, sql } from 'kysely';
import type { ChangeEvent, EventBody, FeedEvent } from '../../application/ports/change-events.ts';
import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import { toNumber, toUrn } from './customers/urns.ts';
import { compileQuery, compileSingle, compileWrite, type Routine } from './driver/query.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

/** How many events get their positions in one transaction. */
const numberedAtOnce = 2_000;

/**
 * The change events of all customers, which `change-writer.ts` stores. SQLite has one writer at a time, so an event is
 * stored with its position (`nextPosition`). On PostgreSQL an event that is stored first may be committed last, so
 * positions are assigned after the commit, by whoever reads the feed (docs/decisions/0043-the-change-feed.md).
 */
export class ChangeFeed {
  readonly #database: SqlDatabase;
  readonly #queries: ReturnType<typeof feedQueries>;

  constructor(database: SqlDatabase) {
    this.#database = database;
    this.#queries = feedQueries(database.dialect);
  }

  /** See `CustomerRepository.history`. */
  async history(tenant: TenantId, urn: CustomerUrn): Promise<ChangeEvent[]> {
    const number = toNumber(urn);
    if (number === undefined) return [];
    const rows = await this.#database.read(() => this.#queries.listOf({ tenant, number }));
    return rows.map(eventIn);
  }

  /** See `CustomerRepository.changes`. */
  async changes(tenant: TenantId, after: number, limit: number): Promise<FeedEvent[]> {
    await this.#assignPositions(tenant);
    const rows = await this.#database.read(() => this.#queries.listAfter({ tenant, after, limit }));
    return rows.map(eventIn);
  }

  /** See `CustomerRepository.lastChange`. */
  async lastChange(tenant: TenantId): Promise<number> {
    await this.#assignPositions(tenant);
    const [last] = await this.#database.read(() => this.#queries.findLast({ tenant }));
    return last?.position ?? 0;
  }

  /** Assigns positions to the committed events that have none. */
  async #assignPositions(tenant: string): Promise<void> {
    const { dialect, read, write } = this.#database;
    if (!dialect.isPostgres) return;
    // Looked for first, because most reads find nothing to do.
    while ((await read(() => this.#queries.findUnnumbered({ tenant }))).length > 0) {
      if ((await write(() => this.#assignSome(tenant))) < numberedAtOnce) return;
    }
  }

  /** The statement that assigns begins after the lock is held, so that it sees what the holder before has assigned. */
  *#assignSome(tenant: string): Routine<number> {
    while ((yield* this.#queries.lock({ tenant })).length === 0) yield* this.#queries.insertFeed({ tenant });
    return yield* this.#queries.assign({ tenant });
  }
}

/** The event in a row, with the position if the row has one. */
const eventIn = <R extends EventRow>({ number, body, ...row }: R): Omit<R, 'number' | 'body'> & ChangeEvent => ({
  ...row,
  customerUrn: toUrn(number),
  ...(JSON.parse(body) as EventBody),
});
type EventRow = Pick<Tables['changes'], 'number' | 'version' | 'id' | 'at' | 'body'>;

/** SQLite: the position of the event that is inserted. */
export const nextPosition = ({ builder }: Pick<Dialect, 'builder'>, tenant: string): Expression<number> =>
  sql<number>`coalesce((${lastPosition(builder, tenant)}), 0) + 1`;

const lastPosition = (builder: Dialect['builder'], tenant: string) =>
  builder
    .selectFrom('changes as last')
    .select('last.position')
    .where('last.tenant', '=', tenant)
    // The condition of the index.
    .where('last.position', 'is not', null)
    .orderBy('last.position', 'desc')
    .limit(1);

export function feedQueries({ builder, isPostgres }: Dialect) {
  const unnumbered = (tenant: string) =>
    builder.selectFrom('changes').where('tenant', '=', tenant).where('position', 'is', null);
  return {
    listOf: compileQuery((of: { tenant: string; number: number }) =>
      builder
        .selectFrom('changes')
        .select(['number', 'version', 'id', 'at', 'body'])
        .where('tenant', '=', of.tenant)
        .where('number', '=', of.number)
        .orderBy('version'),
    ),
    listAfter: compileQuery((of: { tenant: string; after: number; limit: number }) =>
      builder
        .selectFrom('changes')
        .select(['position', 'number', 'version', 'id', 'at', 'body'])
        .$narrowType<{ position: number }>()
        .where('tenant', '=', of.tenant)
        .where('position', '>', of.after)
        .orderBy('position')
        .limit(of.limit),
    ),
    findLast: compileSingle((of: { tenant: string }) => lastPosition(builder, of.tenant)),
    findUnnumbered: compileSingle((of: { tenant: string }) => unnumbered(of.tenant).select('id').limit(1)),
    lock: compileSingle((of: { tenant: string }) => {
      const feed = builder.selectFrom('feeds').select('tenant').where('tenant', '=', of.tenant);
      return isPostgres ? feed.forUpdate() : feed;
    }),
    insertFeed: compileWrite((of: { tenant: string }) =>
      builder
        .insertInto('feeds')
        .values({ tenant: of.tenant })
        .onConflict((on) => on.doNothing()),
    ),
    /** In the order of versions of each customer: a version is committed before the next one is written. */
    assign: compileWrite((of: { tenant: string }) => {
      const first = unnumbered(of.tenant)
        .select(['number', 'version'])
        .orderBy('number')
        .orderBy('version')
        .limit(numberedAtOnce);
      const nth = sql<number>`row_number() over (order by first.number, first.version)`;
      return builder
        .updateTable('changes')
        .from(
          builder
            .selectFrom(first.as('first'))
            .select(['number', 'version', nth.as('nth')])
            .as('due'),
        )
        .set({ position: sql<number>`coalesce((${lastPosition(builder, of.tenant)}), 0) + due.nth` })
        .where('changes.tenant', '=', of.tenant)
        .whereRef('changes.number', '=', 'due.number')
        .whereRef('changes.version', '=', 'due.version');
    }),
  };
}
