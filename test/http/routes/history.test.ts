/** `GET /history`: the changes of a customer, and who looked at it. */
import { storing } from '../../support/client.ts';
import { eachStorage, refusedFor } from '../../support/service.ts';

const email = 'jane@example.com';
const unknown = '404 CUSTOMER_NOT_FOUND';

eachStorage((start, t) => {
  t.test('the history has the events of the feed, and the accesses with who, when and why', async (t) => {
    const service = await start(t);
    const { post, history, changes, clock } = service;
    const { customerUrn: urn } = (await post('store', storing({ externalIdentifier: 'crm-1', email }))).result;
    await post('store', storing({ externalIdentifier: 'crm-2' }));
    const support = await service.key('acme', 'read');
    clock.now += 60_000;
    const found = await support.post('find', { email, reference: 'TICKET-7' });
    t.equal(found.status, 200);
    await post('find', { email: 'nobody@example.com' });
    await post('find', { email, phoneNumber: '1' });
    clock.now += 60_000;
    const exported = await post('subject-export', { customerUrn: urn });
    await post('subject-export', { customerUrn: 'cu.00.999' });
    await post('delete', { customerUrn: urn });

    const feed = (await changes()).body.result.changes as { customerUrn: string }[];
    const { outcome, body, text } = await history({ urn });
    t.equal(outcome, '200 SUCCESS');
    t.strictSame(
      body.result.changes,
      feed.filter(({ customerUrn }) => customerUrn === urn),
    );
    t.strictSame(body.result.accesses, [
      {
        at: '2026-01-15T09:31:00.000Z',
        operation: 'find',
        actor: { keyId: support.id, requestId: found.headers['x-request-id'] },
        reference: 'TICKET-7',
      },
      {
        at: '2026-01-15T09:32:00.000Z',
        operation: 'subject-export',
        actor: { keyId: body.result.changes[0].actor.keyId, requestId: exported.headers['x-request-id'] },
      },
    ]);
    t.notMatch(text, /jane|crm-/);
    t.equal((await history({ exId: 'crm-1' })).outcome, unknown, 'an erasure erases the ExternalId');
  });

  t.test('a customer is found by URN or ExternalId, by its own tenant only', async (t) => {
    const service = await start(t);
    const { post, history } = service;
    const { customerUrn: urn } = (await post('store', storing({ externalIdentifier: 'crm-1' }))).result;
    t.strictSame((await history({ exId: 'crm-1' })).body, (await history({ urn })).body);
    t.strictSame((await history({ urn })).body.result.accesses, []);
    t.equal((await (await service.tenant('globex')).history({ urn })).outcome, unknown);
    t.equal((await history({ urn: 'cu.00.999' })).outcome, unknown);
    t.equal((await (await service.key('acme', 'read')).history({ urn })).status, 200);
    refusedFor(t, await history({}), ['urn: required']);
    refusedFor(t, await history({ urn: 'crm-1' }), ['urn: invalid_format']);
  });

  t.test('a reference that is no case number is refused', async (t) => {
    const { post } = await start(t);
    const reference = 'because Jane asked';
    refusedFor(t, await post('find', { email, reference }), ['reference: invalid_format']);
    refusedFor(t, await post('subject-export', { customerUrn: 'cu.00.1', reference }), ['reference: invalid_format']);
  });
});
