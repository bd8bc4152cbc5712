/** The programs of the client's README, against a service. Two of them are in docs/keeping-in-step.md too. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { storing } from '../support/client.ts';
import { type Service, startService } from '../support/service.ts';
import { portOf } from '../support/sockets.ts';

const root = resolve(import.meta.dirname, '../..');
const clientFile = pathToFileURL(join(root, 'packages/client/src/index.ts')).href;
const blocksOf = (page: string) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/```js\n([\s\S]+?)```/g)].map(([, code]) => code as string);
const programs = blocksOf('docs/keeping-in-step.md');
const readme = blocksOf('packages/client/README.md');

t.test("they are in the client's README too, in twenty and ten lines", async (t) => {
  t.same(programs, readme.slice(1, 3));
  const lengths = programs.map((code) => Number(/^async function [\s\S]+?^}/m.exec(code)?.[0].split('\n').length));
  t.equal(lengths.length, 2);
  t.ok((lengths[0] as number) <= 20 && (lengths[1] as number) <= 10, lengths.join());
});

/** The function of a program, which uses this service. */
async function load(t: Test, service: Service, name: string) {
  const code = readme.find((one) => one.includes(`async function ${name}(`)) ?? '';
  const text = code
    .replace("'c2a-customers-client'", `'${clientFile}'`)
    .replace("tenant: 'acme'", "tenant: 'acme', retryForMs: 50")
    .replace(':3000', `:${await portOf(service)}`)
    .replace("process.env.KEY ?? ''", '() => globalThis.apiKeyOfTest');
  const file = join(t.testdir({ 'program.mjs': `${text}\nexport { ${name} };` }), 'program.mjs');
  return (await import(pathToFileURL(file).href))[name];
}

/** What the programs expect to be there. */
const surroundings = globalThis as {
  apiKeyOfTest?: string;
  customerFromYourDatabase?: (id: string) => Promise<object | undefined>;
};

interface Message {
  readonly id: string;
  readonly revision: number;
  readonly deletedAt?: string;
}

t.test('each answer of the service ends a message, or repeats or reports it', async (t) => {
  const service = await startService(t);
  const source = new Map<string, object>();
  surroundings.customerFromYourDatabase = async (id) => source.get(id);
  surroundings.apiKeyOfTest = service.credentials['x-api-key'];
  const follow: (message: Message) => Promise<string> = await load(t, service, 'follow');
  const save = (id: string, sourceRevision: number, fields: object = {}) => {
    const customer = { externalIdentifier: id, ...fields };
    source.set(id, { customer, claimedRegion: { countryCode: 'DE', languageCode: 'de' }, sourceRevision });
    return { id, revision: sourceRevision };
  };
  const gone = (id: string, revision: number) => ({ id, revision, deletedAt: '2026-01-15' });
  const email = 'jane@example.com';

  t.equal(await follow(gone('late', 7)), 'acknowledge', 'nobody to delete yet');
  t.equal(await follow(save('late', 6)), 'acknowledge', 'stale');
  t.equal(await follow({ id: 'unknown', revision: 1 }), 'acknowledge');
  t.equal(await follow(save('a', 1, { email })), 'acknowledge');
  t.equal(await follow(save('b', 1, { email })), 'retry later');
  t.equal(await follow(save('c', 1, { email: 'nowhere' })), 'report');
  t.equal(await follow(save('a', 1, { email, firstName: 'Jane' })), 'report', 'two contents of one revision');
  t.equal(await follow(save('a', 3, { email, firstName: 'Jane' })), 'acknowledge');
  t.equal(await follow(gone('a', 2)), 'acknowledge', 'a newer change is stored');
  t.equal(await follow(save('b', 2)), 'acknowledge');

  const urnOf = async (exId: string) => (await service.info({ exId })).result.customerUrn;
  const into = await urnOf('a');
  await service.post('merge', { from: await urnOf('b'), into, sourceRevision: 4 });
  t.equal(await follow(gone('b', 3)), 'acknowledge', 'from before the merge');
  t.equal(await follow(gone('b', 5)), 'report', 'the record that is left over, or a person');
  t.equal((await service.info({ urn: into })).result.firstName, 'Jane');
  t.equal(await follow(gone('a', 5)), 'acknowledge');
  t.equal((await service.info({ urn: into })).result.status, 'Anonymized');

  surroundings.apiKeyOfTest = 'wrong';
  await t.rejects(follow(save('a', 9)), /API key/);
  await service.app.close();
  await t.rejects(follow(save('a', 9)), { name: 'ConnectionError' }, 'no connection: the message comes again');
});

t.test('the backfill reports what was refused', async (t) => {
  const service = await startService(t);
  surroundings.apiKeyOfTest = service.credentials['x-api-key'];
  const backfill: (rows: Iterable<object>) => Promise<object> = await load(t, service, 'backfill');
  const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
  const rows = Array.from({ length: 50 }, (_, index) => ({
    customer: { externalIdentifier: `crm-${index}`, ...(index === 7 && { email: 'nowhere' }) },
    claimedRegion,
  }));
  const reported = t.capture(console, 'error').args;
  const summary = { outcome: 'summary', created: 49, updated: 0, unchanged: 0, stale: 0, erased: 0, refused: 1 };
  t.same(await backfill(rows), summary);
  t.match(reported(), [[8, { messageCode: 'INVALID_REQUEST', errors: [{ field: 'customer.email' }] }]]);
  t.match(await backfill(rows.values()), { created: 0, unchanged: 49, refused: 1 });
});

t.test('the changes are followed from the cursor that was saved', async (t) => {
  const service = await startService(t);
  surroundings.apiKeyOfTest = service.credentials['x-api-key'];
  const followChanges: (cursors: object, signal: AbortSignal) => Promise<void> = await load(
    t,
    service,
    'followChanges',
  );
  const printed = t.capture(console, 'log').args;
  const cursors = {
    saved: undefined as string | undefined,
    load: async () => cursors.saved,
    save: async (next: string) => {
      cursors.saved = next;
      stopped.abort(new Error('enough'));
    },
  };
  let stopped = new AbortController();
  for (const id of ['a', 'b']) {
    await service.post('store', storing({ externalIdentifier: id }));
    stopped = new AbortController();
    await t.rejects(followChanges(cursors, stopped.signal), { message: 'enough' });
  }
  t.same(printed(), [
    ['customer.stored', 'cu.00.1', 1],
    ['customer.stored', 'cu.00.2', 1],
  ]);
});
