/** Messages of a tenant's system in any order, any number of times, over two connections: the end is its last state. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import type { CustomerRepository, WriteResult } from '../../src/application/ports/customer-repository.ts';
import { erasureCheck } from '../../src/application/write-requests.ts';
import { newPlaces } from '../support/postgres.ts';
import {
  byExternalId,
  byUrn,
  connectPostgres,
  connectSqlite,
  newFolder,
  referenceData,
  tenantId,
  tenantOf,
} from '../support/storage.ts';
import {
  type Content,
  deliver,
  type Message,
  type Synced,
  type Target,
  TenantSystem,
} from '../support/tenant-system.ts';

// Few values, so that they pass from one customer to another.
const names = ['a', 'b', 'c', 'd'];
const name = fc.constantFrom(...names);
const content: fc.Arbitrary<Content> = fc.record(
  {
    email: fc.constantFrom('jane@example.com', 'joan@example.com', 'jean@example.com'),
    phoneNumber: fc.constantFrom('+491701234567', '+491707654321'),
    firstName: fc.constantFrom('Jane', 'Joan'),
  },
  { requiredKeys: [] },
);
const change = fc.oneof(
  { weight: 5, arbitrary: fc.record({ set: name, content }) },
  { weight: 2, arbitrary: fc.record({ remove: name }) },
  { weight: 2, arbitrary: fc.record({ swap: name, with: name }) },
  { weight: 2, arbitrary: fc.record({ from: name, to: name, asDelete: fc.boolean() }) },
);
const maxMessages = 50;
const moments = fc.array(fc.nat({ max: 999 }), { minLength: maxMessages, maxLength: maxMessages });
const history = fc.record({
  changes: fc.array(change, { minLength: 2, maxLength: 25 }),
  /** When the message at the same index is delivered, and delivered again. */
  first: moments,
  again: fc.array(fc.nat({ max: 999 }), { maxLength: maxMessages }),
});
type History = typeof history extends fc.Arbitrary<infer Value> ? Value : never;

function systemOf({ changes }: Pick<History, 'changes'>): TenantSystem {
  const system = new TenantSystem();
  for (const change of changes) {
    if ('set' in change) system.set(change.set, change.content);
    else if ('remove' in change) system.delete(change.remove);
    else if ('swap' in change) system.swapEmails(change.swap, change.with);
    else system.rename(change.from, change.to, change.asDelete);
  }
  return system;
}

function inOrder(messages: readonly Message[], { first, again }: History): Message[] {
  const timed = messages.flatMap((message, index) =>
    [first[index], again[index]].flatMap((at) => (at === undefined ? [] : [{ at, message }])),
  );
  return timed.sort((one, other) => one.at - other.at).map(({ message }) => message);
}

type Tenant = ReturnType<typeof tenantOf>;

function toSynced(result: WriteResult): Synced {
  if (result.code === 'SUCCESS') return 'done';
  if (result.code === 'STALE_REVISION') return 'stale';
  if (result.code === 'CUSTOMER_NOT_FOUND') return 'not found';
  if (result.code === 'CUSTOMER_ALREADY_STORED') return 'name taken';
  if ('conflicts' in result) return 'value taken';
  throw new Error(`a sync was answered: ${result.code}`);
}

const targetOf = (acme: Tenant): Target => ({
  find: async (name) => (await acme.find(byExternalId(name)))?.customer.customerUrn,
  sync: async (name, content, revision, urn) =>
    toSynced(await acme.sync(name, content, { revision, ...(urn !== undefined && { by: byUrn(urn) }) })),
  async erase(name, revision) {
    const check = erasureCheck(undefined, revision);
    const { code } = await acme.erase(byExternalId(name), { revision, check });
    assert.match(code, /^(SUCCESS|CUSTOMER_NOT_FOUND|STALE_REVISION)$/);
  },
});

/** Delivers all messages by a worker for each tenant, and again those that others must come before. */
async function deliverAll(tenants: readonly Tenant[], messages: readonly Message[]): Promise<void> {
  let queue = messages;
  while (queue.length > 0) {
    const waiting = [...queue];
    const refused: Message[] = [];
    const work = async (acme: Tenant) => {
      const target = targetOf(acme);
      for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) {
        if (!(await deliver(message, target))) refused.push(message);
      }
    };
    await Promise.all(tenants.map(work));
    if (refused.length === queue.length) await exchangeNewest(tenants[0] as Tenant, refused);
    queue = refused;
  }
}

/** Customers that hold each other's last values, and no message frees one: an import applies such rows as an exchange. */
async function exchangeNewest(acme: Tenant, refused: readonly Message[]): Promise<void> {
  const newest = new Map<string, Exclude<Message, { kind: 'erase' }>>();
  for (const message of refused) {
    const isKnown = (await acme.find(byExternalId(message.name))) !== undefined;
    if (message.kind === 'erase' || !isKnown) continue;
    if (message.revision > (newest.get(message.name)?.revision ?? 0)) newest.set(message.name, message);
  }
  const changes = [...newest.values()].map(({ name, content, revision }) => [name, content, { revision }] as const);
  assert.notEqual(changes.length, 0, JSON.stringify(refused));
  const exchanged = await acme.exchange(...changes);
  assert.ok('results' in exchanged, JSON.stringify(exchanged));
}

const stateIn = async (acme: Tenant) => Promise.all(names.map((name) => acme.find(byExternalId(name))));

async function checkState(tenants: readonly Tenant[], { customers }: TenantSystem): Promise<void> {
  for (const acme of tenants) {
    for (const [index, stored] of (await stateIn(acme)).entries()) {
      const { email, phoneNumber, firstName, sourceRevision } = stored?.customer ?? {};
      const found = stored && { content: { email, phoneNumber, firstName }, revision: sourceRevision };
      const wanted = customers.get(names[index] as string);
      const none = { email: undefined, phoneNumber: undefined, firstName: undefined };
      assert.deepEqual(found, wanted && { ...wanted, content: { ...none, ...wanted.content } }, names[index]);
    }
  }
}

async function converges(repositories: readonly CustomerRepository[], numRuns: number): Promise<void> {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(history, async (history) => {
      run += 1;
      const tenants = repositories.map((repository) => tenantOf(repository, tenantId(`run-${run}`)));
      const system = systemOf(history);
      await deliverAll(tenants, inOrder(system.messages, history));
      await checkState(tenants, system);
      const before = await stateIn(tenants[0] as Tenant);
      await deliverAll(tenants.slice(0, 1), system.messages);
      assert.deepEqual(await stateIn(tenants[0] as Tenant), before, 'all of them again change nothing');
    }),
    { numRuns },
  );
}

const runs = Number(process.env.C2A_TEST_RUNS ?? 1);

t.test('memory', async () => {
  const repository = new MemoryCustomers(referenceData);
  await converges([repository, repository], 300 * runs);
});

t.test('SQLite', async (t) => {
  const folder = newFolder(t);
  const open = async () => (await connectSqlite(t, folder)).repository;
  await converges([await open(), await open()], 60 * runs);
});

for (const [name, newPlace] of Object.entries(newPlaces)) {
  t.test(`PostgreSQL, ${name}`, async (t: Test) => {
    const place = await newPlace(t);
    const open = async () => (await connectPostgres(t, place)).repository;
    await converges([await open(), await open()], 25 * runs);
  });
}
