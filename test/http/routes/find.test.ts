/** `POST /find`: a customer by its e-mail address or phone number. */
import { storing } from '../../support/client.ts';
import { eachStorage, refusedFor } from '../../support/service.ts';

const jane = { externalIdentifier: 'crm-1', email: 'Jané.Doe@Bücher.example', phoneNumber: '0170 1234567' };
const unknown = '404 CUSTOMER_NOT_FOUND';

eachStorage((start, t) => {
  t.test('the answer is that of info, with its ETag', async (t) => {
    const { post, info, send, credentials } = await start(t);
    const { customerUrn: urn } = (await post('store', storing(jane))).result;
    await post('store', storing({ externalIdentifier: 'crm-2', email: 'other@example.com', status: 'Blocked' }));
    await post('update', { customer: { customerUrn: urn, firstName: 'Jane' } });
    const expected = await info({ urn });
    const found = await post('find', { email: jane.email });
    t.strictSame(found.body, expected.body);
    t.equal(found.headers.etag, '"2"');
    t.strictSame((await post('find', { phoneNumber: '+491701234567' })).body, expected.body);
    t.match((await post('find', { email: 'other@example.com' })).result, {
      externalIdentifier: 'crm-2',
      options: { availableChannels: [], canSavePaymentMethod: false },
    });
    const versioned = await send({
      method: 'POST',
      url: '/api/v1/c2a/customer/find',
      headers: { ...credentials, 'content-type': 'application/json' },
      payload: JSON.stringify({ email: jane.email }),
    });
    t.strictSame(versioned.body, expected.body);
  });

  t.test('a customer is found in every spelling that store reads as the same', async (t) => {
    const { post } = await start(t);
    const { customerUrn } = (await post('store', storing(jane))).result;
    const same = [
      { email: 'jané.doe@xn--bcher-kva.example' },
      { email: ' JANÉ.DOE@BÜCHER.EXAMPLE ' },
      { email: '"Jané.Doe"＠bücher.example', phoneNumber: null, countryCode: '' },
      { phoneNumber: '+49 (0)170 / 12 34-567', email: '' },
      { phoneNumber: 'tel:+49.170.1234567' },
      { phoneNumber: '٠١٧٠ ١٢٣٤٥٦٧', countryCode: 'de' },
      { phoneNumber: '0170 1234567', countryCode: 'DE' },
      { phoneNumber: '0049 170 1234567', countryCode: 'DE' },
      { phoneNumber: '+49 170 1234567', countryCode: 'TR' },
    ];
    for (const body of same) t.equal((await post('find', body)).result?.customerUrn, customerUrn, JSON.stringify(body));
    const others = [{ email: 'jane.doe@bücher.example' }, { phoneNumber: '0170 1234567', countryCode: 'AT' }];
    for (const body of others) t.equal((await post('find', body)).outcome, unknown, JSON.stringify(body));
  });

  t.test('nobody is found by old contact data, those of an erased customer, or of another tenant', async (t) => {
    const { post, tenant } = await start(t);
    const globex = await tenant('globex');
    const { customerUrn } = (await post('store', storing(jane))).result;
    const [email, phoneNumber] = [{ email: jane.email }, { phoneNumber: '+491701234567' }];
    for (const body of [email, phoneNumber]) t.equal((await globex.post('find', body)).outcome, unknown);

    // Read twice, so that the record is cached.
    for (const body of [email, email]) t.equal((await post('find', body)).status, 200);
    await post('update', { customer: { customerUrn, email: 'new@example.com', phoneNumber: null } });
    for (const body of [email, phoneNumber]) t.equal((await post('find', body)).outcome, unknown);
    t.match(await post('find', { email: 'new@example.com' }), { status: 200, result: { customerUrn } });

    await post('delete', { customerUrn });
    for (const email of ['new@example.com', `anonymized-${customerUrn}@anonymized.invalid`]) {
      t.equal((await post('find', { email })).outcome, unknown);
    }
  });

  t.test('a read-only key may find', async (t) => {
    const { post, key } = await start(t);
    await post('store', storing(jane));
    const reader = await key('acme', 'read');
    t.equal((await reader.post('find', { email: jane.email })).outcome, '200 SUCCESS');
    t.equal((await reader.post('find', { email: 'nobody@example.com' })).outcome, unknown);
  });

  t.test('a body without exactly one of e-mail and phone number, or that breaks their rules, is refused', async (t) => {
    const { post } = await start(t);
    for (const body of ['', '[]', 'null', '"jane@example.com"', '{"email":']) {
      t.equal((await post('find', body)).outcome, '400 BAD_REQUEST', body);
    }
    const [email, number] = ['jane@example.com', '+491701234567'];
    const cases: [body: object, violations: string[]][] = [
      [{}, ['email: exactly_one']],
      [{ email: ' ', phoneNumber: null }, ['email: exactly_one']],
      [{ countryCode: 'DE' }, ['email: exactly_one']],
      [{ email, phoneNumber: number }, ['email: exactly_one']],
      [{ email: 'jane@', phoneNumber: number, countryCode: 'DE' }, ['email: invalid_format', 'email: exactly_one']],
      [{ email: 'jane@' }, ['email: invalid_format']],
      [{ email: 1 }, ['email: invalid_type']],
      [{ email: 'x'.repeat(2_000) }, ['email: too_long']],
      [{ email, countryCode: 'DE' }, ['countryCode: unknown_field']],
      [{ email, countryCode: 'XX' }, ['countryCode: invalid_value', 'countryCode: unknown_field']],
      [{ email, urn: 'cu.00.1', externalIdentifier: 'x' }, ['urn: unknown_field', 'externalIdentifier: unknown_field']],
      [{ phoneNumber: 'call me' }, ['phoneNumber: invalid_format']],
      [{ phoneNumber: '+49 1' }, ['phoneNumber: invalid_format']],
      [{ phoneNumber: '0'.repeat(10), countryCode: 'DE' }, ['phoneNumber: invalid_format']],
      [{ phoneNumber: 491701234567 }, ['phoneNumber: invalid_type']],
      [{ phoneNumber: '1'.repeat(41) }, ['phoneNumber: too_long']],
      [{ phoneNumber: '0170 1234567' }, ['countryCode: required']],
      [{ phoneNumber: '0170 1234567', countryCode: 'XX' }, ['countryCode: invalid_value']],
      [{ phoneNumber: '0170 1234567', countryCode: 49 }, ['countryCode: invalid_type']],
      [{ phoneNumber: number, countryCode: 'XX' }, ['countryCode: invalid_value']],
    ];
    for (const [body, violations] of cases) refusedFor(t, await post('find', body), violations, JSON.stringify(body));
  });
});
