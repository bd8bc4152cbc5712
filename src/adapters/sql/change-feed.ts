import { sql } from 'kysely';
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
 * stored with its position (`takePosition`). On PostgreSQL an event that is stored first may be committed last, so
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
    const [feed] = await this.#database.read(() => this.#queries.findLast({ tenant }));
    return feed?.last ?? 0;
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
    let [feed] = yield* this.#queries.lock({ tenant });
    while (feed === undefined) {
      yield* this.#queries.insertFeed({ tenant });
      [feed] = yield* this.#queries.lock({ tenant });
    }
    const assigned = yield* this.#queries.assign({ tenant, last: feed.last });
    yield* this.#queries.setLast({ tenant, last: feed.last + assigned });
    return assigned;
  }
}

/** The event in a row, with the position if the row has one. */
const eventIn = <R extends EventRow>({ number, body, ...row }: R): Omit<R, 'number' | 'body'> & ChangeEvent => ({
  ...row,
  customerUrn: toUrn(number),
  ...(JSON.parse(body) as EventBody),
});
type EventRow = Pick<Tables['changes'], 'number' | 'version' | 'id' | 'at' | 'body'>;

/** SQLite: takes the position of the event that is inserted. A subquery for the last position took 13 µs, this takes 3. */
export const takePosition = ({ builder }: Pick<Dialect, 'builder'>) =>
  compileSingle((of: { tenant: string }) =>
    builder
      .insertInto('feeds')
      .values({ tenant: of.tenant, last: 1 })
      .onConflict((on) => on.column('tenant').doUpdateSet((set) => ({ last: set('feeds.last', '+', 1) })))
      .returning('last'),
  );

/** The events after a position, in the order of their positions. */
export const eventsAfter = ({ builder }: Pick<Dialect, 'builder'>) =>
  compileQuery((of: { tenant: string; after: number; limit: number }) =>
    builder
      .selectFrom('changes')
      .select(['position', 'number', 'version', 'id', 'at', 'body'])
      .$narrowType<{ position: number }>()
      .where('tenant', '=', of.tenant)
      .where('position', '>', of.after)
      .orderBy('position')
      .limit(of.limit),
  );

export function feedQueries(dialect: Dialect) {
  const { builder, isPostgres } = dialect;
  const feedOf = (tenant: string) => builder.selectFrom('feeds').select('last').where('tenant', '=', tenant);
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
    listAfter: eventsAfter(dialect),
    findLast: compileSingle((of: { tenant: string }) => feedOf(of.tenant)),
    findUnnumbered: compileSingle((of: { tenant: string }) => unnumbered(of.tenant).select('id').limit(1)),
    lock: compileSingle((of: { tenant: string }) => (isPostgres ? feedOf(of.tenant).forUpdate() : feedOf(of.tenant))),
    insertFeed: compileWrite((of: { tenant: string }) =>
      builder
        .insertInto('feeds')
        .values({ tenant: of.tenant, last: 0 })
        .onConflict((on) => on.doNothing()),
    ),
    /** In the order of versions of each customer: a version is committed before the next one is written. */
    assign: compileWrite((of: { tenant: string; last: number }) => {
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
        .set({ position: sql<number>`${of.last} + due.nth` })
        .where('changes.tenant', '=', of.tenant)
        .whereRef('changes.number', '=', 'due.number')
        .whereRef('changes.version', '=', 'due.version');
    }),
    setLast: compileWrite((of: { tenant: string; last: number }) =>
      builder.updateTable('feeds').set({ last: of.last }).where('tenant', '=', of.tenant),
    ),
  };
}
