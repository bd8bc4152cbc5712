/** The node with one tenant's data is away: that tenant waits, and nobody else does. See `test/support/dead-node.ts`. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { storing } from '../support/client.ts';
import { distribute } from '../support/dead-node.ts';
import { deployment, type Server } from '../support/deployment.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { c2a } from '../support/process.ts';
import { newFolder } from '../support/storage.ts';

/** A deployment whose tenants, acme and globex, each have a customer that exists and an erased one. */
async function cluster(t: Test) {
  const url = await newDatabase(t);
  const words = ['--database-url', url];
  const one = deployment(t, newFolder(t), words);
  const server = await one.serve('--log-level', 'warn');
  const headers: Record<string, Record<string, string>> = {};
  for (const tenant of ['acme', 'globex']) {
    await one.command('tenant', 'add', tenant);
    headers[tenant] = { 'x-tn': tenant, 'x-api-key': (await one.command('key', 'issue', tenant)).value.key };
    await post(server, tenant, 'store', storing({ externalIdentifier: 'crm-1' }));
    const { body } = await post(server, tenant, 'store', storing({ externalIdentifier: 'crm-2' }));
    await post(server, tenant, 'delete', { customerUrn: body.result.customerUrn });
  }
  function post(to: Server, tenant: string, route: 'store' | 'update' | 'delete' | 'validate', body: object) {
    return to.post(route, body, headers[tenant]);
  }
  const info = (of: Server, tenant: string, exId: string) =>
    of.get(`/api/c2a/customer/info?exId=${exId}`, headers[tenant]);
  return { ...one, url, words, server, post, info, headers, takeAway: await distribute(url) };
}

type Cluster = Awaited<ReturnType<typeof cluster>>;

/** Every operation of a tenant whose node is there. */
async function isServed(t: Test, { post, info, headers }: Cluster, server: Server, tenant: string, name: string) {
  const outcome = async (answer: ReturnType<typeof post>) => (await answer).status;
  const key = { ...headers[tenant], 'idempotency-key': name };
  const stored = await server.post('store', storing({ externalIdentifier: name }), key);
  t.equal(stored.status, 200, 'store');
  t.equal((await server.post('store', storing({ externalIdentifier: name }), key)).status, 200, 'its retry');
  t.equal(await outcome(post(server, tenant, 'store', storing({ externalIdentifier: name }))), 409, 'a duplicate');
  const { customerUrn } = stored.body.result;
  t.equal((await info(server, tenant, name)).status, 200, 'info');
  t.equal(await outcome(post(server, tenant, 'validate', { externalId: name })), 200, 'validate');
  t.equal(
    await outcome(post(server, tenant, 'update', { customer: { customerUrn, firstName: 'Jane' } })),
    200,
    'update',
  );
  t.equal(await outcome(post(server, tenant, 'delete', { customerUrn })), 200, 'delete');
  t.equal((await info(server, tenant, name)).status, 404, 'it is erased');
}

/** Makes the erasure of acme's customer unfinished, as if the process had ended between its two steps. */
const undoSecondStep = (url: string) =>
  withRawPostgres(
    url,
    `update c2a.customers set erasure = null where tenant = 'acme' and erasure is not null;
     delete from c2a.erasure_positions where tenant = 'acme'`,
  );

async function isErased(url: string): Promise<boolean> {
  const [row] = await withRawPostgres(
    url,
    `select count(*)::int as count from c2a.customers_shards where tenant = 'acme' and erasure is not null`,
  );
  return row?.count === 1;
}

t.test('while a tenant has no node, it alone is not served, and every server is ready', async (t) => {
  const one = await cluster(t);
  const { server, post, info, takeAway, serve } = one;
  await takeAway('acme');
  t.equal((await post(server, 'acme', 'store', storing({ externalIdentifier: 'crm-3' }))).status, 500);
  t.equal((await info(server, 'acme', 'crm-1')).status, 500);
  await isServed(t, one, server, 'globex', 'during');
  t.equal((await server.get('/readyz')).status, 200);

  const second = await serve();
  t.match(
    (await second.stop()).stderr,
    /"msg":"the database failed during the recovery of these tenants; [^"]*: acme"/,
    'a start names the tenant',
  );
  const third = await serve();
  await isServed(t, one, third, 'globex', 'after-start');
  t.equal((await third.get('/readyz')).status, 200);

  await takeAway();
  await isServed(t, one, third, 'acme', 'again');
  await isServed(t, one, server, 'acme', 'again-first');
});

t.test('commands work, and say what they could not look at', async (t) => {
  const { command, words, dataDir, takeAway } = await cluster(t);
  await takeAway('acme');
  const listed = await command('tenant', 'list');
  t.match(listed, {
    code: 0,
    value: [
      { id: 'acme', customers: null, anonymized: null },
      { id: 'globex', customers: 1, anonymized: 1 },
    ],
    stderr: /of these tenants; .*: acme\n/,
  });
  const text = (await c2a(['tenant', 'list', '--data-dir', dataDir, ...words])).stdout;
  t.match(text, /^acme +customers unknown: the database failed .*\nglobex +1 customers +1 anonymized /);

  t.match(await command('key', 'issue', 'acme'), { code: 0, value: { key: /^sk_/ } });
  t.equal((await command('tenant', 'add', 'initech')).code, 0);
  t.match(await command('audit', 'verify'), {
    code: 1,
    value: { tenants: 2, entries: 1, findings: [], unchecked: ['acme'] },
  });
  t.match(await command('audit', 'verify', '--tenant', 'globex'), { code: 0, value: { entries: 1, unchecked: [] } });
  await takeAway();
  t.match(await command('audit', 'verify'), { code: 0, value: { tenants: 3, entries: 2, unchecked: [] }, stderr: '' });
});

t.test('erasures of a tenant that has no node are finished once it is back, without a start', async (t) => {
  const { server, url, takeAway } = await cluster(t);
  await undoSecondStep(url);
  await takeAway('acme');
  await delay(11_000);
  t.notOk(await isErased(url));
  await takeAway();
  for (let look = 0; look < 40 && !(await isErased(url)); look += 1) await delay(500);
  t.ok(await isErased(url));
  await delay(100);
  const { stderr } = await server.stop();
  const messages = stderr.match(/"job":"recover_erasures".*/g) ?? [];
  t.equal(messages.length, 2, 'named once, although two runs have failed, and once when it was back');
  t.match(messages[0], /failed for these tenants; the next run retries them: acme/);
  t.match(messages[1], /background job succeeded again/);
});

t.test('no URN is issued twice if a start could not look at every tenant after older keys were restored', async (t) => {
  const { server, serve, post, url, takeAway } = await cluster(t);
  const urnsOf = async (to: Server, tenant: string, prefix: string) => {
    const urns: string[] = [];
    for (let index = 0; index < 20; index += 1) {
      const { body } = await post(to, tenant, 'store', storing({ externalIdentifier: `${prefix}-${index}` }));
      urns.push(body.result.customerUrn);
    }
    return urns;
  };
  const before = await urnsOf(server, 'acme', 'before');
  await server.stop();
  await withRawPostgres(url, 'update c2a_keys.sequences set last = 0');
  await takeAway('acme');
  const after = await urnsOf(await serve(), 'globex', 'after');
  t.same(
    after.filter((urn) => before.includes(urn)),
    [],
  );
});

t.test('a tenant that a start could not recover is recovered before its next use', async (t) => {
  const { server, url, info, serve, takeAway } = await cluster(t);
  await server.stop();
  await undoSecondStep(url);
  await takeAway('acme');
  const again = await serve();
  t.equal((await info(again, 'acme', 'crm-1')).status, 500);
  await takeAway();
  t.equal((await info(again, 'acme', 'crm-1')).status, 200);
  t.ok(await isErased(url));
});

t.test('a tenant whose recovery the database refuses is named', async (t) => {
  const { server, url, command } = await cluster(t);
  await server.stop();
  await undoSecondStep(url);
  await withRawPostgres(
    url,
    'alter table c2a.customers_shards add constraint full_disk check (erasure is null) not valid',
  );
  t.match(await command('key', 'list'), { code: 0, stderr: /failed during the recovery of these tenants; .*: acme\n/ });
  await withRawPostgres(url, 'alter table c2a.customers_shards drop constraint full_disk');
  t.match(await command('key', 'list'), { code: 0, stderr: /finished 1 erasures/ });
  t.equal((await command('key', 'list')).stderr, '');
});

t.test('a second process takes over the jobs of one that was killed', async (t) => {
  const { server, serve, url } = await cluster(t);
  const other = await serve();
  const leases = () => withRawPostgres(url, 'select name, holder, expires_at from c2a.leases');
  const until = async (isTrue: () => Promise<boolean>) => {
    for (let look = 0; look < 60 && !(await isTrue()); look += 1) await delay(250);
    return isTrue();
  };
  t.ok(await until(async () => (await leases()).length === 1));
  const [before] = await leases();
  const runsOf = async (one: Server) =>
    Number(
      /c2a_job_runs_total\{job="recover_erasures",result="success"\} (\d+)/.exec(
        (await one.get('/metrics')).text,
      )?.[1] ?? 0,
    );
  // The first server started earlier, so it has asked earlier.
  t.ok(await until(async () => (await runsOf(server)) >= 1));
  t.equal(await runsOf(other), 0, 'the other does not run the jobs');
  server.child.kill('SIGKILL');
  await delay(6_000);
  t.equal(await runsOf(other), 0, 'as long as the lease lasts');
  // As if its minute was over.
  await withRawPostgres(url, 'update c2a.leases set expires_at = 0');
  t.ok(await until(async () => (await runsOf(other)) >= 1));
  const [after] = await leases();
  t.not(after?.holder, before?.holder);
  t.equal((await other.stop()).code, 0);
  t.same(await leases(), [], 'a server that stops releases the lease');
});
