/**
 * The contract of `WebhookDirectory` (`src/application/ports/webhooks.ts`). To test an adapter, call `webhooksContract`.
 * If several connections can use one storage, also call `sharedWebhooksContract`.
 */
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import type { Webhook, WebhookDirectory } from '../../src/application/ports/webhooks.ts';
import { atOnce, noon, tenantId, tenantOf } from './scenario.ts';
import type { ContractTest } from './test.ts';

/** The webhooks of a storage, and the customers whose events they deliver. */
interface WebhookStorage {
  readonly webhooks: WebhookDirectory;
  readonly repository: CustomerRepository;
}
/** Opens an empty storage, which is closed when the test ends. */
export type OpenWebhooks<Test> = (t: Test) => Promise<WebhookStorage>;
/** Makes an empty storage and returns a function that connects to it. Storage and connections end with the test. */
export type MakeWebhooks<Test> = (t: Test) => () => Promise<WebhookStorage>;

const webhook = (tenant: string, id: string, more: Partial<Webhook> = {}): Webhook => ({
  tenant: tenantId(tenant),
  id,
  url: `https://${tenant}.example.com/${id}`,
  createdAt: noon,
  sealedSecrets: new Uint8Array([1, 2, 3]),
  cursor: { position: 0 },
  revision: 1,
  ...more,
});

const failing = { firstFailureAt: noon, failures: 3, nextAttemptAt: noon + 10, lastError: 'answered 500' };

/** Every member. */
const full = (tenant: string, id: string): Webhook =>
  webhook(tenant, id, {
    description: 'The "warehouse" 🦊',
    cursor: { position: 7, eventId: 'event 7' },
    failing,
    lastSuccessAt: noon - 1,
    disabledReason: 'disabled by an operator',
  });

/** A webhook with its secrets as a `Uint8Array`: an adapter may return a subclass, which would not compare as equal. */
const plain = (one: Webhook | undefined): Webhook | undefined =>
  one && { ...one, sealedSecrets: new Uint8Array(one.sealedSecrets) };
const plainAll = (all: readonly Webhook[]) => all.map(plain);

/** @param t gets one test for each clause of the contract, each over an empty storage */
export function webhooksContract<Test extends ContractTest>(t: Test, open: OpenWebhooks<Test>): void {
  const test = (clause: string, run: (t: Test, storage: WebhookStorage) => Promise<void>) =>
    t.test(clause, async (t: Test) => run(t, await open(t)));

  test('an empty storage has no webhooks', async (t, { webhooks }) => {
    t.strictSame(await webhooks.list(), []);
    t.strictSame(await webhooks.listDue(noon), []);
    t.equal(await webhooks.find(tenantId('acme'), 'wh_1'), undefined);
    t.equal(await webhooks.update(webhook('acme', 'wh_1')), undefined);
    t.equal(await webhooks.remove(tenantId('acme'), 'wh_1'), false);
  });

  test('a webhook is found as added, with and without optional members, by its tenant only', async (t, {
    webhooks,
  }) => {
    for (const one of [webhook('acme', 'wh_1'), full('acme', 'wh_2')]) {
      await webhooks.add(one);
      t.strictSame(plain(await webhooks.find(one.tenant, one.id)), one);
      t.equal(await webhooks.find(tenantId('globex'), one.id), undefined);
    }
  });

  test('list returns the webhooks of one tenant or of all, by tenant, oldest first', async (t, { webhooks }) => {
    const all = [
      webhook('acme', 'wh_b', { createdAt: noon - 1 }),
      webhook('acme', 'wh_a'),
      webhook('acme', 'wh_c'),
      full('globex', 'wh_d'),
    ];
    for (const one of all.toReversed()) await webhooks.add(one);
    t.strictSame(plainAll(await webhooks.list()), all);
    t.strictSame(plainAll(await webhooks.list(tenantId('acme'))), all.slice(0, 3));
    t.strictSame(plainAll(await webhooks.list(tenantId('initech'))), []);
  });

  test('an update replaces everything but the creation time, and counts the revision', async (t, { webhooks }) => {
    await webhooks.add(webhook('acme', 'wh_1'));
    await webhooks.add(webhook('globex', 'wh_1'));
    const changed = { ...full('acme', 'wh_1'), url: 'https://other.example.com', sealedSecrets: new Uint8Array([9]) };
    t.strictSame(plain(await webhooks.update(changed)), { ...changed, revision: 2 });
    t.strictSame(plain(await webhooks.find(changed.tenant, 'wh_1')), { ...changed, revision: 2 });

    const without = webhook('acme', 'wh_1', { revision: 2 });
    t.strictSame(plain(await webhooks.update(without)), { ...without, revision: 3 });
    t.strictSame(plain(await webhooks.find(changed.tenant, 'wh_1')), { ...without, revision: 3 });
    t.strictSame(
      plain(await webhooks.find(tenantId('globex'), 'wh_1')),
      webhook('globex', 'wh_1'),
      'of another tenant',
    );
  });

  test('an update from another revision changes nothing', async (t, { webhooks }) => {
    const [first] = [webhook('acme', 'wh_1')];
    await webhooks.add(first);
    await webhooks.update({ ...first, description: 'second' });
    for (const revision of [0, 1, 3]) t.equal(await webhooks.update({ ...first, revision }), undefined);
    t.strictSame(plain(await webhooks.find(first.tenant, 'wh_1')), { ...first, description: 'second', revision: 2 });
  });

  test('a webhook is due if it is enabled, does not wait, and there are events after its cursor', async (t, storage) => {
    const { webhooks, repository } = storage;
    await webhooks.add(webhook('acme', 'wh_ready'));
    await webhooks.add(webhook('acme', 'wh_waiting', { failing }));
    await webhooks.add(webhook('acme', 'wh_disabled', { disabledReason: 'answered 410' }));
    const due = async (now: number) => (await webhooks.listDue(now)).map(({ id }) => id).sort();
    await tenantOf(repository).mustStore('crm-1');
    t.strictSame(await due(noon + 9), ['wh_ready']);
    t.strictSame(await due(noon + 10), ['wh_ready', 'wh_waiting']);

    const [first] = await repository.changes(tenantId('acme'), 0, 1);
    const cursor = { position: 1, ...(first && { eventId: first.id }) };
    await webhooks.update(webhook('acme', 'wh_ready', { cursor }));
    await tenantOf(repository).mustStore('crm-2');
    const [ready] = await webhooks.listDue(noon);
    t.match(ready, { id: 'wh_ready', cursor, revision: 2 }, 'with its state');
  });

  test('a removed webhook is gone', async (t, { webhooks }) => {
    await webhooks.add(webhook('acme', 'wh_1'));
    await webhooks.add(webhook('acme', 'wh_2'));
    t.equal(await webhooks.remove(tenantId('globex'), 'wh_1'), false);
    t.equal(await webhooks.remove(tenantId('acme'), 'wh_1'), true);
    t.equal(await webhooks.remove(tenantId('acme'), 'wh_1'), false);
    t.equal(await webhooks.update(webhook('acme', 'wh_1')), undefined);
    t.strictSame(plainAll(await webhooks.list()), [webhook('acme', 'wh_2')]);
  });

  test('of many updates at once, one succeeds', async (t, storage) => raceOver(t, async () => storage));
}

/** The additional contract of a storage that several connections or processes use. */
export function sharedWebhooksContract<Test extends ContractTest>(t: Test, make: MakeWebhooks<Test>): void {
  t.test('of many connections that update at once, one succeeds', (t: Test) => raceOver(t, make(t)));
}

/** Lets ten connections update a webhook from the same revision, again and again. */
async function raceOver(t: ContractTest, connect: () => Promise<WebhookStorage>): Promise<void> {
  const connections = await atOnce(10, connect);
  const [first] = connections as [WebhookStorage];
  await first.webhooks.add(webhook('acme', 'wh_1'));
  for (let revision = 1; revision <= 10; revision += 1) {
    const stored = await atOnce(connections.length, (index) =>
      (connections[index] as WebhookStorage).webhooks.update(
        webhook('acme', 'wh_1', { revision, description: `${index}` }),
      ),
    );
    const [winner, ...others] = stored.filter((one) => one !== undefined);
    t.equal(others.length, 0);
    for (const { webhooks } of connections) {
      t.strictSame(plain(await webhooks.find(tenantId('acme'), 'wh_1')), plain(winner));
    }
  }
}
