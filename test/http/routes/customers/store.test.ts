/** C2A-01-02 `POST /store`. */
import { claimedRegion, storing } from '../../../support/client.ts';
import { eachStorage, refusedFor } from '../../../support/service.ts';

const noConsents = {
  emailConsent: false,
  smsConsent: false,
  phoneConsent: false,
  pushConsent: false,
  profilingConsent: false,
};

eachStorage((start, t) => {
  t.test('answers with the canonical record', async (t) => {
    const { post } = await start(t);
    const answer = await post('store', {
      customer: {
        status: 'Inactive',
        privacy: { emailConsent: true },
        corporationInfo: { companyName: ' ACME ', taxNumber: '', registrationNumber: null },
        primaryBillingAddress: { street: 'Hauptstraße 1', countryCode: 'de', state: ' ' },
        legalType: 'Corporate',
        gender: 'Diverse',
        lastName: '  ',
        firstName: ' Ju\u0308rgen ',
        salutation: null,
        phoneNumber: '(0170) 123-45.67',
        email: ' Jane.Doe@EXAMPLE.com ',
        externalIdentifier: ' crm-1 ',
      },
      claimedRegion: { countryCode: 'de', languageCode: 'DE' },
    });
    t.strictSame(answer.body, {
      result: {
        customerUrn: 'cu.00.1',
        externalIdentifier: 'crm-1',
        email: 'Jane.Doe@EXAMPLE.com',
        phoneNumber: '+491701234567',
        firstName: 'Jürgen',
        gender: 'Diverse',
        legalType: 'Corporate',
        primaryBillingAddress: { street: 'Hauptstraße 1', countryCode: 'DE' },
        corporationInfo: { companyName: 'ACME' },
        privacy: { ...noConsents, emailConsent: true },
        status: 'Inactive',
        claimedRegion,
        createdAt: '2026-01-15T09:30:00.000Z',
        updatedAt: '2026-01-15T09:30:00.000Z',
      },
      status: { messageCode: 'SUCCESS' },
    });
    t.match(answer, { status: 200, headers: { etag: '"1"' } });
  });

  t.test('fills in defaults', async (t) => {
    const { post } = await start(t);
    t.strictSame((await post('store', storing({ externalIdentifier: 'crm-1' }))).result, {
      customerUrn: 'cu.00.1',
      externalIdentifier: 'crm-1',
      legalType: 'Individual',
      privacy: noConsents,
      status: 'Active',
      claimedRegion,
      createdAt: '2026-01-15T09:30:00.000Z',
      updatedAt: '2026-01-15T09:30:00.000Z',
    });
  });

  t.test('checks the rule of every field', async (t) => {
    const { post } = await start(t);
    const long = (max: number) => 'x'.repeat(max + 1);
    const cases: [field: string, code: string, value: unknown][] = [
      ['externalIdentifier', 'required', undefined],
      ['externalIdentifier', 'required', null],
      ['externalIdentifier', 'required', ' '],
      ['externalIdentifier', 'required', '\u0085'],
      ['externalIdentifier', 'invalid_format', '\u200b'],
      ['externalIdentifier', 'invalid_format', '\u3164 \u2800'],
      ['externalIdentifier', 'too_long', long(128)],
      ['externalIdentifier', 'reserved', 'cu.1'],
      ['externalIdentifier', 'reserved', ' anonymized-x'],
      ['externalIdentifier', 'invalid_format', 'a\tb'],
      ['externalIdentifier', 'invalid_type', 1],
      ['email', 'invalid_format', 'jane'],
      ['email', 'invalid_format', 'a\u200bb@example.com'],
      ['email', 'invalid_type', ['jane@example.com']],
      ['phoneNumber', 'invalid_format', 'call me'],
      ['phoneNumber', 'invalid_format', '+49 1'],
      ['phoneNumber', 'too_long', '0'.repeat(50)],
      ['phoneNumber', 'invalid_format', '0000000000'],
      ['phoneNumber', 'invalid_format', '030 65723775 ext. 5'],
      ['phoneNumber', 'invalid_type', 491701234567],
      ['salutation', 'too_long', long(32)],
      ['firstName', 'too_long', long(128)],
      ['firstName', 'invalid_format', '\ud800'],
      ['lastName', 'too_long', long(128)],
      ['gender', 'invalid_value', 'female'],
      ['legalType', 'invalid_value', 'Company'],
      ['primaryBillingAddress', 'invalid_type', 'Berlin'],
      ['primaryBillingAddress', 'invalid_type', []],
      ['primaryBillingAddress.countryCode', 'required', { city: 'Berlin' }],
      ['primaryBillingAddress.countryCode', 'required', { city: 'Berlin', countryCode: '' }],
      ['primaryBillingAddress.countryCode', 'invalid_value', { countryCode: 'XX' }],
      ['primaryBillingAddress.countryCode', 'invalid_value', { countryCode: 'DEU' }],
      // Its upper case is SS, a valid code.
      ['primaryBillingAddress.countryCode', 'invalid_value', { countryCode: 'ß' }],
      ...['street', 'street2', 'city', 'postalCode', 'state'].map((name): [string, string, unknown] => [
        `primaryBillingAddress.${name}`,
        'too_long',
        { countryCode: 'DE', [name]: long(128) },
      ]),
      ['corporationInfo.companyName', 'required', { taxNumber: '1' }],
      ['corporationInfo.companyName', 'invalid_format', { companyName: '\u2800' }],
      ...['taxNumber', 'taxOffice', 'registrationNumber'].map((name): [string, string, unknown] => [
        `corporationInfo.${name}`,
        'too_long',
        { companyName: 'ACME', [name]: long(128) },
      ]),
      ['privacy', 'invalid_type', true],
      ['privacy.emailConsent', 'invalid_type', { emailConsent: 'true' }],
      ['privacy.pushConsent', 'invalid_type', { pushConsent: 1 }],
      ['status', 'invalid_value', 'Anonymized'],
      ['status', 'invalid_value', 'active'],
      ['customerUrn', 'unknown_field', 'cu.00.1'],
      ['createdAt', 'unknown_field', '2026-01-15T09:30:00.000Z'],
      ['firstname', 'unknown_field', 'Jane'],
      ['First', 'unknown_field', null],
    ];
    for (const [field, code, value] of cases) {
      const name = field.split('.')[0] as string;
      const answer = await post('store', storing({ externalIdentifier: 'crm-1', [name]: value }));
      refusedFor(t, answer, [`customer.${field}: ${code}`]);
    }
    t.match((await post('validate', { externalId: 'crm-1' })).body, { isAvailable: true }, 'nothing was stored');
  });

  t.test('an empty string, and an object of only empty values, are no value', async (t) => {
    const { post } = await start(t);
    const [first, second] = [{ externalIdentifier: 'crm-1' }, { externalIdentifier: 'crm-2' }];
    const address = { street: '', street2: ' ', city: '\u0085', postalCode: '', state: '', countryCode: '' };
    const names = ['email', 'phoneNumber', 'salutation', 'firstName', 'lastName', 'gender', 'legalType', 'status'];
    const empty = {
      ...Object.fromEntries(names.map((name) => [name, ''])),
      primaryBillingAddress: address,
      corporationInfo: {},
      privacy: { emailConsent: '' },
    };
    const { result: plain } = await post('store', storing(first));
    const { result } = await post('store', storing({ ...second, ...empty }));
    t.strictSame(result, { ...plain, ...second, customerUrn: 'cu.00.2' });
  });

  t.test('a corporation requires corporationInfo', async (t) => {
    const { post } = await start(t);
    const corporation = (more: object) => storing({ externalIdentifier: 'crm-1', legalType: 'Corporate', ...more });
    refusedFor(t, await post('store', corporation({})), ['customer.corporationInfo: required']);
    refusedFor(t, await post('store', corporation({ corporationInfo: null })), ['customer.corporationInfo: required']);
    for (const none of [{}, { companyName: '', taxNumber: ' ' }]) {
      const answer = await post('store', corporation({ corporationInfo: none }));
      refusedFor(t, answer, ['customer.corporationInfo: required']);
    }
    refusedFor(t, await post('store', corporation({ corporationInfo: 5 })), ['customer.corporationInfo: invalid_type']);
  });

  t.test('the claimed region is required, and must exist', async (t) => {
    const { post } = await start(t);
    const customer = { externalIdentifier: 'crm-1' };
    const cases: [region: unknown, ...violations: string[]][] = [
      [undefined, 'claimedRegion: required'],
      [null, 'claimedRegion: required'],
      ['DE', 'claimedRegion: invalid_type'],
      [{}, 'claimedRegion.countryCode: required', 'claimedRegion.languageCode: required'],
      [{ countryCode: 'DE' }, 'claimedRegion.languageCode: required'],
      [
        { countryCode: 'UK', languageCode: 'xx' },
        'claimedRegion.countryCode: invalid_value',
        'claimedRegion.languageCode: invalid_value',
      ],
      [{ ...claimedRegion, region: 'EU' }, 'claimedRegion.region: unknown_field'],
    ];
    for (const [region, ...violations] of cases) {
      refusedFor(t, await post('store', { customer, claimedRegion: region }), violations);
    }
  });

  t.test('reports all violations at once, in an order independent of the request', async (t) => {
    const { post } = await start(t);
    const customer = {
      nickname: 'J',
      status: 'Gone',
      privacy: { smsConsent: 'no', fax: true },
      corporationInfo: { taxNumber: 5 },
      primaryBillingAddress: { city: 'x'.repeat(129) },
      legalType: 'Corporate',
      firstName: {},
      phoneNumber: 'none',
      email: 'jane@',
    };
    const violations = [
      'customer.email: invalid_format',
      'customer.phoneNumber: invalid_format',
      'customer.firstName: invalid_type',
      'customer.primaryBillingAddress.city: too_long',
      'customer.corporationInfo.taxNumber: invalid_type',
      'customer.privacy.smsConsent: invalid_type',
      'customer.privacy.fax: unknown_field',
      'customer.status: invalid_value',
      'customer.nickname: unknown_field',
      'claimedRegion.countryCode: invalid_value',
      'extra: unknown_field',
      'customer.externalIdentifier: required',
      'customer.primaryBillingAddress.countryCode: required',
      'customer.corporationInfo.companyName: required',
      'claimedRegion.languageCode: required',
    ];
    const claimedRegion = { countryCode: 'XX' };
    refusedFor(t, await post('store', { customer, claimedRegion, extra: 1 }), violations);
    const reversed = Object.fromEntries(Object.entries(customer).reverse());
    refusedFor(t, await post('store', { extra: 1, claimedRegion, customer: reversed }), violations, 'another order');
  });

  t.test('an international number is checked without a country', async (t) => {
    const { post } = await start(t);
    const customer = { externalIdentifier: 'x', phoneNumber: '+491' };
    refusedFor(t, await post('store', { customer }), [
      'claimedRegion: required',
      'customer.phoneNumber: invalid_format',
    ]);
    refusedFor(t, await post('store', { customer, claimedRegion: { countryCode: 'ZZ', languageCode: 'de' } }), [
      'claimedRegion.countryCode: invalid_value',
      'customer.phoneNumber: invalid_format',
    ]);
    const national = { customer: { ...customer, phoneNumber: '0170' } };
    refusedFor(t, await post('store', national), ['claimedRegion: required'], 'a national number is not');
  });

  t.test('any amount of white space around a value is removed', async (t) => {
    const { post } = await start(t);
    const spaces = ' '.repeat(2_000);
    const { result } = await post(
      'store',
      storing({ externalIdentifier: `${spaces}x`, firstName: `Jane${spaces}`, lastName: spaces }),
    );
    t.match(result, { externalIdentifier: 'x', firstName: 'Jane', lastName: undefined });
  });

  t.test('no answer repeats a submitted value', async (t) => {
    const { post } = await start(t);
    const mark = 'SUBMITTED';
    const { text } = await post('store', {
      customer: {
        externalIdentifier: `cu.${mark}`,
        email: mark,
        phoneNumber: mark,
        gender: mark,
        status: mark,
        primaryBillingAddress: { countryCode: mark },
        privacy: mark,
        firstName: mark.repeat(50),
        [`${mark} is a name`]: mark,
      },
      claimedRegion: { countryCode: mark, languageCode: mark },
    });
    t.match(text, 'INVALID_REQUEST');
    t.notMatch(text, mark);
  });

  t.test('unique keys are compared in canonical form; the first conflict is reported', async (t) => {
    const { post } = await start(t);
    await post(
      'store',
      storing({ externalIdentifier: 'x', email: 'jane@bücher.example', phoneNumber: '+49 170 1234567' }),
    );
    await post(
      'store',
      storing({ externalIdentifier: 'y', email: 'ΣΙΣΥΦΟΣ@example.com', phoneNumber: '030/65723775' }),
    );
    const cases: [customer: object, outcome: string][] = [
      [{ externalIdentifier: ' x ' }, '409 CUSTOMER_ALREADY_STORED'],
      [{ externalIdentifier: 'X', email: 'JANE@xn--bcher-kva.example' }, '409 USER_WITH_SAME_EMAIL_EXISTS'],
      [{ externalIdentifier: 'X', email: 'ｊane＠bücher．example' }, '409 USER_WITH_SAME_EMAIL_EXISTS'],
      [{ externalIdentifier: 'X', email: 'σισυφος@example.com' }, '409 USER_WITH_SAME_EMAIL_EXISTS'],
      [{ externalIdentifier: 'X', phoneNumber: '0170-1234567' }, '409 USER_WITH_SAME_PHONE_NUMBER_EXISTS'],
      [{ externalIdentifier: 'X', phoneNumber: 'tel:+49‑30–65723775' }, '409 USER_WITH_SAME_PHONE_NUMBER_EXISTS'],
      [
        { externalIdentifier: 'x', email: 'jane@bücher.example', phoneNumber: '0170 1234567' },
        '409 CUSTOMER_ALREADY_STORED',
      ],
      [
        { externalIdentifier: 'X', email: 'jane@bücher.example', phoneNumber: '0170 1234567' },
        '409 USER_WITH_SAME_EMAIL_EXISTS',
      ],
      [{ externalIdentifier: 'X', email: 'jane+2@bücher.example', phoneNumber: '0170 1234568' }, '200 SUCCESS'],
    ];
    for (const [customer, outcome] of cases) t.equal((await post('store', storing(customer))).outcome, outcome);
  });

  t.test('all conflicts are reported with the customers that hold the values, in the order of the rules', async (t) => {
    const { post } = await start(t);
    const one = await post('store', storing({ externalIdentifier: 'a', phoneNumber: '0170 1234567' }));
    const two = await post('store', storing({ externalIdentifier: 'b', email: 'b@example.com' }));
    const [a, b] = [one.result.customerUrn, two.result.customerUrn];
    const byEmail = { field: 'customer.email', messageCode: 'USER_WITH_SAME_EMAIL_EXISTS', customerUrn: b };
    const byPhone = {
      field: 'customer.phoneNumber',
      messageCode: 'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
      customerUrn: a,
    };
    const byId = { field: 'customer.externalIdentifier', messageCode: 'CUSTOMER_ALREADY_STORED', customerUrn: a };
    const collides = { externalIdentifier: 'c', email: 'b@example.com', phoneNumber: '0170 1234567' };
    const stored = await post('store', storing(collides));
    t.equal(stored.outcome, '409 USER_WITH_SAME_EMAIL_EXISTS');
    t.strictSame(stored.body.status.conflicts, [byEmail, byPhone]);
    t.strictSame((await post('store', storing({ ...collides, externalIdentifier: 'a' }))).body, {
      result: null,
      status: {
        messageCode: 'CUSTOMER_ALREADY_STORED',
        message: 'A customer with this ExternalId is already stored.',
        conflicts: [byId, byEmail, byPhone],
      },
    });
    const updated = await post('update', { customer: { customerUrn: a, email: 'B@example.com' } });
    t.strictSame(updated.body.status.conflicts, [byEmail]);
  });

  t.test('a URN is never issued twice, failed stores included', async (t) => {
    const { post } = await start(t);
    const urns = new Set<string>();
    for (const externalIdentifier of ['a', 'a', 'b', 'c']) {
      const { status, result } = await post('store', storing({ externalIdentifier }));
      if (status === 200) urns.add(result.customerUrn);
    }
    t.equal(urns.size, 3);
    for (const urn of urns) t.match(urn, /^cu\.00\.[1-9]\d*$/);
  });

  for (const [what, same, outcome] of [
    ['ExternalId', () => ({ externalIdentifier: 'x' }), '409 CUSTOMER_ALREADY_STORED'],
    [
      'e-mail address',
      (index: number) => ({ externalIdentifier: `x${index}`, email: 'jane@example.com' }),
      '409 USER_WITH_SAME_EMAIL_EXISTS',
    ],
    [
      'phone number',
      (index: number) => ({ externalIdentifier: `x${index}`, phoneNumber: '0170 1234567' }),
      '409 USER_WITH_SAME_PHONE_NUMBER_EXISTS',
    ],
  ] as const) {
    t.test(`of fifty concurrent stores with one ${what} one succeeds`, async (t) => {
      const { post } = await start(t);
      const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => post('store', storing(same(index)))));
      t.same(answers.map((answer) => answer.outcome).sort(), ['200 SUCCESS', ...Array(49).fill(outcome)]);
    });
  }
});
