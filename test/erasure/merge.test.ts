/** Merges, which are erasures that keep an ExternalId: after restores, interruptions, and races with a recovery. */
import t, { type Test } from 'tap';
import type { SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import type { Part } from '../../src/adapters/sql/schema/tables.ts';
import { actor, atOnce, byExternalId, noon, overwrite, type storedIn, tenantOf } from '../support/storage.ts';
import { type Backup, customersOf, type Place, places, tenant } from './support/places.ts';
import { randomFrom } from './support/random.ts';
import { Scheduler, stepped } from './support/scheduler.ts';

type Stored = ReturnType<typeof storedIn>;
type Acme = ReturnType<typeof tenantOf>;
const { C2A_TEST_SEED } = process.env;
const seed = C2A_TEST_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(C2A_TEST_SEED);

const merged = (acme: Acme, from: Stored, into: Stored) => acme.merge(from.by, into.by);
const idOf = ({ customer: { customerUrn } }: Stored) => ({ customerUrn });

/** Opens a place as one process, without a recovery. */
async function connect(place: Place) {
  const [database] = await place.open(1);
  const storage = customersOf(place, database as SqlDatabase);
  return { storage, acme: tenantOf(storage.repository, tenant) };
}

/** What is done, in order; `backup` stands for a backup of one part, which is restored at the end. */
type Step = 'b is stored' | 'backup' | 'a into b' | 'b into c' | 'b is erased' | 'c is erased';
interface Restore {
  readonly steps: readonly Step[];
  /** The customer that the ExternalId of `a` finds afterwards. */
  readonly finds: 'b' | 'c' | undefined;
}

const restores: Record<string, Restore> = {
  'before the merge': { steps: ['b is stored', 'backup', 'a into b'], finds: 'b' },
  'after the merge': { steps: ['b is stored', 'a into b', 'backup'], finds: 'b' },
  'before the merge, and the other customer was erased since': {
    steps: ['b is stored', 'backup', 'a into b', 'b is erased'],
    finds: undefined,
  },
  'between the merge and the erasure of the other customer': {
    steps: ['b is stored', 'a into b', 'backup', 'b is erased'],
    finds: undefined,
  },
  'before two merges, one after the other': {
    steps: ['b is stored', 'backup', 'a into b', 'b into c'],
    finds: 'c',
  },
  'between two merges': { steps: ['b is stored', 'a into b', 'backup', 'b into c'], finds: 'c' },
  'before two merges and the erasure of the last customer': {
    steps: ['b is stored', 'backup', 'a into b', 'b into c', 'c is erased'],
    finds: undefined,
  },
  'between two merges, and the last customer was erased since': {
    steps: ['b is stored', 'a into b', 'backup', 'b into c', 'c is erased'],
    finds: undefined,
  },
};

async function restoring(t: Test, place: Place, part: Part, { steps, finds }: Restore): Promise<void> {
  await place.reset();
  const before = await connect(place);
  const { acme } = before;
  const [a, c] = [await acme.mustStore('a', { email: 'a@example.com' }), await acme.mustStore('c')];
  let b = a;
  let backup: Backup | undefined;
  const work: Record<Step, () => Promise<unknown>> = {
    'b is stored': async () => {
      b = await acme.mustStore('b');
    },
    backup: async () => {
      backup = await place.backup(part, true);
    },
    'a into b': () => merged(acme, a, b),
    'b into c': () => merged(acme, b, c),
    'b is erased': () => acme.erase(b.by),
    'c is erased': () => acme.erase(c.by),
  };
  for (const step of steps) await work[step]();
  const version = (await acme.find(a.by))?.version;
  await place.end('stop');
  await place.restore(backup as Backup);

  const { storage, acme: after } = await connect(place);
  await storage.repository.recoverErasures(tenant);
  t.match(await after.find(a.by), { version, customer: { status: 'Anonymized', mergedInto: b.customer.customerUrn } });
  const customers = { b, c };
  const found = await after.find(byExternalId('a'));
  if (finds === undefined) t.equal(found, undefined);
  else t.match(found, { customer: idOf(customers[finds]), alias: {} });
  const { rows, keys } = await place.read();
  const erased = [...rows.values()].filter(({ erasure }) => erasure !== null);
  t.same(
    erased.filter(({ email, number }) => email !== null || keys.has(number)),
    [],
  );
  t.equal(
    erased.some(({ external_id }) => external_id !== null),
    finds !== undefined,
  );
  t.same((await storage.audit.verify(tenant)).findings, []);
  t.equal((await after.store('a')).code, finds === undefined ? 'SUCCESS' : 'CUSTOMER_ALREADY_STORED');
  await place.end('stop');
}

/** A merge whose second step is undone, as by a crash between the commits of keys and records. */
async function interrupted(place: Place, count = 1) {
  await place.reset();
  const { acme } = await connect(place);
  const pairs = await atOnce(count, async (index) => ({
    from: await acme.mustStore(`from-${index}`, { email: `${index}@example.com` }),
    into: await acme.mustStore(`into-${index}`),
  }));
  const backup = await place.backup('data', false);
  for (const { from, into } of pairs) await merged(acme, from, into);
  await place.end('crash');
  await place.restore(backup);
  return pairs;
}

/** An interrupted merge of `from-0` into `into-0`. */
async function interruptedOnce(place: Place) {
  const [pair] = (await interrupted(place)) as [Awaited<ReturnType<typeof interrupted>>[number]];
  return { ...pair, ...(await connect(place)) };
}

for (const [name, newPlace] of Object.entries(places)) {
  t.test(name, async (t) => {
    const place = await newPlace(t);

    for (const part of ['data', 'keys'] as const) {
      for (const [when, restore] of Object.entries(restores)) {
        t.test(`a backup of the ${part} from ${when}`, async (t) => restoring(t, place, part, restore));
      }
    }

    t.test('records that lack the other customer free the ExternalId', async (t) => {
      await place.reset();
      const { acme } = await connect(place);
      const a = await acme.mustStore('a');
      const backup = await place.backup('data', false);
      await merged(acme, a, await acme.mustStore('b'));
      await place.end('stop');
      await place.restore(backup);
      const { storage, acme: after } = await connect(place);
      await storage.repository.recoverErasures(tenant);
      t.match(await after.find(a.by), { customer: { status: 'Anonymized' } });
      t.equal((await after.store('a')).code, 'SUCCESS');
    });

    t.test('an interrupted merge is read as finished, and finished by a repeat', async (t) => {
      const { from, into, acme } = await interruptedOnce(place);
      t.match(await acme.find(byExternalId('from-0')), { ...into.stored, alias: {} });
      t.equal(await acme.hasExternalId('from-0'), true);
      t.match(await acme.find(from.by), { version: 2, customer: { mergedInto: into.customer.customerUrn } });
      t.same(await acme.erase(from.by), { code: 'CUSTOMER_MERGED' });
      t.same(await merged(acme, from, into), { code: 'SUCCESS', stored: into.stored });
      const { rows, events } = await place.read();
      t.equal([...rows.values()].filter(({ erasure }) => erasure !== null).length, 1);
      t.same(
        events.map(({ type }) => type),
        ['customer.stored', 'customer.merged', 'customer.stored'],
      );
    });

    t.test('a store with the ExternalId of an interrupted merge finds whose it is', async (t) => {
      const { into, acme } = await interruptedOnce(place);
      const conflicts = [
        { field: 'customer.externalIdentifier', messageCode: 'CUSTOMER_ALREADY_STORED', ...idOf(into) },
      ];
      t.same(await acme.store('from-0'), { code: 'CUSTOMER_ALREADY_STORED', conflicts });
      t.equal((await acme.store('other', { email: '0@example.com' })).code, 'SUCCESS', 'the e-mail address is free');
    });

    t.test('a change to the ExternalId of an interrupted merge finds whose it is', async (t) => {
      const { into, acme } = await interruptedOnce(place);
      const conflicts = [
        { field: 'customer.externalIdentifier', messageCode: 'CUSTOMER_ALREADY_STORED', ...idOf(into) },
      ];
      const changed = await acme.update(into.by, overwrite({ externalIdentifier: 'from-0' }));
      t.same(changed, { code: 'CUSTOMER_ALREADY_STORED', conflicts });
    });

    t.test('an erasure after an interrupted merge leaves no alias', async (t) => {
      const { from, acme, storage } = await interruptedOnce(place);
      t.match(await acme.erase(byExternalId('from-0')), { code: 'SUCCESS' });
      t.equal(await acme.find(byExternalId('from-0')), undefined);
      t.equal((await acme.erase(from.by)).code, 'SUCCESS');
      t.equal((await acme.store('from-0')).code, 'SUCCESS', 'the conflict check finishes the merge');
      await storage.repository.recoverErasures(tenant);
      t.same((await storage.audit.verify(tenant)).findings, []);
    });

    async function nothingIsLeft(t: Test, count: number) {
      const { rows } = await place.read();
      t.equal(rows.size, count);
      const left = [...rows.values()].filter(({ erasure, external_id }) => erasure === null || external_id !== null);
      t.same(left, []);
    }

    t.test('a recovery runs at the same time as erasures of the other customers', async (t) => {
      for (let round = 0; round < 10; round += 1) {
        const pairs = await interrupted(place, 10);
        const [one, other] = (await place.open(2)) as [SqlDatabase, SqlDatabase];
        const erasing = customersOf(place, other).repository;
        // With a check, an erasure begins and finishes in one transaction, for whose end the recovery waits.
        const context = { ...actor, now: noon, check: () => undefined };
        await Promise.all([
          ...pairs.map(({ into }) => erasing.erase(tenant, into.by, context)),
          customersOf(place, one).repository.recoverErasures(tenant),
        ]);
        await nothingIsLeft(t, 20);
        await place.end('stop');
      }
    });

    t.test(`a recovery races erasures of the other customers (C2A_TEST_SEED=${seed})`, async (t) => {
      const count = 20;
      const pairs = await interrupted(place, count);
      const [one, other] = (await place.open(2)) as [SqlDatabase, SqlDatabase];
      const scheduler = new Scheduler();
      const random = randomFrom(seed);
      const recovering = customersOf(place, stepped(one, scheduler)).repository;
      const erasing = customersOf(place, stepped(other, scheduler)).repository;
      const tasks = [
        scheduler.start({}, () => recovering.recoverErasures(tenant)),
        ...pairs.map(({ into }) => scheduler.start({}, () => erasing.erase(tenant, into.by, { ...actor, now: noon }))),
      ];
      const results = Promise.all(tasks);
      while (scheduler.waiting.length > 0) await scheduler.run(random.pick(scheduler.waiting));
      await results;
      await nothingIsLeft(t, 2 * count);
    });
  });
}
