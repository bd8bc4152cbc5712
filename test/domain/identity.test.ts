import fc from 'fast-check';
import t from 'tap';
import {
  canonicalEmail,
  type ExternalId,
  firstConflict,
  parseCustomerUrn,
  parseTenantId,
  type UniqueKeys,
} from '../../src/domain/identity.ts';
import { phoneNumbers, referenceData } from './arbitraries.ts';

const canonical = (text: string) => canonicalEmail(text, referenceData);

t.test('only a canonically written CustomerUrn is parsed', async (t) => {
  for (const urn of ['cu.00.0', 'cu.00.482', 'cu.99.9007199254740993', `cu.00.1${'0'.repeat(99)}`]) {
    t.equal(parseCustomerUrn(urn), urn);
  }
  const wrong = ['', 'cu', 'cu.00', 'cu.0.1', 'cu.000.1', 'cu.00.01', 'cu.00.-1', 'cu.00.1.2', 'CU.00.1', 'cu.00.1\n'];
  for (const text of [...wrong, ' cu.00.1', 'cu.00.１', 'cu_00_1', `cu.00.1${'0'.repeat(100)}`]) {
    t.equal(parseCustomerUrn(text), undefined, JSON.stringify(text));
  }
});

t.test('a tenant id is 1 to 63 lower-case letters, digits, dashes and underscores', async (t) => {
  for (const name of ['a', '0', 'acme', 'acme-2_eu', 'a'.repeat(63)]) t.equal(parseTenantId(name), name);
  for (const name of ['', '-a', '_a', 'Acme', 'a b', 'a.b', 'a\n', 'ä', 'a'.repeat(64)]) {
    t.equal(parseTenantId(name), undefined, JSON.stringify(name));
  }
});

t.test('e-mail addresses of one mailbox have one canonical form', async (t) => {
  const spellings: Record<string, string[]> = {
    'jane.doe@example.com': [
      'jane.doe@example.com',
      'Jane.Doe@EXAMPLE.com',
      'ｊａｎｅ.doe@example.com',
      'jane.doe＠example.com',
      'jane.doe@example．com',
      'jane.doe@example。com',
      '"jane.doe"@example.com',
      '"jane\\.doe"@example.com',
    ],
    'info@xn--bcher-kva.example': [
      'info@bücher.example',
      'info@BÜCHER.example',
      'info@bu\u0308cher.example',
      'info@xn--bcher-kva.example',
      'info@XN--BCHER-KVA.example',
    ],
    'müller@example.com': ['müller@example.com', 'MU\u0308LLER@example.com'],
    'finance@example.com': ['ﬁnance@example.com'],
    '"jane doe"@example.com': ['"jane doe"@example.com', '"Jane Doe"@EXAMPLE.COM'],
    'jane@[192.0.2.1]': ['jane@[192.0.2.1]'],
    'jane@[ipv6:2001:db8::1]': ['jane@[IPv6:2001:DB8::1]'],
  };
  for (const [form, texts] of Object.entries(spellings)) {
    for (const text of texts) t.equal(canonical(text), form, text);
  }
  t.not(canonical('jane+a@example.com'), canonical('jane@example.com'), 'a tag is part of the address');
});

t.test('the fast path for plain addresses gives the same result as the full algorithm', async () => {
  const label = fc.stringMatching(/^[a-z0-9-]{1,12}$/);
  const dotted = (part: fc.Arbitrary<string>) =>
    fc.array(part, { minLength: 1, maxLength: 4 }).map((all) => all.join('.'));
  const plain = fc
    .tuple(
      dotted(fc.stringMatching(/^[a-z0-9_+-]{0,12}$/)),
      dotted(fc.oneof(label, fc.constantFrom('xn--bcher-kva', 'xn--a', ''))),
    )
    .map(([localPart, domain]) => `${localPart}@${domain}`);
  // A capital letter avoids the fast path.
  fc.assert(
    fc.property(
      plain,
      (text) => canonical(text) === canonical(text.replace(/[a-z]/, (letter) => letter.toUpperCase())),
    ),
  );
});

const longDomain = (bytes: number) =>
  `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(bytes - 192)}`;

t.test('RFC 5321 e-mail addresses are accepted', async (t) => {
  const accepted = [
    'a@b',
    'jane@localhost',
    "!#$%&'*+/=?^_`{|}~-@example.com",
    `${'a'.repeat(64)}@example.com`,
    `${'ä'.repeat(32)}@example.com`,
    `a@${longDomain(252)}`,
    '""@example.com',
    '" "@example.com',
    '"a@b"@example.com',
    '"a\\"b"@example.com',
    'jane@1.2.3.4',
    'jane@[::1]'.replace('[', '[IPv6:'),
    'jane@3com.example',
    'jane@a-b.example',
    '用户@例え.テスト',
  ];
  for (const text of accepted) t.ok(canonical(text), text);
});

t.test('malformed and too long e-mail addresses, and those with invisible characters, are refused', async (t) => {
  const refused = {
    'nothing around the @': ['', '@', 'jane', 'jane@', '@example.com'],
    'dots and spaces': [
      '.a@b.de',
      'a.@b.de',
      'a..b@b.de',
      'a@b..de',
      'a@.b.de',
      'a@b.de.',
      'a@b.de。',
      'a@。b.de',
      'a@b.de｡',
      'a b@b.de',
      'a@b c.de',
    ],
    'characters outside the grammar': [
      'a@b@c.de',
      'a,b@c.de',
      '<a@b.de>',
      'Jane <a@b.de>',
      'a@b_c.de',
      '"a"b@c.de',
      '"a@c.de',
    ],
    'domain labels': ['a@-b.de', 'a@b-.de', `a@${'b'.repeat(64)}.de`, 'a@xn--\u00e4.de'],
    'address literals': [
      'a@[1.2.3]',
      'a@[1.2.3.256]',
      'a@[IPv6:1.2.3.4]',
      'a@[::1]',
      'a@[IPv6:::g]',
      'a@[]',
      'a@[tag:x]',
    ],
    lengths: [`${'a'.repeat(65)}@b.de`, `${'ä'.repeat(33)}@b.de`, `a@${longDomain(253)}`, `aa@${longDomain(252)}`],
    // 122 bytes as sent, 322 in the form that is compared.
    'length of the canonical form': [`a@${Array(40).fill('ä').join('.')}`],
    'invisible characters': [
      '\u0000',
      '\u001f',
      '\u007f',
      '\u00ad',
      '\u180e',
      '\u1680',
      '\u2800',
      '\ufffc',
      '\u200b',
      '\u200d',
      '\u2028',
      '\u2060',
      '\u3164',
      '\ufeff',
      '\u{e0041}',
    ].map((character) => `a${character}b@example.com`),
    'bidirectional controls': ['\u061c', '\u200e', '\u200f', '\u202e', '\u2066', '\u2069'].map(
      (character) => `a${character}b@example.com`,
    ),
    'invisible characters in the domain': ['a@exam\u00adple.com', 'a@exam\u200bple.com', 'a@exam\u2800ple.com'],
    'compatibility forms that hide grammar': ['a＠b＠c.de', 'a．．b@c.de', 'a﹫b@c.de'],
  };
  for (const [why, texts] of Object.entries(refused)) {
    for (const text of texts) t.equal(canonical(text), undefined, `${why}: ${encodeURI(text)}`);
  }
});

t.test('the canonical form of a canonical form is itself', async () => {
  const letters = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
  const labels = fc.oneof(
    letters,
    fc.stringMatching(/^[a-z0-9-]{1,10}$/),
    fc.constantFrom('xn--bcher-kva', 'ß', 'İ', 'ς', 'ﬀ'),
  );
  const addresses = fc
    .tuple(
      fc.oneof(
        letters,
        letters.map((text) => `"${text}"`),
      ),
      fc.array(labels, { minLength: 1, maxLength: 3 }),
    )
    .map(([local, domain]) => `${local}@${domain.join('.')}`);
  fc.assert(
    fc.property(addresses, (address) => {
      const once = canonical(address);
      return once === undefined || canonical(once) === once;
    }),
    { numRuns: 2_000 },
  );
});

t.test('case and Unicode normal form make no difference', async () => {
  const local = fc.stringMatching(/^[a-z0-9äöüéñ+_-]{1,20}$/);
  const domain = fc.stringMatching(/^[a-z0-9äöüéñ]{1,10}\.(?:de|example)$/);
  const form = fc.constantFrom('NFC', 'NFD', 'NFKC', 'NFKD');
  fc.assert(
    fc.property(local, domain, form, (local, domain, form) => {
      const address = `${local}@${domain}`;
      const expected = canonical(address);
      return expected !== undefined && expected === canonical(address.toUpperCase().normalize(form));
    }),
  );
});

t.test('phone numbers are compared in E.164, national ones read in the claimed country', async (t) => {
  const cases: [text: string, country: string, e164: string | undefined][] = [
    ['+49 170 1234567', 'DE', '+491701234567'],
    ['+49 170 1234567', 'US', '+491701234567'],
    ['+49.170.1234567', 'DE', '+491701234567'],
    ['+49-170-1234567', 'DE', '+491701234567'],
    ['+49 (170) 1234567', 'DE', '+491701234567'],
    ['+49 (0)170 1234567', 'DE', '+491701234567'],
    ['(+49) (0)170 1234567', 'DE', '+491701234567'],
    ['(+49 170) 1234567', 'DE', '+491701234567'],
    ['[+49] 170 1234567', 'US', '+491701234567'],
    ['+4900170 1234567', 'DE', '+491701234567'],
    ['+49 1234567890123', 'DE', '+491234567890123'],
    ['+49 12345678901234', 'DE', undefined],
    ['0170 1234567', 'DE', '+491701234567'],
    ['(0170) 1234567', 'DE', '+491701234567'],
    ['0049 170 1234567', 'DE', '+491701234567'],
    ['(202) 456-1414', 'US', '+12024561414'],
    ['011 49 170 1234567', 'US', '+491701234567'],
    ['0532 123 45 67', 'TR', '+905321234567'],
    ['+49 170 1234567', 'AQ', '+491701234567'],
    ['0170 1234567', 'AQ', undefined],
    ['+49 1', 'DE', undefined],
    ['+999 123456789', 'DE', undefined],
    ['1234567890123456789', 'DE', undefined],
    ['+', 'DE', undefined],
    ['12', 'US', undefined],
  ];
  for (const [text, country, e164] of cases)
    t.equal(referenceData.phoneNumber(text, country), e164, `${text} in ${country}`);
});

t.test('E.164 of E.164 is itself', async () => {
  const anyNumber = fc.oneof(
    phoneNumbers,
    fc.stringMatching(/^\+?[1-9][0-9]{4,15}$/),
    fc.stringMatching(/^\+?(?:49|39|1|90|54|52|7)0{0,2}[0-9]{6,12}$/),
  );
  const country = fc.constantFrom('DE', 'US', 'IT', 'TR', 'AR', 'MX', 'RU', 'AQ');
  fc.assert(
    fc.property(anyNumber, country, country, (text, one, other) => {
      const e164 = referenceData.phoneNumber(text, one);
      return e164 === undefined || (/^\+\d{2,15}$/.test(e164) && referenceData.phoneNumber(e164, other) === e164);
    }),
    { numRuns: 2_000 },
  );
});

t.test('of several conflicts the first of ExternalId, e-mail, phone number is reported', async (t) => {
  const identity = (externalId: string, email?: string, phoneNumber?: string): UniqueKeys => ({
    externalId: externalId as ExternalId,
    ...(email && { email }),
    ...(phoneNumber && { phoneNumber }),
  });
  const wanted = identity('x', 'e', '+1');
  const byExternalId = identity('x');
  const byEmail = identity('y', 'e');
  const byPhone = identity('z', 'f', '+1');
  t.equal(firstConflict(wanted, [byPhone, byEmail, byExternalId]), 'CUSTOMER_ALREADY_STORED');
  t.equal(firstConflict(wanted, [byPhone, byEmail]), 'USER_WITH_SAME_EMAIL_EXISTS');
  t.equal(firstConflict(wanted, [byPhone]), 'USER_WITH_SAME_PHONE_NUMBER_EXISTS');
  t.equal(firstConflict(wanted, [identity('y', 'f', '+2')]), undefined);
  t.equal(firstConflict(identity('x'), [identity('y')]), undefined, 'absent values do not conflict');
});
