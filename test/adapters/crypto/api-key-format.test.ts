/** The format of API keys, their randomness, and the detection of typing errors. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { apiKeyFormat } from '../../../src/adapters/crypto/api-key-format.ts';
import { environments } from '../../../src/application/ports/tenant-directory.ts';

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const shapes = { sandbox: /^sk_dev_[0-9A-Za-z]{38}$/, live: /^sk_live_[0-9A-Za-z]{38}$/ };

/** CRC-32 (ISO 3309), computed bit by bit, in six base62 digits. */
function checksum(text: string): string {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  let rest = (crc ^ 0xffffffff) >>> 0;
  let digits = '';
  for (let place = 0; place < 6; place += 1) {
    digits = base62[rest % 62] + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

const keyOf = (random: string): string => `sk_dev_${random}${checksum(`sk_dev_${random}`)}`;
const wellFormed = fc.string({ unit: fc.constantFrom(...base62), minLength: 32, maxLength: 32 }).map(keyOf);
const spliced = (text: string, at: number, remove: number, put: string): string =>
  text.slice(0, at) + put + text.slice(at + remove);
const refused = (key: string): boolean => apiKeyFormat.apiKeyDigest(key, 'sandbox') === undefined;

t.test('an API key is a prefix, 32 random characters and a checksum', async (t) => {
  for (const environment of environments) {
    const key = apiKeyFormat.newApiKey(environment);
    t.match(key, shapes[environment]);
    t.equal(key.slice(-6), checksum(key.slice(0, -6)));
    const digest = apiKeyFormat.apiKeyDigest(key, environment);
    t.equal(Buffer.from(digest as Uint8Array).toString('hex'), createHash('sha256').update(key).digest('hex'));
  }
});

t.test('an API key of one environment has no digest in the other', async (t) => {
  t.equal(apiKeyFormat.apiKeyDigest(apiKeyFormat.newApiKey('live'), 'sandbox'), undefined);
  t.equal(apiKeyFormat.apiKeyDigest(apiKeyFormat.newApiKey('sandbox'), 'live'), undefined);
});

t.test('API keys differ, and each character is equally frequent in each place', async (t) => {
  const count = 6_200;
  const keys = Array.from({ length: count }, () => apiKeyFormat.newApiKey('sandbox').slice(7, 39));
  t.equal(new Set(keys).size, count);
  const expected = count / base62.length;
  for (let place = 0; place < 32; place += 1) {
    const seen = new Map<string, number>();
    for (const key of keys) seen.set(key[place] as string, (seen.get(key[place] as string) ?? 0) + 1);
    const chiSquare = [...base62].reduce((sum, one) => sum + ((seen.get(one) ?? 0) - expected) ** 2 / expected, 0);
    // 61 degrees of freedom: exceeds 150 once in some 10^9.
    t.ok(chiSquare < 150, `place ${place}: ${chiSquare.toFixed(0)}`);
  }
});

t.test('every well-formed API key has a digest', async () => {
  fc.assert(fc.property(wellFormed, (key) => !refused(key)));
});

t.test('every single wrong character of an API key is detected', async (t) => {
  const key = apiKeyFormat.newApiKey('sandbox');
  const passed: string[] = [];
  for (let at = 0; at < key.length; at += 1) {
    for (const wrong of `${base62} -_é`) {
      const mistyped = spliced(key, at, 1, wrong);
      if (mistyped !== key && !refused(mistyped)) passed.push(mistyped);
    }
  }
  t.strictSame(passed, []);
});

t.test('a wrong, missing, doubled or swapped character is detected in any API key', async () => {
  const place = fc.nat({ max: 44 });
  fc.assert(
    fc.property(wellFormed, place, fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }), (key, at, wrong) => {
      const [here, next] = [key[at] as string, key[at + 1] ?? ''];
      const mistakes = [
        spliced(key, at, 1, wrong),
        spliced(key, at, 1, ''),
        spliced(key, at, 0, here),
        spliced(key, at, 2, next + here),
      ];
      return mistakes.every((mistyped) => mistyped === key || refused(mistyped));
    }),
    { numRuns: 1_000 },
  );
});

t.test('the shown prefix of an API key has three or four of its random characters', async (t) => {
  for (const environment of environments) {
    const key = apiKeyFormat.newApiKey(environment);
    t.equal(apiKeyFormat.shownPrefix(key), key.slice(0, 11));
    t.match(apiKeyFormat.shownPrefix(key), /^sk_(?:dev_\w{4}|live_\w{3})$/);
    const mistyped = spliced(key, 20, 1, key[20] === 'x' ? 'y' : 'x');
    for (const text of [mistyped, key.slice(0, -1), `${key}x`, key.slice(0, 11), `Bearer ${key}`, '']) {
      t.equal(apiKeyFormat.shownPrefix(text), undefined, 'of a well-formed API key only');
    }
  }
});

t.test('other texts have no digest', async (t) => {
  const key = apiKeyFormat.newApiKey('sandbox');
  for (const text of [
    '',
    'sk_dev_',
    key.toUpperCase(),
    ` ${key}`,
    `${key}\n`,
    `${key}${key}`,
    key.slice(7),
    'x'.repeat(45),
    keyOf(`${'x'.repeat(31)} `),
    keyOf(`${'x'.repeat(31)}é`),
  ]) {
    t.ok(refused(text), JSON.stringify(text));
  }
});

t.test('identifiers have 12 characters and differ', async (t) => {
  t.match(apiKeyFormat.newId(), /^[0-9A-Za-z]{12}$/);
  t.not(apiKeyFormat.newId(), apiKeyFormat.newId());
});
