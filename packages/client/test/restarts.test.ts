/**
 * A server that is killed and started again while the client writes, imports, exports and follows: nothing is lost, nothing is
 * done twice, and the caller sees no failure.
 */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { deployment } from '../../../test/support/deployment.ts';
import { type ChangeEvent, type Client, createClient, type ImportAnswer } from '../src/index.ts';
import { all, stateOf } from './support/service.ts';

const customerOf = (id: string) => stateOf(id, { email: `${id}@example.com` });
const kills = 3;
const writers = 6;
const rowCount = 8_000;

const { serve } = deployment(t);
let server = await serve();
const port = new URL(server.url).port;
const { 'x-api-key': apiKey } = JSON.parse(server.greeting.split('\n')[0] as string).credentials;
const c2a: Client = createClient({ baseUrl: server.url, tenant: 'acme', apiKey });

/** Whether the server is still to be killed. */
let isUnstable = true;
async function killAndRestart() {
  for (let count = 0; count < kills; count += 1) {
    await delay(400 + Math.random() * 600);
    await server.stop('SIGKILL');
    server = await serve('--port', port);
  }
  isUnstable = false;
}

/** Stores, updates and erases customers one after the other until the server is stable. Returns the URNs that are left. */
async function write(writer: number) {
  const left: string[] = [];
  const refused: string[] = [];
  for (let count = 0; isUnstable || count < 20; count += 1) {
    const id = `w${writer}-${count}`;
    const stored = await c2a.store(customerOf(id));
    if (stored.messageCode !== 'SUCCESS') refused.push(`store ${stored.messageCode}`);
    else {
      const { customerUrn } = stored.result;
      const updated = await c2a.update({ customer: { customerUrn, firstName: 'Jane' } });
      if (updated.messageCode !== 'SUCCESS' || updated.etag !== '"2"') refused.push(`update ${updated.messageCode}`);
      const erased = count % 4 === 0 ? await c2a.delete({ customerUrn }) : undefined;
      if (erased === undefined) left.push(customerUrn);
      else if (erased.messageCode !== 'SUCCESS') refused.push(`delete ${erased.messageCode}`);
    }
  }
  return { left, refused };
}

/** Takes its time, so that the import lasts as long as the server is unstable. */
async function* rows() {
  for (let index = 0; index < rowCount; index += 1) {
    if (index % 10 === 0 && isUnstable) await delay(3);
    yield customerOf(`row-${index}`);
  }
}

async function follow(signal: AbortSignal) {
  const events: ChangeEvent[] = [];
  const read = async () => {
    for await (const { changes } of c2a.changes({ after: 'start', limit: 50, wait: 1, signal })) {
      events.push(...changes);
      if (signal.aborted) return;
    }
  };
  await read().catch((error) => {
    if (!signal.aborted) throw error;
  });
  return events;
}

const ended = new AbortController();
const following = follow(ended.signal);
const work = [all(c2a.import(rows())), ...Array.from({ length: writers }, (_, writer) => write(writer))] as const;
await killAndRestart();
const [answers, ...written] = (await Promise.all(work)) as [ImportAnswer[], ...Awaited<ReturnType<typeof write>>[]];

const exported = new Map<string, string>();
for await (const { customerUrn, externalIdentifier } of c2a.export()) exported.set(customerUrn, externalIdentifier);

t.test('no write was refused, and each customer is there once', async (t) => {
  t.same(
    written.flatMap(({ refused }) => refused),
    [],
  );
  const left = written.flatMap((one) => one.left);
  t.ok(left.length > 100, `${left.length} customers`);
  const ofWriters = [...exported].filter(([, name]) => name.startsWith('w')).map(([urn]) => urn);
  t.same(ofWriters.sort(), left.sort());
});

t.test('each row was answered once, and is stored once', async (t) => {
  const lines = answers.flatMap((answer) => ('line' in answer ? [answer.line] : []));
  t.same(
    lines.sort((one, other) => one - other),
    Array.from({ length: rowCount }, (_, index) => index + 1),
  );
  t.same(
    answers.filter((answer) => 'row' in answer && !['created', 'unchanged'].includes(answer.outcome)),
    [],
  );
  const summary = answers.at(-1) as Extract<ImportAnswer, { outcome: 'summary' }>;
  t.match(summary, { outcome: 'summary', refused: 0 });
  t.equal(summary.created + summary.unchanged, rowCount);
  const names = [...exported.values()].filter((name) => name.startsWith('row-'));
  t.equal(names.length, rowCount);
  t.equal(new Set(names).size, rowCount);
});

t.test('the feed was followed without a gap and without a repetition', async (t) => {
  await delay(1_500);
  ended.abort();
  const events = await following;
  t.equal(new Set(events.map(({ id }) => id)).size, events.length);
  const versions = new Map<string, number>();
  const gaps = events.filter(({ customerUrn, version }) => {
    const before = versions.get(customerUrn) ?? 0;
    versions.set(customerUrn, version);
    return version !== before + 1;
  });
  t.same(gaps, []);
  const created = events.filter(({ type }) => type === 'customer.stored').length;
  const erased = events.filter(({ type }) => type === 'customer.anonymized').length;
  t.equal(created - erased, exported.size);
});
