/**
 * Faults of PostgreSQL under load: restarts, lost connections, and a failover to a standby. Callers repeat each request
 * that was not acknowledged, with its Idempotency-Key. Prints the counts: `npx tap test/postgres/faults.test.ts`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { distributeTables } from '../support/citus.ts';
import { storing } from '../support/client.ts';
import { deployment, type Server } from '../support/deployment.ts';
import { withRawPostgres } from '../support/postgres.ts';
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts';
import { atOnce, newFolder } from '../support/storage.ts';

const lanes = 8;
const envelopeCodes = /^(200 SUCCESS|409 REQUEST_IN_PROGRESS|500 SQL_DATABASE_FAILURE|503 SERVICE_UNAVAILABLE)$/;

/** Stores customers in parallel lanes. Each lane repeats a request until it is acknowledged. */
function load(servers: readonly Server[], prefix: string) {
  const acknowledged = new Map<string, string>();
  const outcomes: Record<string, number> = {};
  const strange: string[] = [];
  let isRunning = true;
  let last = performance.now();
  let longestMs = 0;

  const running = atOnce(lanes, async (lane) => {
    const server = servers[lane % servers.length] as Server;
    for (let count = 0; isRunning; count += 1) {
      const name = `${prefix}-${lane}-${count}`;
      const headers = { 'idempotency-key': name };
      for (;;) {
        const { status, body } = await server.post('store', storing({ externalIdentifier: name }), headers);
        const outcome = `${status} ${body?.status?.messageCode}`;
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
        if (!envelopeCodes.test(outcome)) {
          strange.push(outcome);
          return;
        }
        if (status === 200) {
          acknowledged.set(name, body.result.customerUrn);
          longestMs = Math.max(longestMs, performance.now() - last);
          last = performance.now();
          break;
        }
        await delay(20);
      }
    }
  });

  return {
    acknowledged,
    async end() {
      isRunning = false;
      await running;
      return { outcomes, strange, longestMs: Math.round(longestMs) };
    },
  };
}

/** Asserts that every acknowledged customer is stored once, under its CustomerUrn. */
async function checkKept(t: Test, server: Server, acknowledged: ReadonlyMap<string, string>): Promise<void> {
  const lost: string[] = [];
  const other: string[] = [];
  const names = [...acknowledged];
  while (names.length > 0) {
    await Promise.all(
      names.splice(0, 50).map(async ([name, urn]) => {
        const { status, body } = await server.info({ exId: name });
        if (status !== 200) lost.push(name);
        else if (body.result.customerUrn !== urn) other.push(name);
      }),
    );
  }
  t.same(lost, [], 'no acknowledged customer is lost');
  t.same(other, [], 'each has the acknowledged CustomerUrn');
  t.equal(new Set(acknowledged.values()).size, acknowledged.size, 'every CustomerUrn is unique');
}

async function settle(t: Test, what: string, servers: readonly Server[], during: () => Promise<void>): Promise<number> {
  const { acknowledged, end } = load(servers, what.replaceAll(/\W+/g, '-'));
  await delay(300);
  await during();
  await delay(1_000);
  const { outcomes, strange, longestMs } = await end();
  t.comment(
    `${what}: ${acknowledged.size} stored, answers ${JSON.stringify(outcomes)}, no success for ${longestMs} ms`,
  );
  t.same(strange, [], 'every answer is an envelope');
  t.ok(longestMs < 15_000, `recovered in ${longestMs} ms`);
  await checkKept(t, servers[0] as Server, acknowledged);
  return acknowledged.size;
}

const rowsOf = async ({ url }: PostgresServer) =>
  Number((await withRawPostgres(url, 'select count(*)::int as count from c2a.customers'))[0]?.count);

const withTimeouts = ['--database-timeout-ms', '2000'];

const restarted = 'a server is restarted, killed, and its connections are terminated';
// Citus is the stand-in of test/fixtures, whatever cluster the tests were given: they must not restart that one.
for (const isCitus of [false, true])
  t.test(isCitus ? `${restarted}, with Citus` : restarted, async (t) => {
    const postgres = await startPostgres();
    t.teardown(() => postgres.stop());
    if (isCitus) await withRawPostgres(postgres.url, 'create extension citus');
    const { serve } = deployment(t, newFolder(t), ['--database-url', postgres.url]);
    const servers = [await serve(...withTimeouts), await serve(...withTimeouts)];
    if (isCitus) await distributeTables(postgres.url);
    let stored = 0;
    stored += await settle(t, 'connections terminated ten times', servers, async () => {
      for (let cut = 0; cut < 10; cut += 1) {
        await withRawPostgres(
          postgres.url,
          `select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'c2a-customers' and pid != pg_backend_pid()`,
        );
        await delay(50);
      }
    });
    stored += await settle(t, 'shut down and started', servers, async () => {
      await postgres.halt();
      await delay(500);
      await postgres.start();
    });
    stored += await settle(t, 'killed and started', servers, async () => {
      await postgres.kill();
      await delay(500);
      await postgres.start();
    });
    t.equal(await rowsOf(postgres), stored, 'every stored customer was acknowledged, once');
  });

t.test('a primary is killed, and its synchronous standby is promoted', async (t) => {
  const replication = { wal_level: 'replica', max_wal_senders: '5', hot_standby: 'on' };
  const first = await startPostgres(replication);
  t.teardown(() => first.stop());
  await first.halt();
  const primaryPort = first.port;
  const standby = await startPostgres(
    {
      ...replication,
      cluster_name: 'standby',
      primary_conninfo: `host=127.0.0.1 port=${primaryPort} user=c2a password=c2a application_name=standby`,
    },
    { standbyOf: first },
  );
  t.teardown(() => standby.stop());
  await first.start();
  await withRawPostgres(first.url, `alter system set synchronous_standby_names = 'standby'`);
  await withRawPostgres(first.url, 'select pg_reload_conf()');
  const hosts = `127.0.0.1:${first.port},127.0.0.1:${standby.port}`;
  const url = `postgres://c2a:c2a@${hosts}/postgres?target_session_attrs=read-write`;
  const { serve } = deployment(t, newFolder(t), ['--database-url', url]);
  const servers = [await serve(...withTimeouts), await serve(...withTimeouts)];
  const stored = await settle(t, 'failed over', servers, async () => {
    await first.kill();
    await withRawPostgres(standby.url, 'select pg_promote()');
  });
  t.equal(await rowsOf(standby), stored, 'every stored customer was acknowledged, once');
});
