/** `GET /changes`: the change feed of a tenant. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ShownEvent } from '../../../src/application/change-event-view.ts';
import { base, storing } from '../../support/client.ts';
import { eachStorage, refusedFor, type Service } from '../../support/service.ts';

const stored = async ({ post }: Pick<Service, 'post'>, externalIdentifier: string) =>
  (await post('store', storing({ externalIdentifier, email: `${externalIdentifier}@example.com` }))).result.customerUrn;

const nameOf = ({ version, type }: ShownEvent) => `${version} ${type}`;

eachStorage((start, t) => {
  t.test('every change is one event, without values, in the order of the feed', async (t) => {
    const service = await start(t);
    const { post, changes, clock } = service;
    const urn = await stored(service, 'crm-1');
    const other = await stored(service, 'crm-2');
    clock.now += 1_000;
    const updated = await post('update', { customer: { customerUrn: urn, firstName: 'Jane' }, sourceRevision: 7 });
    await post('update', { customer: { customerUrn: urn, firstName: 'Jane' } });
    await post('merge', { from: other, into: urn });
    await post('delete', { customerUrn: urn });
    const { outcome, body, text } = await changes();
    t.equal(outcome, '200 SUCCESS');
    const events = body.result.changes as ShownEvent[];
    t.same(
      [urn, other].map((one) => events.filter(({ customerUrn }) => customerUrn === one).map(nameOf)),
      [
        ['1 customer.stored', '2 customer.updated', '3 customer.anonymized'],
        ['1 customer.stored', '2 customer.merged'],
      ],
    );
    const find = (name: string) => events.find((event) => nameOf(event) === name) as ShownEvent;
    const { id: _, actor, ...change } = find('2 customer.updated');
    t.strictSame(change, {
      type: 'customer.updated',
      customerUrn: urn,
      version: 2,
      at: '2026-01-15T09:30:01.000Z',
      changedFields: ['firstName'],
      sourceRevision: 7,
    });
    t.equal(actor.requestId, updated.headers['x-request-id']);
    t.match(find('2 customer.merged'), { mergedInto: urn });
    t.notMatch(text, /Jane|crm-|example\.com/);
  });

  t.test('a consumer continues from the cursor, page by page, and at the end gets nothing', async (t) => {
    const service = await start(t);
    const { changes } = service;
    const empty = await changes();
    t.strictSame(empty.body.result, { changes: [], next: 'start' });
    t.strictSame((await changes({ after: 'end' })).body.result, empty.body.result);
    t.strictSame((await changes({ after: 'start' })).body.result, empty.body.result);
    const urns: string[] = [];
    for (let index = 0; index < 5; index += 1) urns.push(await stored(service, `crm-${index}`));
    const seen: string[] = [];
    let next: string | undefined;
    for (let page = 0; page < 3; page += 1) {
      const { result } = (await changes({ limit: '2', ...(next && { after: next }) })).body;
      seen.push(...result.changes.map(({ customerUrn }: ShownEvent) => customerUrn));
      next = result.next as string;
    }
    t.same(seen, urns);
    t.strictSame((await changes({ after: next as string })).body.result, { changes: [], next });
    t.strictSame((await changes({ after: 'end' })).body.result, { changes: [], next });
    await stored(service, 'crm-9');
    t.equal((await changes({ after: next as string })).body.result.changes.length, 1);
  });

  t.test('with wait the answer comes as soon as there is an event, and else when the time is over', async (t) => {
    const service = await start(t);
    const { changes } = service;
    await stored(service, 'crm-1');
    const began = performance.now();
    t.same((await changes({ after: 'end', wait: '1' })).body.result.changes, []);
    t.ok(performance.now() - began >= 990, 'the time is over');
    t.equal((await changes({ wait: '30' })).body.result.changes.length, 1, 'what is there already');

    // Not `end`: on a busy machine a request may begin after the next event.
    const { next } = (await changes({ after: 'end' })).body.result;
    const waiting = Array.from({ length: 20 }, () => changes({ after: next, wait: '30' }));
    const tenant = await service.tenant('globex');
    const elsewhere = tenant.changes({ wait: '1' });
    await delay(50);
    const urn = await stored(service, 'crm-2');
    for (const { body } of await Promise.all(waiting)) t.match(body.result.changes, [{ customerUrn: urn }]);
    t.same((await elsewhere).body.result.changes, [], 'another tenant has no event');
  });

  t.test('a hundred requests of a tenant may wait, and waiting ends when the service is closed', async (t) => {
    const { changes, app } = await start(t);
    const asked = Array.from({ length: 101 }, () => changes({ wait: '30' }));
    const refused = await Promise.race(asked);
    t.equal(refused.outcome, '429 TOO_MANY_REQUESTS');
    t.equal(refused.headers['retry-after'], '1');
    t.equal((await changes()).status, 200, 'without wait');
    await app.close();
    const outcomes = (await Promise.all(asked)).map(({ outcome }) => outcome);
    t.same(outcomes.sort(), [...Array(100).fill('200 SUCCESS'), '429 TOO_MANY_REQUESTS']);
  });

  t.test('a key that is revoked while its request waits gets no event', async (t) => {
    const service = await start(t);
    const reader = await service.key('acme', 'read');
    await stored(service, 'crm-1');
    const waiting = reader.changes({ after: 'end', wait: '30' });
    await delay(50);
    await service.services.apiKeys.revoke(reader.id);
    service.clock.now += 1_000;
    await stored(service, 'crm-2');
    t.equal((await waiting).status, 401);
  });

  t.test('a cursor whose event the feed does not have is refused', async (t) => {
    const service = await start(t);
    const cursor = (text: string) => Buffer.from(text).toString('base64url');
    await stored(service, 'crm-1');
    const { next } = (await service.changes()).body.result;
    const [position, id] = Buffer.from(next, 'base64url').toString().split('.');
    const lost = '409 CURSOR_FROM_BEFORE_A_RESTORE';
    t.equal((await service.changes({ after: cursor(`2.${id}`) })).outcome, lost);
    t.equal((await service.changes({ after: cursor(`${position}.${randomUUID()}`) })).outcome, lost);
    const theirs = await service.tenant('globex');
    t.equal((await theirs.changes({ after: next })).outcome, lost, 'of another tenant');
    for (const text of ['x', `0.${id}`, `01.${id}`, '1', '1.', `-1.${id}`, `1e3.${id}`, `${'9'.repeat(16)}.${id}`]) {
      refusedFor(t, await service.changes({ after: cursor(text) }), ['after: invalid_format'], text);
    }
  });

  t.test('a query that breaks rules is refused, with every violation', async (t) => {
    const { changes, anonymous, get } = await start(t);
    const all = ['after: invalid_format', 'limit: invalid_value', 'wait: invalid_value'];
    refusedFor(t, await changes({ after: 'jane doe', limit: '1001', wait: '31' }), all);
    refusedFor(t, await changes({ after: 'x'.repeat(129), limit: '1.5', wait: '-1' }), all);
    refusedFor(t, await get(`${base}/changes?limit=1&limit=2`), ['limit: invalid_type']);
    t.equal((await anonymous.changes()).status, 401);
  });
});
