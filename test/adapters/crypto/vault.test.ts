/** The vault and the root keys: a sealed text opens for its owner and in its context only. */
import fc from 'fast-check';
import t from 'tap';
import { secureBuffer } from '../../../src/adapters/crypto/primitives.ts';
import { newRoots, rewrapRoots } from '../../../src/adapters/crypto/root-keys.ts';
import { ephemeralVault, openVault, verifySignature } from '../../../src/adapters/crypto/vault.ts';

const vault = ephemeralVault();
const owner = 'acme cu.00.1';
const wrongMasterKey = { message: /the master key is not the one/ };
const texts = fc.string({ unit: 'binary', maxLength: 200 });

const masterKey = (byte: number): Buffer => secureBuffer(32).fill(byte);

/** A copy of bytes with one bit flipped. */
function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return copy;
}

t.test('any sealed text opens again, and its plaintext is not in the sealed bytes', async () => {
  fc.assert(
    fc.property(texts, texts, texts, (text, owner, context) => {
      const key = vault.newDataKey(owner);
      const sealed = vault.seal(key, owner, text, context);
      const shows = Buffer.byteLength(text) > 3 && sealed.includes(text);
      return vault.open(key, owner, sealed, context) === text && !shows;
    }),
  );
});

t.test('a sealed text or a data key with any bit flipped does not open', async (t) => {
  const key = vault.newDataKey(owner);
  const sealed = vault.seal(key, owner, 'Jane', 'v1');
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    t.throws(() => vault.open(key, owner, flipped(sealed, bit), 'v1'));
  }
  for (let bit = 0; bit < key.length * 8; bit += 1) {
    t.throws(() => vault.open(flipped(key, bit), owner, sealed, 'v1'));
  }
});

t.test('a truncated or lengthened sealed text does not open', async (t) => {
  const key = vault.newDataKey(owner);
  const sealed = vault.seal(key, owner, 'Jane', 'v1');
  for (let length = 0; length < sealed.length; length += 1) {
    t.throws(() => vault.open(key, owner, sealed.subarray(0, length), 'v1'));
  }
  t.throws(() => vault.open(key, owner, Buffer.concat([sealed, Buffer.alloc(1)]), 'v1'));
});

t.test('a sealed text does not open for another owner, context, key or deployment', async (t) => {
  const key = vault.newDataKey(owner);
  const sealed = vault.seal(key, owner, 'Jane', 'v1');
  const refused = {
    'another tenant': () => vault.open(key, 'other cu.00.1', sealed, 'v1'),
    'another customer': () => vault.open(key, 'acme cu.00.2', sealed, 'v1'),
    'another version': () => vault.open(key, owner, sealed, 'v2'),
    'another key of the same owner': () => vault.open(vault.newDataKey(owner), owner, sealed, 'v1'),
    'another deployment': () => ephemeralVault().open(key, owner, sealed, 'v1'),
    'sealing for another owner': () => vault.seal(key, 'acme cu.00.2', 'Jane', 'v1'),
  };
  for (const [name, attempt] of Object.entries(refused)) t.throws(attempt, name);
  t.equal(vault.open(key, owner, sealed, 'v1'), 'Jane', 'a failed attempt does not affect the next');
});

t.test('nonces and data keys do not repeat', async (t) => {
  const times = 20_000;
  const key = vault.newDataKey(owner);
  const nonces = new Set<string>();
  const keys = new Set<string>();
  for (let time = 0; time < times; time += 1) {
    nonces.add(vault.seal(key, owner, 'Jane', 'v1').toString('hex', 0, 24));
    keys.add(vault.newDataKey(owner).toString('hex'));
  }
  const { dataKey, sealed } = vault.sealNew(owner, 'Jane', 'v1');
  t.equal(vault.open(dataKey, owner, sealed, 'v1'), 'Jane');
  t.notOk(keys.has(dataKey.toString('hex')));
  t.equal(nonces.size, times);
  t.equal(keys.size, times);
});

t.test('a blind index is the same for equal values, and has 128 bits', async (t) => {
  t.same(vault.blindIndex('acme', 'email', 'jane@example.com'), vault.blindIndex('acme', 'email', 'jane@example.com'));
  t.equal(vault.blindIndex('acme', 'email', 'jane@example.com').length, 16);
});

t.test('blind indexes differ between tenants, kinds, values and deployments', async (t) => {
  const indexes = [vault, ephemeralVault()].flatMap((vault) =>
    ['acme', 'other'].flatMap((tenant) =>
      ['email', 'externalId'].flatMap((kind) =>
        ['jane', 'Jane', ''].map((value) => vault.blindIndex(tenant, kind, value).toString('hex')),
      ),
    ),
  );
  t.equal(new Set(indexes).size, 24);
});

t.test('the parts of a digest cannot run into each other', async () => {
  const parts = fc.array(texts, { maxLength: 3 });
  fc.assert(
    fc.property(parts, parts, (one, other) => {
      const same = JSON.stringify(one) === JSON.stringify(other);
      return vault.digest(...one).equals(vault.digest(...other)) === same;
    }),
  );
});

t.test('a text sealed for the log opens in its own context and deployment only', async (t) => {
  const sealed = vault.sealForLog('erased', 'an entry');
  t.equal(vault.openFromLog(sealed, 'an entry'), 'erased');
  t.throws(() => vault.openFromLog(sealed, 'another entry'));
  t.throws(() => ephemeralVault().openFromLog(sealed, 'an entry'));
});

t.test('a sealed secret opens in its own context and deployment only', async (t) => {
  const sealed = vault.sealSecret('whsec_x', 'a webhook');
  t.equal(vault.openSecret(new Uint8Array(sealed), 'a webhook'), 'whsec_x');
  t.throws(() => vault.openSecret(sealed, 'another webhook'));
  t.throws(() => vault.openFromLog(sealed, 'a webhook'), 'not with the key of the log');
  t.throws(() => ephemeralVault().openSecret(sealed, 'a webhook'));
});

t.test('the parts of a chain link cannot run into each other', async (t) => {
  const parts = fc.array(fc.oneof(texts, fc.uint8Array({ maxLength: 12 }), fc.maxSafeNat()), { maxLength: 4 });
  const bytesOf = (part: string | number | Uint8Array): string => {
    if (typeof part === 'number') return part.toString(16).padStart(16, '0');
    return (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part)).toString('hex');
  };
  const previous = fc.uint8Array({ maxLength: 4 });
  fc.assert(
    fc.property(previous, parts, previous, parts, (one, oneParts, other, otherParts) => {
      const same =
        JSON.stringify([one, ...oneParts].map(bytesOf)) === JSON.stringify([other, ...otherParts].map(bytesOf));
      return vault.chainLink(one, ...oneParts).equals(vault.chainLink(other, ...otherParts)) === same;
    }),
  );
  t.throws(() => vault.chainLink(new Uint8Array(), -1));
  t.throws(() => vault.chainLink(new Uint8Array(), 1.5));
});

t.test('a chain link depends on the previous link, each part, their order and the deployment', async (t) => {
  const first = vault.chainLink(new Uint8Array(), 'deployment', 'acme');
  t.equal(first.length, 32);
  t.same(vault.chainLink(first, 1, 'hash', 'sealed'), vault.chainLink(first, 1, 'hash', 'sealed'));
  const links = [
    first,
    ephemeralVault().chainLink(new Uint8Array(), 'deployment', 'acme'),
    vault.chainLink(new Uint8Array(), 'deployment', 'globex'),
    vault.chainLink(first, 1, 'hash', 'sealed'),
    vault.chainLink(flipped(first, 0), 1, 'hash', 'sealed'),
    vault.chainLink(first, 2, 'hash', 'sealed'),
    vault.chainLink(first, 1, 'sealed', 'hash'),
    vault.chainLink(first, 1, 'hashs', 'ealed'),
    vault.chainLink(first, 1, 'hash', 'sealed', ''),
  ];
  t.equal(new Set(links.map((link) => link.toString('hex'))).size, links.length);
});

t.test('root keys open with their master key, which is wiped, and give the same vault each time', async (t) => {
  const roots = newRoots(masterKey(1));
  const given = masterKey(1);
  const one = openVault(given, roots);
  t.ok(given.equals(Buffer.alloc(32)), 'the master key is wiped');
  const other = openVault(masterKey(1), roots);
  const key = one.newDataKey(owner);
  t.equal(other.open(key, owner, one.seal(key, owner, 'Jane', 'v1'), 'v1'), 'Jane');
  t.same(other.publicKey, one.publicKey);
  t.same(other.blindIndex('acme', 'email', 'jane'), one.blindIndex('acme', 'email', 'jane'));
});

t.test('another master key, and exchanged or damaged root keys, are refused as a wrong master key', async (t) => {
  const roots = newRoots(masterKey(1));
  t.throws(() => openVault(masterKey(2), roots), wrongMasterKey);
  t.throws(() => rewrapRoots(roots, masterKey(2), masterKey(3)), wrongMasterKey);
  t.throws(() => openVault(masterKey(1), { ...roots, data: roots.index }), wrongMasterKey);
  t.throws(() => openVault(masterKey(1), { ...roots, data: flipped(roots.data, 7) }), wrongMasterKey);
});

t.test('rewrapped root keys are the same, and open with the new master key only', async (t) => {
  const roots = newRoots(masterKey(1));
  const rewrapped = rewrapRoots(roots, masterKey(1), masterKey(2));
  t.same(openVault(masterKey(2), rewrapped).publicKey, openVault(masterKey(1), roots).publicKey);
  t.throws(() => openVault(masterKey(1), rewrapped), wrongMasterKey);
});

t.test('a signature is valid for its text and public key only', async (t) => {
  const signature = vault.sign('erased');
  t.ok(verifySignature(signature, 'erased', vault.publicKey));
  t.notOk(verifySignature(signature, 'erased.', vault.publicKey));
  t.notOk(verifySignature(signature, 'erased', ephemeralVault().publicKey));
  t.notOk(verifySignature(flipped(signature, 9), 'erased', vault.publicKey));
  t.notOk(verifySignature(signature.subarray(1), 'erased', vault.publicKey));
  t.notOk(verifySignature(signature, 'erased', vault.publicKey.subarray(1)));
});
