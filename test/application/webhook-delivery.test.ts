/** Deliveries over memory storage and TCP, to a consumer in another process, with a clock that the test sets. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ephemeralVault } from '../../src/adapters/crypto/vault.ts';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createMemoryLeases } from '../../src/adapters/memory/leases.ts';
import { createMemoryTenants } from '../../src/adapters/memory/tenants.ts';
import { createMemoryWebhooks } from '../../src/adapters/memory/webhooks.ts';
import { createMetrics } from '../../src/adapters/telemetry/metrics.ts';
import { createWebhookSecrets } from '../../src/adapters/webhooks/secrets.ts';
import { createWebhookSender } from '../../src/adapters/webhooks/sender.ts';
import type { Webhook } from '../../src/application/ports/webhooks.ts';
import { WebhookDelivery } from '../../src/application/webhook-delivery.ts';
import { Webhooks } from '../../src/application/webhooks.ts';
import { atOnce, byUrn, overwrite, referenceData, tenantId, tenantOf } from '../support/storage.ts';
import { orderFaults, startConsumer, until } from '../support/webhooks.ts';

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const acme = tenantId('acme');

/** A tenant with customers, webhooks, and a process that delivers; `another` makes further processes. */
async function start(t: Test, { timeoutMs = 2_000 } = {}) {
  const consumer = await startConsumer(t);
  // Near to the real time, because the consumer verifies timestamps by it.
  const clock = { now: Date.now() };
  const repository = new MemoryCustomers(referenceData);
  const directory = createMemoryTenants();
  await directory.addTenant({ id: acme, payment: { channels: [], canSavePaymentMethod: false }, createdAt: clock.now });
  const warnings: string[] = [];
  const metrics = createMetrics();
  const shared = {
    webhooks: createMemoryWebhooks(),
    leases: createMemoryLeases(),
    secrets: createWebhookSecrets(ephemeralVault()),
    sender: createWebhookSender({ networks: '127.0.0.0/8', environment: 'sandbox', timeoutMs }),
    telemetry: metrics,
    clock: () => clock.now,
    random: () => 0,
    ...{ repository, directory },
  };
  let processes = 0;
  function another() {
    processes += 1;
    const warn = (message: string) => warnings.push(message);
    const delivery = new WebhookDelivery({ ...shared, holder: `process ${processes}`, warn });
    t.teardown(() => delivery.stop());
    return delivery;
  }
  const manage = new Webhooks(shared);
  const customers = tenantOf(repository);

  /** Adds a webhook for a path of the consumer. */
  async function hook(path: string) {
    const added = await manage.add(acme, { url: consumer.url(path) });
    if (added === undefined) throw new Error('the tenant is missing');
    const { id } = added.webhook;
    const now = async () => (await shared.webhooks.find(acme, id)) as Webhook;
    return { ...added, id, path, now };
  }
  type Hook = Awaited<ReturnType<typeof hook>>;

  const delivery = another();
  return {
    ...{
      consumer,
      clock,
      manage,
      customers,
      repository,
      webhooks: shared.webhooks,
      leases: shared.leases,
      warnings,
      metrics,
      hook,
      another,
    },
    delivery,
    /** Runs the process until the webhook is at the end of the feed. */
    async drain({ now }: Hook, process = delivery): Promise<void> {
      await until('the end of the feed', async () => {
        await process.run();
        clock.now = Math.max(clock.now, (await now()).failing?.nextAttemptAt ?? 0);
        return (await now()).cursor.position === (await customers.lastChange());
      });
    },
    /** Runs the process until the webhook has failed this many times in a row, or is disabled. */
    async fail({ now }: Hook, failures: number): Promise<void> {
      await delivery.run();
      await until(`failure ${failures}`, async () => {
        const { failing, disabledReason } = await now();
        return failing?.failures === failures || disabledReason !== undefined;
      });
    },
    /** Stores customers, and changes each of them `versions - 1` times, mixed. */
    async change(count: number, versions: number): Promise<void> {
      const urns = await atOnce(
        count,
        async (index) => (await customers.mustStore(`crm-${index}`)).customer.customerUrn,
      );
      for (let version = 2; version <= versions; version += 1) {
        await atOnce(count, (index) =>
          customers.update(byUrn(urns[index] as string), overwrite({ firstName: `${version}` })),
        );
      }
    },
  };
}

t.test('every event is delivered, in the order of versions of each customer, although deliveries fail', async (t) => {
  const { consumer, clock, hook, drain, change } = await start(t);
  const began = clock.now;
  const flaky = await hook('/flaky/10');
  await consumer.knows(flaky.secret);
  await change(30, 10);
  await drain(flaky);
  const received = consumer.of('/flaky/10');
  t.same(orderFaults(received), []);
  t.equal(new Set(received.filter(({ accepted }) => accepted).map(({ id }) => id)).size, 300);
  t.ok(
    received.some(({ accepted }) => !accepted),
    'some were refused',
  );
  const most = Math.max(...received.map(({ atOnce }) => atOnce));
  t.ok(most > 1 && most <= 8, `${most} at once`);
  // The clock of the test runs ahead with each failure; the consumer allows five minutes.
  const early = received.filter(({ headers }) => Number(headers['webhook-timestamp']) * 1000 < began + 4 * minute);
  t.ok(early.length > 8);
  t.ok(
    early.every(({ verifiedBy }) => verifiedBy.length === 1),
    'each is signed',
  );
});

t.test('the events of a customer wait for each other, also if nothing else is to be delivered', async (t) => {
  const { consumer, hook, drain, change } = await start(t);
  const slow = await hook('/slow/10');
  await change(3, 40);
  await drain(slow);
  t.same(orderFaults(consumer.received), []);
  t.equal(consumer.received.length, 120);
  t.equal(Math.max(...consumer.received.map(({ atOnce }) => atOnce)), 3);
});

t.test('what is delivered: the event as changes shows it', async (t) => {
  const { consumer, hook, drain, customers } = await start(t);
  await customers.mustStore('before');
  const ok = await hook('/ok');
  const stored = await customers.mustStore('crm-1', { firstName: 'Jane' }, { revision: 7 });
  const other = await customers.mustStore('crm-2');
  await customers.merge(other.by, stored.by);
  await drain(ok);
  const events = await customers.changes(1);
  const { customerUrn } = stored.customer;
  t.equal(consumer.received.length, 3, 'from the time on when it was added');
  const [first, second, third] = ['crm-1', 'crm-2', 'merge'].map((_, index) =>
    consumer.received.find(({ id }) => id === events[index]?.id),
  );
  t.strictSame(first?.body, {
    type: 'customer.stored',
    timestamp: '2026-01-15T12:00:00.000Z',
    data: {
      id: first?.id,
      type: 'customer.stored',
      customerUrn,
      version: 1,
      at: '2026-01-15T12:00:00.000Z',
      changedFields: ['externalIdentifier', 'firstName', 'legalType', 'privacy', 'status', 'claimedRegion'],
      actor: { keyId: 'key', requestId: 'request' },
      sourceRevision: 7,
    },
  });
  t.equal(second?.body.data.sourceRevision, undefined);
  t.match(third?.body, {
    type: 'customer.merged',
    data: { customerUrn: other.customer.customerUrn, mergedInto: customerUrn },
  });
  t.notMatch(JSON.stringify(consumer.received), /Jane|crm-1/, 'nothing personal');
});

t.test('a failing endpoint is tried by the schedule, with one event, and disabled after ten days', async (t) => {
  const { consumer, clock, hook, fail, delivery, change, warnings, manage, drain } = await start(t);
  const down = await hook('/status/500');
  await change(20, 1);
  const began = clock.now;
  const attempts: number[] = [];
  for (let failures = 1; (await down.now()).disabledReason === undefined; failures += 1) {
    await fail(down, failures);
    attempts.push(clock.now - began);
    const { failing } = await down.now();
    t.match(failing, { firstFailureAt: began, failures, lastError: 'answered 500' });
    const before = consumer.received.length;
    clock.now = (failing?.nextAttemptAt ?? 0) - 1;
    await delivery.run();
    await delay(5);
    t.equal(consumer.received.length, before, 'not before it is due');
    clock.now += 1;
  }
  const waits = [
    5 * second,
    5 * minute,
    30 * minute,
    ...[2, 5, 10, 14, 20, 24, 24, 24, 24, 24, 24].map((h) => h * hour),
  ];
  const sums = waits.map((_, index) => waits.slice(0, index + 1).reduce((sum, wait) => sum + wait));
  t.same(attempts.slice(0, sums.length + 1), [0, ...sums]);
  t.equal(attempts.at(-1), 10 * day);
  t.ok(consumer.received.length <= attempts.length + 7, 'one event at a time after the first failure');
  t.equal(new Set(consumer.received.slice(8).map(({ id }) => id)).size, 1, 'the same each time');
  const reason = 'it failed for ten days; the last attempt: answered 500';
  t.equal((await down.now()).disabledReason, reason);
  t.same(warnings, [`webhook ${down.id} was disabled: ${reason}`]);

  await manage.set(down.id, { url: consumer.url('/ok') });
  await delivery.run();
  t.equal(consumer.of('/ok').length, 0, 'another URL alone does not enable it');
  t.equal((await manage.set(down.id, { isEnabled: true }))?.failing, undefined);
  await drain(down);
  t.equal(new Set(consumer.of('/ok').map(({ id }) => id)).size, 20, 'nothing was left out');
});

t.test('410 disables at once; Retry-After delays the next attempt, up to a day', async (t) => {
  const { clock, hook, fail, change, warnings } = await start(t);
  const gone = await hook('/status/410');
  const seconds = await hook('/busy/400');
  const date = await hook(`/busy/${encodeURIComponent(new Date(clock.now + hour).toUTCString())}`);
  const far = await hook('/busy/999999');
  const soon = await hook('/busy/1');
  await change(3, 1);
  for (const one of [gone, seconds, date, far, soon]) await fail(one, 1);
  t.equal((await gone.now()).disabledReason, 'the endpoint answered 410 (Gone)');
  t.same(warnings, [`webhook ${gone.id} was disabled: the endpoint answered 410 (Gone)`]);
  const waits = await Promise.all(
    [seconds, date, far, soon].map(async ({ now }) => ((await now()).failing?.nextAttemptAt ?? 0) - clock.now),
  );
  const [inSeconds, byDate = 0, inDays, bySchedule] = waits;
  t.same([inSeconds, inDays, bySchedule], [400 * second, day, 5 * second]);
  t.ok(Math.abs(byDate - hour) <= second);
});

t.test('faults of an endpoint fail, and do not delay another one', async (t) => {
  const { consumer, hook, fail, drain, change, metrics, manage } = await start(t, { timeoutMs: 4_000 });
  const faulty = ['/silent', '/trickle', '/reset', '/redirect', '/garbage'];
  const hooks = await Promise.all(faulty.map(hook));
  const endless = await hook('/endless');
  const ok = await hook('/ok');
  await change(100, 2);
  await drain(ok);
  t.equal((await hooks[0]?.now())?.failing, undefined, 'before the others have timed out');
  t.equal(consumer.of('/ok').length, 200);
  await drain(endless);
  for (const one of hooks) await fail(one, 1);
  const errors = await Promise.all(hooks.map(async ({ now }) => (await now()).failing?.lastError));
  t.match(errors, [
    'no answer within 4 s',
    'no answer within 4 s',
    /^connection failed: [A-Z_]+$/,
    'answered 307 (redirects are not followed)',
    /^connection failed: [A-Z_]+$/,
  ]);
  await manage.set(hooks[0]?.id as string, { isEnabled: false });
  t.same(await manage.measure(), []);
  const rendered = await metrics.render();
  for (const line of [
    `c2a_webhook_deliveries_total{webhook="${ok.id}",result="success"} 200`,
    `c2a_webhook_deliveries_total{webhook="${hooks[0]?.id}",result="timeout"} 8`,
    `c2a_webhook_lag_events{webhook="${ok.id}"} 0`,
    `c2a_webhook_lag_seconds{webhook="${ok.id}"} 0`,
    `c2a_webhook_lag_events{webhook="${hooks[1]?.id}"} 200`,
    'c2a_webhooks_disabled 1',
  ]) {
    t.ok(rendered.includes(line), line);
  }
});

t.test('during the overlap of a rotation, deliveries have both signatures', async (t) => {
  const { consumer, clock, hook, drain, manage, customers } = await start(t);
  const ok = await hook('/ok');
  const rotated = await manage.rotateSecret(ok.id, hour);
  if (rotated === undefined || rotated === 'TOO_MANY_SECRETS') throw new Error('not rotated');
  await consumer.knows(ok.secret, rotated.secret);
  const began = clock.now;
  for (const [name, now] of [
    ['first', began],
    ['last', began + hour - 1],
    ['after', began + hour],
  ] as const) {
    clock.now = now;
    await customers.mustStore(name);
    await drain(ok);
  }
  const signatures = consumer.received.map(({ headers }) => headers['webhook-signature']?.split(' ').length);
  t.same(signatures, [2, 2, 1]);
  t.same(consumer.received[0]?.verifiedBy, [0, 1]);

  for (const overlap of [hour, 0]) t.match(await manage.rotateSecret(ok.id, overlap), { secret: /^whsec_/ });
  for (let count = 0; count < 4; count += 1) await manage.rotateSecret(ok.id, hour);
  t.equal(await manage.rotateSecret(ok.id, hour), 'TOO_MANY_SECRETS');
  t.match(await manage.rotateSecret(ok.id, 0), { secret: /^whsec_/ });
});

t.test('replay delivers again, or leaves events out', async (t) => {
  const { consumer, hook, drain, manage, change, customers, delivery } = await start(t);
  const ok = await hook('/ok');
  await change(5, 2);
  await drain(ok);
  t.equal(consumer.received.length, 10);
  await manage.replay(ok.id, 8);
  await drain(ok);
  t.equal(consumer.received.length, 12);
  await manage.replay(ok.id, 'start');
  await drain(ok);
  t.equal(consumer.received.length, 22);
  await manage.set(ok.id, { isEnabled: false });
  await customers.mustStore('left out');
  await delivery.run();
  await manage.replay(ok.id, 'end');
  await manage.set(ok.id, { isEnabled: true });
  await drain(ok);
  t.equal(consumer.received.length, 22);
  t.equal(await manage.replay(ok.id, 12), 'POSITION_AFTER_END');
});

t.test('the cursor is stored every five seconds within a batch', async (t) => {
  const { consumer, clock, hook, drain, change, delivery } = await start(t);
  const slow = await hook('/slow/60');
  await change(100, 1);
  await delivery.run();
  await consumer.gets('/slow/60', 20);
  clock.now += 5 * second;
  await until('a stored cursor', async () => (await slow.now()).cursor.position > 0);
  const { cursor } = await slow.now();
  t.ok(cursor.position < 100, `${cursor.position} of 100`);
  await drain(slow);
  t.equal(consumer.received.length, 100, 'none twice');
});

t.test('a command during a batch is not overwritten', async (t) => {
  const { consumer, hook, drain, manage, change, delivery } = await start(t);
  const slow = await hook('/slow/40');
  await change(40, 1);
  await delivery.run();
  await consumer.gets('/slow/40', 10);
  await manage.set(slow.id, { description: 'changed meanwhile' });
  await drain(slow);
  t.equal((await slow.now()).description, 'changed meanwhile');
  t.equal(new Set(consumer.received.map(({ id }) => id)).size, 40);

  await manage.replay(slow.id, 'start');
  await delivery.run();
  await consumer.gets('/slow/40', consumer.received.length + 3);
  await manage.set(slow.id, { isEnabled: false });
  const { cursor } = await slow.now();
  await delivery.stop();
  t.same((await slow.now()).cursor, cursor, 'the batch in progress did not move it');
});

t.test('one process at a time delivers; another takes over when its lease ends, or when it stops', async (t) => {
  const { consumer, clock, hook, drain, another, change, customers, delivery } = await start(t);
  const second = another();
  const slow = await hook('/slow/10');
  await change(30, 2);
  const both = { run: () => Promise.all([delivery.run(), second.run()]).then(() => {}) };
  await drain(slow, both as WebhookDelivery);
  t.equal(consumer.received.length, 60, 'none twice');
  t.same(orderFaults(consumer.received), []);

  await customers.mustStore('later');
  await second.run();
  await delay(20);
  t.equal(consumer.received.length, 60, 'the first one has the lease');
  clock.now += 61 * 1_000;
  await drain(slow, second);
  t.equal(consumer.received.length, 61, 'the first one did not renew it');
  await second.stop();
  await customers.mustStore('last');
  await drain(slow, delivery);
  t.equal(consumer.received.length, 62, 'a process that stops releases it');
});

t.test('a process that has lost its lease within a batch begins no more attempts', async (t) => {
  const { consumer, clock, hook, drain, change, delivery, leases } = await start(t);
  const slow = await hook('/slow/40');
  await change(80, 1);
  await delivery.run();
  await consumer.gets('/slow/40', 10);
  // As if the process had stood still for more than a minute.
  clock.now += 61 * second;
  t.equal(await leases.acquire(`webhook ${slow.id}`, 'another process', minute, clock.now), true);
  const begun = consumer.received.length;
  await until('the progress', async () => (await slow.now()).cursor.position > 0);
  await delay(100);
  t.ok(consumer.received.length <= begun + 8, `${consumer.received.length} of 80`);
  clock.now += 61 * second;
  await drain(slow);
  t.equal(new Set(consumer.received.map(({ id }) => id)).size, 80);
});

t.test('what another process has delivered before the lease was taken is not delivered again', async (t) => {
  const { consumer, clock, hook, drain, another, change, delivery, webhooks } = await start(t);
  const ok = await hook('/ok');
  await change(5, 1);
  const { listDue } = webhooks;
  const found = await listDue(clock.now);
  await drain(ok);
  await delivery.stop();
  webhooks.listDue = async () => found;
  const other = another();
  await other.run();
  await delay(50);
  await other.stop();
  t.equal(consumer.received.length, 5);
});

t.test('a stop ends attempts in progress, which do not count as failures', async (t) => {
  const { consumer, hook, drain, another, customers, delivery } = await start(t, { timeoutMs: 60_000 });
  const silent = await hook('/silent');
  await customers.mustStore('crm-1');
  await delivery.run();
  await consumer.gets('/silent', 1);
  await delivery.stop();
  t.match(await silent.now(), { cursor: { position: 0 }, revision: 1 });
  t.equal((await silent.now()).failing, undefined);
  const ok = await hook('/ok');
  await customers.mustStore('crm-2');
  await delivery.run();
  t.equal(consumer.of('/ok').length, 0, 'it begins nothing more');
  await drain(ok, another());
});

t.test('a webhook whose cursor is not in the feed is disabled, until its cursor is moved', async (t) => {
  const { consumer, hook, drain, manage, webhooks, customers, fail, change } = await start(t);
  const ok = await hook('/ok');
  await change(3, 1);
  await drain(ok);
  await webhooks.update({ ...(await ok.now()), cursor: { position: 2, eventId: 'of another history' } });
  await fail(ok, 1);
  t.match((await ok.now()).disabledReason, /the feed lacks the event at its cursor/);
  await customers.mustStore('crm-later');
  await manage.replay(ok.id, 'start');
  await manage.set(ok.id, { isEnabled: true });
  await drain(ok);
  t.equal(consumer.received.length, 7);
});

t.test('an error of the storage is reported by the next run, and ends', async (t) => {
  const { consumer, hook, drain, repository, customers, delivery } = await start(t);
  const ok = await hook('/ok');
  await customers.mustStore('crm-1');
  const { changes } = repository;
  repository.changes = () => Promise.reject(new Error('the disk is away'));
  await delivery.run();
  await delay(1);
  await t.rejects(delivery.run(), { message: 'the disk is away' });
  repository.changes = changes;
  await delay(1);
  await delivery.run().catch(() => {});
  await drain(ok);
  t.equal(consumer.received.length, 1);
});
