/** Memory and SQLite give the same answers to random sequences of writes, some of them in one event-loop turn. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import type { ChangeEvent } from '../../src/application/ports/change-events.ts';
import type {
  ContactReference,
  CustomerReference,
  CustomerRepository,
  WriteResult,
} from '../../src/application/ports/customer-repository.ts';
import { erasureCheck } from '../../src/application/write-requests.ts';
import type { CustomerUrn } from '../../src/domain/identity.ts';
import {
  atOnce,
  byExternalId,
  byUrn,
  connectSqlite,
  type Decide,
  type Fields,
  idempotencyKey,
  newFolder,
  noon,
  overwrite,
  referenceData,
  tenantId,
  tenantOf,
} from '../support/storage.ts';

const externalIds = ['crm-1', 'CRM-1', 'crm-2', 'crm-3'];
const keys = ['k', 'l'];
const keyLifetimeMs = 5;

/** In their canonical forms. */
const contacts = [
  { email: 'jane@example.com' },
  { email: 'joan@xn--bcher-kva.example' },
  { phoneNumber: '+491701234567' },
  { phoneNumber: '+491707654321' },
];

// Few values, so that they collide.
const externalId = fc.constantFrom(...externalIds);
const fields: fc.Arbitrary<Fields> = fc.record(
  {
    email: fc.constantFrom('jane@example.com', 'JANE@example.com', 'joan@bücher.example', 'joan@xn--bcher-kva.example'),
    phoneNumber: fc.constantFrom('+491701234567', '+491707654321'),
    firstName: fc.constantFrom('Jane', 'Joan'),
  },
  { requiredKeys: [] },
);

/** What an update decides, as data, so that a counterexample is readable. */
type Step = Parameters<typeof overwrite>[0] | 'forget' | 'SUCCESS' | 'VERSION_MISMATCH' | 'refuse' | 'throw';
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fields },
  { weight: 2, arbitrary: fc.record({ externalIdentifier: externalId }) },
  fc.constantFrom({ email: undefined }, { phoneNumber: undefined }),
  fc.constantFrom<Step>('forget', 'forget', 'SUCCESS', 'VERSION_MISMATCH', 'refuse', 'throw'),
);

function decideBy(step: Exclude<Step, 'forget'>): Decide {
  if (typeof step === 'object') return overwrite(step);
  return (current) => {
    if (step === 'throw') throw new Error('a mistake of ours');
    if (step === 'refuse') return { refuse: [] };
    return { leave: current ? step : 'CUSTOMER_NOT_FOUND' };
  };
}

/** Names a customer by the order in which it was stored, or by its ExternalId. */
type Name = { readonly nth: number } | { readonly externalId: string };
type Sync = { readonly sync: string; readonly fields: Fields; readonly nth?: number; readonly at?: number };
type Write = (
  | { readonly add: string; readonly fields: Fields }
  | { readonly change: Name; readonly step: Step }
  | Sync
  | { readonly exchange: readonly Sync[] }
  | { readonly merge: number; readonly into: number }
) & {
  readonly key?: { readonly name: string; readonly request: string };
  /** The source revision of the request. */
  readonly at?: number;
};

type Exchanged = Awaited<ReturnType<CustomerRepository['exchange']>>;

const key = fc.record({ name: fc.constantFrom(...keys), request: fc.constantFrom('one', 'other') });
const perhaps = <Value>(arbitrary: fc.Arbitrary<Value>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const names: fc.Arbitrary<Name> = fc.oneof(fc.record({ nth: fc.nat({ max: 5 }) }), fc.record({ externalId }));
const revision = fc.option(fc.nat({ max: 6 }), { nil: undefined, freq: 3 });
const sync: fc.Arbitrary<Sync> = fc
  .record({ sync: externalId, fields, nth: perhaps(fc.nat({ max: 5 })), at: revision })
  .map(({ nth, at, ...sync }) => ({ ...sync, ...(nth !== undefined && { nth }), ...(at !== undefined && { at }) }));
const merge = fc
  .record({ merge: fc.nat({ max: 5 }), into: fc.nat({ max: 5 }) })
  .filter(({ merge, into }) => merge !== into);
const write: fc.Arbitrary<Write> = fc
  .tuple(
    fc.oneof(
      { weight: 2, arbitrary: fc.record({ add: externalId, fields }) },
      { weight: 3, arbitrary: fc.record({ change: names, step: steps }) },
      { weight: 3, arbitrary: sync },
      { weight: 2, arbitrary: fc.record({ exchange: fc.array(sync, { minLength: 1, maxLength: 3 }) }) },
      { weight: 2, arbitrary: merge },
    ),
    perhaps(key),
    revision,
  )
  .map(([what, key, at]) => ({ ...what, ...(key && { key }), ...(at !== undefined && !('sync' in what) && { at }) }));
/** The writes of each turn of the event loop. Each turn is one millisecond later than the one before. */
const turns = fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 });

/**
 * Runs the writes of all turns for one tenant; the repositories alternate from turn to turn. Asserts that after each
 * turn all repositories find the same. Returns all results of writes and reads, with each URN replaced by its order.
 */
async function play(
  repositories: readonly CustomerRepository[],
  tenant: string,
  turns: readonly (readonly Write[])[],
): Promise<string[]> {
  const sides = repositories.map((repository) => tenantOf(repository, tenantId(tenant)));
  const made: string[] = [];
  const seen: string[] = [];
  const note = (what: unknown) =>
    seen.push(JSON.stringify(what, null, 1).replace(/cu\.\d+\.\d+/g, (urn) => `urn ${made.indexOf(urn)}`));

  const reference = (name: Name): CustomerReference =>
    'nth' in name ? byUrn(made[name.nth] ?? 'cu.00.0') : byExternalId(name.externalId);

  async function find(by: CustomerReference | ContactReference) {
    const [found, ...others] = await Promise.all(sides.map((side) => side.find(by)));
    for (const other of others) assert.deepEqual(other, found);
    return found ?? null;
  }

  async function ask(
    acme: ReturnType<typeof tenantOf>,
    write: Write,
    now: number,
  ): Promise<WriteResult | Exchanged | { thrown: string }> {
    const key = write.key && idempotencyKey(write.key.name, write.key.request, now + keyLifetimeMs);
    const when = { now, ...(key && { key }), ...(write.at !== undefined && { revision: write.at }) };
    const syncing = ({ sync, fields, nth, at }: Sync) => {
      const by = nth === undefined ? byExternalId(sync) : reference({ nth });
      return [sync, fields, { now, by, ...(at !== undefined && { revision: at }) }] as const;
    };
    const asked = async () => {
      if ('exchange' in write) return acme.exchange(...write.exchange.map(syncing));
      if ('sync' in write) {
        const [externalId, fields, named] = syncing(write);
        return acme.sync(externalId, fields, { ...when, ...named });
      }
      if ('add' in write) return acme.store(write.add, write.fields, when);
      if ('merge' in write) {
        // Customers that were never stored still differ.
        const nth = (index: number) => byUrn(made[index] ?? `cu.00.${10 ** 9 + index}`);
        return acme.merge(nth(write.merge), nth(write.into), when);
      }
      const by = reference(write.change);
      return write.step === 'forget'
        ? acme.erase(by, { ...when, check: erasureCheck(undefined, write.at) })
        : acme.update(by, decideBy(write.step), when);
    };
    return asked().catch((error) => ({ thrown: error.message }));
  }

  function remember(answer: Awaited<ReturnType<typeof ask>>): void {
    if ('results' in answer) for (const result of answer.results) remember(result);
    const urn = 'stored' in answer ? answer.stored.customer.customerUrn : undefined;
    if (urn && !made.includes(urn)) made.push(urn);
  }

  for (const [turn, writes] of turns.entries()) {
    const side = sides[turn % sides.length] as (typeof sides)[number];
    const answers = await Promise.all(writes.map((write) => ask(side, write, noon + turn)));
    for (const answer of answers) remember(answer);
    note(answers);
    // Read less often by URN than by ExternalId, so that the two kinds of cache entries differ in age.
    if (turn % 3 > 0) for (const urn of made) note(await find(byUrn(urn)));
    for (const externalId of externalIds) {
      const found = await find(byExternalId(externalId));
      note(found);
      for (const side of sides) assert.equal(await side.hasExternalId(externalId), found !== null);
      const tombstones = await Promise.all(sides.map((side) => side.findTombstone(externalId, noon + turn)));
      assert.equal(new Set(tombstones).size, 1);
      note(tombstones[0] ?? null);
    }
    for (const by of contacts) note(await find(by));
    for (const urn of made) note((await side.history({ customerUrn: urn as CustomerUrn })).map(withoutId));
    if (turn % 2 > 0)
      for (const repository of repositories) await repository.deleteExpired(tenantId(tenant), noon + turn);
  }
  return seen;
}

const opened = async (t: Test, folder: string) => (await connectSqlite(t, folder)).repository;

/** As long as a tenant has no id block, a store may wait for one, and later writes may overtake it. */
async function warmUp(repository: CustomerRepository, tenant: string): Promise<void> {
  const side = tenantOf(repository, tenantId(tenant));
  await atOnce(8, () => side.mustStore(randomUUID()));
}

async function sameAsMemory(repositories: readonly CustomerRepository[]): Promise<void> {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(turns, async (turns) => {
      run += 1;
      // A new tenant for each run saves opening a new file for each run.
      const tenant = `run-${run}`;
      for (const repository of repositories) await warmUp(repository, tenant);
      const played = (these: readonly CustomerRepository[]) => play(these, tenant, turns);
      assert.deepEqual(await played(repositories), await played([new MemoryCustomers(referenceData)]));
    }),
    { numRuns: 150 },
  );
}

t.test('memory and SQLite give the same answers to the same requests', async (t) =>
  sameAsMemory([await opened(t, newFolder(t))]),
);

t.test('connections that take turns on one file answer like memory, whatever they have cached', async (t) => {
  const folder = newFolder(t);
  await sameAsMemory([await opened(t, folder), await opened(t, folder), await opened(t, folder)]);
});

/** Ids are random. */
const withoutId = ({ id: _, customerUrn, version, at, ...event }: ChangeEvent) => ({
  customerUrn,
  version,
  at,
  ...event,
});
