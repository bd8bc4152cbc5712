/**
 * No submitted value is on disk, in the log, in the metrics or in the answer to another caller. A real server at log level
 * trace stores customers with marks in every field, for which everything is searched.
 */
import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { copiesOf, filesOf, wrappedKeys } from '../support/bytes.ts';
import { claimedRegion, storing } from '../support/client.ts';
import { deployment, type Server } from '../support/deployment.ts';
import { allMarks, mark, markedCustomer, marksIn, personalMarks, valueMarks } from '../support/marks.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { atOnce, newFolder } from '../support/storage.ts';
import { startConsumer } from '../support/webhooks.ts';

/** Enough for SQLite to move rows between pages. */
const customers = 500;
/** How many requests run at once. */
const lanes = 16;

/** Does something for the indexes from 0, a few at a time. */
async function forEachOf(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await atOnce(lanes, async () => {
    while (next < count) await work(next++);
  });
}

/** In random order. */
const shuffled = <Item>(items: readonly Item[]): Item[] =>
  items
    .map((item) => ({ item, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item);

function folderIsClean(t: Test, folder: string, when: string): void {
  const files = Object.entries(filesOf(folder));
  t.ok(files.length >= 3);
  for (const [name, bytes] of files) t.same(marksIn(bytes), [], `${name}, ${when}`);
}

/**
 * Uses everything that is stored beside a customer, or tells others of it: the look-ups, references, the feed and its
 * deliveries. Returns what consumers have got.
 */
async function lookUpAndBind({ post, changes, history, get }: Server, urns: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  await forEachOf(20, async (index) => {
    const urn = urns[index] as string;
    const { email } = markedCustomer(index);
    const reference = `sub.${index}`;
    const bound = { customerUrn: urn, kind: 'subscription', reference, state: 'active' };
    for (const [route, body] of [
      ['find', { email, reference }],
      ['subject-export', { customerUrn: urn, reference }],
      ['references', bound],
    ] as const) {
      const { status, text } = await post(route, body);
      if (status !== 200) throw new Error(`${route} answered ${text}`);
      if (route === 'references') texts.push(text);
    }
    texts.push((await history({ urn })).text);
    texts.push((await get(`/api/c2a/customer/references?urn=${urn}`)).text);
  });
  texts.push((await changes({ limit: '1000' })).text);
  return texts;
}

/** Sends requests that are refused, with marks in every part of them, and returns the answers. */
async function refusedRequests({ get, post, info }: Server): Promise<string[]> {
  const customer = markedCustomer(0);
  const other = { ...markedCustomer(customers), email: customer.email };
  const answers = [
    await post('store', storing(customer)),
    await post('store', storing(other), { 'idempotency-key': `${mark}-conflict` }),
    await post('store', storing({ ...customer, externalIdentifier: `cu.${mark}`, [`${mark} x`]: mark })),
    await post('store', storing({ externalIdentifier: mark, phoneNumber: mark, gender: mark })),
    await post('store', storing(customer, { countryCode: mark, languageCode: mark })),
    await post('store', `{"${mark}": ${mark}`),
    await post('store', `{"__proto__": "${mark}"}`),
    await post('store', mark.repeat(10_000)),
    await post('store', mark, { 'content-type': `text/${mark}` }),
    await post('update', { customer }, { 'if-match': mark }),
    await post('update', { customer: { ...markedCustomer(1), email: customer.email } }),
    await post('delete', { customerUuid: mark }),
    await post('delete', { externalIdentifier: `${mark}-nobody` }),
    await post('store', storing(other), { 'idempotency-key': mark.repeat(20) }),
    await post('store', storing(other), { authorization: `Bearer ${mark}` }),
    await post('store', storing(other), { 'x-tn': `${mark} x`, 'x-api-key': mark }),
    await info({ exId: `${mark}-nobody` }),
    await info({ urn: mark }),
    await get(`/${mark}?${mark}=${mark}`),
    await get(`/%zz${mark}`),
  ];
  const accepted = answers.find(({ status }) => status < 400);
  if (accepted) throw new Error(`was to be refused: ${accepted.text}`);
  return answers.map(({ text }) => text);
}

t.test('files, logs, metrics and other callers’ answers contain no submitted value', async (t) => {
  const { dataDir, serve, command, beside } = deployment(t);
  const backup = beside('backup.db');
  const allowed = ['--webhook-networks', '127.0.0.1'];
  const server = await serve('--log-level', 'trace', ...allowed);
  const consumer = await startConsumer(t);
  const added = await command('webhook', 'add', '--tenant', 'acme', '--url', consumer.url('/ok'), ...allowed);
  t.equal(added.code, 0, added.stderr);
  const urns: string[] = [];

  await forEachOf(customers, async (index) => {
    const headers = { 'idempotency-key': `${mark}-${index}` };
    const { body } = await server.post('store', storing(markedCustomer(index)), headers);
    urns[index] = body.result.customerUrn;
  });
  t.equal(new Set(urns).size, customers);
  folderIsClean(t, dataDir, 'after storing');

  for (const text of await lookUpAndBind(server, urns)) t.same(marksIn(text, personalMarks), [], text.slice(0, 200));
  folderIsClean(t, dataDir, 'after look-ups and references');
  await consumer.gets('/ok', customers);
  for (const { headers, body } of consumer.of('/ok')) {
    t.same(marksIn(JSON.stringify({ headers, body }), personalMarks), [], 'a delivery');
  }

  const answers = await refusedRequests(server);
  for (const text of answers) t.same(marksIn(text, personalMarks), [], text);

  const updating = forEachOf(customers, async (index) => {
    const customer = { ...markedCustomer(index), customerUrn: urns[index], lastName: `${mark} changed ${index}` };
    await server.post('update', { customer, claimedRegion }, { 'idempotency-key': `${mark}-update-${index}` });
  });
  const backedUp = await command('backup', backup);
  t.equal(backedUp.code, 0, backedUp.stderr);
  await updating;
  t.same(marksIn(readFileSync(backup)), [], 'a backup made under load');
  folderIsClean(t, dataDir, 'after updating');

  const known = await server.info({ urn: urns[7] as string });
  t.match(known.body.result, { externalIdentifier: `${mark}-7`, lastName: `${mark} changed 7` }, 'nothing was lost');

  const [into = '', ...others] = shuffled(urns);
  const erased = others.slice(0, customers / 2);
  await forEachOf(erased.length, async (index) => {
    const from = erased[index] as string;
    if (index % 5 > 0) return server.forget(from);
    t.equal((await server.post('merge', { from, into })).status, 200);
  });
  folderIsClean(t, dataDir, 'after deleting and merging');
  t.same(marksIn((await server.get('/metrics')).text), [], 'metrics');

  const killed = await server.stop('SIGKILL');
  folderIsClean(t, dataDir, 'after kill -9');
  const again = await serve('--log-level', 'trace');
  t.equal((await again.info({ exId: `${mark}-${urns.findIndex((urn) => !erased.includes(urn))}` })).status, 200);
  folderIsClean(t, dataDir, 'after a restart');
  const stopped = await again.stop();
  folderIsClean(t, dataDir, 'after it was closed');

  for (const [name, { stdout, stderr }] of Object.entries({ killed, stopped })) {
    t.ok(stderr.includes('"level":"info"'), 'there was a log to look at');
    // The log names the fields that broke a rule.
    t.same(marksIn(stdout + stderr, valueMarks), [], `what the server that was ${name} printed`);
  }
  t.same(marksIn(backedUp.stderr + JSON.stringify(backedUp.value)), [], 'what the command printed');
});

t.test('the tables of PostgreSQL contain no submitted value', async (t) => {
  const url = await newDatabase(t);
  const { serve, command } = deployment(t, newFolder(t), ['--database-url', url]);
  const server = await serve();
  const urns: string[] = [];
  for (let index = 0; index < 20; index += 1) urns.push(await server.has(markedCustomer(index)));
  await lookUpAndBind(server, urns);
  await command('webhook', 'add', '--tenant', 'acme', '--url', 'https://endpoint.example.com/');
  for (const urn of urns.slice(10)) await server.forget(urn);
  const tables = await withRawPostgres(
    url,
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname like 'c2a%'`,
  );
  t.ok(tables.length >= 15);
  for (const { name } of tables) {
    const rows = await withRawPostgres(url, `select to_jsonb(t)::text as row from ${name} t`);
    t.same(marksIn(rows.map(({ row }) => row).join('\n')), [], `${name}: ${rows.length} rows`);
  }
});

t.test('the search finds the marks in every encoding', async (t) => {
  for (const wanted of allMarks) {
    for (const padding of ['', 'x', 'xx']) {
      const text = `${padding}${wanted}, and so on`;
      const ways: Record<string, Buffer | string> = {
        plain: text,
        utf16le: Buffer.from(text, 'utf16le'),
        base64: Buffer.from(text).toString('base64'),
        hex: Buffer.from(text).toString('hex'),
      };
      for (const [way, written] of Object.entries(ways)) t.not(marksIn(written).length, 0, `${wanted}, ${way}`);
    }
  }
});

t.test(
  'data keys that were destroyed in random order are in no page of the keys, whose rows SQLite has moved',
  async (t) => {
    const { dataDir, serve } = deployment(t);
    const server = await serve();
    const urns: string[] = [];
    await forEachOf(customers, async (index) => {
      urns[index] = await server.has({ externalIdentifier: `crm-${index}` });
    });
    const before = wrappedKeys(dataDir);
    t.equal(before.length, customers);
    const [into, ...others] = shuffled(urns);
    const erased = others.slice(0, (customers * 3) / 4);
    await forEachOf(erased.length, async (index) => {
      const from = erased[index] as string;
      if (index % 2 > 0) return server.forget(from);
      t.equal((await server.post('merge', { from, into })).status, 200);
    });

    const living = new Set(wrappedKeys(dataDir).map((key) => key.toString('hex')));
    const destroyed = before.filter((key) => !living.has(key.toString('hex')));
    t.equal(destroyed.length, erased.length);
    t.equal(copiesOf(destroyed, dataDir), 0);
    await server.stop();
  },
);
