/** Every operation, against the service in memory and against a server with SQLite. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { deployment } from '../../../test/support/deployment.ts';
import { type Client, createClient, type Outcome } from '../src/index.ts';
import { verifyErasureReceipt, verifyWebhook } from '../src/verify.ts';
import { all, claimedRegion, start, stateOf } from './support/service.ts';

/** The client, and the credentials of the server. */
const servers: Record<string, (t: Test) => Promise<Client>> = {
  memory: async (t) => (await start(t)).c2a,
  SQLite: async (t) => {
    const { url, greeting } = await deployment(t).serve();
    const { 'x-api-key': apiKey } = JSON.parse(greeting.split('\n')[0] as string).credentials;
    return createClient({ baseUrl: url, tenant: 'acme', apiKey });
  },
};

/** The success of an outcome. */
function done<Answer extends { readonly messageCode: string }>(
  answer: Answer,
): Extract<Answer, { readonly messageCode: 'SUCCESS' }> {
  if (answer.messageCode !== 'SUCCESS') throw new Error(JSON.stringify(answer));
  return answer as Extract<Answer, { readonly messageCode: 'SUCCESS' }>;
}

for (const [name, serve] of Object.entries(servers)) {
  t.test(`over ${name}`, async (t) => {
    const c2a = await serve(t);
    t.match(await c2a.validate({ externalId: 'a' }), { messageCode: 'SUCCESS', isAvailable: true });
    t.match(await c2a.validate({ ...stateOf('a', { phoneNumber: '0170 1234567' }) }), {
      outcome: 'created',
      result: { phoneNumber: '+491701234567' },
    });
    const stored = done(await c2a.store(stateOf('a', { email: 'a@example.com' })));
    t.match(stored, { etag: '"1"', isReplay: false, result: { status: 'Active', claimedRegion } });
    const urn = stored.result.customerUrn;
    t.match(await c2a.validate({ externalId: 'a' }), { isAvailable: false });
    const updated = done(await c2a.update({ customer: { customerUrn: urn, email: null, lastName: 'Doe' } }));
    t.equal(updated.result.email, undefined);
    t.equal(updated.etag, '"2"');
    const synced = done(await c2a.sync({ ...stateOf('b', { email: 'b@example.com' }), sourceRevision: 7 }));
    t.equal(synced.outcome, 'created');
    t.match(await c2a.sync({ ...stateOf('b'), sourceRevision: 6 }), { outcome: 'stale', result: null });
    t.match(await c2a.sync({ ...stateOf('b', { firstName: 'B' }), sourceRevision: 7 }), {
      messageCode: 'REVISION_CONFLICT',
    });
    t.match(await c2a.info({ urn }), { etag: '"2"', result: { lastName: 'Doe', subscriptionSummary: { total: 0 } } });
    t.match(await c2a.find({ email: 'B@example.com', reference: 'T-1' }), { result: { externalIdentifier: 'b' } });
    const bound = { customerUrn: urn, kind: 'subscription', reference: 'sub.00.1', state: 'active' } as const;
    t.match(await c2a.references.bind(bound), { result: bound });
    t.match(await c2a.references.list({ exId: 'a' }), { result: { references: [bound] } });
    const { customerUrn: other } = synced.result as { customerUrn: string };
    t.match(await c2a.history({ urn: other }), {
      result: { changes: [{ type: 'customer.stored' }], accesses: [{ operation: 'find', reference: 'T-1' }] },
    });
    t.match(await c2a.merge({ from: other, into: urn }), { result: { customerUrn: urn } });
    t.match(await c2a.info({ exId: 'b' }), { result: { customerUrn: urn } });
    t.match(await c2a.subjectExport({ customerUrn: urn }), { result: { record: { lastName: 'Doe' } } });
    t.match((await all(c2a.import([stateOf('c'), stateOf('d')]))).at(-1), { created: 2 });
    t.equal((await all(c2a.export())).length, 3);
    t.match(await c2a.delete({ customerUrn: urn, reference: 'DSAR-1' }), { messageCode: 'SUCCESS' });
    const receipt = done(await c2a.erasureReceipt(urn)).result;
    t.equal(receipt.receipt.reference, 'DSAR-1');
    t.equal(await verifyErasureReceipt(receipt, done(await c2a.receiptKey()).publicKey), true);
    const pages = await all(c2a.changes());
    t.same(
      pages.flatMap(({ changes }) => changes.map(({ type }) => type.replace('customer.', ''))),
      ['stored', 'updated', 'stored', 'merged', 'stored', 'stored', 'anonymized'],
    );
    const unknown: Outcome<'info'> = await c2a.info({ exId: 'a' });
    t.equal(unknown.messageCode, 'CUSTOMER_NOT_FOUND');
  });
}

t.test('a webhook of the service is verified', async (t) => {
  let secret = '';
  const verified: unknown[] = [];
  const consumer = createServer(async (request, response) => {
    verified.push(await verifyWebhook({ secret, body: await text(request), headers: request.headers }));
    response.end();
  }).listen(0, '127.0.0.1');
  t.teardown(() => consumer.close());
  await once(consumer, 'listening');
  const { serve, command } = deployment(t, undefined, ['--webhook-networks', '127.0.0.0/8']);
  await serve();
  const url = `http://127.0.0.1:${(consumer.address() as AddressInfo).port}/hook`;
  const { value } = await command('webhook', 'add', '--tenant', 'acme', '--url', url);
  secret = value.secret;
  const { code } = await command('webhook', 'test', value.id);
  t.equal(code, 0);
  t.match(verified, [{ id: /^\S+$/, event: { type: 'webhook.test' } }]);
});
