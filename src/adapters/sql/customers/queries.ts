import { type ExpressionBuilder, type SelectQueryBuilder, sql } from 'kysely';
import type { UniqueKeys } from '../../../domain/identity.ts';
import { type SubscriptionSummary, subscriptionSummary } from '../../../domain/references.ts';
import { compileQuery, compileSingle, compileWrite, type Routine } from '../driver/query.ts';
import type { Dialect } from '../schema/database.ts';
import type { Tables } from '../schema/tables.ts';

/** The blind indexes of a customer's unique keys. */
export type BlindIndexes = Pick<Tables['customers'], 'external_id' | 'email' | 'phone_number'>;
const blindIndexes = ['external_id', 'email', 'phone_number'] as const;

/** A customer with its wrapped data key, which is null if the key was destroyed. */
export interface Row extends Omit<Tables['customers'], 'tenant' | keyof BlindIndexes> {
  readonly wrapped: Buffer | null;
}

/** A customer with the summary of its references. */
export interface SummarizedRow extends Row {
  /** See `readSummary`. */
  readonly subscriptions: string;
}

/** Queries that find one customer. */
export interface RowQueries<Found extends Row> {
  findByNumber(at: Place): Routine<readonly Found[]>;
  /** By the blind index of a unique key. */
  readonly findByIndex: Readonly<Record<keyof UniqueKeys, (at: AtIndex) => Routine<readonly Found[]>>>;
}

interface AtIndex {
  readonly tenant: string;
  readonly index: Buffer;
}

/** A customer of a tenant. */
export interface Place {
  readonly tenant: string;
  readonly number: number;
}

interface ListAfter extends Place {
  readonly limit: number;
}

/** Queries that read customers, and that read, insert and destroy data keys. `change-writer.ts` writes customers. */
export function customerQueries(dialect: Dialect) {
  const { builder } = dialect;
  const rowsOf = (tenant: string) => selectWithKey(dialect, 'wrapped', tenant).select(columns);
  const withKeys = withKeysIn(dialect);
  return {
    ...rowQueries(dialect, rowsOf),
    /** With the summary of the references, which only `info` and `find` need. */
    summarized: rowQueries(dialect, (tenant) =>
      rowsOf(tenant).select((row) => subscriptionsOf(row, tenant).$asScalar().$notNull().as('subscriptions')),
    ),
    /**
     * The customer with an ExternalId, without the record, which `validate` does not need. `wrapped` shows only whether
     * the data key exists (not null), because reading the key's bytes takes as long as the rest of the query.
     */
    findHolder: withKeys(
      compileSingle((at: { tenant: string; externalId: Buffer }) =>
        selectWithKey(dialect, 'number', at.tenant).select('number').where('external_id', '=', at.externalId),
      ),
    ),
    /** Other customers that have one of these unique keys. A union, so that each SELECT reads its own unique index. */
    findHolders: withKeys(
      compileQuery((at: Place & BlindIndexes) =>
        blindIndexes
          .map((column) =>
            rowsOf(at.tenant)
              .select(blindIndexes)
              .where(column, '=', at[column])
              .where('customers.number', '!=', at.number),
          )
          .reduce((all, part) => all.unionAll(part)),
      ),
    ),
    /** The first `limit` customers of a tenant after a number, ordered by number. */
    listAfter: withKeysInRange(
      dialect,
      compileQuery((after: ListAfter) =>
        rowsOf(after.tenant)
          .where('customers.number', '>', after.number)
          .orderBy('customers.number')
          .limit(after.limit),
      ),
    ),
    listTenants: compileQuery((_: object) => builder.selectFrom('tenants').select('tenant').orderBy('tenant')),
    ...indexQueries(dialect),
    ...countQueries(dialect),
    ...keyQueries(dialect),
  };
}

/** @param rowsOf selects the customers of a tenant */
function rowQueries<Found extends Row>(
  dialect: Dialect,
  rowsOf: (tenant: string) => SelectQueryBuilder<Tables, 'customers', Found>,
): RowQueries<Found> {
  const withKeys = withKeysIn(dialect);
  const findBy = (column: keyof BlindIndexes) =>
    withKeys(compileSingle((at: AtIndex) => rowsOf(at.tenant).where(column, '=', at.index)));
  return {
    findByNumber: withKeys(compileSingle((at: Place) => rowsOf(at.tenant).where('customers.number', '=', at.number))),
    findByIndex: {
      externalId: findBy('external_id'),
      email: findBy('email'),
      phoneNumber: findBy('phone_number'),
    },
  };
}

/**
 * The number of subscriptions of a customer and of those that are active, as a subquery. It returns both in one text, because
 * PostgreSQL takes 5 µs for each subquery (measured).
 */
const subscriptionsOf = (row: ExpressionBuilder<Tables, 'customers'>, tenant: string) =>
  row
    .selectFrom('flow_references')
    .select(sql<string>`count(*) || ' ' || count(*) filter (where state = 'active')`.as('counts'))
    .where('flow_references.tenant', '=', tenant)
    .whereRef('flow_references.number', '=', 'customers.number')
    .where('kind', '=', 'subscription');

/** The summary in a row. */
export function readSummary({ subscriptions }: Pick<SummarizedRow, 'subscriptions'>): SubscriptionSummary {
  const [total = 0, active = 0] = subscriptions.split(' ').map(Number);
  return subscriptionSummary(total, active);
}

/** Queries for the blind indexes of one customer. */
function indexQueries({ builder }: Dialect) {
  return {
    /** The blind indexes of the ExternalIds that find a customer: its own, and its aliases, with the merged customers. */
    findExternalIds: compileQuery((at: Place) =>
      builder
        .selectFrom('customers')
        .select(['number', 'external_id'])
        .where('tenant', '=', at.tenant)
        .where('external_id', 'is not', null)
        .$narrowType<{ external_id: Buffer }>()
        .where((is) => is.or([is('number', '=', at.number), is('merged_into', '=', at.number)])),
    ),
    findBlindIndexes: compileQuery((at: Place) =>
      builder
        .selectFrom('customers')
        .select(blindIndexes)
        .where('tenant', '=', at.tenant)
        .where('number', '=', at.number),
    ),
  };
}

/** Two queries, so that each reads only an index. One query for both numbers would read every record. */
function countQueries({ builder }: Dialect) {
  const count = (of: { tenant: string }) =>
    builder
      .selectFrom('customers')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('tenant', '=', of.tenant);
  return {
    countAll: compileQuery(count),
    countAnonymized: compileQuery((of: { tenant: string }) => count(of).where('erasure', 'is not', null)),
    findLast: compileQuery((of: { tenant: string }) =>
      builder
        .selectFrom('customers')
        .select('number')
        .where('tenant', '=', of.tenant)
        .orderBy('number', 'desc')
        .limit(1),
    ),
  };
}

export type CustomerQueries = ReturnType<typeof customerQueries>;

function keyQueries({ builder }: Dialect) {
  const keyAt = (at: Place) =>
    builder.selectFrom('data_keys').where('tenant', '=', at.tenant).where('number', '=', at.number);
  return {
    findKey: compileQuery((at: Place) => keyAt(at).select('number')),
    /** Returns 0 if the number already has a key. */
    insertKey: compileWrite((key: Tables['data_keys']) =>
      builder
        .insertInto('data_keys')
        .values({ tenant: key.tenant, number: key.number, wrapped: key.wrapped })
        .onConflict((on) => on.doNothing()),
    ),
    destroyKey: compileWrite((at: Place) =>
      builder.deleteFrom('data_keys').where('tenant', '=', at.tenant).where('number', '=', at.number),
    ),
  };
}

const columns = ['number', 'version', 'sealed', 'created_at', 'updated_at', 'erasure', 'merged_into'] as const;

/**
 * Selects customers of a tenant, with one column of their data key as `wrapped`: null if the key was destroyed. If the
 * keys are in a separate database, `wrapped` is always null here, and `withKeysIn` sets it.
 */
function selectWithKey<Column extends 'wrapped' | 'number'>(
  { builder, keysApart }: Dialect,
  column: Column,
  tenant: string,
) {
  const customers = builder.selectFrom('customers').where('customers.tenant', '=', tenant);
  // A subquery, because a join takes SQLite three times as long (measured).
  const withKey = () =>
    customers.select((query) =>
      query
        .selectFrom('data_keys')
        .select(column)
        .where('data_keys.tenant', '=', tenant)
        .whereRef('data_keys.number', '=', 'customers.number')
        .as('wrapped'),
    );
  const withoutKey = () => customers.select(sql<Tables['data_keys'][Column] | null>`null::bytea`.as('wrapped'));
  return keysApart ? (withoutKey() as ReturnType<typeof withKey>) : withKey();
}

/** Adds the keys to the rows of a query, if the keys are in a separate database. */
function withKeysIn({ builder, keysApart }: Dialect) {
  const findWrapped = compileQuery((at: Place) =>
    builder.selectFrom('data_keys').select('wrapped').where('tenant', '=', at.tenant).where('number', '=', at.number),
  );
  return <At extends { tenant: string }, Found extends { readonly number: number; readonly wrapped: unknown }>(
    find: (at: At) => Routine<readonly Found[]>,
  ): ((at: At) => Routine<readonly Found[]>) => {
    if (!keysApart) return find;
    return function* (at) {
      const rows: Found[] = [];
      for (const row of yield* find(at)) {
        const [key] = yield* findWrapped({ tenant: at.tenant, number: row.number });
        rows.push({ ...row, wrapped: key?.wrapped ?? null });
      }
      return rows;
    };
  };
}

/** Like `withKeysIn`, for all customers of a range of numbers, in their order: one query reads all keys. */
function withKeysInRange(
  { builder, keysApart }: Dialect,
  find: (at: ListAfter) => Routine<readonly Row[]>,
): typeof find {
  if (!keysApart) return find;
  const findAll = compileQuery((range: { tenant: string; first: number; last: number }) =>
    builder
      .selectFrom('data_keys')
      .select(['number', 'wrapped'])
      .where('tenant', '=', range.tenant)
      .where('number', '>=', range.first)
      .where('number', '<=', range.last),
  );
  return function* (at) {
    const rows = yield* find(at);
    const [first, last] = [rows[0], rows.at(-1)];
    if (first === undefined || last === undefined) return rows;
    const keys = yield* findAll({ tenant: at.tenant, first: first.number, last: last.number });
    const wrapped = new Map(keys.map((key) => [key.number, key.wrapped]));
    return rows.map((row) => ({ ...row, wrapped: wrapped.get(row.number) ?? null }));
  };
}
