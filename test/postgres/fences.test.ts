/**
 * Fenced creates and those who leave tombstones, with a pause before any of their statements: when a delete with a
 * revision has been answered, and all requests have ended, nobody has its ExternalId by a lower revision.
 */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { type BoundQuery, type Routine, runOnce, type SqlRow } from '../../src/adapters/sql/driver/query.ts';
import type { SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import { erasureCheck } from '../../src/application/write-requests.ts';
import { type Random, randomFrom } from '../erasure/support/random.ts';
import { newPlaces, withRawPostgres } from '../support/postgres.ts';
import {
  byExternalId,
  byUrn,
  connectPostgres,
  noon,
  onlyAt,
  storedIn,
  tenantId,
  tenantOf,
  tombstoneMs,
} from '../support/storage.ts';

const { C2A_TEST_SEED, C2A_TEST_ROUNDS = '30' } = process.env;
const seed = C2A_TEST_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(C2A_TEST_SEED);

/** Milliseconds of a pause. The long one is longer than a whole request. */
const pauses = [0, 0, 0, 1, 3, 12] as const;

/** Pauses before statements of a transaction, which holds its locks meanwhile. */
function* paused<Result>(routine: Routine<Result>, random: Random): Routine<Result> {
  let next = routine.next();
  while (!next.done) {
    const pause = random.pick(pauses);
    if (pause > 0) yield* runOnce({ sql: `select pg_sleep(${pause / 1000})` });
    const bound: BoundQuery = next.value;
    const rows: readonly SqlRow[] = yield bound;
    next = routine.next(rows);
  }
  return next.value;
}

/** Pauses before the lock of the tombstones. */
const pausingBeforeLock = (database: SqlDatabase, pauseMs: number): SqlDatabase => ({
  ...database,
  write: (program) =>
    database.write(function* () {
      const routine = program();
      let next = routine.next();
      while (!next.done) {
        const bound: BoundQuery = next.value;
        if (bound.statement.sql.includes('advisory')) yield* runOnce({ sql: `select pg_sleep(${pauseMs / 1000})` });
        next = routine.next(yield bound);
      }
      return next.value;
    }),
});

const pausing = (database: SqlDatabase, random: Random): SqlDatabase => ({
  ...database,
  write: (program) => database.write(() => paused(program(), random)),
});

type Tenant = ReturnType<typeof tenantOf>;

/** Requests about one ExternalId, with the revision above which it may exist at the end. */
function requestsFor(name: string, urn: string | undefined, email: string) {
  const erase = (revision: number) => (acme: Tenant) =>
    acme.erase(byExternalId(name), { revision, check: erasureCheck(undefined, revision) });
  return [
    (acme: Tenant) => acme.sync(name, { firstName: 'A', email }, { revision: 1 }),
    (acme: Tenant) => acme.sync(name, { firstName: 'B', email }, { revision: 2 }),
    (acme: Tenant) => acme.store(name, { firstName: 'C' }, { revision: 2 }),
    erase(4),
    erase(3),
    ...(urn === undefined
      ? []
      : [(acme: Tenant) => acme.sync(name, { email }, { revision: 2, by: { urn: urn as never } })]),
  ];
}

for (const [place, newPlace] of Object.entries(newPlaces)) {
  t.test(`${place} (C2A_TEST_SEED=${seed})`, async (t) => {
    const random = randomFrom(seed);
    const at = await newPlace(t);
    const connected = [await connectPostgres(t, at), await connectPostgres(t, at)];
    const tenants = connected.map(({ database, over }) => tenantOf(over(pausing(database, random)).repository));
    const acme = tenantOf((connected[0] as (typeof connected)[0]).repository);
    const outcomes: Record<string, number> = {};
    for (let round = 0; round < Number(C2A_TEST_ROUNDS); round += 1) {
      const name = `crm-${round}`;
      // Sometimes there is a customer to rename into the ExternalId, or one that has it already.
      const other = random.chance(0.4) ? await acme.sync(`other-${round}`, {}, { revision: 1 }) : undefined;
      if (random.chance(0.3)) await acme.sync(name, {}, { revision: 0 });
      const urn = other?.code === 'SUCCESS' ? other.stored.customer.customerUrn : undefined;
      const requests = requestsFor(name, urn, `${round}@example.com`);
      const results = await Promise.all(
        requests.map(async (request, index) => {
          await delay(random.pick(pauses));
          return request(tenants[(index + round) % 2] as Tenant);
        }),
      );
      for (const { code } of results) outcomes[code] = (outcomes[code] ?? 0) + 1;
      t.equal(await acme.find(byExternalId(name)), undefined, name);
      t.equal(await acme.findTombstone(name), 4, name);
    }
    t.comment(outcomes);
  });

  t.test(`an exchange and erasures lock in one order: ${place}`, async (t) => {
    const at = await newPlace(t);
    const { repository, database, over } = await connectPostgres(t, at);
    const acme = tenantOf(repository);
    const a = storedIn(await acme.sync('a', { email: 'a@example.com' }, { revision: 1 }));
    const b = storedIn(await acme.sync('b', { email: 'b@example.com' }, { revision: 1 }));
    await acme.sync('c', {}, { revision: 1 });
    const slow = tenantOf(over(pausingBeforeLock(database, 600)).repository);
    const exchanging = slow.exchange(['b', {}, { by: a.by, revision: 2 }], ['a', {}, { by: b.by, revision: 2 }]);
    await delay(200);
    // Has the lock of the log, and waits for the record if the exchange has that.
    const oneVersion = acme.erase(a.by, { check: onlyAt(2) });
    await delay(200);
    // Has the lock of the tombstones, and waits for the log.
    const fenced = acme.erase(byExternalId('c'), { revision: 2, check: erasureCheck(undefined, 2) });
    t.match(await exchanging, { results: [{ outcome: 'updated' }, { outcome: 'updated' }] });
    t.strictSame(await oneVersion, { code: 'VERSION_MISMATCH' });
    t.equal((await fenced).code, 'SUCCESS');
  });

  t.test(`a tombstone that is renewed while expired ones are deleted stays: ${place}`, async (t) => {
    const at: { readonly url: string; readonly keysUrl?: string } = await newPlace(t);
    const { repository } = await connectPostgres(t, at);
    const acme = tenantOf(repository);
    await acme.erase(byExternalId('a'), { revision: 1 });
    const later = noon + 2 * tombstoneMs;
    const client = new pg.Client(at.keysUrl ?? at.url);
    await client.connect();
    await client.query('begin');
    await client.query('update c2a_keys.tombstones set revision = 2, expires_at = $1', [later + 1]);
    const deleting = repository.deleteExpired(tenantId('acme'), later);
    await delay(200);
    await client.query('commit');
    await client.end();
    await deleting;
    t.equal(await acme.findTombstone('a', later), 2);
  });

  t.test(`exchanges of the same customers lock their rows in one order: ${place}`, async (t) => {
    const at = await newPlace(t);
    const { repository, database, over } = await connectPostgres(t, at);
    const acme = tenantOf(repository);
    const emailOf = (index: number) => ({ email: `p${index}@example.com` });
    const customers = await Promise.all([0, 1, 2].map((index) => acme.mustStore(`crm-${index}`, emailOf(index))));
    const slow = tenantOf(over(pausing(database, randomFrom(seed))).repository);
    const rotated = (by: number) =>
      customers.map((one, index) => [`crm-${index}`, emailOf((index + by) % 3), { by: one.by }] as const);
    for (let turn = 1; turn <= 8; turn += 1) {
      const all = [slow.exchange(...rotated(turn)), slow.exchange(...rotated(turn).reverse())];
      for (const exchanged of await Promise.all(all)) t.ok('results' in exchanged);
    }
    // The server reports its counts at most once a second.
    await delay(1_100);
    const [counted] = await withRawPostgres(
      at.url,
      'select deadlocks from pg_stat_database where datname = current_database()',
    );
    t.equal(Number(counted?.deadlocks), 0);
  });

  t.test(`requests of every kind about few customers all end: ${place} (C2A_TEST_SEED=${seed})`, async (t) => {
    const random = randomFrom(seed);
    const at = await newPlace(t);
    const connected = [await connectPostgres(t, at), await connectPostgres(t, at)];
    const tenants = connected.map(({ database, over }) => tenantOf(over(pausing(database, random)).repository));
    const names = ['a', 'b', 'c', 'd'];
    const emails = ['1@example.com', '2@example.com', '3@example.com', undefined];
    let revision = 0;
    const codes: Record<string, number> = {};
    const one = async (lane: number) => {
      const acme = tenants[lane % 2] as Tenant;
      const name = random.pick(names);
      const email = random.pick(emails);
      const fields = email === undefined ? {} : { email };
      revision += 1;
      const when = random.chance(0.8) ? { revision } : {};
      const found = await acme.find(byExternalId(random.pick(names)));
      const by = byUrn(found?.customer.customerUrn ?? 'cu.00.404');
      const kind = random.pick(['sync', 'sync', 'rename', 'rename', 'erase', 'erase', 'erase one version', 'exchange']);
      if (kind === 'sync') return acme.sync(name, fields, when);
      if (kind === 'rename') return acme.sync(name, fields, { ...when, by });
      if (kind === 'erase')
        return acme.erase(byExternalId(name), { ...when, check: erasureCheck(undefined, revision) });
      if (kind === 'erase one version') return acme.erase(by, { ...when, check: onlyAt(found?.version ?? 1) });
      const exchanged = await acme.exchange(
        [name, fields, { ...when, by }],
        [random.pick(names), { email: random.pick(emails) } as never, when],
      );
      return 'results' in exchanged ? { code: 'EXCHANGED' } : exchanged.result;
    };
    const started = performance.now();
    await Promise.all(
      [0, 1, 2, 3, 4, 5].map(async (lane) => {
        for (let count = 0; count < Number(C2A_TEST_ROUNDS) / 3; count += 1) {
          const { code } = await one(lane);
          codes[code] = (codes[code] ?? 0) + 1;
        }
      }),
    );
    t.comment(codes, `${Math.round(performance.now() - started)} ms`);
    t.ok((codes.SUCCESS ?? 0) > 0);
  });
}
