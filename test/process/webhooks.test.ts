/** Two server processes deliver: one at a time for an endpoint, and the other takes over when it is killed. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { atOnce } from '../contract/scenario.ts';
import { distributeTables, newCitusDatabase } from '../support/citus.ts';
import { deployment, type Server } from '../support/deployment.ts';
import { newPlaces, withRawPostgres } from '../support/postgres.ts';
import { newFolder, withRawSqlite } from '../support/storage.ts';
import { orderFaults, startConsumer, until } from '../support/webhooks.ts';

interface Place {
  readonly words: readonly string[];
  /** Lets every lease end, as after a minute. */
  expireLeases(): Promise<unknown>;
  /** Called when the first server has made the tables. */
  begun?(): Promise<unknown>;
}

const expiring = 'update leases set expires_at = 0';
const onPostgres = ({ url, keysUrl }: { url: string; keysUrl?: string }): Place => ({
  words: ['--database-url', url, ...(keysUrl === undefined ? [] : ['--keys-database-url', keysUrl])],
  expireLeases: () => withRawPostgres(url, expiring.replace('leases', 'c2a.leases')),
});
const places: Readonly<Record<string, (t: Test, dataDir: string) => Promise<Place>>> = {
  SQLite: async (_, dataDir) => ({
    words: [],
    expireLeases: async () => withRawSqlite(sqliteFiles(dataDir).data, (raw) => raw.exec(expiring)),
  }),
  PostgreSQL: async (t) => onPostgres(await newPlaces['one database'](t)),
  'PostgreSQL, two databases': async (t) => onPostgres(await newPlaces['two databases'](t)),
  Citus: async (t) => {
    const url = await newCitusDatabase(t);
    return { ...onPostgres({ url }), begun: () => distributeTables(url) };
  },
};

/** How many deliveries a server has made. */
async function deliveriesOf({ url }: Server): Promise<number> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  return Number(/^c2a_webhook_deliveries_total\{.*result="success"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

for (const [name, newPlace] of Object.entries(places)) {
  t.test(name, async (t) => {
    const consumer = await startConsumer(t);
    const dataDir = newFolder(t);
    const { words, expireLeases, begun } = await newPlace(t, dataDir);
    const { serve, command } = deployment(t, dataDir, words);
    const allowed = ['--webhook-networks', '127.0.0.1'];
    const first = await serve(...allowed);
    await begun?.();
    const servers = [first, await serve(...allowed)] as const;
    const { value } = await command(
      'webhook',
      'add',
      '--tenant',
      'acme',
      '--url',
      consumer.url('/slow/10'),
      ...allowed,
    );
    await consumer.knows(value.secret);

    const urns = await atOnce(20, (index) => first.has({ externalIdentifier: `crm-${index}` }));
    const change = (server: Server, firstName: string) =>
      atOnce(urns.length, async (index) => {
        const answer = await server.post('update', { customer: { customerUrn: urns[index], firstName } });
        t.equal(answer.status, 200);
      });
    await change(first, 'Joan');
    await consumer.gets('/slow/10', 40);
    let counts: number[] = [];
    await until('40 counted deliveries', async () => {
      counts = await Promise.all(servers.map(deliveriesOf));
      return counts.includes(40);
    });
    t.ok(counts.includes(0), 'one of the two delivers');
    const [dying, living] = counts[0] === 0 ? servers.toReversed() : servers;
    if (dying === undefined || living === undefined) throw new Error('there are two servers');

    await change(living, 'Jane');
    await consumer.gets('/slow/10', 45);
    await dying.stop('SIGKILL');
    const before = consumer.received.length;
    await delay(1_500);
    t.ok(consumer.received.length <= before + 8, 'while its lease lasts, nobody delivers');
    t.equal(await deliveriesOf(living), 0);
    await expireLeases();
    await change(living, 'Judy');
    const accepted = () => new Set(consumer.received.map(({ id }) => id)).size;
    await until('every event', () => accepted() === 80);
    t.same(orderFaults(consumer.received), []);
    t.ok(consumer.received.every(({ verifiedBy }) => verifiedBy.length === 1));
    t.ok((await deliveriesOf(living)) >= 20);

    const third = await serve(...allowed);
    t.equal((await living.stop()).code, 0);
    await change(third, 'June');
    await until('the events after a shutdown, without waiting for the lease', () => accepted() === 100);
    await third.stop();
  });
}
