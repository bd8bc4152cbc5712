/** C2A-01-04 `POST /update`. */
import { storing } from '../../../support/client.ts';
import { eachStorage, refusedFor } from '../../../support/service.ts';

const jane = {
  externalIdentifier: 'crm-1',
  email: 'jane@example.com',
  phoneNumber: '+491701234567',
  firstName: 'Jane',
  primaryBillingAddress: { street: 'Hauptstraße 1', city: 'Berlin', countryCode: 'DE' },
  privacy: { emailConsent: true, smsConsent: true },
  status: 'Churned',
};

eachStorage((start, t) => {
  /** A service in which Jane was stored an hour ago. */
  async function withJane(...[test, options]: Parameters<typeof start>) {
    const service = await start(test, options);
    const { result: stored } = await service.post('store', storing(jane));
    service.clock.now += 3_600_000;
    const change = (customer: object, headers = {}) =>
      service.post('update', { customer: { customerUrn: stored.customerUrn, ...customer } }, headers);
    return { ...service, stored, change };
  }

  t.test('changes the fields that are present and leaves the rest', async (t) => {
    const { post, info, change, stored } = await withJane(t);
    const answer = await change({ email: 'jane.new@example.com', lastName: 'Doe' });
    const expected = {
      ...stored,
      email: 'jane.new@example.com',
      lastName: 'Doe',
      updatedAt: '2026-01-15T10:30:00.000Z',
    };
    t.same(answer.result, expected);
    t.match(answer, { status: 200, headers: { etag: '"2"' } });
    t.match((await info({ urn: stored.customerUrn })).result, expected);

    t.equal(
      (await post('store', storing({ externalIdentifier: 'y', email: 'jane@example.com' }))).status,
      200,
      'the old address is free',
    );
    const taken = await post('store', storing({ externalIdentifier: 'z', email: 'JANE.NEW@example.com' }));
    t.equal(taken.outcome, '409 USER_WITH_SAME_EMAIL_EXISTS');
  });

  t.test('finds the record by its ExternalId when no URN is given', async (t) => {
    const { post, stored } = await withJane(t);
    const { result } = await post('update', { customer: { externalIdentifier: ' crm-1 ', firstName: 'Joan' } });
    t.match(result, { customerUrn: stored.customerUrn, externalIdentifier: 'crm-1', firstName: 'Joan' });
  });

  t.test('changes the ExternalId when the URN is given too', async (t) => {
    const { post, info, change, stored } = await withJane(t);
    t.match((await change({ externalIdentifier: 'erp-1' })).result, {
      ...stored,
      externalIdentifier: 'erp-1',
      updatedAt: String,
    });
    t.equal((await info({ exId: 'crm-1' })).outcome, '404 CUSTOMER_NOT_FOUND');
    t.equal((await info({ exId: 'erp-1' })).result.customerUrn, stored.customerUrn);
    t.match((await post('validate', { externalId: 'crm-1' })).body, { isAvailable: true });

    await post('store', storing({ externalIdentifier: 'crm-2' }));
    t.equal((await change({ externalIdentifier: 'crm-2' })).outcome, '409 CUSTOMER_ALREADY_STORED');
  });

  t.test('null removes a field, or restores its default', async (t) => {
    const { change, stored } = await withJane(t);
    const { result } = await change({
      email: null,
      phoneNumber: null,
      primaryBillingAddress: { street: null },
      privacy: { emailConsent: null },
      status: null,
    });
    t.match(result, {
      primaryBillingAddress: { city: 'Berlin', countryCode: 'DE' },
      privacy: { emailConsent: false, smsConsent: true },
      status: 'Active',
    });
    t.notOk('email' in result || 'phoneNumber' in result || 'street' in (result.primaryBillingAddress ?? {}));
    t.equal(result.firstName, stored.firstName);
    t.notOk('primaryBillingAddress' in (await change({ primaryBillingAddress: null, privacy: null })).result);
    t.same(Object.keys((await change({ externalIdentifier: 'crm-1' })).result).includes('email'), false);
  });

  t.test('an empty string removes a field, and empty members remove a group, as null does', async (t) => {
    const { change, stored } = await withJane(t);
    const { result } = await change({ firstName: '  ', email: '', status: '', primaryBillingAddress: { street: '' } });
    const { firstName: _, email: __, ...rest } = stored;
    const primaryBillingAddress = { city: 'Berlin', countryCode: 'DE' };
    t.strictSame(result, { ...rest, primaryBillingAddress, status: 'Active', updatedAt: result.updatedAt });
    const address = { street: '', street2: '', city: '', postalCode: '', state: '', countryCode: '' };
    t.notOk('primaryBillingAddress' in (await change({ primaryBillingAddress: address })).result);
    t.equal((await change({ primaryBillingAddress: address, corporationInfo: {} })).headers.etag, '"3"', 'no change');
    await change({ primaryBillingAddress: { countryCode: 'FR' } });
    t.notOk('primaryBillingAddress' in (await change({ primaryBillingAddress: '' })).result);
  });

  t.test('nested objects are merged', async (t) => {
    const { change } = await withJane(t);
    const { result } = await change({ primaryBillingAddress: { city: 'Hamburg' }, privacy: { pushConsent: true } });
    t.same(result.primaryBillingAddress, { street: 'Hauptstraße 1', city: 'Hamburg', countryCode: 'DE' });
    t.match(result.privacy, { emailConsent: true, smsConsent: true, pushConsent: true, phoneConsent: false });
  });

  t.test('the rules hold for the merged record', async (t) => {
    const { change, post } = await withJane(t);
    const cases: [change: object, ...violations: string[]][] = [
      [{ externalIdentifier: null }, 'customer.externalIdentifier: required'],
      [{ externalIdentifier: '' }, 'customer.externalIdentifier: required'],
      [{ primaryBillingAddress: { countryCode: '' } }, 'customer.primaryBillingAddress.countryCode: required'],
      [{ primaryBillingAddress: { countryCode: null } }, 'customer.primaryBillingAddress.countryCode: required'],
      [{ legalType: 'Corporate' }, 'customer.corporationInfo: required'],
      [{ corporationInfo: { taxNumber: '1' } }, 'customer.corporationInfo.companyName: required'],
      [{ corporationInfo: { companyName: '\u200b' } }, 'customer.corporationInfo.companyName: invalid_format'],
      [{ phoneNumber: '+49 1' }, 'customer.phoneNumber: invalid_format'],
      [
        { email: 'x', nickname: 1, legalType: 'Corporate' },
        'customer.email: invalid_format',
        'customer.nickname: unknown_field',
        'customer.corporationInfo: required',
      ],
    ];
    for (const [customer, ...violations] of cases) refusedFor(t, await change(customer), violations);
    t.equal((await change({ legalType: 'Corporate', corporationInfo: { companyName: 'ACME' } })).status, 200);
    refusedFor(t, await change({ corporationInfo: null }), ['customer.corporationInfo: required']);
    const noRegion = { customer: { externalIdentifier: 'crm-1' }, claimedRegion: null };
    refusedFor(t, await post('update', noRegion), ['claimedRegion: required']);
  });

  t.test('merges the claimed region, and reads national numbers in it', async (t) => {
    const { post } = await withJane(t);
    const update = (claimedRegion: object, customer: object = {}) =>
      post('update', { customer: { externalIdentifier: 'crm-1', ...customer }, claimedRegion });
    t.match((await update({ languageCode: 'EN' })).result.claimedRegion, { countryCode: 'DE', languageCode: 'en' });
    const { result } = await update({ countryCode: 'TR' }, { phoneNumber: '0532 123 45 67' });
    t.match(result, { phoneNumber: '+905321234567', claimedRegion: { countryCode: 'TR', languageCode: 'en' } });
    t.equal((await update({ countryCode: 'FR' })).result.phoneNumber, '+905321234567', 'a stored number stays');
  });

  t.test('an update without a change succeeds and leaves updatedAt', async (t) => {
    const { change, stored } = await withJane(t);
    for (const same of [{}, jane, { email: 'jane@example.com' }, { phoneNumber: '0170 1234567' }, { lastName: null }]) {
      const answer = await change(same);
      t.same(answer.result, stored);
      t.equal(answer.headers.etag, '"1"');
    }
  });

  t.test('another spelling of the same address is a change, and no conflict', async (t) => {
    const { change } = await withJane(t);
    const answer = await change({ email: 'Jane@Example.com' });
    t.match(answer, { outcome: '200 SUCCESS', result: { email: 'Jane@Example.com' }, headers: { etag: '"2"' } });
  });

  t.test('conflicts are the same as those of store', async (t) => {
    const { post, change, stored, info } = await withJane(t);
    await post('store', storing({ externalIdentifier: 'b', email: 'b@example.com', phoneNumber: '0170 7654321' }));
    const taken = { externalIdentifier: 'b', email: 'B@example.com', phoneNumber: '0170 7654321' };
    t.equal((await change(taken)).outcome, '409 CUSTOMER_ALREADY_STORED');
    t.equal((await change({ ...taken, externalIdentifier: 'c' })).outcome, '409 USER_WITH_SAME_EMAIL_EXISTS');
    t.equal((await change({ phoneNumber: '0170 7654321' })).outcome, '409 USER_WITH_SAME_PHONE_NUMBER_EXISTS');
    t.match((await info({ urn: stored.customerUrn })).result, stored, 'nothing was changed');
  });

  t.test('an unknown customer is not found', async (t) => {
    const { post } = await withJane(t);
    for (const customer of [
      { customerUrn: 'cu.00.999' },
      { customerUrn: `cu.00.${'9'.repeat(99)}` },
      { customerUrn: 'cu.01.1' },
      { externalIdentifier: 'crm-2' },
    ]) {
      t.equal((await post('update', { customer: { ...customer, firstName: 'J' } })).outcome, '404 CUSTOMER_NOT_FOUND');
    }
  });

  t.test('requires a valid identifier', async (t) => {
    const { post } = await withJane(t);
    const cases: [customer: unknown, ...violations: string[]][] = [
      [{}, 'customer.customerUrn: required'],
      [{ customerUrn: '', firstName: 5 }, 'customer.firstName: invalid_type', 'customer.customerUrn: required'],
      [{ customerUrn: 'crm-1' }, 'customer.customerUrn: invalid_format'],
      [{ customerUrn: 1 }, 'customer.customerUrn: invalid_type'],
      [{ externalIdentifier: 'cu.00.1' }, 'customer.externalIdentifier: reserved'],
      ['crm-1', 'customer: invalid_type'],
    ];
    for (const [customer, ...violations] of cases) refusedFor(t, await post('update', { customer }), violations);
  });

  t.test('If-Match', async (t) => {
    const { change, post } = await withJane(t);
    let turn = 0;
    const changed = (ifMatch: string) => {
      turn += 1;
      return change({ firstName: `Jane ${turn}` }, { 'if-match': ifMatch });
    };
    const others = ['"2"', '"10"', 'W/"1"', '1', "'1'", '"1', '""', 'x', '"01"', '"2", W/"1"'];
    // They contain the tag, but are malformed lists.
    const broken = ['w/"1"', 'W/ "1"', 'foo"1"bar', '*,"1"', '"1" more', '"0""1"', `'"1"'`];
    for (const other of [...others, ...broken]) {
      t.equal((await changed(other)).outcome, '412 VERSION_MISMATCH', other);
    }
    t.match(await changed('"1"'), { outcome: '200 SUCCESS', headers: { etag: '"2"' } });
    t.equal((await changed('"1"')).outcome, '412 VERSION_MISMATCH', 'an older version');
    t.match(await changed('"7" , "2"'), { outcome: '200 SUCCESS', headers: { etag: '"3"' } }, 'a list');
    t.match(await changed('*'), { outcome: '200 SUCCESS', headers: { etag: '"4"' } }, 'any');
    t.equal(
      (await change({}, { 'if-match': '"1"' })).outcome,
      '412 VERSION_MISMATCH',
      'also for an update without a change',
    );
    const absent = await post('update', { customer: { customerUrn: 'cu.00.999' } }, { 'if-match': '*' });
    t.equal(absent.outcome, '404 CUSTOMER_NOT_FOUND');
  });

  t.test('of fifty concurrent updates with one If-Match one succeeds; without If-Match all do', async (t) => {
    const { change } = await withJane(t);
    const all = (headers: object) =>
      Promise.all(Array.from({ length: 50 }, (_, index) => change({ firstName: `Jane ${index}` }, headers)));
    const outcomes = (await all({ 'if-match': '"1"' })).map(({ outcome }) => outcome);
    t.same(outcomes.sort(), ['200 SUCCESS', ...Array(49).fill('412 VERSION_MISMATCH')]);
    const versions = (await all({})).map(({ headers }) => headers.etag);
    t.ok(new Set(versions).size >= 49, 'a version each, except for an update that changes nothing');
  });
});
