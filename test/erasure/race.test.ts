/**
 * An update in one process races an erasure in another: every order of their steps, many customers at a time. An update
 * whose read comes before the data key is destroyed, and whose write comes after, writes nothing that can be read.
 */
import t from 'tap';
import { toNumber } from '../../src/adapters/sql/customers/urns.ts';
import type { SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import type { StoredCustomer } from '../../src/application/ports/customer-repository.ts';
import { isAnonymized } from '../../src/domain/anonymization.ts';
import type { CustomerUrn } from '../../src/domain/identity.ts';
import { actor, byUrn, noon, overwrite, storedIn, tenantOf } from '../support/storage.ts';
import { customersOf, type Place, places, tenant } from './support/places.ts';
import { type Random, randomFrom } from './support/random.ts';
import { Scheduler, type Step, stepped } from './support/scheduler.ts';
import type { State } from './support/state.ts';

const batch = 100;
const defaultRaces = { SQLite: 10_000, 'PostgreSQL, one database': 500, 'PostgreSQL, two databases': 500 };
const { C2A_TEST_SEED } = process.env;
const seed = C2A_TEST_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(C2A_TEST_SEED);

interface Race {
  readonly urn: string;
  /** Which of the two takes its next step; the tasks are known to the scheduler. */
  readonly tasks: readonly { readonly name: 'update' | 'erase' }[];
  /** The steps that were taken, by the first letter of their kind: small for the update, capital for the erasure. */
  order: string;
}

/** Runs one step of each race, at once. A race takes them in its own order. */
async function runSteps(scheduler: Scheduler, races: readonly Race[], random: Random): Promise<void> {
  const waiting = new Map<object | undefined, Step>();
  for (const step of scheduler.waiting) waiting.set(step.task, step);
  const chosen: Step[] = [];
  for (const race of races) {
    const ready = race.tasks.filter((task) => waiting.has(task));
    if (ready.length === 0) continue;
    const task = random.pick(ready);
    const step = waiting.get(task) as Step;
    race.order += task.name === 'update' ? step.kind.charAt(0) : step.kind.charAt(0).toUpperCase();
    chosen.push(step);
  }
  await Promise.all(chosen.map((step) => scheduler.run(step)));
}

async function raceAll(place: Place, [one, other]: readonly SqlDatabase[], random: Random): Promise<Race[]> {
  const storing = tenantOf(customersOf(place, one as SqlDatabase).repository, tenant);
  const stored = await Promise.all(
    Array.from({ length: batch }, (_, index) =>
      storing.store(`crm-${index}`, { firstName: 'Jane', email: `${index}@example.com` }),
    ),
  );
  const scheduler = new Scheduler();
  const updating = customersOf(place, stepped(one as SqlDatabase, scheduler, undefined, true)).repository;
  const erasing = customersOf(place, stepped(other as SqlDatabase, scheduler)).repository;
  const races = stored.map(
    (result): Race => ({
      urn: storedIn(result).customer.customerUrn,
      tasks: [{ name: 'update' }, { name: 'erase' }],
      order: '',
    }),
  );
  const all = races.flatMap(({ urn, tasks: [update, erase] }) => {
    const change = overwrite({ firstName: 'Joan', ...(random.chance(0.5) && { email: `new-${urn}@example.com` }) });
    return [
      scheduler.start(update as object, () => updating.update(tenant, byUrn(urn), change, { ...actor, now: noon })),
      scheduler.start(erase as object, () => erasing.erase(tenant, byUrn(urn), { ...actor, now: noon })),
    ];
  });
  const results = Promise.all(all);
  while (scheduler.waiting.length > 0) await runSteps(scheduler, races, random);
  for (const { code } of await results) {
    if (code !== 'SUCCESS' && code !== 'CUSTOMER_NOT_FOUND') throw new Error(`answered ${code}`);
  }
  return races;
}

/** Whether the update has read the record before the data key was destroyed, and has written it after. */
function wroteLate({ urn, order }: Race, rows: State['rows']): boolean {
  const written = rows.get(toNumber(urn as CustomerUrn) as number)?.version === 3;
  const isReadBefore = /^[rs]/.test(order);
  return written && isReadBefore && order.search(/[a-z][^a-z]*$/) > order.indexOf('W');
}

for (const [name, newPlace] of Object.entries(places)) {
  t.test(`${name} (C2A_TEST_SEED=${seed})`, { timeout: 0 }, async (t) => {
    const place = await newPlace(t);
    const databases = await place.open(2);
    const random = randomFrom(seed);
    const races: Race[] = [];
    for (let raced = 0; raced < defaultRaces[name as keyof typeof places]; raced += batch) {
      races.push(...(await raceAll(place, databases, random)));
    }
    const { rows, keys, log, events } = await place.read();
    t.equal(log.length, races.length);
    t.equal(rows.size, races.length);
    t.same(
      [...rows.values()].filter(
        ({ erasure, external_id, email, number }) =>
          erasure === null || external_id !== null || email !== null || keys.has(number),
      ),
      [],
    );
    t.equal(
      events.length,
      [...rows.values()].reduce((sum, { version }) => sum + version, 0),
      'one event a version',
    );
    const acme = tenantOf(customersOf(place, databases[0] as SqlDatabase).repository, tenant);
    const found = (await Promise.all(races.map(({ urn }) => acme.find(byUrn(urn))))) as StoredCustomer[];
    t.ok(found.every(({ customer }) => isAnonymized(customer)));
    const orders = new Set(races.map(({ order }) => order));
    const late = races.filter((race) => wroteLate(race, rows)).length;
    t.comment(`${orders.size} orders, ${late} late writes`);
    t.ok(orders.size > 5 && late > 0);
  });
}
