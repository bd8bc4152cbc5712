import { setImmediate as nextTurn } from 'node:timers/promises';
import { actor, atOnce, noon, overwrite, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { decideError, fail, type TestRepository } from './examples.ts';

export function changesContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('changes has every event of the tenant, with positions from 1, and ends at lastChange', async (t, acme) => {
    t.strictSame(await acme.changes(), []);
    t.equal(await acme.lastChange(), 0);

    // Whoever asks for the last event gives every event a position: else those of different customers are in any order.
    const one = await acme.mustStore('crm-1', { firstName: 'Jane' });
    t.equal(await acme.lastChange(), 1);
    const other = await acme.mustStore('crm-2');
    t.equal(await acme.lastChange(), 2);
    await acme.update(one.by, overwrite({ firstName: 'Joan' }));
    t.equal(await acme.lastChange(), 3);
    await acme.erase(other.by);
    const events = await acme.changes();
    t.strictSame(
      events.map(({ position, customerUrn, version, type }) => [position, customerUrn, version, type]),
      [
        [1, one.customer.customerUrn, 1, 'customer.stored'],
        [2, other.customer.customerUrn, 1, 'customer.stored'],
        [3, one.customer.customerUrn, 2, 'customer.updated'],
        [4, other.customer.customerUrn, 2, 'customer.anonymized'],
      ],
    );
    const { id, ...updated } = events[2] as (typeof events)[number];
    t.match(id, /^[\da-f]{8}-[\da-f-]{27}$/);
    const { customerUrn } = one.customer;
    t.strictSame(updated, {
      position: 3,
      customerUrn,
      ...{ version: 2, at: noon + 1, type: 'customer.updated', changedFields: ['firstName'], actor },
    });
    t.equal(new Set(events.map((event) => event.id)).size, 4);
    t.equal(await acme.lastChange(), 4);
    t.strictSame(await acme.changes(), events, 'positions and ids stay');
  });

  test('changes begins after a position, and is limited', async (t, acme) => {
    for (const name of ['a', 'b', 'c', 'd']) await acme.mustStore(name);
    const positions = async (after: number, limit: number) =>
      (await acme.changes(after, limit)).map(({ position }) => position);
    t.strictSame(await positions(0, 3), [1, 2, 3]);
    t.strictSame(await positions(1, 2), [2, 3]);
    t.strictSame(await positions(3, 10), [4]);
    t.strictSame(await positions(4, 10), []);
    t.strictSame(await positions(99, 10), []);
  });

  test('changes are of one tenant', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    await acme.mustStore('crm-1');
    await globex.mustStore('crm-1');
    await globex.mustStore('crm-2');
    t.equal((await acme.changes()).length, 1);
    t.equal((await globex.changes()).length, 2);
    t.equal(await acme.lastChange(), 1);
  });

  test('what is not stored leaves no gap in the positions', async (t, acme) => {
    const { by } = await acme.mustStore('a', { email: 'a@example.com' });
    await acme.mustStore('b', { email: 'b@example.com' });
    await acme.store('a');
    await t.rejects(acme.update(by, fail), decideError);
    await acme.exchange(['a', { email: 'a@example.com', firstName: 'Jane' }], ['b', { email: 'a@example.com' }]);
    await acme.exchange(['a', { email: 'b@example.com' }], ['b', { email: 'a@example.com' }]);
    const events = await acme.changes();
    t.strictSame(
      events.map(({ position }) => position),
      [1, 2, 3, 4],
    );
    t.strictSame(events.map(({ version }) => version).sort(), [1, 1, 2, 2]);
  });

  test('a reader beside writers gets every event once, and the versions of each customer in order', async (t, acme) => {
    const seen = new Map<string, number>();
    let position = 0;
    async function read() {
      for (const event of await acme.changes(position, 7)) {
        t.equal(event.position, position + 1);
        t.equal(event.version, (seen.get(event.customerUrn) ?? 0) + 1);
        seen.set(event.customerUrn, event.version);
        position += 1;
      }
    }
    let isWriting = true;
    const writing = atOnce(20, async (index) => {
      const { by } = await acme.mustStore(`crm-${index}`, { firstName: '' });
      for (let turn = 0; turn < 5; turn += 1) await acme.update(by, overwrite({ firstName: `${turn}` }));
    }).finally(() => {
      isWriting = false;
    });
    for (; isWriting; await nextTurn()) await read();
    await writing;
    while (position < (await acme.lastChange())) await read();
    t.equal(position, 120);
  });
}
