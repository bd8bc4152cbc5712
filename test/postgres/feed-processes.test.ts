/** The change feed over three servers whose transactions commit late and out of order. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { ShownEvent } from '../../src/application/change-event-view.ts';
import { deployment, type Server } from '../support/deployment.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { atOnce, newFolder } from '../support/storage.ts';

const writers = 10;
const customersOfEach = 8;
const changesOfEach = 5;

/** Lets every transaction with an event wait for up to 60 ms between its last statement and its commit. */
const commitLate = `
  create function commit_late() returns trigger language plpgsql as
    $$ begin perform pg_sleep(random() * 0.06); return null; end $$;
  create constraint trigger late after insert on c2a.changes deferrable initially deferred
    for each row execute function commit_late();`;

/** Follows the feed until it has so many events. */
async function follow(server: () => Server, count: number, query: Record<string, string>, pauseMs: number) {
  const events: ShownEvent[] = [];
  let next = 'start';
  while (events.length < count) {
    const { status, body, text } = await server().changes({ ...query, after: next });
    if (status !== 200) throw new Error(text);
    events.push(...body.result.changes);
    next = body.result.next;
    await delay(pauseMs);
  }
  return events;
}

t.test('readers see every event once, and each customer in the order of its versions', async (t) => {
  const url = await newDatabase(t);
  const { serve } = deployment(t, newFolder(t), ['--database-url', url]);
  const servers = [await serve(), ...(await atOnce(2, () => serve()))];
  const any = () => servers[Math.floor(Math.random() * servers.length)] as Server;
  await withRawPostgres(url, commitLate);

  const write = (writer: number) =>
    atOnce(customersOfEach, async (index) => {
      const urn = await any().has({ externalIdentifier: `crm-${writer}-${index}` });
      for (let change = 1; change < changesOfEach; change += 1) {
        await any().post('update', { customer: { customerUrn: urn, firstName: `Jane ${change}` } });
      }
    });
  const total = writers * customersOfEach * changesOfEach;
  const [polled, waited] = await Promise.all([
    follow(any, total, { limit: '7' }, 5),
    follow(any, total, { wait: '5' }, 0),
    ...Array.from({ length: writers }, (_, writer) => write(writer)),
  ]);
  for (const [name, events] of Object.entries({ polled, waited }) as [string, ShownEvent[]][]) {
    t.equal(events.length, total, name);
    t.equal(new Set(events.map(({ id }) => id)).size, total, `${name}: each once`);
    const versions = new Map<string, number[]>();
    for (const { customerUrn, version } of events) {
      versions.set(customerUrn, [...(versions.get(customerUrn) ?? []), version]);
    }
    t.equal(versions.size, writers * customersOfEach);
    for (const [urn, seen] of versions) t.same(seen, [1, 2, 3, 4, 5], `${name}: ${urn}`);
  }
  t.same(
    waited.map(({ id }) => id),
    polled.map(({ id }) => id),
    'the same feed for both',
  );
});
