import type { CustomerContent } from '../../../src/domain/customer.ts';
import type { CustomerUrn } from '../../../src/domain/identity.ts';
import { actor, atOnce, byExternalId, content, tally, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { collisions, conflicting, conflicts, email, holders, phoneNumber, type TestRepository } from './examples.ts';

export function storeContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('store issues a CustomerUrn and sets version 1, the times and the origin', async (t, acme) => {
    const { stored } = await acme.mustStore('crm-1', { email, phoneNumber, firstName: 'Jane' });
    const { customerUrn } = stored.customer;
    t.match(customerUrn, /^cu\.00\.[1-9]\d*$/);
    t.strictSame(stored, {
      customer: {
        ...content('crm-1', { email, phoneNumber, firstName: 'Jane' }),
        customerUrn,
        createdAt: '2026-01-15T12:00:00.000Z',
        updatedAt: '2026-01-15T12:00:00.000Z',
      },
      version: 1,
      origin: { storedBy: actor },
    });
  });

  test('find returns the record that store returned, to the last field and character', async (t, acme) => {
    const everything: Partial<CustomerContent> = {
      email: 'Jürgen+"news"@BÜCHER.example',
      phoneNumber,
      salutation: 'Frau Dr.',
      firstName: "Zoë 🦊 O'Brien; DROP TABLE customers; --",
      lastName: '\u202bשלום\u202c %_\\ \u0000 "quoted"',
      gender: 'Diverse',
      legalType: 'Corporate',
      primaryBillingAddress: {
        street: 'Weg 1',
        street2: 'c/o',
        city: 'Köln',
        postalCode: '01',
        state: 'NW',
        countryCode: 'DE',
      },
      corporationInfo: { companyName: 'ACME', taxNumber: '007', taxOffice: 'Köln', registrationNumber: 'HRB 1' },
      privacy: {
        emailConsent: true,
        smsConsent: false,
        phoneConsent: true,
        pushConsent: false,
        profilingConsent: true,
      },
      status: 'Blocked',
      claimedRegion: { countryCode: 'TR', languageCode: 'tr' },
    };
    const { stored, by } = await acme.mustStore('crm/9 981 273', everything);
    t.strictSame(await acme.find(by), stored);
    t.strictSame(await acme.find(byExternalId('crm/9 981 273')), stored);
    t.equal(JSON.stringify(stored.customer), JSON.stringify((await acme.find(by))?.customer), 'in the same order');
  });

  test('a CustomerUrn is issued once over all tenants, also after conflicts and erasures', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const first = await acme.mustStore('crm-1');
    const theirs = await globex.mustStore('crm-1');
    await acme.store('crm-1');
    await acme.erase(first.by);
    const again = await acme.mustStore('crm-1');
    t.equal(new Set([first, theirs, again].map(({ customer }) => customer.customerUrn)).size, 3);
  });

  test('store returns every conflict: ExternalId, then e-mail address, then phone number', async (t, acme) => {
    const urns: CustomerUrn[] = [];
    for (const [externalId, fields] of holders) {
      urns.push((await acme.mustStore(externalId, fields)).customer.customerUrn);
    }
    for (const { taken, expected } of collisions) {
      const { externalIdentifier = 'crm-new', ...fields } = taken;
      t.strictSame(await acme.store(externalIdentifier, fields), expected(urns), JSON.stringify(taken));
    }
  });

  test('store returns every conflict, also if one customer causes all of them', async (t, acme) => {
    const { customerUrn: urn } = (await acme.mustStore('crm-1', { email, phoneNumber })).customer;
    t.strictSame(await acme.store('crm-1', { email, phoneNumber }), conflicting(urn, urn, urn));
    t.strictSame(await acme.store('crm-2', { email, phoneNumber }), conflicting(undefined, urn, urn));
  });

  test('a store with a conflict writes nothing and reserves nothing', async (t, acme) => {
    const { stored, by } = await acme.mustStore('crm-1', { email });
    await acme.store('crm-2', { email, phoneNumber });
    t.equal(await acme.find(byExternalId('crm-2')), undefined);
    t.strictSame(await acme.find(by), stored);
    t.equal((await acme.store('crm-2', { phoneNumber })).code, 'SUCCESS');
  });

  test('an e-mail address is unique in its canonical form, and returned as sent', async (t, acme) => {
    const forms: readonly (readonly string[])[] = [
      ['Jane.Doe@Example.com', 'jane.doe@example.com', 'JANE.DOE@EXAMPLE.COM', '"jane.doe"@example.com'],
      ['ﬁona@example.com', 'fiona@example.com', 'ｆｉｏｎａ@example.com', 'fiona@ｅxample。com'],
      ['info@bücher.example', 'info@xn--bcher-kva.example', 'INFO@BÜCHER.example', 'info@bu\u0308cher.example'],
      ['jane.doe+news@example.com', 'Jane.Doe+News@example.com'],
      ['janedoe@example.com'],
    ];
    for (const [group, [sent, ...others]] of forms.entries()) {
      const { customer } = await acme.mustStore(`crm-${group}`, { email: sent as string });
      t.equal(customer.email, sent);
      for (const other of others) {
        t.match(await acme.store('crm-new', { email: other }), { code: conflicts[1] }, `${other} is ${sent}`);
      }
    }
  });

  test('an ExternalId is compared byte for byte', async (t, acme) => {
    const distinct = [
      'crm-1',
      'CRM-1',
      'crm-１',
      'crm_1',
      'crm%',
      '1',
      '01',
      '1.0',
      '1e0',
      'straße',
      'strasse',
      'ı',
      'i',
      'İ',
      "'",
    ];
    const results = await Promise.all(distinct.map((externalId) => acme.store(externalId)));
    t.strictSame(tally(results), { SUCCESS: distinct.length });
    for (const externalId of distinct) {
      t.equal((await acme.find(byExternalId(externalId)))?.customer.externalIdentifier, externalId);
    }
  });

  test('customers without e-mail address and phone number do not conflict', async (t, acme) => {
    t.strictSame(tally(await atOnce(3, (index) => acme.store(`crm-${index}`))), { SUCCESS: 3 });
  });
}
