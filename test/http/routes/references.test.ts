/** `POST /references` and `GET /references`, the summary that `info` has of them, and the keys of the role `flow`. */
import { base, storing } from '../../support/client.ts';
import { eachStorage, refusedFor, type Service } from '../../support/service.ts';

const jane = { externalIdentifier: 'crm-1', email: 'jane@example.com', firstName: 'Jane' };
const none = { total: 0, active: 0, canceled: 0 };
const unknown = '404 CUSTOMER_NOT_FOUND';
const sub = (customerUrn: string, more: object = {}) => ({
  customerUrn,
  kind: 'subscription',
  reference: 'sub.00.17',
  state: 'active',
  ...more,
});

/** Stores a customer; returns its URN. */
const stored = async ({ post }: Pick<Service, 'post'>, customer: object = jane) =>
  (await post('store', storing(customer))).result.customerUrn;

eachStorage((start, t) => {
  t.test('a reference is bound, shown and counted; a repeat changes nothing', async (t) => {
    const { post, info, references, clock } = await start(t);
    const urn = await stored({ post });
    t.strictSame((await info({ urn })).result.subscriptionSummary, none);
    const bound = await post('references', sub(urn));
    const result = { ...sub(urn), createdAt: '2026-01-15T09:30:00.000Z', updatedAt: '2026-01-15T09:30:00.000Z' };
    t.strictSame(bound.body, { result, status: { messageCode: 'SUCCESS' } });
    t.equal(bound.headers.etag, undefined);
    clock.now += 60_000;
    t.strictSame((await post('references', { ...sub(urn), reference: ' sub.00.17 ' })).body.result, result);
    await post('references', sub(urn, { kind: 'offer' }));
    for (const query of [{ urn }, { exId: 'crm-1' }, { urn, exId: 'crm-2' }] as Record<string, string>[]) {
      const { body } = await references(query);
      t.strictSame(body, {
        result: {
          references: [{ ...sub(urn, { kind: 'offer' }), createdAt: later(1), updatedAt: later(1) }, result],
        },
        status: { messageCode: 'SUCCESS' },
      });
    }
    clock.now += 60_000;
    const canceled = await post('references', sub(urn, { state: 'canceled' }));
    t.strictSame(canceled.body.result, { ...result, state: 'canceled', updatedAt: later(2) });
    t.strictSame((await info({ urn })).result.subscriptionSummary, { total: 1, active: 0, canceled: 1 });
    const found = await post('find', { email: jane.email });
    t.strictSame(found.body, (await info({ exId: 'crm-1' })).body);
    t.equal(found.headers.etag, '"1"', 'the record is not changed');
  });

  t.test('all violations are reported at once, and no value is repeated', async (t) => {
    const { post, references } = await start(t);
    const urn = await stored({ post });
    const missing = await post('references', {});
    refusedFor(
      t,
      missing,
      ['customerUrn: required', 'kind: required', 'reference: required', 'state: required'],
      'no field',
    );
    const broken = { customerUrn: 'crm-1', kind: 'Secret', reference: 'Secret 1', state: 'Secret', note: 'Secret' };
    const refused = await post('references', broken);
    refusedFor(t, refused, [
      'customerUrn: invalid_format',
      'kind: invalid_value',
      'reference: invalid_format',
      'state: invalid_value',
      'note: unknown_field',
    ]);
    t.notMatch(refused.text, /Secret|crm-1/);
    refusedFor(t, await post('references', sub(urn, { reference: 'x'.repeat(65) })), ['reference: too_long']);
    refusedFor(t, await post('references', sub(urn, { reference: 'Jané' })), ['reference: invalid_format']);
    refusedFor(t, await post('references', sub(urn, { reference: 17, state: true })), [
      'reference: invalid_type',
      'state: invalid_type',
    ]);
    t.equal((await post('references', '[]')).outcome, '400 BAD_REQUEST');
    refusedFor(t, await references({}), ['urn: required']);
    refusedFor(t, await references({ urn: 'crm-1' }), ['urn: invalid_format']);
    t.strictSame((await references({ urn })).body.result, { references: [] });
  });

  t.test('an unknown customer, and a reference of another customer', async (t) => {
    const { post, references, tenant } = await start(t);
    const urn = await stored({ post });
    const other = await stored({ post }, { externalIdentifier: 'crm-2' });
    await post('references', sub(urn));
    t.equal((await post('references', sub('cu.00.999'))).outcome, unknown);
    t.equal((await references({ urn: 'cu.00.999' })).outcome, unknown);
    t.equal((await references({ exId: 'crm-9' })).outcome, unknown);
    const taken = await post('references', sub(other, { state: 'canceled' }));
    t.equal(taken.outcome, '409 REFERENCE_OF_ANOTHER_CUSTOMER');
    t.notMatch(taken.text, new RegExp(`sub\\.00|${urn}|${other}`));
    t.strictSame((await references({ urn: other })).body.result, { references: [] });
    const globex = await tenant('globex');
    t.equal((await globex.post('references', sub(urn))).outcome, unknown);
    t.equal((await globex.references({ urn })).outcome, unknown);
  });

  t.test('references outlive an erasure, and are in the receipt and the export', async (t) => {
    const { post, info, references, receipt } = await start(t);
    const urn = await stored({ post });
    const bare = await stored({ post }, { externalIdentifier: 'crm-2' });
    const { result } = (await post('references', sub(urn))).body;
    t.match((await post('subject-export', { customerUrn: urn })).result, { references: [result] });
    for (const customerUrn of [urn, bare]) await post('delete', { customerUrn });
    t.match((await info({ urn })).result, {
      status: 'Anonymized',
      subscriptionSummary: { total: 1, active: 1, canceled: 0 },
    });
    t.strictSame((await info({ urn: bare })).result.subscriptionSummary, none);
    t.strictSame((await references({ urn })).body.result, { references: [result] });
    t.equal((await references({ exId: 'crm-1' })).outcome, unknown);
    t.equal((await post('references', sub(urn, { kind: 'offer' }))).outcome, '409 CUSTOMER_ANONYMIZED');
    t.match((await post('references', sub(urn, { state: 'canceled' }))).body.result, { state: 'canceled' });
    t.strictSame((await info({ urn })).result.subscriptionSummary, { total: 1, active: 0, canceled: 1 });
    t.match((await post('subject-export', { customerUrn: urn })).result, { references: [{ state: 'canceled' }] });
    const kept = async (of: string) =>
      ((await receipt(of)).body.result.receipt.kept as { field: string }[]).map(({ field }) => field);
    t.ok((await kept(urn)).includes('references of flows'));
    t.notOk((await kept(bare)).includes('references of flows'));
  });

  t.test('a merge takes the references along', async (t) => {
    const { post, info, references } = await start(t);
    const from = await stored({ post });
    const into = await stored({ post }, { externalIdentifier: 'crm-2' });
    await post('references', sub(from));
    await post('references', sub(into, { reference: 'sub.00.18', state: 'canceled' }));
    await post('merge', { from, into });
    const both = [{ customerUrn: into }, { customerUrn: into, reference: 'sub.00.18' }];
    for (const query of [{ urn: from }, { urn: into }, { exId: 'crm-1' }] as Record<string, string>[]) {
      t.match((await references(query)).body.result.references, both);
      t.strictSame((await info(query)).result.subscriptionSummary, { total: 2, active: 1, canceled: 1 });
    }
    t.match((await post('references', sub(from, { state: 'canceled' }))).body.result, { customerUrn: into });
    t.match((await post('references', sub(from, { kind: 'checkout' }))).body.result, { customerUrn: into });
    await post('delete', { customerUrn: into });
    for (const urn of [from, into]) {
      t.equal((await references({ urn })).body.result.references.length, 3);
      t.equal((await post('references', sub(urn, { kind: 'offer' }))).outcome, '409 CUSTOMER_ANONYMIZED');
    }
  });

  t.test('a key of a flow may bind and read references, and use info', async (t) => {
    const { post, key, app } = await start(t);
    const urn = await stored({ post });
    const [flow, reader] = [await key('acme', 'flow'), await key('acme', 'read')];
    t.equal((await flow.post('references', sub(urn))).outcome, '200 SUCCESS');
    t.equal((await flow.references({ urn })).outcome, '200 SUCCESS');
    t.match((await flow.info({ urn })).result, { subscriptionSummary: { total: 1 } });
    t.equal((await reader.references({ urn })).outcome, '200 SUCCESS');
    t.equal((await reader.post('references', sub(urn))).outcome, '403 FORBIDDEN');
    t.equal((await flow.post('find', { email: jane.email })).outcome, '403 FORBIDDEN');
    t.equal((await flow.post('validate', { externalId: 'crm-1' })).body.status.messageCode, 'FORBIDDEN');
    t.equal((await flow.export()).outcome, '403 FORBIDDEN');
    t.equal((await flow.receipt(urn)).outcome, '403 FORBIDDEN');
    const { statusCode } = await app.inject({ method: 'DELETE', url: `${base}/references`, headers: flow.credentials });
    t.equal(statusCode, 405);
  });
});

/** The time some minutes after the first request. */
function later(minutes: number): string {
  return new Date(Date.parse('2026-01-15T09:30:00.000Z') + minutes * 60_000).toISOString();
}
