/** `POST /sync`, and the source revisions of the other operations. */
import t from 'tap';
import { storing } from '../../support/client.ts';
import { startService } from '../../support/service.ts';

const jane = { externalIdentifier: 'crm-1', email: 'jane@example.com', firstName: 'Jane' };
const at = (sourceRevision: number, customer: object = jane) => ({ ...storing(customer), sourceRevision });

for (const storage of ['memory', 'sqlite'] as const) {
  t.test(storage, async (t) => {
    const start = (test: Parameters<typeof startService>[0]) =>
      startService(test, { storage, ...(storage === 'sqlite' && { dataDir: test.testdir({}) }) });

    t.test('it creates, then replaces, and says what it did', async (t) => {
      const { post, info } = await start(t);
      const created = await post('sync', at(1));
      t.match(created.body, { outcome: 'created', result: { sourceRevision: 1, firstName: 'Jane' } });
      t.equal(created.headers.etag, '"1"');
      t.strictSame(Object.keys(created.body), ['result', 'outcome', 'status']);
      const { firstName: _, ...unnamed } = jane;
      const updated = await post('sync', at(2, { ...unnamed, lastName: 'Doe' }));
      t.match(updated.body, {
        outcome: 'updated',
        changedFields: ['firstName', 'lastName'],
        result: { lastName: 'Doe' },
      });
      t.notOk('firstName' in updated.result);
      t.strictSame((await post('sync', at(2, { ...unnamed, lastName: 'Doe' }))).body, {
        result: updated.result,
        outcome: 'unchanged',
        status: { messageCode: 'SUCCESS' },
      });
      const stale = await post('sync', at(1));
      t.strictSame(stale.body, { result: null, outcome: 'stale', status: { messageCode: 'SUCCESS' } });
      t.equal(stale.headers.etag, undefined);
      const { options: ___, subscriptionSummary: ____, ...record } = (await info({ exId: 'crm-1' })).result;
      t.strictSame(record, updated.result);
    });

    t.test('the table of revisions', async (t) => {
      const { post } = await start(t);
      const { result } = await post('store', at(5));
      const customerUrn = result.customerUrn;
      const update = (revision: number, change: object) =>
        post('update', { customer: { customerUrn, ...change }, sourceRevision: revision });
      for (const [revision, change, outcome] of [
        [4, { firstName: 'Joan' }, '409 STALE_REVISION'],
        [4, {}, '409 STALE_REVISION'],
        [5, {}, '200 SUCCESS'],
        [5, { firstName: 'Joan' }, '409 REVISION_CONFLICT'],
        [6, { firstName: 'Joan' }, '200 SUCCESS'],
        [7, {}, '200 SUCCESS'],
        [6, {}, '409 STALE_REVISION'],
      ] as const) {
        t.equal((await update(revision, change)).outcome, outcome, `${revision} ${JSON.stringify(change)}`);
      }
      t.equal((await post('update', { customer: { customerUrn, lastName: 'Doe' } })).result.sourceRevision, 7);
      const again = await post('update', { customer: { customerUrn }, sourceRevision: null });
      t.equal(again.result.sourceRevision, 7, 'null is no revision');
      t.equal((await post('sync', at(7))).outcome, '409 REVISION_CONFLICT');
      t.equal((await post('delete', { customerUrn, sourceRevision: 6 })).outcome, '409 STALE_REVISION');
      t.equal((await post('delete', { customerUrn, sourceRevision: 7 })).outcome, '200 SUCCESS');
      for (const [route, revision, outcome] of [
        ['store', 7, '409 STALE_REVISION'],
        ['sync', 7, '200 SUCCESS'],
        ['store', 8, '200 SUCCESS'],
      ] as const) {
        t.equal((await post(route, at(revision))).outcome, outcome, `${route} ${revision}`);
      }
    });

    t.test('a delete that overtakes its store is 404, and keeps the customer out', async (t) => {
      const { post, clock } = await start(t);
      const { outcome } = await post('delete', { externalIdentifier: 'crm-1', sourceRevision: 9 });
      t.equal(outcome, '404 CUSTOMER_NOT_FOUND');
      t.match((await post('sync', at(8))).body, { outcome: 'stale' });
      t.match((await post('validate', { externalId: 'crm-1' })).body, { isAvailable: true });
      clock.now += 30 * 24 * 60 * 60 * 1000;
      t.match((await post('sync', at(8))).body, { outcome: 'created' }, 'after 30 days');
    });

    t.test('a CustomerUrn names the record, so that its ExternalId can change', async (t) => {
      const { post } = await start(t);
      const { customerUrn } = (await post('sync', at(1))).result;
      const renamed = await post('sync', at(3, { ...jane, customerUrn, externalIdentifier: 'crm-2' }));
      t.match(renamed.body, { outcome: 'updated', changedFields: ['externalIdentifier'], result: { customerUrn } });
      t.match((await post('sync', at(2))).body, { outcome: 'stale' }, 'a late message with the old name');
      const unknown = await post('sync', storing({ ...jane, customerUrn: 'cu.00.999' }));
      t.equal(unknown.outcome, '404 CUSTOMER_NOT_FOUND');
    });

    t.test('If-Match and Idempotency-Key work', async (t) => {
      const { post } = await start(t);
      t.equal((await post('sync', storing(jane), { 'if-match': '"1"' })).outcome, '412 VERSION_MISMATCH');
      t.equal((await post('sync', storing(jane), { 'if-match': '*' })).body.outcome, 'created');
      const next = storing({ ...jane, lastName: 'Doe' });
      t.equal((await post('sync', next, { 'if-match': '"2"' })).outcome, '412 VERSION_MISMATCH');
      t.equal((await post('sync', next, { 'if-match': '"1"' })).body.outcome, 'updated');
      const first = await post('sync', storing({ externalIdentifier: 'crm-2' }), { 'idempotency-key': 'k' });
      const repeat = await post('sync', storing({ externalIdentifier: 'crm-2' }), { 'idempotency-key': 'k' });
      t.strictSame(repeat.body, first.body);
      t.equal(repeat.headers['idempotency-replayed'], 'true');
      const other = await post('sync', storing({ externalIdentifier: 'crm-3' }), { 'idempotency-key': 'k' });
      t.equal(other.outcome, '422 IDEMPOTENCY_KEY_REUSED');
    });

    t.test('all violations are reported, and nothing is stored', async (t) => {
      const { post } = await start(t);
      for (const [sourceRevision, code] of [
        [-1, 'invalid_value'],
        [1.5, 'invalid_value'],
        [2 ** 53, 'invalid_value'],
        ['7', 'invalid_type'],
        [true, 'invalid_type'],
      ] as const) {
        const answer = await post('sync', { ...storing({ email: 'jane@', customerUrn: 'cu' }), sourceRevision });
        t.strictSame(answer.violations, [
          'customer.customerUrn: invalid_format',
          'customer.email: invalid_format',
          `sourceRevision: ${code}`,
          'customer.externalIdentifier: required',
        ]);
      }
      t.equal((await post('sync', { claimedRegion: {} })).outcome, '400 BAD_REQUEST');
      t.match((await post('validate', { externalId: 'crm-1' })).body, { isAvailable: true });
      const conflict = await post('store', storing({ ...jane, externalIdentifier: 'crm-9' }));
      const refused = await post('sync', storing(jane));
      t.equal(refused.outcome, '409 USER_WITH_SAME_EMAIL_EXISTS');
      t.equal(refused.body.status.conflicts[0].customerUrn, conflict.result.customerUrn);
    });
  });
}
