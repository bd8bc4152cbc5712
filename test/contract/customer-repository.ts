/**
 * What every `CustomerRepository` promises; see `src/application/ports.ts`. To prove an adapter, call
 * `customerRepositoryContract` over it, and `sharedCustomersContract` too where several connections see one storage.
 */
import type { CustomerRepository, WriteResult } from '../../src/application/ports/customer-repository.ts';
import { anonymize, rewrittenFields } from '../../src/domain/anonymization.ts';
import type { CustomerContent } from '../../src/domain/customer.ts';
import type { Conflict } from '../../src/domain/identity.ts';
import {
  asker,
  atOnce,
  byExternalId,
  byUrn,
  type Connection,
  content,
  type Decide,
  noon,
  overwrite,
  requestKey,
  storedIn,
  tally,
  tenantId,
  tenantOf,
} from './scenario.ts';
import type { ContractTest } from './test.ts';

/** Opens a repository that holds nothing; it is closed when the test ends. */
export type OpenRepository<Test> = (t: Test) => Promise<CustomerRepository>;
/** Makes storage that holds nothing, and gives what connects to it; all of it ends with the test. */
export type MakeStorage<Test> = (t: Test) => () => Promise<Connection>;

type Tenant = ReturnType<typeof tenantOf>;

const email = 'jane.doe@example.com';
const phoneNumber = '+491701234567';
const second = 1_000;
/** A URN that is well-formed and was never handed out. */
const nowhere = byUrn('cu.00.404');
const conflicts = [
  'CUSTOMER_ALREADY_STORED',
  'USER_WITH_SAME_EMAIL_EXISTS',
  'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
] as const satisfies readonly Conflict[];
const violations = [
  { field: 'customer.email', code: 'invalid_format', message: 'Must be an e-mail address.' },
] as const;

const leave =
  (code: 'SUCCESS' | 'VERSION_MISMATCH' | 'CUSTOMER_NOT_FOUND'): Decide =>
  () => ({ leave: code });
const refuse: Decide = () => ({ refuse: violations });
const fail: Decide = () => {
  throw new RangeError('a mistake of ours');
};

/** An Idempotency-Key that expires a second after noon. */
const key = (name: string, request = 'a request', expiresAt = noon + second) => requestKey(name, request, expiresAt);

/** Values that three customers hold, one each, and the change that would take some of them. */
const holders = [
  ['holds-the-id', {}],
  ['holds-the-email', { email }],
  ['holds-the-phone', { phoneNumber }],
] as const;
const collisions = [0b001, 0b010, 0b100, 0b011, 0b101, 0b110, 0b111].map((mask) => {
  const hits = [0, 1, 2].filter((index) => mask & (1 << index));
  const taken = {
    ...(hits.includes(0) && { externalIdentifier: 'holds-the-id' }),
    ...(hits.includes(1) && { email }),
    ...(hits.includes(2) && { phoneNumber }),
  };
  return { taken, expected: conflicts[hits[0] as number] as Conflict };
});

/** @param t gets a test for each sentence of the contract */
export function customerRepositoryContract<Test extends ContractTest>(t: Test, open: OpenRepository<Test>): void {
  /** A sentence of the contract, tried on a repository that holds nothing. */
  const holds = (sentence: string, prove: (t: Test, acme: Tenant, repository: CustomerRepository) => Promise<void>) =>
    t.test(sentence, async (t: Test) => {
      const repository = await open(t);
      await prove(t, tenantOf(repository), repository);
    });

  // add

  holds('a customer that is added gets a URN, version 1 and the time of its making', async (t, acme) => {
    const { stored } = await acme.has('crm-1', { email, phoneNumber, firstName: 'Jane' });
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
      origin: { storedBy: asker },
    });
  });

  holds('a record is found as it was answered, to the last field and character', async (t, acme) => {
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
    const { stored, by } = await acme.has('crm/9 981 273', everything);
    t.strictSame(await acme.find(by), stored);
    t.strictSame(await acme.find(byExternalId('crm/9 981 273')), stored);
    t.equal(JSON.stringify(stored.customer), JSON.stringify((await acme.find(by))?.customer), 'in the same order');
  });

  holds(
    'a URN is handed out once: not to another tenant, not after a conflict, not after a deletion',
    async (t, acme, repository) => {
      const globex = tenantOf(repository, tenantId('globex'));
      const first = await acme.has('crm-1');
      const theirs = await globex.has('crm-1');
      await acme.add('crm-1');
      await acme.forget(first.by);
      const again = await acme.has('crm-1');
      t.equal(new Set([first, theirs, again].map(({ customer }) => customer.customerUrn)).size, 3);
    },
  );

  holds('of several conflicts the first is answered: ExternalId, then e-mail, then phone number', async (t, acme) => {
    for (const [externalId, fields] of holders) await acme.has(externalId, fields);
    for (const { taken, expected } of collisions) {
      const { externalIdentifier = 'crm-new', ...fields } = taken;
      t.strictSame(await acme.add(externalIdentifier, fields), { code: expected }, JSON.stringify(taken));
    }
  });

  holds('one customer may be in the way with all it has', async (t, acme) => {
    await acme.has('crm-1', { email, phoneNumber });
    t.strictSame(await acme.add('crm-1', { email, phoneNumber }), { code: conflicts[0] });
    t.strictSame(await acme.add('crm-2', { email, phoneNumber }), { code: conflicts[1] });
  });

  holds('a conflict stores nothing and reserves nothing', async (t, acme) => {
    const { stored, by } = await acme.has('crm-1', { email });
    await acme.add('crm-2', { email, phoneNumber });
    t.equal(await acme.find(byExternalId('crm-2')), undefined);
    t.strictSame(await acme.find(by), stored);
    t.equal((await acme.add('crm-2', { phoneNumber })).code, 'SUCCESS');
  });

  holds('an e-mail address is unique in its canonical form, and returned as it was sent', async (t, acme) => {
    const forms: readonly (readonly string[])[] = [
      ['Jane.Doe@Example.com', 'jane.doe@example.com', 'JANE.DOE@EXAMPLE.COM', '"jane.doe"@example.com'],
      ['ﬁona@example.com', 'fiona@example.com', 'ｆｉｏｎａ@example.com', 'fiona@ｅxample。com'],
      ['info@bücher.example', 'info@xn--bcher-kva.example', 'INFO@BÜCHER.example', 'info@bu\u0308cher.example'],
      ['jane.doe+news@example.com', 'Jane.Doe+News@example.com'],
      ['janedoe@example.com'],
    ];
    for (const [group, [sent, ...others]] of forms.entries()) {
      const { customer } = await acme.has(`crm-${group}`, { email: sent as string });
      t.equal(customer.email, sent);
      for (const other of others) {
        t.strictSame(await acme.add('crm-new', { email: other }), { code: conflicts[1] }, `${other} is ${sent}`);
      }
    }
  });

  holds('an ExternalId is compared byte for byte', async (t, acme) => {
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
    const answers = await Promise.all(distinct.map((externalId) => acme.add(externalId)));
    t.strictSame(tally(answers), { SUCCESS: distinct.length });
    for (const externalId of distinct) {
      t.equal((await acme.find(byExternalId(externalId)))?.customer.externalIdentifier, externalId);
    }
  });

  holds('customers without e-mail and phone number have nothing in common', async (t, acme) => {
    t.strictSame(tally(await atOnce(3, (index) => acme.add(`crm-${index}`))), { SUCCESS: 3 });
  });

  // find

  holds('what was never stored is not found, however absurd its URN', async (t, acme) => {
    await acme.has('crm-1');
    const absurd = [
      'cu.00.0',
      'cu.00.2',
      'cu.01.1',
      'cu.99.1',
      'cu.00.10000000000001',
      'cu.00.9007199254740993',
      'cu.00.9223372036854775809',
      'cu.00.18446744073709551617',
      `cu.00.1${'0'.repeat(99)}`,
      `cu.99.${'9'.repeat(100)}`,
    ].map(byUrn);
    for (const by of [
      ...absurd,
      byExternalId('crm-2'),
      byExternalId('CRM-1'),
      byExternalId('cu.00.1'),
      byExternalId(''),
    ]) {
      const name = Object.values(by).join();
      t.equal(await acme.find(by), undefined, `find ${name}`);
      if ('externalId' in by) t.equal(await acme.holds(by.externalId), false, `holds ${name}`);
      let given: unknown = 'not called';
      const answer = await acme.change(by, (current) => {
        given = current;
        return { leave: 'CUSTOMER_NOT_FOUND' };
      });
      t.strictSame([answer, given], [{ code: 'CUSTOMER_NOT_FOUND' }, undefined], `change ${name}`);
    }
  });

  holds('tenants share nothing: neither identities nor records', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const ours = await acme.has('crm-1', { email, phoneNumber });
    const theirs = await globex.has('crm-1', { email, phoneNumber, firstName: 'Theirs' });
    await acme.has('crm-2');

    t.equal(await globex.find(ours.by), undefined, 'not by URN');
    t.equal(await globex.find(byExternalId('crm-2')), undefined, 'not by ExternalId');
    t.strictSame([await acme.holds('crm-2'), await globex.holds('crm-2')], [true, false]);
    t.strictSame(await globex.change(ours.by, overwrite({ firstName: 'Mallory' })), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await globex.forget(ours.by), { code: 'CUSTOMER_NOT_FOUND' });
    await globex.forget(byExternalId('crm-1'));
    t.strictSame(await acme.find(ours.by), ours.stored);
    t.equal((await globex.find(theirs.by))?.customer.status, 'Anonymized');
  });

  // change

  holds('a change is given what is stored, stores what is decided and counts the version', async (t, acme) => {
    const { stored, by } = await acme.has('crm-1', { email, firstName: 'Jane' });
    for (const [index, name] of ['Joan', 'June', 'Jean'].entries()) {
      const before = await acme.find(by);
      const { stored: after } = storedIn(
        await acme.change(index % 2 ? by : byExternalId('crm-1'), (current) => {
          t.strictSame(current, before);
          return overwrite({ firstName: name })(current);
        }),
      );
      t.strictSame(after, {
        customer: { ...stored.customer, firstName: name, updatedAt: '2026-01-15T12:00:00.001Z' },
        version: index + 2,
        origin: { storedBy: asker, changedBy: asker },
      });
      t.strictSame(await acme.find(by), after);
    }
  });

  holds('a change that leaves or refuses answers just that and stores nothing', async (t, acme) => {
    const { stored, by } = await acme.has('crm-1', { email });
    t.strictSame(await acme.change(by, leave('SUCCESS')), { code: 'SUCCESS', stored });
    t.strictSame(await acme.change(by, leave('VERSION_MISMATCH')), { code: 'VERSION_MISMATCH' });
    t.strictSame(await acme.change(by, leave('CUSTOMER_NOT_FOUND')), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await acme.change(by, refuse), { code: 'INVALID_REQUEST', violations });
    t.strictSame(await acme.change(nowhere, refuse), { code: 'INVALID_REQUEST', violations }, 'for no record too');
    t.strictSame(await acme.find(by), stored);
  });

  holds('a change to what others hold answers the first conflict and stores nothing', async (t, acme) => {
    for (const [externalId, fields] of holders) await acme.has(externalId, fields);
    const { stored, by } = await acme.has('crm-1', { email: 'own@example.com', firstName: 'Jane' });
    for (const { taken, expected } of collisions) {
      const answer = await acme.change(by, overwrite({ ...taken, firstName: 'Changed' }));
      t.strictSame(answer, { code: expected }, JSON.stringify(taken));
    }
    t.strictSame(await acme.find(by), stored);
    t.equal((await acme.change(by, overwrite({ email: 'new@example.com' }))).code, 'SUCCESS', 'nothing is left of it');
  });

  holds('to keep what one holds is no conflict, in whatever spelling', async (t, acme) => {
    const { by } = await acme.has('crm-1', { email, phoneNumber });
    const answer = await acme.change(by, overwrite({ email: 'JANE.DOE@example.com', phoneNumber }));
    t.equal(storedIn(answer).customer.email, 'JANE.DOE@example.com');
    t.strictSame(await acme.add('crm-2', { email }), { code: conflicts[1] });
  });

  holds('what a change lets go is free at once, and what it takes is taken', async (t, acme) => {
    const { stored, by } = await acme.has('crm-1', { email, phoneNumber });
    const relinked = { externalIdentifier: 'crm-9', email: 'new@example.com', phoneNumber: '+491709999999' };
    await acme.change(by, overwrite(relinked));
    t.equal(await acme.find(byExternalId('crm-1')), undefined);
    t.strictSame([await acme.holds('crm-1'), await acme.holds('crm-9')], [false, true]);
    t.equal((await acme.find(byExternalId('crm-9')))?.customer.customerUrn, stored.customer.customerUrn);
    t.strictSame(await acme.add('crm-9'), { code: conflicts[0] });
    t.strictSame(await acme.add('crm-2', { email: 'NEW@example.com' }), { code: conflicts[1] });
    t.strictSame(await acme.add('crm-2', { phoneNumber: '+491709999999' }), { code: conflicts[2] });
    t.equal((await acme.add('crm-1', { email, phoneNumber })).code, 'SUCCESS');
  });

  holds('an e-mail address and a phone number that are removed are free', async (t, acme) => {
    const { by } = await acme.has('crm-1', { email, phoneNumber });
    await acme.change(by, overwrite({ email: undefined, phoneNumber: undefined }));
    t.equal((await acme.add('crm-2', { email, phoneNumber })).code, 'SUCCESS');
  });

  holds('two customers swap their addresses by way of a third, and not directly', async (t, acme) => {
    const one = await acme.has('crm-1', { email: 'one@example.com' });
    const two = await acme.has('crm-2', { email: 'two@example.com' });
    t.strictSame(await acme.change(one.by, overwrite({ email: 'two@example.com' })), { code: conflicts[1] });
    await acme.change(one.by, overwrite({ email: 'third@example.com' }));
    await acme.change(two.by, overwrite({ email: 'one@example.com' }));
    t.equal(storedIn(await acme.change(one.by, overwrite({ email: 'two@example.com' }))).version, 3);
    t.strictSame(await acme.add('crm-3', { email: 'two@example.com' }), { code: conflicts[1] });
    t.equal((await acme.add('crm-3', { email: 'third@example.com' })).code, 'SUCCESS');
  });

  holds('where deciding throws, that is thrown and nothing is stored, not even under a key', async (t, acme) => {
    const { stored, by } = await acme.has('crm-1');
    await t.rejects(acme.change(by, fail, { key: key('k') }), new RangeError('a mistake of ours'));
    t.strictSame(await acme.find(by), stored);
    const answer = await acme.change(by, overwrite({}), { key: key('k') });
    t.strictSame([answer.replayed, storedIn(answer).version], [undefined, 2]);
  });

  // anonymisation

  holds('an anonymised customer frees all it held and is found by its URN alone', async (t, acme) => {
    const { stored, by } = await acme.has('crm-1', { email, phoneNumber, firstName: 'Jane' });
    const anonymized = anonymize(stored.customer, '2026-01-15T12:00:00.001Z');
    t.strictSame(await acme.forget(byExternalId('crm-1')), {
      code: 'SUCCESS',
      stored: { customer: anonymized, version: 2 },
    });
    t.strictSame(await acme.find(by), { customer: anonymized, version: 2 });
    for (const externalId of ['crm-1', anonymized.externalIdentifier]) {
      t.equal(await acme.find(byExternalId(externalId)), undefined, externalId);
      t.equal(await acme.holds(externalId), false, externalId);
    }
    const again = await acme.has('crm-1', { email, phoneNumber });
    t.not(again.customer.customerUrn, stored.customer.customerUrn);
    t.strictSame((await acme.find(by))?.customer, anonymized, 'the old record stays as it is');
  });

  holds('to anonymise twice is to anonymise once', async (t, acme) => {
    const { by } = await acme.has('crm-1', { email });
    const { stored } = storedIn(await acme.forget(by));
    t.strictSame(await acme.forget(by), { code: 'SUCCESS', stored });
    t.strictSame(await acme.forget(byExternalId('crm-1')), { code: 'CUSTOMER_NOT_FOUND' });
  });

  holds('an anonymised customer is in the way of nobody', async (t, acme) => {
    for (const externalId of ['crm-1', 'crm-2', 'crm-3']) {
      const { by } = await acme.has(externalId, { email });
      const { customer } = storedIn(await acme.forget(by));
      const squatter = await acme.add(customer.externalIdentifier, { email: customer.email as string });
      t.equal(squatter.code, 'SUCCESS');
    }
  });

  // request keys

  holds('a repeat under a key gets the first answer and does nothing', async (t, acme) => {
    const first = await acme.add('crm-1', { email }, { key: key('k') });
    t.equal(first.replayed, undefined);
    t.strictSame(await acme.add('crm-1', { email }, { key: key('k') }), { ...first, replayed: true });
    const { by } = storedIn(first);
    const changed = await acme.change(by, overwrite({ firstName: 'Jane' }), { key: key('l') });
    const again = await acme.change(by, overwrite({ firstName: 'Jane' }), { key: key('l') });
    t.strictSame(again, { ...changed, replayed: true });
    t.equal((await acme.find(by))?.version, 2);
  });

  holds('a key that comes with another request is refused, and what it kept stays', async (t, acme) => {
    const first = await acme.add('crm-1', {}, { key: key('k') });
    const reused = { code: 'IDEMPOTENCY_KEY_REUSED' };
    t.strictSame(await acme.add('crm-2', {}, { key: key('k', 'another') }), reused);
    t.strictSame(await acme.forget(storedIn(first).by, { key: key('k', 'another') }), reused);
    t.equal(await acme.find(byExternalId('crm-2')), undefined);
    t.strictSame(await acme.add('crm-1', {}, { key: key('k') }), { ...first, replayed: true });
  });

  holds('a repeat gets the record as it is by now', async (t, acme) => {
    const { by } = await acme.has('crm-1', { firstName: 'Jane' }, { key: key('k') });
    const changed = await acme.change(by, overwrite({ firstName: 'Joan', externalIdentifier: 'crm-2' }));
    t.strictSame(await acme.add('crm-1', { firstName: 'Jane' }, { key: key('k') }), { ...changed, replayed: true });
  });

  holds('a repeat after anonymisation holds nothing personal', async (t, acme) => {
    const { by } = await acme.has('crm-1', { email, phoneNumber, lastName: 'Doe' }, { key: key('k') });
    const gone = await acme.forget(by);
    const again = await acme.add('crm-1', { email, phoneNumber, lastName: 'Doe' }, { key: key('k') });
    t.strictSame(again, { ...gone, replayed: true });
    t.notMatch(JSON.stringify(again), /crm-1|jane|Doe|1701234567/);
  });

  holds('refusals are kept as well, whatever becomes of their reason', async (t, acme) => {
    const { by } = await acme.has('crm-1');
    const refusals: [name: string, ask: () => Promise<WriteResult>, code: WriteResult['code']][] = [
      ['conflict', () => acme.add('crm-1', {}, { key: key('conflict') }), conflicts[0]],
      ['none', () => acme.change(byExternalId('crm-2'), overwrite({}), { key: key('none') }), 'CUSTOMER_NOT_FOUND'],
      ['stale', () => acme.change(by, leave('VERSION_MISMATCH'), { key: key('stale') }), 'VERSION_MISMATCH'],
    ];
    for (const [name, ask, code] of refusals) t.strictSame(await ask(), { code }, name);
    await acme.change(by, overwrite({ externalIdentifier: 'crm-2' }));
    for (const [name, ask, code] of refusals) t.strictSame(await ask(), { code, replayed: true }, `${name}, again`);
  });

  holds('success that changed nothing is kept', async (t, acme) => {
    const { by } = await acme.has('crm-1');
    const first = await acme.change(by, leave('SUCCESS'), { key: key('k') });
    t.strictSame(await acme.change(by, overwrite({}), { key: key('k') }), { ...first, replayed: true });
  });

  holds('a broken field rule is not kept: the corrected request may use the key', async (t, acme) => {
    const { by } = await acme.has('crm-1');
    const refused = { code: 'INVALID_REQUEST', violations };
    t.strictSame(await acme.change(by, refuse, { key: key('k') }), refused);
    t.strictSame(await acme.change(by, refuse, { key: key('k', 'another') }), refused);
    const answer = await acme.change(by, overwrite({ firstName: 'Jane' }), { key: key('k', 'corrected') });
    t.strictSame([answer.replayed, storedIn(answer).version], [undefined, 2]);
  });

  holds('a key may be used anew from its expiry on, and not before', async (t, acme) => {
    await acme.has('crm-1', {}, { key: key('k') });
    const ask = (now: number, request?: string) => acme.add('crm-1', {}, { now, key: key('k', request, now + second) });
    t.match(await ask(noon + second - 1), { code: 'SUCCESS', replayed: true });
    t.strictSame(await ask(noon + second, 'another'), { code: conflicts[0] });
    t.strictSame(
      await ask(noon + second + 1, 'another'),
      { code: conflicts[0], replayed: true },
      'its time is new too',
    );
    t.strictSame(await ask(noon + second + 1), { code: 'IDEMPOTENCY_KEY_REUSED' });
  });

  holds('many keys expire together without a trace, and none before its time', async (t, acme) => {
    const names = Array.from({ length: 30 }, (_, index) => `k${index}`);
    const late = await acme.add('late', {}, { key: key('late', 'a request', noon + 10 * second) });
    for (const name of names) await acme.has(name, {}, { key: key(name) });
    for (const name of names.toReversed()) {
      const answer = await acme.add(name, {}, { now: noon + second, key: key(name, 'another', noon + 2 * second) });
      t.strictSame(answer, { code: conflicts[0] }, name);
    }
    const again = await acme.add('late', {}, { now: noon + 2 * second, key: key('late') });
    t.strictSame(again, { ...late, replayed: true });
  });

  holds("a tenant's key is its own", async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const ours = await acme.has('crm-1', {}, { key: key('k') });
    const theirs = await globex.add('crm-1', {}, { key: key('k') });
    t.equal(theirs.replayed, undefined);
    t.not(storedIn(theirs).customer.customerUrn, ours.customer.customerUrn);
    t.match(await globex.add('crm-1', {}, { key: key('k', 'another') }), { code: 'IDEMPOTENCY_KEY_REUSED' });
  });

  holds('of 50 simultaneous requests with one key one is done and 49 are repeats of it', async (t, acme) => {
    const answers = await atOnce(50, () => acme.add('crm-1', { email }, { key: key('k') }));
    t.strictSame(tally(answers), { SUCCESS: 50 });
    t.equal(answers.filter(({ replayed: repeated }) => repeated).length, 49);
    t.equal(new Set(answers.map((answer) => storedIn(answer).customer.customerUrn)).size, 1);
  });

  // races

  const races: [what: string, add: (acme: Tenant, index: number) => Promise<WriteResult>, loser: Conflict][] = [
    ['ExternalId', (acme) => acme.add('crm-1'), conflicts[0]],
    ['e-mail address', (acme, index) => acme.add(`crm-${index}`, { email }), conflicts[1]],
    ['phone number', (acme, index) => acme.add(`crm-${index}`, { phoneNumber }), conflicts[2]],
  ];
  for (const [what, add, loser] of races) {
    holds(`of 50 simultaneous customers with one ${what} exactly one is stored`, async (t, acme) => {
      t.strictSame(tally(await atOnce(50, (index) => add(acme, index))), { SUCCESS: 1, [loser]: 49 });
    });
  }

  holds('of 50 customers that change to one e-mail address at once exactly one gets it', async (t, acme) => {
    const customers = await atOnce(50, (index) => acme.has(`crm-${index}`));
    const answers = await Promise.all(customers.map(({ by }) => acme.change(by, overwrite({ email }))));
    t.strictSame(tally(answers), { SUCCESS: 1, [conflicts[1]]: 49 });
  });

  holds('50 simultaneous changes of one record are applied one after the other', async (t, acme) => {
    const { by } = await acme.has('crm-1', { firstName: '' });
    const answers = await atOnce(50, (index) =>
      acme.change(by, (current) => overwrite({ firstName: `${current?.customer.firstName}[${index}]` })(current)),
    );
    const versions = answers.map((answer) => storedIn(answer).version).sort((one, other) => one - other);
    t.strictSame(
      versions,
      Array.from({ length: 50 }, (_, index) => index + 2),
    );
    const names = (await acme.find(by))?.customer.firstName?.match(/\d+/g)?.map(Number);
    t.strictSame(new Set(names), new Set(Array.from({ length: 50 }, (_, index) => index)));
    t.equal(names?.length, 50);
  });

  const rename = overwrite({ lastName: 'Doe', email: 'new@example.com' });
  for (const [order, steps] of [
    ['a change and then a deletion', ['rename', 'forget']],
    ['a deletion and then a change', ['forget', 'rename']],
  ] as const) {
    holds(`${order}, made in one turn, leave nothing personal and nothing taken`, async (t, acme) => {
      const { by } = await acme.has('crm-1', { email });
      const step = { rename: () => acme.change(by, rename), forget: () => acme.forget(by) };
      const answers = await Promise.all(steps.map((name) => step[name]()));
      const found = await acme.find(by);
      t.equal(answers[steps.indexOf('forget')]?.code, 'SUCCESS');
      t.match(answers[steps.indexOf('rename')]?.code, /^(SUCCESS|CUSTOMER_NOT_FOUND)$/);
      t.equal(found?.customer.status, 'Anonymized');
      t.notMatch(JSON.stringify(found), /crm-1|jane|new@|Doe/);
      t.equal((await acme.add('crm-1', { email })).code, 'SUCCESS');
      t.equal((await acme.add('crm-2', { email: 'new@example.com' })).code, 'SUCCESS');
    });
  }

  holds(
    'an answer that is kept for a request about an erased customer says no more what was asked',
    async (t, acme, repository) => {
      const { by, customer } = await acme.has('crm-1', { email }, { key: key('store') });
      await acme.change(by, overwrite({ firstName: 'Jane' }), { key: key('change') });
      const requests = async () => {
        const { findings } = await repository.findResidue(tenantId('acme'), customer.customerUrn);
        return findings.find(({ place }) => place.endsWith('digests of requests'))?.found;
      };
      t.equal(await requests(), 2);
      await acme.forget(by, { key: key('erase') });
      t.equal(await requests(), 0);
      for (const name of ['store', 'change', 'erase']) {
        const again = await acme.add('crm-1', { email }, { key: key(name, 'whatever it was') });
        t.match(again, { code: 'SUCCESS', stored: { customer: { status: 'Anonymized' } }, replayed: true }, name);
      }
      t.equal((await repository.findIdempotencyRecords(tenantId('acme'), customer.customerUrn)).length, 3);
    },
  );

  holds(
    'a key of a request about an erased customer does nothing to another, and does not say that it did',
    async (t, acme) => {
      const { by } = await acme.has('crm-1', {}, { key: key('store') });
      const other = await acme.has('crm-2');
      await acme.forget(byExternalId('crm-1'), { key: key('erase') });
      for (const name of ['store', 'erase']) {
        for (const named of [other.by, byExternalId('crm-2'), nowhere]) {
          const reused = { code: 'IDEMPOTENCY_KEY_REUSED' };
          t.strictSame(await acme.forget(named, { key: key(name, 'another') }), reused);
          t.strictSame(
            await acme.change(named, overwrite({ firstName: 'Jane' }), { key: key(name, 'another') }),
            reused,
          );
        }
        for (const named of [by, byExternalId('crm-1')]) {
          t.match(await acme.forget(named, { key: key(name) }), { code: 'SUCCESS', replayed: true });
        }
      }
      t.strictSame(await acme.find(other.by), other.stored);
    },
  );

  holds('an erasure is in the ledger: who asked, when, and what was rewritten', async (t, acme, repository) => {
    const { customer, by } = await acme.has('crm-1', { email, firstName: 'Jane' });
    const acmeId = tenantId('acme');
    const urn = customer.customerUrn;
    t.equal(await repository.findErasure(acmeId, urn), undefined);
    await acme.change(by, overwrite({ firstName: 'Joan' }));
    t.equal(await repository.findErasure(acmeId, urn), undefined);
    await acme.forget(by);
    const entered = { urn, ...asker, erasedAt: noon + 1, rewritten: rewrittenFields(customer) };
    t.strictSame(await repository.findErasure(acmeId, urn), entered);
    await repository.erase(acmeId, by, { keyId: 'another', requestId: 'another', now: noon + second });
    t.strictSame(await repository.findErasure(acmeId, urn), entered, 'the first stays');
  });

  holds('what is said of an erasure is of that customer, and of that tenant', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const erased = await acme.has('crm-1', {}, { key: key('k') });
    const living = await acme.has('crm-2');
    const theirs = await globex.has('crm-1', {}, { key: key('k') });
    await acme.forget(erased.by);
    const urnOf = ({ customer }: typeof erased) => customer.customerUrn;
    t.equal(await repository.findErasure(tenantId('acme'), urnOf(living)), undefined);
    t.equal(await repository.findErasure(tenantId('globex'), urnOf(erased)), undefined);
    t.equal(await repository.findErasure(tenantId('globex'), urnOf(theirs)), undefined);
    const kept = async (tenant: string, of: typeof erased) =>
      (await repository.findIdempotencyRecords(tenantId(tenant), urnOf(of))).length;
    t.strictSame([await kept('acme', erased), await kept('globex', theirs)], [1, 1]);
    t.strictSame([await kept('globex', erased), await kept('acme', theirs), await kept('acme', living)], [0, 0, 0]);
  });

  holds('answers whose time is over are removed, of all tenants, and no others', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const first = await acme.has('crm-1', {}, { key: key('k') });
    const theirs = await globex.has('crm-1', {}, { key: key('k') });
    const later = await acme.has('crm-2', {}, { key: key('l', 'a request', noon + 2 * second) });
    const kept = async (tenant: string, { customer }: typeof first) =>
      (await repository.findIdempotencyRecords(tenantId(tenant), customer.customerUrn)).length;
    await repository.deleteExpired(noon + second - 1);
    t.equal(await kept('acme', first), 1);
    await repository.deleteExpired(noon + second);
    t.strictSame([await kept('acme', first), await kept('globex', theirs), await kept('acme', later)], [0, 0, 1]);
  });

  holds('who is erased in the same turn is not found by an ExternalId any more', async (t, acme) => {
    await acme.has('crm-1');
    const seen: Parameters<Decide>[0][] = [];
    const look: Decide = (current) => {
      seen.push(current);
      return { leave: 'CUSTOMER_NOT_FOUND' };
    };
    await Promise.all([acme.forget(byExternalId('crm-1')), acme.change(byExternalId('crm-1'), look)]);
    // As it was, where the other comes later.
    const last = seen.at(-1);
    t.ok(last === undefined || last.customer.status === 'Active');
  });

  holds('neither a failure nor a refusal touches the writes that are made in the same turn', async (t, acme) => {
    const { by } = await acme.has('crm-0', { email, firstName: 'Jane' });
    const results = await Promise.allSettled([
      acme.add('crm-1', {}, { key: key('k') }),
      acme.change(by, fail),
      acme.change(by, refuse),
      acme.change(by, overwrite({ firstName: 'Joan' })),
      acme.add('crm-2', { email }),
      acme.change(nowhere, fail),
      acme.change(nowhere, overwrite({})),
      acme.add('crm-3'),
    ]);
    t.strictSame(
      results.map((result) => (result.status === 'fulfilled' ? result.value.code : result.reason.message)),
      [
        'SUCCESS',
        'a mistake of ours',
        'INVALID_REQUEST',
        'SUCCESS',
        conflicts[1],
        'a mistake of ours',
        'CUSTOMER_NOT_FOUND',
        'SUCCESS',
      ],
    );
    t.match(await acme.find(by), { customer: { firstName: 'Joan' }, version: 2 });
    t.ok(await acme.find(byExternalId('crm-3')));
    t.match(await acme.add('crm-1', {}, { key: key('k') }), { code: 'SUCCESS', replayed: true });
  });
}

/** What a repository promises in addition where several connections (processes) see one storage that outlives them. */
export function sharedCustomersContract<Test extends ContractTest>(t: Test, make: MakeStorage<Test>): void {
  t.test('everything that was answered survives close and reopen', async (t: Test) => {
    const connect = make(t);
    const first = await connect();
    const before = tenantOf(first.repository);
    const kept = await before.has('crm-1', { email, phoneNumber }, { key: key('k') });
    const changed = storedIn(await before.change(kept.by, overwrite({ firstName: 'Jane' })));
    const gone = storedIn(await before.forget((await before.has('crm-2')).by));
    await first.close();

    const { repository: reopened } = await connect();
    const after = tenantOf(reopened);
    t.strictSame(await after.find(kept.by), changed.stored);
    t.strictSame(await after.find(gone.by), gone.stored);
    t.match(await reopened.findErasure(tenantId('acme'), gone.customer.customerUrn), { ...asker, erasedAt: noon + 1 });
    t.strictSame(await after.add('crm-9', { email }), { code: conflicts[1] });
    t.strictSame(await after.add('crm-9', { phoneNumber }), { code: conflicts[2] });
    t.strictSame(await after.add('x', {}, { key: key('k') }), {
      code: 'SUCCESS',
      stored: changed.stored,
      replayed: true,
    });
    const fresh = await after.has('crm-2');
    t.notOk([kept, gone].some(({ customer }) => customer.customerUrn === fresh.customer.customerUrn));
  });

  t.test('closing finishes what was begun', async (t: Test) => {
    const connect = make(t);
    const first = await connect();
    const writing = atOnce(300, (index) => tenantOf(first.repository).add(`crm-${index}`));
    await first.close();
    t.strictSame(tally(await writing), { SUCCESS: 300 });
    const again = tenantOf((await connect()).repository);
    const found = await atOnce(300, (index) => again.find(byExternalId(`crm-${index}`)));
    t.notOk(found.includes(undefined));
  });

  t.test('what one connection was answered the other sees at once', async (t: Test) => {
    const connect = make(t);
    const [one, other] = [tenantOf((await connect()).repository), tenantOf((await connect()).repository)];
    const { stored, by } = await one.has('crm-1', { email });
    t.strictSame(await other.find(by), stored);
    const changed = storedIn(await other.change(by, overwrite({ email: 'new@example.com' })));
    t.strictSame(await one.find(byExternalId('crm-1')), changed.stored);
    t.equal((await one.add('crm-2', { email })).code, 'SUCCESS');
  });

  t.test('races over two connections end as over one', async (t: Test) => {
    const connect = make(t);
    const tenants = [tenantOf((await connect()).repository), tenantOf((await connect()).repository)];
    const turn = (index: number) => tenants[index % 2] as Tenant;

    const adds = await atOnce(50, (index) => turn(index).add('crm-1', { firstName: '' }));
    t.strictSame(tally(adds), { SUCCESS: 1, [conflicts[0]]: 49 }, 'one customer is stored');
    const same = await atOnce(50, (index) => turn(index).add('crm-2', {}, { key: key('k') }));
    t.equal(
      same.filter(({ code, replayed: repeated }) => code === 'SUCCESS' && !repeated).length,
      1,
      'one key works once',
    );
    t.equal(same.filter(({ code, replayed: repeated }) => code === 'SUCCESS' && repeated).length, 49);
    const changes = await atOnce(50, (index) =>
      turn(index).change(byExternalId('crm-1'), (current) =>
        overwrite({ firstName: `${current?.customer.firstName}.` })(current),
      ),
    );
    t.strictSame(tally(changes), { SUCCESS: 50 });
    t.match(await turn(0).find(byExternalId('crm-1')), { version: 51, customer: { firstName: '.'.repeat(50) } });
  });
}
