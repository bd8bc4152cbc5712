/**
 * A tenant's queue: changes of many customers, late, twice and out of order, delivered by two workers that keep nothing.
 * A worker and a server are killed in the middle. The end is the last state of the tenant's system.
 *
 * `C2A_TEST_CHANGES=20000 npx tap test/process/delivery.test.ts` runs another number of changes, and prints the time.
 */
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { type Random, randomFrom } from '../erasure/support/random.ts';
import type { Headers } from '../support/client.ts';
import type { Order, Report } from '../support/delivery-worker.ts';
import { deployment, type Server } from '../support/deployment.ts';
import { newDatabase } from '../support/postgres.ts';
import { start } from '../support/process.ts';
import { atOnce, newFolder } from '../support/storage.ts';
import { type Content, type Message, TenantSystem } from '../support/tenant-system.ts';

const { C2A_TEST_SEED, C2A_TEST_CHANGES = '1500' } = process.env;
const seed = C2A_TEST_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(C2A_TEST_SEED);
const changes = Number(C2A_TEST_CHANGES);
const customers = Math.ceil(changes * 0.15);

/** A tenant's system after this many changes. A shared e-mail address is dropped before another customer takes it. */
function systemOf(random: Random): TenantSystem {
  const system = new TenantSystem();
  const number = () => Math.floor(random.next() * customers);
  const emailOf = (name: string) => random.pick([`${name}@example.com`, `shared-${number() % 50}@example.com`]);
  while (system.messages.length < changes) {
    const name = `crm-${number()}`;
    const current = system.customers.get(name)?.content;
    const kind = random.next();
    if (current !== undefined && kind < 0.1) system.delete(name);
    else if (current !== undefined && kind < 0.2) system.rename(name, `crm-${number()}`, random.chance(0.5));
    else {
      const content: Content = { firstName: `Jane ${system.messages.length}` };
      const isFree = current?.email === undefined;
      system.set(name, isFree && random.chance(0.6) ? { ...content, email: emailOf(name) } : content);
    }
  }
  return system;
}

/** The messages as a queue delivers them: a fifth of them twice, all of them earlier or later than they were sent. */
function queueOf(messages: readonly Message[], random: Random): Message[] {
  const reach = messages.length / 4;
  const timed = messages.flatMap((message, index) =>
    Array.from({ length: random.chance(0.2) ? 2 : 1 }, () => ({ message, at: index + random.next() * reach })),
  );
  return timed.sort((one, other) => one.at - other.at).map(({ message }) => message);
}

const workerFile = fileURLToPath(new URL('../support/delivery-worker.ts', import.meta.url));
/** How many messages a worker has at once. */
const inHand = 12;

/** Delivers a queue by two workers, and calls `at` once for each tenth of it that is done. */
async function deliverAll(
  t: Test,
  queue: Message[],
  { credentials, url }: { readonly credentials: Headers; url(index: number): string },
  at: (tenth: number, killWorker: () => void) => void,
) {
  const waiting = queue.map((message, index) => ({ message, index }));
  const outcomes: Record<string, number> = {};
  let done = 0;
  let tenth = 0;
  await new Promise<void>((resolve) => {
    function employ(which: number): void {
      const hand = new Map<number, (typeof waiting)[number]>();
      const child = start(process.execPath, [workerFile]);
      t.teardown(() => child.kill('SIGKILL'));
      // A worker that was killed while it is written to.
      child.stdin.on('error', () => {});
      const fill = () => {
        while (hand.size < inHand && waiting.length > 0) {
          const next = waiting.shift() as (typeof waiting)[number];
          hand.set(next.index, next);
          const order: Order = { ...next, url: url(next.index), credentials };
          child.stdin.write(`${JSON.stringify(order)}\n`);
        }
      };
      const read = ({ index, isDone, outcomes: heard }: Report) => {
        const taken = hand.get(index) as (typeof waiting)[number];
        hand.delete(index);
        for (const outcome of heard) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
        if (isDone) done += 1;
        else waiting.push(taken);
        if (done === queue.length) resolve();
        else if (done >= ((tenth + 1) * queue.length) / 10) {
          tenth += 1;
          at(tenth, () => child.kill('SIGKILL'));
        }
        fill();
      };
      let rest = '';
      child.stdout.on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() as string;
        for (const line of lines) read(JSON.parse(line));
      });
      child.on('close', () => {
        if (done === queue.length) return;
        // What it had in hand was not acknowledged. Another worker takes its place.
        waiting.push(...hand.values());
        outcomes['a worker started again'] = (outcomes['a worker started again'] ?? 0) + 1;
        employ(which);
      });
      fill();
    }
    employ(0);
    employ(1);
  });
  return outcomes;
}

async function checkState(t: Test, { info }: Server, { customers: wanted }: TenantSystem): Promise<void> {
  const names = Array.from({ length: customers }, (_, index) => `crm-${index}`);
  const wrong: string[] = [];
  await atOnce(20, async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      const { status, result } = await info({ exId: name });
      const { email, firstName, sourceRevision } = status === 200 ? result : ({} as Partial<typeof result>);
      const { content, revision } = wanted.get(name) ?? {};
      const isRight = email === content?.email && firstName === content?.firstName && sourceRevision === revision;
      if (!isRight) wrong.push(name);
    }
  });
  t.same(wrong, [], `${customers} names`);
}

const storages = {
  SQLite: { servers: 1, words: async () => [] as string[] },
  PostgreSQL: { servers: 2, words: async (t: Test) => ['--database-url', await newDatabase(t)] },
};

for (const [storage, { servers: count, words }] of Object.entries(storages)) {
  t.test(`${storage} (C2A_TEST_SEED=${seed})`, { timeout: 0 }, async (t) => {
    const random = randomFrom(seed);
    const system = systemOf(random);
    const queue = queueOf(system.messages, random);
    const { serve, command } = deployment(t, newFolder(t), await words(t));
    const servers = [await serve()];
    const key = await command('key', 'issue', 'acme');
    const credentials = { 'x-tn': 'acme', 'x-api-key': key.value.key };
    while (servers.length < count) servers.push(await serve());
    let restarted: Promise<void> | undefined;
    const started = performance.now();
    const url = (index: number) => (servers[index % count] as Server).url;
    const outcomes = await deliverAll(t, queue, { credentials, url }, (tenth, killWorker) => {
      if (tenth === 4) killWorker();
      if (tenth !== 6) return;
      restarted = (async () => {
        await (servers[0] as Server).stop('SIGKILL');
        servers[0] = await serve();
      })();
    });
    const seconds = (performance.now() - started) / 1000;
    await restarted;
    t.comment(`${changes} changes, ${queue.length} messages, ${customers} names: ${seconds.toFixed(1)} s`, outcomes);
    t.equal(outcomes['a worker started again'], 1);
    t.ok((outcomes.failed ?? 0) > 0, 'requests failed while a server was down');
    await checkState(t, servers[0] as Server, system);
  });
}
