import { sql } from 'kysely';
import type { Dialect } from '../driver/dialects.ts';
import { compileQuery, compileSingle, compileWrite, type Routine } from '../driver/query.ts';
import type { Tables } from '../schema/tables.ts';

/** Blind indexes by which a customer is unique. */
export type Holding = Pick<Tables['customers'], 'external_id' | 'email' | 'phone_number'>;
/** A customer with its wrapped data key; null where that was destroyed. */
export type Row = Omit<Tables['customers'], 'tenant' | keyof Holding> & { readonly wrapped: Buffer | null };

/** How many kept answers one statement removes. */
export const forgottenAtOnce = 1000;
const listedAtOnce = 1000;
/** How many erasures are finished at once: others wait meanwhile. */
export const pendingAtOnce = 200;

type Key = { tenant: string; digest: Uint8Array };
type Place = { tenant: string; number: number };
type Change = Place & Pick<Tables['customers'], 'version' | 'sealed' | 'updated_at'> & { expected: number };

/** Every statement about customers, their keys, kept answers and erasures. */
export function customerStatements({ builder, keysAhead, keysApart }: Dialect) {
  // The key by a subquery: as a join, SQLite takes three times as long (measured).
  const withKey = builder
    .selectFrom('customers')
    .select((query) =>
      query
        .selectFrom('data_keys')
        .select('wrapped')
        .whereRef('data_keys.tenant', '=', 'customers.tenant')
        .whereRef('data_keys.number', '=', 'customers.number')
        .as('wrapped'),
    );
  // Where the keys are in another database they are read afterwards.
  const withoutKey = builder.selectFrom('customers').select(sql<Buffer | null>`null::bytea`.as('wrapped'));
  const keyed = keysApart ? (withoutKey as unknown as typeof withKey) : withKey;
  const customers = keyed.select(['number', 'version', 'sealed', 'created_at', 'updated_at', 'anonymized_at']);
  const findWrapped = compileQuery((at: Place) =>
    builder.selectFrom('data_keys').select('wrapped').where('tenant', '=', at.tenant).where('number', '=', at.number),
  );
  /** Adds their keys to rows of `customers`. */
  function withKeys<At extends { tenant: string }, Found extends Row>(
    find: (at: At) => Routine<readonly Found[]>,
  ): (at: At) => Routine<readonly Found[]> {
    if (!keysApart) return find;
    return function* (at) {
      const rows: Found[] = [];
      for (const row of yield* find(at)) {
        const { tenant = at.tenant } = row as { tenant?: string };
        const [key] = yield* findWrapped({ tenant, number: row.number });
        rows.push({ ...row, wrapped: key?.wrapped ?? null });
      }
      return rows;
    };
  }
  const holding = ['external_id', 'email', 'phone_number'] as const;

  const insertCustomer = (into: Pick<typeof builder, 'insertInto'>, row: Tables['customers']) =>
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
        anonymized_at: row.anonymized_at,
      })
      .onConflict((on) => on.doNothing());

  const destroyKey = compileWrite((at: Place) =>
    builder.deleteFrom('data_keys').where('tenant', '=', at.tenant).where('number', '=', at.number),
  );

  type NewCustomer = Tables['customers'] & { readonly wrapped: Buffer };
  /** In one trip to the database. What it reads at its end is what it has inserted. */
  const insertTogether = () =>
    compileWrite((row: NewCustomer) =>
      builder
        .with('inserted', (into) => insertCustomer(into, row).returning(['tenant', 'number', 'created_at']))
        .with('keyed', (into) =>
          into
            .insertInto('data_keys')
            .columns(['tenant', 'number', 'created_at', 'wrapped'])
            .expression((from) =>
              from
                .selectFrom('inserted')
                .select(['tenant', 'number', 'created_at'])
                .select(sql<Buffer>`${row.wrapped}::bytea`.as('wrapped')),
            ),
        )
        .selectFrom('inserted')
        .select('number'),
    );
  /** 0 where the number has a key already. */
  const insertKey = compileWrite((key: Tables['data_keys']) =>
    builder
      .insertInto('data_keys')
      .values({ tenant: key.tenant, number: key.number, wrapped: key.wrapped, created_at: key.created_at })
      .onConflict((on) => on.doNothing()),
  );
  /** The key first: one without a record harms nobody, a record without its key would. */
  function insertOneByOne(): (row: NewCustomer) => Routine<number> {
    const insert = compileWrite((row: Tables['customers']) => insertCustomer(builder, row));
    return function* (row) {
      if ((yield* insertKey(row)) === 0) return 0;
      const inserted = yield* insert(row);
      if (inserted === 0) yield* destroyKey(row);
      return inserted;
    };
  }

  const changeCustomer = (row: Change) =>
    builder
      .updateTable('customers')
      .set({ version: row.version, sealed: row.sealed, updated_at: row.updated_at })
      .where('tenant', '=', row.tenant)
      .where('number', '=', row.number)
      .where('version', '=', row.expected);

  const findByNumber = compileSingle((at: Place) =>
    customers.where('customers.tenant', '=', at.tenant).where('customers.number', '=', at.number),
  );
  const findByExternalId = compileSingle((at: { tenant: string; externalId: Buffer }) =>
    customers.where('customers.tenant', '=', at.tenant).where('external_id', '=', at.externalId),
  );
  const isHeldBy = ({ tenant, externalId }: { tenant: string; externalId: Buffer }) =>
    builder.selectFrom('customers').where('tenant', '=', tenant).where('external_id', '=', externalId);
  const anyPending = builder.selectFrom('pending_erasures').select(sql<number>`1`.as('pending')).limit(1);
  type Held = { readonly pending: number | null };
  /** Of the customers the index alone is read. */
  const findHeldTogether = () =>
    compileSingle((at: { tenant: string; externalId: Buffer }) => isHeldBy(at).select(() => anyPending.as('pending')));
  function findHeldApart(): (at: { tenant: string; externalId: Buffer }) => Routine<readonly Held[]> {
    const findHeld = compileQuery((at: { tenant: string; externalId: Buffer }) =>
      isHeldBy(at).select(sql<null>`null`.as('pending')),
    );
    const findPending = compileQuery((_: object) => anyPending);
    return function* (at) {
      const held = yield* findHeld(at);
      return held.length > 0 && (yield* findPending({})).length > 0 ? [{ pending: 1 }] : held;
    };
  }
  const findHolders = compileQuery((at: Place & Holding) =>
    // A union, so that each part is one look-up in its own unique index.
    holding
      .map((column) =>
        customers
          .select(holding)
          .where('customers.tenant', '=', at.tenant)
          .where(column, '=', at[column])
          .where('customers.number', '!=', at.number),
      )
      .reduce((all, part) => all.unionAll(part)),
  );
  const listAfter = compileQuery((last: Place) =>
    customers
      .select('customers.tenant')
      .where((is) =>
        is.or([
          is('customers.tenant', '>', last.tenant),
          is.and([is('customers.tenant', '=', last.tenant), is('customers.number', '>', last.number)]),
        ]),
      )
      .orderBy('customers.tenant')
      .orderBy('customers.number')
      .limit(listedAtOnce),
  );

  return {
    findByNumber: withKeys(findByNumber),
    findByExternalId: withKeys(findByExternalId),
    /** A row where a customer has the ExternalId, and whether any erasure is not completed: it may be that one's. */
    findHeld: keysApart ? findHeldApart() : findHeldTogether(),
    findHolders: withKeys(findHolders),
    /** The lowest number of a range, its ends included, that a record has. */
    findNumberIn: compileSingle((range: { tenant: string; first: number; last: number }) =>
      builder
        .selectFrom('customers')
        .select('number')
        .where('tenant', '=', range.tenant)
        .where('number', '>=', range.first)
        .where('number', '<=', range.last)
        .orderBy('number')
        .limit(1),
    ),
    /** The highest number of a range, its ends included, that a record of each tenant has. */
    highestNumbers: compileQuery((range: { first: number; last: number }) =>
      builder.selectFrom('tenants').select((tenants) =>
        tenants
          .selectFrom('customers')
          .select((customers) => customers.fn.max('number').as('highest'))
          .whereRef('customers.tenant', '=', 'tenants.tenant')
          .where('number', '>=', range.first)
          .where('number', '<=', range.last)
          .as('highest'),
      ),
    ),
    /** A page of all tenants' customers, in the order of their primary key. */
    listAfter: withKeys(listAfter),
    findHolding: compileQuery((at: Place) =>
      builder.selectFrom('customers').select(holding).where('tenant', '=', at.tenant).where('number', '=', at.number),
    ),
    /** The last of `count` numbers that are taken. */
    takeSequence: compileQuery((of: { name: string; count: number }) =>
      builder
        .updateTable('sequences')
        .set((set) => ({ last: set('last', '+', of.count) }))
        .where('name', '=', of.name)
        .returning('last'),
    ),
    sequence: compileQuery((of: { name: string }) =>
      builder.selectFrom('sequences').select('last').where('name', '=', of.name),
    ),
    forgetSequence: compileWrite((of: { name: string }) => builder.deleteFrom('sequences').where('name', '=', of.name)),
    insertKey,
    /** Stores a customer, and its key where that is not there yet, unless another stands in the way: then it is 0. */
    insert: keysAhead
      ? compileWrite((row: NewCustomer) => insertCustomer(builder, row))
      : keysApart
        ? insertOneByOne()
        : insertTogether(),
    update: compileWrite((row: Change) => changeCustomer(row)),
    updateWithHolding: compileWrite((row: Change & Holding) =>
      changeCustomer(row).set({ external_id: row.external_id, email: row.email, phone_number: row.phone_number }),
    ),
    /** Removes what is personal from a record that has not been rewritten yet, whatever its version. */
    rewrite: compileWrite((to: Place & { at: number; sealed: Buffer }) =>
      builder
        .updateTable('customers')
        .set((set) => ({
          version: set('version', '+', 1),
          external_id: null,
          email: null,
          phone_number: null,
          sealed: to.sealed,
          updated_at: to.at,
          anonymized_at: to.at,
        }))
        .where('tenant', '=', to.tenant)
        .where('number', '=', to.number)
        .where('anonymized_at', 'is', null),
    ),

    destroyKey,
    findKey: compileQuery((at: Place) =>
      builder.selectFrom('data_keys').select('number').where('tenant', '=', at.tenant).where('number', '=', at.number),
    ),
    addPending: compileWrite((row: Tables['pending_erasures']) =>
      builder
        .insertInto('pending_erasures')
        .values({ tenant: row.tenant, number: row.number, key_digest: row.key_digest, expires_at: row.expires_at })
        .onConflict((on) => on.doNothing()),
    ),
    deletePending: compileWrite((at: Place) =>
      builder.deleteFrom('pending_erasures').where('tenant', '=', at.tenant).where('number', '=', at.number),
    ),
    listPending: compileQuery((_: object) => builder.selectFrom('pending_erasures').selectAll()),
    somePending: compileQuery((_: object) => builder.selectFrom('pending_erasures').selectAll().limit(pendingAtOnce)),
    enterErasure: compileWrite((entry: Tables['erasures']) =>
      builder
        .insertInto('erasures')
        .values({ tenant: entry.tenant, hash: entry.hash, sealed: entry.sealed })
        .onConflict((on) => on.doNothing()),
    ),
    findErasure: compileQuery((at: { tenant: string; hash: Buffer }) =>
      builder.selectFrom('erasures').select('sealed').where('tenant', '=', at.tenant).where('hash', '=', at.hash),
    ),
    /** A page of all tenants' erased customers, in the order of their primary key. */
    listErasedAfter: compileQuery((last: Place) =>
      builder
        .selectFrom('customers')
        .select(['tenant', 'number', 'sealed', 'anonymized_at'])
        .where('anonymized_at', 'is not', null)
        .where((is) =>
          is.or([
            is('tenant', '>', last.tenant),
            is.and([is('tenant', '=', last.tenant), is('number', '>', last.number)]),
          ]),
        )
        .orderBy('tenant')
        .orderBy('number')
        .limit(listedAtOnce),
    ),
    /** A page of the ledger, in the order of its primary key. */
    listErasuresAfter: compileQuery((last: { tenant: string; hash: Buffer }) =>
      builder
        .selectFrom('erasures')
        .selectAll()
        .where((is) =>
          is.or([is('tenant', '>', last.tenant), is.and([is('tenant', '=', last.tenant), is('hash', '>', last.hash)])]),
        )
        .orderBy('tenant')
        .orderBy('hash')
        .limit(listedAtOnce),
    ),
    applied: compileQuery((_: object) => builder.selectFrom('erasures_applied').select('count')),
    countApplied: compileWrite((more: { count: number }) =>
      builder.updateTable('erasures_applied').set((set) => ({ count: set('count', '+', more.count) })),
    ),

    claimKey: compileWrite((key: Key & { fingerprint: Uint8Array; expiresAt: number; now: number }) =>
      builder
        .insertInto('kept_answers')
        .values({
          tenant: key.tenant,
          key_digest: key.digest,
          fingerprint: key.fingerprint,
          code: null,
          number: null,
          expires_at: key.expiresAt,
        })
        .onConflict((on) =>
          on
            .columns(['tenant', 'key_digest'])
            .doUpdateSet({ fingerprint: key.fingerprint, code: null, number: null, expires_at: key.expiresAt })
            .where('kept_answers.expires_at', '<=', key.now),
        ),
    ),
    findAnswer: compileQuery((key: Key) =>
      builder
        .selectFrom('kept_answers')
        .select(['fingerprint', 'code', 'number'])
        .where('tenant', '=', key.tenant)
        .where('key_digest', '=', key.digest),
    ),
    listAnswers: compileQuery((of: Place) =>
      builder
        .selectFrom('kept_answers')
        .select(['code', 'expires_at', 'fingerprint'])
        .where('tenant', '=', of.tenant)
        .where('number', '=', of.number),
    ),
    keepAnswer: compileWrite((key: Key & { code: string; number: number | null }) =>
      builder
        .updateTable('kept_answers')
        .set({ code: key.code, number: key.number })
        .where('tenant', '=', key.tenant)
        .where('key_digest', '=', key.digest),
    ),
    /** Keeps the answer to an erasure, where it is not kept. */
    keepErasure: compileWrite((of: Place & { key_digest: Uint8Array; expires_at: number }) =>
      builder
        .insertInto('kept_answers')
        .values({
          tenant: of.tenant,
          key_digest: of.key_digest,
          fingerprint: null,
          code: 'SUCCESS',
          number: of.number,
          expires_at: of.expires_at,
        })
        .onConflict((on) => on.doNothing()),
    ),
    /** What is kept of requests about a customer says no more what they were. */
    blankAnswers: compileWrite((of: Place) =>
      builder
        .updateTable('kept_answers')
        .set({ fingerprint: null })
        .where('tenant', '=', of.tenant)
        .where('number', '=', of.number),
    ),
    releaseKey: compileWrite((key: Key) =>
      builder.deleteFrom('kept_answers').where('tenant', '=', key.tenant).where('key_digest', '=', key.digest),
    ),
    anyExpired: compileQuery((at: { now: number }) =>
      builder.selectFrom('kept_answers').select('tenant').where('expires_at', '<=', at.now).limit(1),
    ),
    forgetAnswers: compileWrite((at: { now: number }) =>
      builder
        .deleteFrom('kept_answers')
        .where((is) =>
          is(
            is.refTuple('tenant', 'key_digest'),
            'in',
            is
              .selectFrom('kept_answers')
              .select(['tenant', 'key_digest'])
              .where('expires_at', '<=', at.now)
              .orderBy('expires_at')
              .limit(forgottenAtOnce)
              .$asTuple('tenant', 'key_digest'),
          ),
        ),
    ),
  };
}
