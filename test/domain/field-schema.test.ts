import fc from 'fast-check';
import t from 'tap';
import { applyChange, customerFields, storeFields } from '../../src/domain/customer.ts';
import { changedFields } from '../../src/domain/events.ts';
import { choice, flag, group, isObject, merge, required, text } from '../../src/domain/field-schema.ts';
import { changes, read, records, referenceData, storeBodies } from './arbitraries.ts';

const table = { short: text(4, 'Four characters.') };
const shortOf = (value: unknown) => {
  const { patch, violations } = read(table, { short: value });
  return violations[0] ?? patch.short;
};

t.test('text is trimmed and normalized to NFC, and an empty one is the same as null', async (t) => {
  t.equal(shortOf(' a b '), 'a b');
  t.equal(shortOf('\u00a0\ufeffa\u3000\n'), 'a', 'all Unicode white space');
  t.equal(shortOf('\u0085 a\u0085\u0085'), 'a', 'U+0085 too');
  t.equal(shortOf('u\u0308'), '\u00fc');
  for (const blank of [null, '', ' ', '\t\n', '\u0085', ' '.repeat(60_000)]) t.equal(shortOf(blank), null);
});

t.test('an empty string is the same as null in the place of any value', async (t) => {
  const fields = { on: flag('A flag.'), one: choice(['a'], 'A choice.'), many: group(table, 'A group.') };
  t.same(read(fields, { on: '', one: ' ', many: '' }), {
    patch: { on: null, one: null, many: null },
    found: [],
    violations: [],
  });
});

t.test('a required text has a visible character', async (t) => {
  const fields = { name: required(text(9, 'A name.')), note: text(9, 'A note.') };
  for (const invisible of [
    '\u200b',
    '\u3164',
    '\u2800',
    '\u2800 \u200b',
    '\u115f\u1160',
    '\u0000',
    '\u{e0001}',
    '\ufffc',
  ]) {
    const { violations } = read(fields, { name: invisible, note: invisible });
    t.same(violations, ['name: invalid_format'], encodeURI(invisible));
  }
  for (const visible of ['.', 'a\u200b', '\u3164ㄱ', '\u0301', '👩‍💻', '∅'])
    t.same(read(fields, { name: visible }).violations, []);
});

t.test('a full-width @ of an e-mail address is returned as @, and the rest as sent', async (t) => {
  const emailOf = (email: string) => {
    const { patch, violations } = read(customerFields, { email });
    return violations[0] ?? patch.email;
  };
  t.equal(emailOf('Jané.Doe＠Exämple．com'), 'Jané.Doe@Exämple．com');
  t.equal(emailOf('jane﹫example.com'), 'jane@example.com');
  t.equal(emailOf('jane＠doe＠example.com'), 'email: invalid_format');
});

t.test('limits count code points after trimming and normalizing, not UTF-16 units or bytes', async (t) => {
  for (const fits of ['abcd', '  abcd  ', '😀😀😀😀', 'üüüü', 'u\u0308u\u0308u\u0308u\u0308']) {
    t.not(shortOf(fits), 'short: too_long', fits);
  }
  for (const long of ['abcde', '😀😀😀😀a', '😀😀😀😀😀', 'x'.repeat(100)])
    t.equal(shortOf(long), 'short: too_long', long);
});

t.test('text that is not well-formed, and any other type, is refused', async (t) => {
  for (const alone of ['\ud800', 'a\udc00', '\udc00\ud800']) t.equal(shortOf(alone), 'short: invalid_format');
  for (const other of [5, true, {}, ['a']]) t.equal(shortOf(other), 'short: invalid_type');
});

t.test('reading a patch that was read before changes nothing', async () => {
  fc.assert(
    fc.property(storeBodies, (body) => {
      const { patch, violations } = read(storeFields, body);
      return violations.length === 0 && JSON.stringify(read(storeFields, patch).patch) === JSON.stringify(patch);
    }),
  );
});

t.test('violations have the order of the table, followed by unknown properties in the order sent', async (t) => {
  const { violations } = read(storeFields, {
    zeta: 1,
    claimedRegion: { languageCode: 'xx', countryCode: 'XX', region: 1 },
    alpha: 1,
    customer: { privacy: { emailConsent: 'yes', faxConsent: true }, email: 'x', nickname: 'J', firstName: 5 },
  });
  t.same(violations, [
    'customer.email: invalid_format',
    'customer.firstName: invalid_type',
    'customer.privacy.emailConsent: invalid_type',
    'customer.privacy.faxConsent: unknown_field',
    'customer.nickname: unknown_field',
    'claimedRegion.countryCode: invalid_value',
    'claimedRegion.languageCode: invalid_value',
    'claimedRegion.region: unknown_field',
    'zeta: unknown_field',
    'alpha: unknown_field',
  ]);
});

t.test('a property name that could be personal data is not repeated', async (t) => {
  for (const name of ['jane@example.com', '+491701234567', 'Jane Doe', 'a'.repeat(65), '', '\u202e', '__proto__.x']) {
    const { found } = read(table, JSON.parse(`{${JSON.stringify(name)}: 1}`));
    t.same(
      found.map(({ field, code }) => [field, code]),
      [['body', 'unknown_field']],
    );
    if (name !== '') t.notMatch(JSON.stringify(found), name);
  }
});

t.test('inherited property names are unknown fields where sent, and absent otherwise', async (t) => {
  t.same(read(table, JSON.parse('{"constructor":1,"toString":2,"__proto__":3}')).violations, [
    'constructor: unknown_field',
    'toString: unknown_field',
    '__proto__: unknown_field',
  ]);
  t.same(read({ toString: text(4, 'A field.') }, {}).patch, {});
});

t.test('at most a hundred unknown properties are reported', async (t) => {
  const input = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`x${index}`, 1]));
  t.equal(read(table, input).violations.length, 100);
});

t.test('a merge patch (RFC 7396)', async (t) => {
  t.test('changes nothing where it is empty', async () => {
    fc.assert(
      fc.property(records, (record) => {
        const applied = applyChange(record, {}, referenceData);
        return (
          applied.ok &&
          changedFields(record, applied.value).length === 0 &&
          JSON.stringify(applied.value) === JSON.stringify(record)
        );
      }),
    );
  });

  t.test('applied twice equals applied once', async () => {
    fc.assert(
      fc.property(records, changes, (record, change) => {
        const once = applyChange(record, change, referenceData);
        if (!once.ok) return true;
        const twice = applyChange(once.value, change, referenceData);
        return twice.ok && JSON.stringify(twice.value) === JSON.stringify(once.value);
      }),
    );
  });

  t.test('gives the result of the algorithm in the RFC, with defaults for removed fields', async () => {
    fc.assert(
      fc.property(records, changes, ({ claimedRegion: _, ...record }, { customer = {} }) => {
        const expected = merge(customerFields, {}, withoutEmpty(mergePatch(record, customer)) as object);
        const merged = merge(customerFields, record as object, customer as object);
        return JSON.stringify(withoutEmpty(merged)) === JSON.stringify(expected);
      }),
    );
  });

  const groups = { outer: group({ one: required(text(9, 'One.')), two: text(9, 'Two.') }, 'A group.') };
  t.test('removes with null, merges groups, and removes a group that becomes empty', async (t) => {
    const record = { outer: { one: 'a', two: 'b' } };
    t.same(merge(groups, record, { outer: { two: null } }), { outer: { one: 'a' } });
    t.same(merge(groups, record, { outer: { one: 'c' } }), { outer: { one: 'c', two: 'b' } });
    t.same(merge(groups, record, { outer: null }), {});
    t.same(merge(groups, record, { outer: { one: null, two: null } }), {});
    t.same(merge(groups, record, { outer: {} }), record);
    t.same(merge(groups, {}, { outer: { one: null } }), {}, 'a new group of nulls is none');
    t.same(merge(groups, {}, { outer: {} }), {}, 'a group without values is no value');
  });

  t.test('the missing members of a group are reported if it is required or has an invalid member', async (t) => {
    const violationsOf = (claimedRegion: unknown) => {
      const customer = { externalIdentifier: 'a' };
      const { patch, violations } = read(storeFields, { customer, claimedRegion });
      const applied = applyChange(undefined, patch, referenceData);
      return [...violations, ...(applied.ok ? [] : applied.violations.map(({ field, code }) => `${field}: ${code}`))];
    };
    t.same(violationsOf({ countryCode: 'XX', languageCode: '' }), [
      'claimedRegion.countryCode: invalid_value',
      'claimedRegion.countryCode: required',
      'claimedRegion.languageCode: required',
    ]);
    for (const nothing of [undefined, null, '']) t.same(violationsOf(nothing), ['claimedRegion: required']);
    for (const empty of [{}, { countryCode: '', languageCode: null }]) {
      t.same(violationsOf(empty), ['claimedRegion.countryCode: required', 'claimedRegion.languageCode: required']);
    }
  });

  t.test('restores defaults for null', async (t) => {
    const record = merge(
      customerFields,
      {},
      { legalType: 'Corporate', status: 'Churned', privacy: { smsConsent: true } },
    );
    const defaults = merge(customerFields, {}, {});
    t.same(merge(customerFields, record, { legalType: null, status: null, privacy: null }), defaults);
    t.same(merge(customerFields, record, { legalType: null, status: null, privacy: { smsConsent: null } }), defaults);
    t.match(defaults, { legalType: 'Individual', status: 'Active' });
    t.same(new Set(Object.values(defaults.privacy ?? {})), new Set([false]));
  });
});

/** The algorithm of RFC 7396 section 2. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = mergePatch(result[name], value);
  }
  return result;
}

/** A group without members is equal to an absent one. */
function withoutEmpty(record: unknown): unknown {
  if (!isObject(record)) return record;
  const members = Object.entries(record).map(([name, value]) => [name, withoutEmpty(value)] as const);
  return Object.fromEntries(members.filter(([, value]) => !isObject(value) || Object.keys(value).length > 0));
}

t.test('a far too long text is refused before it is normalized, which would take very long', async (t) => {
  const piled = `a${'\u0300'.repeat(16_000)}${'\u0316'.repeat(16_000)}`;
  const { violations } = read(storeFields, { customer: { externalIdentifier: piled, email: piled, gender: piled } });
  t.same(violations, [
    'customer.externalIdentifier: too_long',
    'customer.email: too_long',
    'customer.gender: too_long',
  ]);
});
