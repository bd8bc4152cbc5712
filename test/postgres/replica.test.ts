/** Reads from a replica: only while it shows every acknowledged write. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { mustAllConfirm } from '../../src/adapters/sql/driver/postgres-replica.ts';
import { deployment } from '../support/deployment.ts';
import { withRawPostgres } from '../support/postgres.ts';
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts';
import { atOnce, newFolder } from '../support/storage.ts';

t.test('a commit waits for a standby only if all named standbys must confirm', async (t) => {
  const waits: [names: string, standby: string, expected: boolean][] = [
    ['r1', 'r1', true],
    ['"r1"', 'R1', true],
    ['FIRST 1 (r1)', 'r1', true],
    ['ANY 2 (r1, r2)', 'r2', true],
    ['2 (r1, "r 2")', 'r 2', true],
    ['first 2 (r1,r2)', 'r1', true],
    ['', 'r1', false],
    ['*', 'r1', false],
    ['r1, r2', 'r1', false],
    ['FIRST 1 (r1, r2)', 'r1', false],
    ['ANY 1 (r1, r2)', 'r2', false],
    ['r1', 'r2', false],
    ['', '', false],
  ];
  for (const [names, standby, expected] of waits)
    t.equal(mustAllConfirm(names, standby), expected, `${names} / ${standby}`);
});

t.test('with a primary and a standby', async (t) => {
  const replication = { wal_level: 'replica', max_wal_senders: '5', hot_standby: 'on' };
  const primary = await startPostgres(replication);
  t.teardown(() => primary.stop());
  await primary.halt();
  const conninfo = `host=127.0.0.1 port=${primary.port} user=c2a password=c2a application_name=near`;
  const standby = await startPostgres(
    { ...replication, cluster_name: 'near', primary_conninfo: conninfo },
    { standbyOf: primary },
  );
  t.teardown(() => standby.stop());
  await primary.start();
  const synchronous = async (names: string) => {
    await withRawPostgres(primary.url, `alter system set synchronous_standby_names = '${names}'`);
    await withRawPostgres(primary.url, 'select pg_reload_conf()');
    await delay(1_500);
  };
  const words = ['--database-url', primary.url, '--database-replica-url', standby.url];
  const { serve } = deployment(t, newFolder(t), words);
  const servers = [await serve(), await serve()] as const;
  /** The number of connections whose last query read customers. */
  const readers = async ({ url }: PostgresServer) => {
    const rows = await withRawPostgres(
      url,
      `select pid from pg_stat_activity where application_name = 'c2a-customers' and query like '%"customers"%'`,
    );
    return rows.length;
  };
  const [one, other] = servers;
  /** Stores customers through one server and reads each at once through the other. */
  async function everyoneSees(name: string): Promise<void> {
    const missing = await atOnce(60, async (index) => {
      const urn = await one.has({ externalIdentifier: `${name}-${index}` });
      return (await other.info({ urn })).status === 200 ? 0 : 1;
    });
    t.equal(
      missing.reduce((sum: number, one) => sum + one, 0),
      0,
      `${name}: every acknowledged write is read`,
    );
  }

  await everyoneSees('asynchronous');
  t.equal(await readers(standby), 0, 'an asynchronous replica is not read');

  await synchronous('near');
  await everyoneSees('synchronous');
  t.ok((await readers(standby)) > 0, 'a synchronous replica is read');

  await withRawPostgres(standby.url, 'select pg_wal_replay_pause()');
  const late = one.has({ externalIdentifier: 'late' });
  t.equal(
    await Promise.race([late, delay(700, 'waits')]),
    'waits',
    'a write is not acknowledged before the replica shows it',
  );
  await withRawPostgres(standby.url, 'select pg_wal_replay_resume()');
  t.equal((await other.info({ urn: await late })).status, 200);

  await synchronous('');
  await standby.kill();
  await everyoneSees('after the replica was killed');
});
