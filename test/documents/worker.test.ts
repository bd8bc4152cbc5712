/** The worker of docs/keeping-in-step.md, against a service. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { startService } from '../support/service.ts';
import { portOf } from '../support/sockets.ts';

interface Message {
  readonly id: string;
  readonly revision: number;
  readonly deletedAt?: string;
}
type Follow = (message: Message) => Promise<string>;

const page = readFileSync(new URL('../../docs/keeping-in-step.md', import.meta.url), 'utf8');
const [, code = ''] = /```js\n(async function follow[\s\S]+?)```/.exec(page) ?? [];

t.test('each answer of the service ends a message, or repeats or reports it', async (t) => {
  const service = await startService(t);
  const port = await portOf(service);
  const source = new Map<string, object>();
  const env = { KEY: service.credentials['x-api-key'] };
  const make = new Function(
    'process',
    'customerFromYourDatabase',
    `${code.replace(':3000', `:${port}`)}; return follow`,
  );
  const follow = make({ env }, async (id: string) => source.get(id)) as Follow;
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

  env.KEY = 'wrong';
  await t.rejects(follow(save('a', 9)), /API key/);
  await service.app.close();
  t.equal(await follow(save('a', 9)), 'retry later', 'no connection');
});
