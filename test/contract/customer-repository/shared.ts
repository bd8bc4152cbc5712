import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  actor,
  atOnce,
  byExternalId,
  type Connection,
  noon,
  overwrite,
  storedIn,
  tally,
  tenantId,
  tenantOf,
} from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { conflicts, email, key, phoneNumber, type Tenant } from './examples.ts';

/** Makes an empty storage and returns a function that connects to it. Storage and connections end with the test. */
export type MakeStorage<Test> = (t: Test) => () => Promise<Connection>;

/** The additional contract of a storage that several connections or processes use, and that outlives them. */
export function sharedCustomersContract<Test extends ContractTest>(t: Test, make: MakeStorage<Test>): void {
  t.test('every acknowledged write survives close and reopen', async (t: Test) => {
    const connect = make(t);
    const first = await connect();
    const before = tenantOf(first.repository);
    const kept = await before.mustStore('crm-1', { email, phoneNumber }, { key: key('k') });
    const changed = storedIn(await before.update(kept.by, overwrite({ firstName: 'Jane' })));
    const erased = storedIn(await before.erase((await before.mustStore('crm-2')).by));
    const erasure = await first.repository.findErasure(tenantId('acme'), erased.customer.customerUrn);
    await first.close();

    const { repository: reopened } = await connect();
    const after = tenantOf(reopened);
    t.strictSame(await after.find(kept.by), changed.stored);
    t.strictSame(await after.find(erased.by), erased.stored);
    t.match(erasure, { ...actor, erasedAt: noon + 1 });
    t.strictSame(await reopened.findErasure(tenantId('acme'), erased.customer.customerUrn), erasure);
    t.match(await after.store('crm-9', { email }), { code: conflicts[1] });
    t.match(await after.store('crm-9', { phoneNumber }), { code: conflicts[2] });
    t.strictSame(await after.store('x', {}, { key: key('k') }), {
      code: 'SUCCESS',
      stored: changed.stored,
      replayed: true,
    });
    const fresh = await after.mustStore('crm-2');
    t.notOk([kept, erased].some(({ customer }) => customer.customerUrn === fresh.customer.customerUrn));
  });

  t.test('close completes the writes in progress', async (t: Test) => {
    const connect = make(t);
    const first = await connect();
    const writing = atOnce(300, (index) => tenantOf(first.repository).store(`crm-${index}`));
    await first.close();
    t.strictSame(tally(await writing), { SUCCESS: 300 });
    const again = tenantOf((await connect()).repository);
    const found = await atOnce(300, (index) => again.find(byExternalId(`crm-${index}`)));
    t.notOk(found.includes(undefined));
  });

  t.test('a connection sees the acknowledged writes of another at once', async (t: Test) => {
    const connect = make(t);
    const [one, other] = [tenantOf((await connect()).repository), tenantOf((await connect()).repository)];
    const { stored, by } = await one.mustStore('crm-1', { email });
    t.strictSame(await other.find(by), stored);
    const changed = storedIn(await other.update(by, overwrite({ email: 'new@example.com' })));
    t.strictSame(await one.find(byExternalId('crm-1')), changed.stored);
    t.strictSame(
      [await one.find({ email }), await one.find({ email: 'new@example.com' })],
      [undefined, changed.stored],
    );
    t.equal((await one.store('crm-2', { email })).code, 'SUCCESS');
    const erased = storedIn(await other.erase(by));
    t.strictSame(await one.find(by), erased.stored);
    t.equal(await one.hasExternalId('crm-1'), false);
  });

  t.test('races over two connections end like races over one connection', async (t: Test) => {
    const connect = make(t);
    const tenants = [tenantOf((await connect()).repository), tenantOf((await connect()).repository)];
    const turn = (index: number) => tenants[index % 2] as Tenant;

    const stores = await atOnce(50, (index) => turn(index).store('crm-1', { firstName: '' }));
    t.strictSame(tally(stores), { SUCCESS: 1, [conflicts[0]]: 49 });
    const retries = await atOnce(50, (index) => turn(index).store('crm-2', {}, { key: key('k') }));
    t.strictSame(tally(retries), { SUCCESS: 50 });
    t.equal(retries.filter((result) => 'replayed' in result).length, 49);
    const updates = await atOnce(50, (index) =>
      turn(index).update(byExternalId('crm-1'), (current) =>
        overwrite({ firstName: `${current?.customer.firstName}.` })(current),
      ),
    );
    t.strictSame(tally(updates), { SUCCESS: 50 });
    t.match(await turn(0).find(byExternalId('crm-1')), { version: 51, customer: { firstName: '.'.repeat(50) } });
  });
  t.test('readers over several connections see each event once, at the same position', async (t: Test) => {
    const connect = make(t);
    const connections = [await connect(), await connect(), await connect()].map(({ repository }) =>
      tenantOf(repository),
    );
    const feeds = connections.map((): string[] => []);
    let isWriting = true;
    const writing = atOnce(60, async (index) => {
      const writer = connections[index % 3] as Tenant;
      const { by } = await writer.mustStore(`crm-${index}`);
      await writer.update(by, overwrite({ firstName: 'Jane' }));
    }).finally(() => {
      isWriting = false;
    });
    await Promise.all(
      connections.map(async (reader, index) => {
        const feed = feeds[index] as string[];
        for (; isWriting || feed.length < (await reader.lastChange()); await nextTurn()) {
          for (const { id, position } of await reader.changes(feed.length, 10)) {
            t.equal(feed.push(id), position);
          }
        }
      }),
    );
    await writing;
    t.equal(new Set(feeds[0]).size, 120);
    t.strictSame(feeds[1], feeds[0]);
    t.strictSame(feeds[2], feeds[0]);
  });
}
