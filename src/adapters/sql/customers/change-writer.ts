import { randomUUID } from 'node:crypto';
import { type Expression, type RawBuilder, sql } from 'kysely';
import type { EventBody } from '../../../application/ports/change-events.ts';
import { takePosition } from '../change-feed.ts';
import { compileQuery, compileWrite, type Routine } from '../driver/query.ts';
import { type IdempotencyRow, idempotencyQueries } from '../idempotency-records.ts';
import type { Dialect } from '../schema/database.ts';
import type { Tables } from '../schema/tables.ts';
import type { BlindIndexes, CustomerQueries, Place } from './queries.ts';

/** A new row and its wrapped data key. SQLite ignores the key here, because it was stored in advance. */
export type NewRow = Omit<Tables['customers'], 'erasure' | 'merged_into'> & { readonly wrapped: Buffer };
/** New content for the row that still has the `expected` version. */
export type UpdatedRow = Place &
  Pick<Tables['customers'], 'version' | 'sealed' | 'updated_at'> & {
    readonly expected: number;
    /** Absent if the unique keys do not change: this saves updating three indexes. */
    readonly blindIndexes?: BlindIndexes;
  };
/**
 * The data that an erased customer's row keeps of its log entry: the `sealed` bytes and the sequence. After a merge also
 * the ExternalId, as long as it finds the customer `merged_into`; null: it is freed.
 */
export type KeptEntry = Place & {
  readonly sealed: Buffer;
  readonly erasure: number;
  readonly merged_into: number | null;
};
export type Anonymization = KeptEntry & { readonly at: number };

type KeyQueries = Pick<CustomerQueries, 'insertKey' | 'destroyKey' | 'findByNumber'>;
export type ChangeWriter = ReturnType<typeof changeWriter>;

/**
 * The only writer of customers. Each change stores the row, its change event and, if the request has an
 * Idempotency-Key, its idempotency record together. PostgreSQL does so in one statement, so a change is one round trip
 * and needs no transaction; on SQLite and Citus the statements share the transaction of the caller.
 *
 * Every method returns the number of rows stored: 0 if another write came first or a unique key is taken.
 *
 * @param changed called for every row that is written, so that caches can drop it
 */
export function changeWriter(dialect: Dialect, queries: KeyQueries, changed: (tenant: string, number: number) => void) {
  const isTogether = dialect.isPostgres && !dialect.isCitus;
  const write = isTogether ? inOneStatement(dialect) : oneByOne(dialect);
  const isKeyStored = dialect.keysAhead || (isTogether && !dialect.keysApart);
  const insert = isKeyStored ? write.insert : keyFirst(write.insert, queries);
  const release = compileWrite((row: Place & { version: number }) =>
    dialect.builder
      .updateTable('customers')
      .set({ external_id: null, email: null, phone_number: null })
      .where('tenant', '=', row.tenant)
      .where('number', '=', row.number)
      .where('version', '=', row.version),
  );
  const aliases = aliasStatements(dialect);
  const bodyOf = (event: EventBody) => ({ id: randomUUID(), body: JSON.stringify(event) });

  return {
    insert(row: NewRow, event: EventBody, record?: IdempotencyRow): Routine<number> {
      changed(row.tenant, row.number);
      return insert({ ...row, at: row.created_at, ...bodyOf(event) }, record);
    },
    update({ blindIndexes, ...row }: UpdatedRow, event: EventBody, record?: IdempotencyRow): Routine<number> {
      changed(row.tenant, row.number);
      const change = { ...row, at: row.updated_at, ...bodyOf(event) };
      return blindIndexes === undefined
        ? write.update(change, record)
        : write.updateWithIndexes({ ...change, ...blindIndexes }, record);
    },
    /** Frees the unique keys of a customer, within a transaction that gives it others with `update`. */
    release,
    /** Corrects which log entry an anonymized row keeps. The customer does not change, so there is no event. */
    correct(row: KeptEntry): Routine<number> {
      changed(row.tenant, row.number);
      return row.merged_into === null ? aliases.correct(row) : aliases.correctMerged(row);
    },
    /** Anonymizes a customer that was erased or merged. */
    anonymize(row: Anonymization, event: EventBody): Routine<number> {
      changed(row.tenant, row.number);
      const change = { ...row, ...bodyOf(event) };
      return row.merged_into === null ? write.anonymize(change) : write.merge(change);
    },
    /**
     * Moves the aliases of a customer that was merged to another one, or frees them (`to` is null). The customers of these
     * ExternalIds do not change, so there is no event.
     */
    moveAliases({ to, ...from }: Place & { readonly to: number | null }): Routine<number> {
      return to === null ? aliases.free(from) : aliases.move({ ...from, to });
    },
  };
}

/** The statements that change only what a row keeps of its log entry, and the aliases of a customer. */
function aliasStatements({ builder }: Dialect) {
  const aliasesOf = (of: Place) =>
    builder.updateTable('customers').where('tenant', '=', of.tenant).where('merged_into', '=', of.number);
  const correct = (row: KeptEntry) =>
    builder
      .updateTable('customers')
      .set({ erasure: row.erasure, sealed: row.sealed, merged_into: row.merged_into })
      .where('tenant', '=', row.tenant)
      .where('number', '=', row.number)
      .where('erasure', 'is not', null);
  return {
    correct: compileWrite((row: KeptEntry) => correct(row).set({ external_id: null })),
    correctMerged: compileWrite(correct),
    free: compileWrite((of: Place) => aliasesOf(of).set({ external_id: null, merged_into: null })),
    move: compileWrite((of: Place & { to: number }) => aliasesOf(of).set({ merged_into: of.to })),
  };
}

type Event = Place & { readonly id: string; readonly at: number; readonly body: string };
type Insert = NewRow & Event;
type Update = Omit<UpdatedRow, 'blindIndexes'> & Event;
type UpdateWithIndexes = Update & BlindIndexes;
type Anonymize = Anonymization & Event;

/** The statements that write the row: the same in both dialects. */
function rowStatements() {
  type Into = Dialect['builder'];
  const update = (into: Into, row: Update) =>
    into
      .updateTable('customers')
      .set({ version: row.version, sealed: row.sealed, updated_at: row.updated_at })
      .where('tenant', '=', row.tenant)
      .where('number', '=', row.number)
      .where('version', '=', row.expected);
  const merge = (into: Into, row: Anonymize) =>
    into
      .updateTable('customers')
      .set((set) => ({
        version: set('version', '+', 1),
        email: null,
        phone_number: null,
        sealed: row.sealed,
        updated_at: row.at,
        erasure: row.erasure,
        merged_into: row.merged_into,
      }))
      .where('tenant', '=', row.tenant)
      .where('number', '=', row.number)
      .where('erasure', 'is', null);
  return {
    insert: (into: Into, row: Insert) =>
      into
        .insertInto('customers')
        .values({
          tenant: row.tenant,
          number: row.number,
          version: row.version,
          external_id: row.external_id,
          email: row.email,
          phone_number: row.phone_number,
          sealed: row.sealed,
          created_at: row.created_at,
          updated_at: row.updated_at,
        })
        .onConflict((on) => on.doNothing()),
    update,
    updateWithIndexes: (into: Into, row: UpdateWithIndexes) =>
      update(into, row).set({ external_id: row.external_id, email: row.email, phone_number: row.phone_number }),
    anonymize: (into: Into, row: Anonymize) => merge(into, row).set({ external_id: null }),
    merge,
  };
}

/** SQLite and Citus: writes the row and then, if it was written, its event and idempotency record. */
function oneByOne(dialect: Dialect) {
  const { builder } = dialect;
  const rows = rowStatements();
  const { insertRecord } = idempotencyQueries(dialect);
  const insert = compileWrite((event: Event & { version: number; position: number | null }) =>
    builder.insertInto('changes').values({
      tenant: event.tenant,
      number: event.number,
      version: event.version,
      position: event.position,
      id: event.id,
      at: event.at,
      body: event.body,
    }),
  );
  const take = takePosition(dialect);
  function* insertEvent(event: Event & { version: number }): Routine<void> {
    const [feed] = dialect.isPostgres ? [] : yield* take(event);
    yield* insert({ ...event, position: feed?.last ?? null });
  }
  const withEvent = <Change extends Event & { version: number }>(write: (row: Change) => Routine<number>) =>
    function* (row: Change, record?: IdempotencyRow): Routine<number> {
      const written = yield* write(row);
      if (written === 0) return 0;
      yield* insertEvent(row);
      if (record !== undefined) yield* insertRecord(record);
      return written;
    };
  const anonymizing = (name: 'anonymize' | 'merge') => {
    const write = compileQuery((row: Anonymize) => rows[name](builder, row).returning('version'));
    return function* (row: Anonymize): Routine<number> {
      const [anonymized] = yield* write(row);
      if (anonymized === undefined) return 0;
      yield* insertEvent({ ...row, version: anonymized.version });
      return 1;
    };
  };
  return {
    insert: withEvent(compileWrite((row: Insert) => rows.insert(builder, row))),
    update: withEvent(compileWrite((row: Update) => rows.update(builder, row))),
    updateWithIndexes: withEvent(compileWrite((row: UpdateWithIndexes) => rows.updateWithIndexes(builder, row))),
    anonymize: anonymizing('anonymize'),
    merge: anonymizing('merge'),
  };
}

/** PostgreSQL: one `WITH` query writes the row, its event, its idempotency record and its data key. */
function inOneStatement(dialect: Dialect) {
  const { builder, keysApart } = dialect;
  const rows = rowStatements();
  type Build<Change> = (into: typeof builder, row: Change) => { returning(columns: string[]): Expression<unknown> };
  type Member = (row: IdempotencyRow & { wrapped: Buffer }) => RawBuilder<unknown>;
  const key: Member = ({ tenant, wrapped }) =>
    sql`, keyed as (insert into ${sql.table('data_keys')} (tenant, number, wrapped)
      select ${tenant}::text, number, ${wrapped}::bytea from written)`;
  // No `on conflict`: if another request with the same Idempotency-Key came first, the statement fails and is retried.
  const record: Member = (row) =>
    sql`, recorded as (insert into ${sql.table('idempotency_records')}
      (tenant, key_digest, request_digest, code, number, expires_at)
      select ${row.tenant}::text, ${row.key_digest}::bytea, ${row.request_digest}::bytea, ${row.code}::text, number,
        ${row.expires_at}::bigint from written)`;

  function statement<Change extends Event>(build: Build<Change>, ...members: Member[]) {
    return compileWrite((row: Change & IdempotencyRow & { wrapped: Buffer }) => ({
      compile: () =>
        sql`with written as (${build(builder, row).returning(['number', 'version'])}),
          changed as (insert into ${sql.table('changes')} (tenant, number, version, id, at, body)
            select ${row.tenant}::text, number, version, ${row.id}::text, ${row.at}::bigint, ${row.body}::text from written)
          ${sql.join(
            members.map((member) => member(row)),
            sql``,
          )}
          select number from written`.compile(builder),
    }));
  }
  function recording<Change extends Event>(build: Build<Change>, ...members: Member[]) {
    const plain = statement(build, ...members);
    const recorded = statement(build, ...members, record);
    return (row: Change, kept?: IdempotencyRow): Routine<number> =>
      (kept === undefined ? plain : recorded)({ ...row, ...kept } as Parameters<typeof plain>[0]);
  }
  return {
    insert: recording<Insert>(rows.insert as never, ...(keysApart ? [] : [key])),
    update: recording<Update>(rows.update as never),
    updateWithIndexes: recording<UpdateWithIndexes>(rows.updateWithIndexes as never),
    anonymize: recording<Anonymize>(rows.anonymize as never),
    merge: recording<Anonymize>(rows.merge as never),
  };
}

/**
 * For keys in a separate database, and for Citus: writes the key in a statement of its own. The key first, as a record
 * without its key would be unreadable. The key of a record that was not written is destroyed.
 */
function keyFirst(
  insert: (row: Insert, record?: IdempotencyRow) => Routine<number>,
  { insertKey, destroyKey, findByNumber }: KeyQueries,
) {
  return function* (row: Insert, record?: IdempotencyRow): Routine<number> {
    if ((yield* insertKey(row)) === 0) {
      // If no record has the number, the key is from an earlier run of this routine, which had a write conflict.
      if ((yield* findByNumber(row)).length > 0) return 0;
      yield* destroyKey(row);
      yield* insertKey(row);
    }
    const inserted = yield* insert(row, record);
    if (inserted === 0) yield* destroyKey(row);
    return inserted;
  };
}
