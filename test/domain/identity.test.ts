import fc from 'fast-check';
import { getExampleNumber, parsePhoneNumberFromString } from 'libphonenumber-js/max/es6';
import examples from 'libphonenumber-js/mobile/examples';
import t from 'tap';
import {
  canonicalEmail,
  conflictsOf,
  customerUrn,
  dialledNumber,
  type ExternalId,
  parseCustomerUrn,
  parseTenantId,
  type UniqueKeys,
} from '../../src/domain/identity.ts';
import { phoneNumbers, referenceData } from './arbitraries.ts';

const canonical = (text: string) => canonicalEmail(text, referenceData);
const e164 = (text: string, country: string | undefined) => {
  const dialled = dialledNumber(text);
  return dialled && referenceData.phoneNumber(dialled, country);
};

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
    'σισυφοσ@example.com': [
      'ΣΙΣΥΦΟΣ@example.com',
      'Σίσυφος@example.com'.normalize('NFD').replace(/\u0301/g, ''),
      'σισυφοσ@example.com',
    ],
    'strasse@example.com': ['straße@example.com', 'STRASSE@example.com', 'STRAẞE@example.com'],
    'ı@example.com': ['ı@example.com'],
    'i@example.com': ['I@example.com', 'i@example.com'],
    'info@xn--hxajbheg2az3al3a.gr': ['info@ΠΑΡΆΔΕΙΓΜΑΣ.gr', 'info@παράδειγμασ.gr', 'info@XN--hxajbheg2az3al3a.gr'],
    'info@xn--hxajbheg2az3als.gr': ['info@παράδειγμας.gr'],
    'info@xn--fa-hia.example': ['info@faß.example', 'info@FAẞ.example'],
    'info@xn--bcher-kva.123': ['info@bücher.123'],
    'info@shop.123': ['info@shop.123', 'info@SHOP.123'],
    '"jane doe"@example.com': ['"jane doe"@example.com', '"Jane Doe"@EXAMPLE.COM'],
    'jane@[192.0.2.1]': ['jane@[192.0.2.1]'],
    'jane@[ipv6:2001:db8::1]': [
      'jane@[IPv6:2001:DB8::1]',
      'jane@[ipv6:2001:0db8:0:0:0:0:0:1]',
      'jane@[IPV6:2001:db8:0000::0001]',
    ],
    'jane@[ipv6:2001:db8::1:0:0:1]': ['jane@[IPv6:2001:db8:0:0:1:0:0:1]', 'jane@[IPv6:2001:db8:0:0:1::1]'],
    'jane@[ipv6:::ffff:192.0.2.1]': ['jane@[IPv6:::FFFF:192.0.2.1]', 'jane@[IPv6:::ffff:c000:201]'],
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
    'domain labels': ['a@-b.de', 'a@b-.de', 'a@-ä.de', 'a@ä-.de', `a@${'b'.repeat(64)}.de`, `a@${'ä'.repeat(60)}.de`],
    'A-labels of nothing, of ASCII, of an unassigned or a disallowed character': [
      'a@xn--\u00e4.de',
      'a@xn--.de',
      'a@xn--a.de',
      'a@xn--abc-.de',
      'a@xn--5n8h8b.\u0378.de',
      'a@XN--A.de',
    ],
    'characters that UTS #46 does not allow': ['a@b⒈de', 'a@b.⒈', 'a@℀.de', 'a@b․de', 'a@b／c.de', 'a@\u0378.de'],
    'a domain of both directions': ['a@3com.אתר'],
    'address literals': [
      'a@[1.2.3]',
      'a@[1.2.3.256]',
      'a@[IPv6:1.2.3.4]',
      'a@[::1]',
      'a@[IPv6:::g]',
      'a@[]',
      'a@[tag:x]',
    ],
    lengths: [
      `"${'\\a'.repeat(32)}"@b.de`,
      `"${'a'.repeat(63)}"@b.de`,
      `${'a'.repeat(65)}@b.de`,
      `${'ä'.repeat(33)}@b.de`,
      `a@${longDomain(253)}`,
      `aa@${longDomain(252)}`,
    ],
    // 122 bytes as sent; the domain has 319 in ASCII, and DNS allows 253.
    'length of the domain in ASCII': [`a@${Array(40).fill('ä').join('.')}`],
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
      // The limits apply to the text as sent: NFKC makes some characters up to 18 times as long.
      const isTooLong = once !== undefined && Buffer.byteLength(once.slice(0, once.lastIndexOf('@'))) > 64;
      return once === undefined || isTooLong || canonical(once) === once;
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
  const cases: [text: string, country: string | undefined, e164: string | undefined][] = [
    ['+49 170 1234567', 'DE', '+491701234567'],
    ['+49 170 1234567', 'US', '+491701234567'],
    ['+49.170.1234567', 'DE', '+491701234567'],
    ['+49-170-1234567', 'DE', '+491701234567'],
    ['+49 (170) 1234567', 'DE', '+491701234567'],
    ['+49 (0)170 1234567', 'DE', '+491701234567'],
    ['(+49) (0)170 1234567', 'DE', '+491701234567'],
    ['(+49 170) 1234567', 'DE', '+491701234567'],
    ['[+49] 170 1234567', 'US', '+491701234567'],
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
    ['', 'DE', undefined],
    ['-', 'DE', undefined],
    ['+49 170 1234567', undefined, '+491701234567'],
    ['0170 1234567', undefined, undefined],
  ];
  for (const [text, country, number] of cases) t.equal(e164(text, country), number, `${text} in ${country}`);
});

t.test('a phone number may be written as people write it', async (t) => {
  const written = [
    '030/65723775',
    '030 / 65 72 37 75',
    '030–65723775',
    '030 ‑ 65723775',
    '030\u00a0657\u202f237\u200975',
    '030\t65723775',
    '(030) 657.237.75',
    'tel:030-65723775',
    'TEL:+49-30-65723775',
    '０３０ー６５７２３７７５',
    '＋４９（３０）６５７２３７７５',
    '٠٣٠٦٥٧٢٣٧٧٥',
    '۰۳۰۶۵۷۲۳۷۷۵',
    '०३०६५७२३७७५',
    '০৩০৬৫৭২৩৭৭৫',
    '𝟎𝟑𝟎𝟞𝟝𝟟𝟮𝟯𝟽𝟟𝟝',
    '\u202a+49 30 65723775\u202c',
    '+49\u200e(30)\u200b65723775',
    '(+49) (0)30 65723775',
    '00 49 30 65723775',
  ];
  for (const text of written) t.equal(e164(text, 'DE'), '+493065723775', text);
  const refused = [
    '030 65723775 ext. 5',
    '030 65723775 x5',
    '030 65723775 #5',
    '030 65723775~5',
    '030 65723775;ext=5',
    'tel:30657237;phone-context=+49',
    '030 FLOWERS',
    '030 6572377⁵',
    '030 6572377½',
    '030 6572377⑤',
    '030+65723775',
    '++49 30 65723775',
    'tel:',
    '030\n65723775',
  ];
  for (const text of refused) t.equal(e164(text, 'DE'), undefined, text);
});

t.test(
  'every character that the library reads as formatting is accepted, unless it can mark an extension',
  async (t) => {
    const isFormatting = (character: string) =>
      parsePhoneNumberFromString(`030${character}65723775`, { defaultCountry: 'DE', extract: false })?.number ===
      '+493065723775';
    const symbols = Array.from({ length: 0x10000 }, (_, codePoint) => String.fromCharCode(codePoint)).filter(
      (character) => /[\p{P}\p{S}\p{Z}\p{C}\p{Lm}]/u.test(character),
    );
    const formatting = symbols.filter(isFormatting);
    t.ok(formatting.length > 20);
    t.same(
      formatting.filter((character) => e164(`030${character}65723775`, 'DE') === undefined),
      [],
    );
  },
);

t.test('the numbers of every numbering plan are accepted in national and international form', async (t) => {
  for (const country of Object.keys(examples) as (keyof typeof examples)[]) {
    const number = getExampleNumber(country, examples);
    const forms = [number?.formatNational(), number?.formatInternational(), number?.getURI()] as string[];
    t.same(new Set(forms.map((text) => e164(text, country))), new Set([number?.number]), country);
  }
});

t.test('a number that can be read as two numbers is the valid one, or none', async (t) => {
  const cases: [text: string, country: string, e164: string | undefined][] = [
    // The country's calling code without a plus sign, or a national number that begins with the same digits.
    ['491709583371', 'DE', undefined],
    ['49 221 1234567', 'DE', undefined],
    ['62811958337', 'ID', undefined],
    ['0491709583371', 'DE', '+49491709583371'],
    ['+491709583371', 'DE', '+491709583371'],
    ['33612345678', 'FR', '+33612345678'],
    ['447911123456', 'GB', '+447911123456'],
    ['79161234567', 'RU', '+79161234567'],
    ['77012345678', 'KZ', '+77012345678'],
    ['391 123 4567', 'IT', '+393911234567'],
    ['39 347 1234567', 'IT', '+393471234567'],
    ['48 123 45 67', 'PL', '+48481234567'],
    ['(55) 99123-4567', 'BR', '+5555991234567'],
    ['9123456789', 'IN', '+919123456789'],
    ['47123456', 'NO', '+4747123456'],
    // An optional zero, in countries where it is a prefix, a part of the number, or neither.
    ['+49 (0)30 65723775', 'DE', '+493065723775'],
    ['+49（０）30 65723775', 'DE', '+493065723775'],
    ['( 0 ) 30 65723775', 'DE', '+493065723775'],
    ['+39 (0)6 1234567', 'IT', '+39061234567'],
    ['+39 (0)347 1234567', 'IT', '+393471234567'],
    ['+30 (0)691 2345678', 'GR', '+306912345678'],
    ['+420 (0)601 123 456', 'CZ', '+420601123456'],
    ['+49 (0) (0)30 65723775', 'DE', undefined],
    ['49 (0)170 9583371', 'DE', '+491709583371'],
    ['0049 (0)170 9583371', 'DE', '+491709583371'],
    // `00` for a plus sign, also where calls abroad begin with other digits.
    ['0049 170 1234567', 'DE', '+491701234567'],
    ['0049 170 1234567', 'US', '+491701234567'],
    ['0049 170 1234567', 'TH', '+491701234567'],
    ['0055 55 3778 1371', 'BR', '+555537781371'],
    ['0081 778 00 2898', 'JP', '+81778002898'],
    ['0082 54 685 2055', 'KR', undefined],
    ['00170 1234567', 'DE', undefined],
  ];
  for (const [text, country, number] of cases) t.equal(e164(text, country), number, `${text} in ${country}`);
});

t.test('what is stored is the number that was sent, never one with more prefixes dropped', async (t) => {
  const placeholders = ['0000000000', '00000', '0000', '000 000 0000', '000000000000', '+49 0000000000', '+490000'];
  for (const text of [...placeholders, '+4900170 1234567', '000170 1234567', '+49 0049 30 1234567']) {
    for (const country of ['DE', 'US', 'FR', 'IT']) t.equal(e164(text, country), undefined, `${text} in ${country}`);
  }
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
      const number = e164(text, one);
      return number === undefined || (/^\+\d{2,15}$/.test(number) && e164(number, other) === number);
    }),
    { numRuns: 2_000 },
  );
});

t.test('all conflicts are reported with their holders: ExternalId, then e-mail, then phone number', async (t) => {
  const identity = (externalId: string, email?: string, phoneNumber?: string): UniqueKeys => ({
    externalId: externalId as ExternalId,
    ...(email && { email }),
    ...(phoneNumber && { phoneNumber }),
  });
  const wanted = identity('x', 'e', '+1');
  const holder = (sequence: number, keys: UniqueKeys) => ({ customerUrn: customerUrn('00', sequence), keys });
  const byExternalId = holder(1, identity('x'));
  const byEmail = holder(2, identity('y', 'e'));
  const byPhone = holder(3, identity('z', 'f', '+1'));
  const conflicts = [
    { field: 'customer.externalIdentifier', messageCode: 'CUSTOMER_ALREADY_STORED', customerUrn: 'cu.00.1' },
    { field: 'customer.email', messageCode: 'USER_WITH_SAME_EMAIL_EXISTS', customerUrn: 'cu.00.2' },
    { field: 'customer.phoneNumber', messageCode: 'USER_WITH_SAME_PHONE_NUMBER_EXISTS', customerUrn: 'cu.00.3' },
  ];
  t.strictSame(conflictsOf(wanted, [byPhone, byEmail, byExternalId]), conflicts);
  t.strictSame(conflictsOf(wanted, [byPhone, byEmail]), conflicts.slice(1));
  t.strictSame(conflictsOf(wanted, [holder(4, identity('y', 'f', '+2'))]), []);
  t.strictSame(conflictsOf(identity('x'), [holder(4, identity('y'))]), [], 'absent values do not conflict');
});
