/** Connections to PostgreSQL: their number, timeouts, hosts, TLS, and lost connections. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createPostgresDialect, type PostgresLayout } from '../../src/adapters/sql/driver/dialects.ts';
import { openPostgres } from '../../src/adapters/sql/driver/postgres.ts';
import { runOnce } from '../../src/adapters/sql/driver/query.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { freePort, startPostgres } from '../support/postgres-server.ts';
import { c2a } from '../support/process.ts';
import {
  atOnce,
  byExternalId,
  connectPostgres,
  idempotencyKey,
  newFolder,
  noon,
  tenantId,
  tenantOf,
} from '../support/storage.ts';

/** A dialect without tables. */
const dialectOf = (layout: PostgresLayout) => createPostgresDialect(() => undefined, layout);

async function open(t: Test, url: string, options: { poolSize?: number; timeoutMs?: number; keysUrl?: string } = {}) {
  const database = await openPostgres(dialectOf, { url, poolSize: 4, timeoutMs: 2_000, ...options }, noTelemetry);
  t.teardown(() => database.close());
  const ask = (sql: string) => database.read(() => runOnce({ sql }));
  return { database, ask };
}

t.test('there are never more connections than the size of the pool, and a waiting caller gets one', async (t) => {
  const url = await newDatabase(t);
  const { ask, database } = await open(t, url, { poolSize: 3 });
  const sql = 'select pg_backend_pid() as pid, pg_sleep(0.01)';
  const pids = await atOnce(60, async (index) => {
    const [row] = await (index % 2 === 0 ? ask(sql) : database.readShort(() => runOnce({ sql })));
    return row?.pid;
  });
  t.equal(new Set(pids).size, 3, 'one of them is the pipelined session');
});

t.test('transactions have the isolation level that they need, whatever the default of the database', async (t) => {
  const url = await newDatabase(t);
  const name = new URL(url).pathname.slice(1);
  await withRawPostgres(url, `alter database ${name} set default_transaction_isolation = 'repeatable read'`);
  const { database } = await open(t, url);
  const shown = await database.write(() => runOnce({ sql: 'show transaction_isolation' }));
  t.strictSame(shown, [{ transaction_isolation: 'read committed' }]);
});

t.test('a query of the records needs no connection to the database of the keys', async (t) => {
  const url = await newDatabase(t);
  const keysUrl = await newDatabase(t);
  const { database } = await open(t, url, { keysUrl });
  const keys = new URL(keysUrl).pathname.slice(1);
  await withRawPostgres(
    url,
    `alter database ${keys} allow_connections false;
     select pg_terminate_backend(pid) from pg_stat_activity where datname = '${keys}'`,
  );
  t.strictSame(await database.readShort(() => runOnce({ sql: 'select 1 as one' })), [{ one: 1 }]);
});

t.test('a connection, a lock or an answer that takes too long is an error, and the next query succeeds', async (t) => {
  const url = await newDatabase(t);
  const { database, ask } = await open(t, url, { poolSize: 1, timeoutMs: 300 });
  await ask('create table x (y int)');
  const since = performance.now();
  await t.rejects(ask('select pg_sleep(5)'), DatabaseFailure, 'a statement');
  t.ok(performance.now() - since < 1_500);
  const [slow, waiting] = await Promise.allSettled([
    database.write(function* () {
      yield* runOnce({ sql: 'select pg_sleep(0.25)' });
      yield* runOnce({ sql: 'select pg_sleep(0.25)' });
      return 'done';
    }),
    ask('select 1'),
  ]);
  t.match(slow, { status: 'fulfilled', value: 'done' });
  t.match(waiting, { status: 'rejected', reason: { cause: { message: /timeout/ } } }, 'a connection');
  const other = await open(t, url, { timeoutMs: 300 });
  await other.database.write(function* () {
    yield* runOnce({ sql: 'lock table x' });
    const locked = t.rejects(
      database.write(() => runOnce({ sql: 'insert into x values (1)' })),
      {
        cause: { message: /(lock|statement) timeout/ },
      },
    );
    yield* runOnce({ sql: 'select pg_sleep(0.28)' });
    return locked;
  });
  t.same(await ask('select 1 as one'), [{ one: 1 }]);
});

t.test('a transaction that cannot begin or commit is not left open in the pool', async (t) => {
  const [url, keysUrl] = [await newDatabase(t), await newDatabase(t)];
  const { repository } = await connectPostgres(t, { url, keysUrl });
  const acme = tenantOf(repository);
  await acme.mustStore('crm-0');
  await withRawPostgres(
    keysUrl,
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
     create constraint trigger refusing after insert on c2a_keys.data_keys deferrable initially deferred
       for each row execute function refuse()`,
  );
  const failing = { key: idempotencyKey('k', 'a request', noon + 1_000) };
  await t.rejects(acme.store('crm-1', {}, failing), { cause: { message: 'refused' } });
  await withRawPostgres(keysUrl, 'drop trigger refusing on c2a_keys.data_keys');
  const idle = `select count(*)::int as count from pg_stat_activity
    where datname = current_database() and state like 'idle in transaction%'`;
  for (const one of [url, keysUrl]) t.same(await withRawPostgres(one, idle), [{ count: 0 }]);
  await acme.mustStore('crm-2');
  t.same(await withRawPostgres(url, 'select count(*)::int as count from c2a.customers'), [{ count: 2 }]);
  t.equal(await repository.find(tenantId('acme'), byExternalId('crm-1')), undefined, 'the failed store left no record');
  await acme.mustStore('crm-1', {}, failing);

  // A key without its record is destroyed: it would open the record in the log of the database.
  await withRawPostgres(
    url,
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
     create constraint trigger refusing after insert on c2a.customers deferrable initially deferred
       for each row execute function refuse()`,
  );
  const keys = 'select count(*)::int as count from c2a_keys.data_keys';
  const before = await withRawPostgres(keysUrl, keys);
  for (const more of [{}, { key: idempotencyKey('l', 'a request', noon + 1_000) }]) {
    await t.rejects(acme.store('crm-3', {}, more), { cause: { message: 'refused' } });
  }
  for (let turn = 0; turn < 50; turn += 1) {
    const now = await withRawPostgres(keysUrl, keys);
    if (now[0]?.count === before[0]?.count) break;
    await delay(20);
  }
  t.same(await withRawPostgres(keysUrl, keys), before);
  // The outcome is unknown: the record may be stored, and needs its key.
  await withRawPostgres(
    url,
    `create or replace function refuse() returns trigger language plpgsql as $$
       begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$`,
  );
  await t.rejects(acme.store('crm-3'), { name: 'DatabaseFailure', mayBeStored: true });
  await delay(200);
  t.same(await withRawPostgres(keysUrl, keys), [{ count: Number(before[0]?.count) + 1 }]);
  await withRawPostgres(url, 'drop trigger refusing on c2a.customers');

  // A transaction is cancelled while it waits for the lock of `exclusive`.
  const { database, ask } = await open(t, url, { poolSize: 1 });
  const other = await open(t, url);
  let cut: Promise<unknown> | undefined;
  await other.database.exclusive(function* () {
    cut = t.rejects(
      database.exclusive(() => runOnce({ sql: 'select 1' })),
      DatabaseFailure,
    );
    yield* runOnce({ sql: 'select pg_sleep(0.3)' });
    yield* runOnce({
      sql: `select pg_cancel_backend(pid) from pg_stat_activity where query like '%pg_advisory_xact_lock%' and pid != pg_backend_pid()`,
    });
  });
  await cut;
  t.same(await ask('select 1 as one'), [{ one: 1 }]);
});

t.test('with the keys in a separate database, transactions do not deadlock on the two pools', async (t) => {
  const place = { url: await newDatabase(t), keysUrl: await newDatabase(t) };
  const { repository } = await connectPostgres(t, { ...place, poolSize: 2 });
  const acme = tenantOf(repository);
  await atOnce(60, async (index) => {
    const key = idempotencyKey(`k-${index}`, 'a request', noon + 1_000);
    const { by } = await acme.mustStore(`crm-${index}`, {}, index % 2 === 0 ? { key } : {});
    if (index % 3 === 0) t.match(await acme.erase(by), { code: 'SUCCESS' });
  });
});

t.test('a host that accepts connections and does not answer is given up', async (t) => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const { port } = silent.address() as { port: number };
  const since = performance.now();
  await t.rejects(open(t, `postgres://u:p@127.0.0.1:${port}/d`, { timeoutMs: 300 }), DatabaseFailure);
  t.ok(performance.now() - since < 3_000);
});

t.test('an error that names a lost connection does not end a session that still answers', async (t) => {
  const { database, ask } = await open(t, await newDatabase(t), { poolSize: 2 });
  const pid = async () => (await ask('select pg_backend_pid() as pid'))[0]?.pid;
  const before = await pid();
  for (const code of ['08006', '57P01']) {
    const sql = `do $$ begin raise exception 'the node is away' using errcode = '${code}'; end $$`;
    const failure = { name: 'DatabaseFailure', mayBeStored: true, cause: { message: 'the node is away' } };
    await t.rejects(ask(sql), failure);
    await t.rejects(
      database.write(() => runOnce({ sql })),
      failure,
    );
    const [{ pid: shared } = {}] = await database.readShort(() => runOnce({ sql: 'select pg_backend_pid() as pid' }));
    await t.rejects(async () => database.readShort(() => runOnce({ sql })), failure);
    t.same(await database.readShort(() => runOnce({ sql: 'select pg_backend_pid() as pid' })), [{ pid: shared }]);
    t.equal(await pid(), before, code);
  }
  await t.rejects(ask('select pg_terminate_backend(pg_backend_pid())'), { name: 'DatabaseFailure', mayBeStored: true });
  t.not(await pid(), before);
});

t.test('without a password, the connection is closed at once, and the error says so', async (t) => {
  const url = new URL(await newDatabase(t));
  url.password = '';
  const since = performance.now();
  const { code, stderr } = await c2a(['tenant', 'list', '--database-url', url.href, '--data-dir', newFolder(t)]);
  t.match({ code, stderr }, { code: 1, stderr: 'the server asks for a password, and the URL has none' });
  // The server would close the connection after a minute.
  t.ok(performance.now() - since < 30_000);
});

t.test('lost connections are replaced, and acknowledged writes are stored', async (t) => {
  const url = await newDatabase(t);
  const { repository } = await connectPostgres(t, { url });
  const acme = tenantOf(repository);
  const acknowledged: string[] = [];
  let refused = 0;
  let isRunning = true;
  const writing = atOnce(8, async (lane) => {
    for (let count = 0; isRunning; count += 1) {
      const answer = await acme.store(`crm-${lane}-${count}`).catch((error) => {
        if (!(error instanceof DatabaseFailure)) throw error;
        refused += 1;
      });
      if (answer?.code === 'SUCCESS') acknowledged.push(answer.stored.customer.customerUrn);
    }
  });
  for (let cut = 0; cut < 5; cut += 1) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    await withRawPostgres(
      url,
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid != pg_backend_pid()',
    );
  }
  isRunning = false;
  await writing;
  const [{ count }] = (await withRawPostgres(url, 'select count(*)::int as count from c2a.customers')) as [
    { count: number },
  ];
  t.ok(refused > 0, `${refused} were refused`);
  t.ok(count >= acknowledged.length, `${acknowledged.length} acknowledged, ${count} stored`);
  t.equal(new Set(acknowledged).size, acknowledged.length);
  t.equal((await acme.store('after')).code, 'SUCCESS');
});

t.test('of several hosts, the one that accepts writes is used', async (t) => {
  const url = await newDatabase(t);
  const { hostname, port, pathname } = new URL(url);
  const dead = await freePort();
  const readOnly = await startPostgres({ fsync: 'off', default_transaction_read_only: 'on' });
  t.teardown(() => readOnly.stop());
  const hosts = `127.0.0.1:${dead},127.0.0.1:${readOnly.port},${hostname}:${port}`;
  const { ask } = await open(t, `postgres://c2a:c2a@${hosts}${pathname}?application_name=several`);
  t.same(await ask(`select current_setting('port') as port, current_setting('application_name') as name`), [
    { port, name: 'several' },
  ]);
  const reading = await open(t, `postgres://c2a:c2a@${hosts}/postgres?target_session_attrs=read-only`);
  t.same(await reading.ask(`select current_setting('port') as port`), [{ port: String(readOnly.port) }]);
  const nowhere = open(t, `postgres://c2a:c2a@${hosts}/postgres?target_session_attrs=standby`);
  await t.rejects(nowhere, { cause: { message: /is not standby/ } });
});

const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

t.test(
  'TLS follows the URL, and the name of the server is checked',
  { skip: hasOpenssl ? false : 'openssl is not installed' },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'c2a-tls-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    chmodSync(folder, 0o755);
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const request = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      key,
      '-out',
      certificate,
    ];
    execFileSync('openssl', [...request, ...subject], { stdio: 'ignore' });
    if (userInfo().uid === 0) {
      const [, , uid, gid] = (/^postgres:.*$/m.exec(readFileSync('/etc/passwd', 'utf8'))?.[0] ?? '').split(':');
      chownSync(key, Number(uid), Number(gid));
    }
    chmodSync(key, 0o600);
    const server = await startPostgres({ fsync: 'off', ssl: 'on', ssl_cert_file: certificate, ssl_key_file: key });
    t.teardown(() => server.stop());
    const url = (host: string, query: string) => `postgres://c2a:c2a@${host}:${server.port}/postgres?${query}`;
    const isEncrypted = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
    const trusted = `sslmode=verify-full&sslrootcert=${certificate}`;
    const ask = async (url: string) => (await open(t, url)).ask(isEncrypted);
    t.same(await ask(url('localhost', trusted)), [{ ssl: true }]);
    t.same(await ask(url('localhost', 'sslmode=disable')), [{ ssl: false }]);
    await t.rejects(ask(url('127.0.0.1', trusted)), DatabaseFailure, 'another name');
    await t.rejects(ask(url('localhost', 'sslmode=verify-full')), DatabaseFailure, 'not trusted');
  },
);
