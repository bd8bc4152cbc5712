/** What is particular to Citus. The other suites run over it as one of the layouts; see test/support/citus.ts. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { dialects, statementsOf } from '../../scripts/statements.ts';
import { cluster, distributeTables, newCitusDatabase } from '../support/citus.ts';
import { storing } from '../support/client.ts';
import { deployment } from '../support/deployment.ts';
import { newPlaces, withRawPostgres } from '../support/postgres.ts';
import { routingOf } from '../support/routing.ts';
import { atOnce, connectPostgres, newFolder, tally, tenantOf } from '../support/storage.ts';

/** Why a test that needs several nodes is skipped. */
const skip = cluster === undefined && 'C2A_TEST_CITUS_URL is not set';

t.test('`schema citus` distributes the tables, and a second run changes nothing', async (t) => {
  const url = await newCitusDatabase(t);
  const { command, serve } = deployment(t, newFolder(t), ['--database-url', url]);
  const server = await serve();
  const urn = await server.has({ externalIdentifier: 'before' });
  const { value } = await command('schema', 'citus');
  for (const run of ['first', 'second']) {
    for (const statement of value.statements) await withRawPostgres(url, statement);
    const found = await withRawPostgres(
      url,
      `select relnamespace::regnamespace || '.' || relname as name
         from pg_dist_partition join pg_class on oid = logicalrelid order by name`,
    );
    t.same(
      found.map(({ name }) => name),
      [
        'c2a.access_records',
        'c2a.changes',
        'c2a.checkpoints',
        'c2a.customers',
        'c2a.erasure_positions',
        'c2a.feeds',
        'c2a.flow_references',
        'c2a.idempotency_records',
        'c2a_keys.data_keys',
        'c2a_keys.erasure_heads',
        'c2a_keys.erasures',
        'c2a_keys.tombstones',
      ],
      run,
    );
  }
  t.equal((await server.info({ urn })).status, 200);
  t.match(await server.has({ externalIdentifier: 'after' }), /^cu\./);
});

t.test('`schema citus` for keys in a separate database', async (t) => {
  const { command } = deployment(t);
  t.match(await command('schema', 'citus', '--keys'), {
    code: 1,
    value: { error: /C2A_KEYS_DATABASE_URL is not set/ },
  });
  const apart = ['--database-url', 'postgres://db/c2a', '--keys-database-url', 'postgres://db/keys'];
  const tablesOf = async (...words: string[]): Promise<Set<string>> =>
    new Set((await command('schema', 'citus', ...apart, ...words)).value.statements.join().match(/c2a\w*\.\w+/g));
  t.same(
    await tablesOf('--keys'),
    new Set(['c2a_keys.data_keys', 'c2a_keys.erasures', 'c2a_keys.erasure_heads', 'c2a_keys.tombstones']),
  );
  t.notOk([...(await tablesOf())].some((name) => name.startsWith('c2a_keys')));
});

t.test('a store that is refused or fails leaves no data key', async (t) => {
  const { url } = await newPlaces.Citus(t);
  const { repository } = await connectPostgres(t, { url });
  const acme = tenantOf(repository);
  t.same(tally(await atOnce(24, (index) => acme.store('crm-1', { email: `jane-${index}@example.com` }))), {
    SUCCESS: 1,
    CUSTOMER_ALREADY_STORED: 23,
  });
  await withRawPostgres(url, 'alter table c2a.changes add constraint refused check (false) not valid');
  await t.rejects(acme.store('crm-2'), { name: 'DatabaseFailure' });
  const [counts] = await withRawPostgres(
    url,
    `select (select count(*) from c2a.customers)::int as customers, (select count(*) from c2a_keys.data_keys)::int as keys`,
  );
  t.same(counts, { customers: 1, keys: 1 });
});

t.test('after an error of the commit, the write may be stored', async (t) => {
  const { url } = await newPlaces.Citus(t);
  const { repository } = await connectPostgres(t, { url });
  await withRawPostgres(
    url,
    `create function c2a.refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
     create constraint trigger refusing after insert on c2a.customers deferrable initially deferred
       for each row execute function c2a.refuse()`,
  );
  const failure = { name: 'DatabaseFailure', mayBeStored: true, cause: { message: 'refused' } };
  await t.rejects(tenantOf(repository).store('crm-1'), failure);
  await withRawPostgres(url, 'drop trigger refusing on c2a.customers');
  t.match(await tenantOf(repository).store('crm-1'), { code: 'SUCCESS' });
});

t.test('each statement of a request is one task on one node', { skip }, async (t) => {
  const { url } = await newPlaces.Citus(t);
  for (const statement of new Set(Object.values(statementsOf(dialects.Citus)).flat())) {
    const { tenants } = await routingOf(statement);
    if (tenants.length === 0) continue;
    // An untyped literal becomes a number, text or bytes. With null, Citus would not need any node.
    const explained = statement.replaceAll(/\$(\d+)/g, (_, number) =>
      tenants.includes(Number(number)) ? `'acme'` : `'1'`,
    );
    const plan = (await withRawPostgres(url, `explain ${explained}`)).map((row) => row['QUERY PLAN']).join('\n');
    t.match(plan, /Task Count: 1\b/, statement);
  }
});

t.test('the connections of the nodes are terminated under load', { skip }, async (t) => {
  const url = await newCitusDatabase(t);
  const { serve } = deployment(t, newFolder(t), ['--database-url', url]);
  const server = await serve();
  await distributeTables(url);
  const acknowledged = new Map<string, string>();
  let isRunning = true;
  const lanes = atOnce(8, async (lane) => {
    for (let count = 0; isRunning; count += 1) {
      const name = `lane-${lane}-${count}`;
      for (let status = 0; status !== 200; ) {
        const answer = await server.post('store', storing({ externalIdentifier: name }), { 'idempotency-key': name });
        status = answer.status;
        if (status === 200) acknowledged.set(name, answer.body.result.customerUrn);
        else
          t.match(
            `${status} ${answer.body.status.messageCode}`,
            /^(409 REQUEST_IN_PROGRESS|500 SQL_DATABASE_FAILURE)$/,
          );
      }
    }
  });
  for (let cut = 0; cut < 10; cut += 1) {
    await delay(100);
    const sql =
      'select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';
    await withRawPostgres(url, `select run_command_on_workers($$${sql}$$)`);
  }
  isRunning = false;
  await lanes;
  for (const [name, urn] of acknowledged) t.equal((await server.info({ exId: name })).body.result.customerUrn, urn);
  const [rows] = await withRawPostgres(url, 'select count(*)::int as count from c2a.customers');
  t.equal(rows?.count, acknowledged.size, 'each was stored once');
});
