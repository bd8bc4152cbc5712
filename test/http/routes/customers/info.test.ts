/** C2A-01-05 `GET /info`. */
import { storing } from '../../../support/client.ts';
import { eachStorage, refusedFor } from '../../../support/service.ts';

eachStorage((start, t) => {
  t.test('finds a customer by URN or ExternalId; the URN takes precedence', async (t) => {
    const { post, info } = await start(t);
    const { result: a } = await post('store', storing({ externalIdentifier: 'a ä+&?' }));
    const { result: b } = await post('store', storing({ externalIdentifier: 'b' }));
    const options = { availableChannels: ['CARD', 'SEPA'], canSavePaymentMethod: true };
    const subscriptionSummary = { total: 0, active: 0, canceled: 0 };
    const byUrn = await info({ urn: a.customerUrn });
    t.strictSame(byUrn.body, { result: { ...a, options, subscriptionSummary }, status: { messageCode: 'SUCCESS' } });
    t.equal(byUrn.headers.etag, '"1"');
    t.same((await info({ exId: 'a ä+&?' })).body, byUrn.body);
    t.same((await info({ exId: ' a ä+&? ' })).body, byUrn.body, 'trimmed');
    t.equal((await info({ urn: a.customerUrn, exId: 'b' })).result.customerUrn, a.customerUrn);
    t.equal((await info({ urn: a.customerUrn, exId: 'x'.repeat(500) })).result.customerUrn, a.customerUrn);
    t.equal((await info({ urn: '', exId: 'b' })).result.customerUrn, b.customerUrn, 'an empty URN counts as absent');
  });

  t.test('an unknown identifier is not found', async (t) => {
    const { info } = await start(t);
    const unknown = ['cu.00.1', 'cu.99.1', 'cu.00.0', `cu.00.${'9'.repeat(90)}`].map((urn) => ({ urn }));
    for (const query of [...unknown, { exId: 'x' }, { exId: 'cu.00.1' }, { urn: 'cu.00.1', exId: 'x' }]) {
      t.equal((await info(query)).outcome, '404 CUSTOMER_NOT_FOUND');
    }
  });

  t.test('a query without a valid identifier is refused', async (t) => {
    const { info } = await start(t);
    const cases: [query: Record<string, string | string[]>, problem: string][] = [
      [{}, 'urn: required'],
      [{ urn: '', exId: ' ' }, 'urn: required'],
      [{ customerUrn: 'cu.00.1' }, 'urn: required'],
      [{ urn: 'crm-1' }, 'urn: invalid_format'],
      [{ urn: ['cu.00.1', 'cu.00.2'] }, 'urn: invalid_type'],
      [{ exId: ['a', 'b'] }, 'exId: invalid_type'],
      [{ exId: 'x'.repeat(129) }, 'exId: too_long'],
      [{ exId: 'a\u0000' }, 'exId: invalid_format'],
    ];
    for (const [query, problem] of cases) refusedFor(t, await info(query), [problem]);
  });

  t.test('payment options are those of the tenant, by claimed country, and none for a blocked customer', async (t) => {
    const { post, info, set } = await start(t);
    await post('store', storing({ externalIdentifier: 'de' }));
    await post('store', storing({ externalIdentifier: 'tr' }, { countryCode: 'TR', languageCode: 'tr' }));
    await post('store', storing({ externalIdentifier: 'blocked', status: 'Blocked' }));
    const optionsOf = async (exId: string) => (await info({ exId })).result.options;

    await set('acme', { channels: [{ channel: 'CARD' }, { channel: 'SEPA', countries: ['DE', 'FR'] }] });
    t.same(await optionsOf('de'), { availableChannels: ['CARD', 'SEPA'], canSavePaymentMethod: true });
    t.same(await optionsOf('tr'), { availableChannels: ['CARD'], canSavePaymentMethod: true });
    t.same(await optionsOf('blocked'), { availableChannels: [], canSavePaymentMethod: false });

    await set('acme', { channels: [], canSavePaymentMethod: false });
    t.same(await optionsOf('de'), { availableChannels: [], canSavePaymentMethod: false });
    await post('update', { customer: { externalIdentifier: 'blocked', status: 'Active' } });
    await set('acme', { channels: [{ channel: 'CARD' }] });
    t.same(await optionsOf('blocked'), { availableChannels: ['CARD'], canSavePaymentMethod: false });
  });
});
