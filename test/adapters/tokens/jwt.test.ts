/** Which bearer tokens are accepted, and how an issuer's keys are fetched, refreshed and withdrawn. */
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { CompactSign, exportJWK, exportPKCS8, importPKCS8, type JWK } from 'jose';
import t, { type Test } from 'tap';
import { createJwtVerifier } from '../../../src/adapters/tokens/jwt.ts';
import type { JwtAlgorithm, JwtSettings } from '../../../src/application/ports/tenant-directory.ts';
import { atOnce, noon, tenantId } from '../../support/storage.ts';
import { type Changes, type Issuer, issuerOf, jwksUri, part } from '../../support/tokens.ts';

const acme = tenantId('acme');
const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;
const cooldown = 30 * second;
const refresh = 10 * minute;

/** A verifier with this host and an adjustable clock. */
function verifier(answer: (url: string, options: RequestInit) => Response | Promise<Response>) {
  const clock = { now: noon };
  const asked: string[] = [];
  const fetch = async (url: unknown, options: RequestInit = {}): Promise<Response> => {
    asked.push(String(url));
    return answer(String(url), options);
  };
  const troubles: unknown[] = [];
  const { verifies: proves, prepare } = createJwtVerifier({
    clock: () => clock.now,
    onTrouble: (_, error) => troubles.push(error),
    fetch: fetch as typeof globalThis.fetch,
  });
  /** The second answer, after the keys that the first attempt requested were fetched. */
  async function provesAfterFetch(token: string, settings: JwtSettings): Promise<boolean> {
    if (await proves(token, acme, settings)) return true;
    await prepare(settings);
    return proves(token, acme, settings);
  }
  return { clock, asked, troubles, proves: provesAfterFetch, provesAtOnce: proves, prepare };
}

const published = (keys: readonly unknown[]) => Response.json({ keys });
const unreachable = (): Response => {
  throw new TypeError('fetch failed');
};

/** Another algorithm that can sign with the same private key. */
const siblings: Partial<Record<JwtAlgorithm, string>> = { RS256: 'PS256', PS256: 'RS256', EdDSA: 'Ed25519' };

for (const algorithm of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
  t.test(algorithm, async (t) => {
    const issuer = await issuerOf(algorithm, { now: noon });
    const mallory = await issuerOf(algorithm, { now: noon });
    const { seconds, jwk, token, forge } = issuer;
    const sources = { 'a pinned key': undefined, 'published keys': { jwksUri } };

    const good: Record<string, Changes> = {
      'as it was issued': {},
      'for several audiences': { claims: { aud: ['other', 'c2a'] } },
      'without nbf': { claims: { nbf: undefined } },
      'less than 30 s after its expiry': { claims: { exp: seconds - 29 } },
      '30 s before nbf': { claims: { nbf: seconds + 30 } },
      "with others' keys in its header": {
        header: { jwk: mallory.jwk, jku: 'https://evil.example/jwks', x5u: 'https://evil.example/x5u' },
      },
    };
    const bad: Record<string, Changes> = {
      '30 s after its expiry': { claims: { exp: seconds - 30 } },
      'more than 30 s before nbf': { claims: { nbf: seconds + 31 } },
      'without exp': { claims: { exp: undefined } },
      'with exp that is no number': { claims: { exp: 'never' } },
      'with nbf that is no number': { claims: { nbf: 'now' } },
      'of another issuer': { claims: { iss: 'https://login.example.com/' } },
      'of no issuer': { claims: { iss: undefined } },
      'for another audience': { claims: { aud: 'c2a2' } },
      'for other audiences': { claims: { aud: ['other', 'C2A'] } },
      'for no audience': { claims: { aud: undefined } },
      'of another tenant': { claims: { tenant: 'globex' } },
      'of no tenant': { claims: { tenant: undefined } },
      'of the tenant in capitals': { claims: { tenant: 'ACME' } },
      'of several tenants': { claims: { tenant: ['acme'] } },
      'with an unknown critical extension': {
        header: { crit: ['http://example.com/x'], 'http://example.com/x': 1 },
      },
    };
    const hmac = (secret: string | Buffer) => (signed: string) => createHmac('sha256', secret).update(signed).digest();
    const der = Buffer.from(issuer.publicKeyPem.replaceAll(/-----.*-----|\s/g, ''), 'base64');
    const [header = '', payload = '', signature = ''] = (await token()).split('.');
    const forged: Record<string, string> = {
      'with the algorithm none': forge({ alg: 'none' }, () => Buffer.alloc(0)),
      'with the algorithm NONE': forge({ alg: 'nOnE' }, () => Buffer.alloc(0)),
      'without an algorithm': forge({}, () => Buffer.from(signature, 'base64url')),
      'signed by HMAC with the public key in PEM': forge({ alg: 'HS256' }, hmac(issuer.publicKeyPem)),
      'signed by HMAC with the public key in DER': forge({ alg: 'HS256' }, hmac(der)),
      'signed by HMAC under the pinned algorithm': forge({ alg: algorithm }, hmac(issuer.publicKeyPem)),
      "signed by another's key of the same name": await mallory.token(),
      "signed by another's key that it brings along": await mallory.token({ header: { jwk: mallory.jwk } }),
      "signed by another's key that it refers to": await mallory.token({
        header: { jku: 'https://evil.example/jwks', x5u: 'https://evil.example/x5u' },
      }),
      'signed with zeros': `${header}.${payload}.${Buffer.alloc(Buffer.from(signature, 'base64url').length).toString('base64url')}`,
      'with another payload': `${header}.${part({ tenant: 'acme', aud: 'c2a', exp: seconds + 9_999 })}.${signature}`,
      'with another header': `${part({ alg: algorithm, kid: 'k1', typ: 'x' })}.${payload}.${signature}`,
      'without its signature': `${header}.${payload}.`,
      'without its signature part': `${header}.${payload}`,
      'with an extra part': `${header}.${payload}.${signature}.${signature}`,
      'that looks encrypted': `${header}....${signature}`,
      'that is empty': '',
      'that is no token': 'x',
      'that is huge': `${header}.${'A'.repeat(1_000_000)}.${signature}`,
      'whose payload is not JSON': await unreadable(issuer),
    };
    const sibling = siblings[algorithm];
    if (sibling !== undefined) {
      const key = await importPKCS8(await exportPKCS8(issuer.privateKey), sibling);
      forged[`signed by ${sibling} with the same key`] = await token({ header: { alg: sibling } }, key);
    }

    for (const [source, keys] of Object.entries(sources)) {
      const settings = issuer.settings(keys);
      const { proves, asked } = verifier(() => published([jwk]));
      const tried: [sentence: string, token: string, expected: boolean][] = [
        ...(await all(good, true)),
        ...(await all(bad, false)),
        ...Object.entries(forged).map(([name, text]) => [name, text, false] as [string, string, boolean]),
      ];
      for (const [sentence, text, expected] of tried) {
        t.equal(await proves(text, settings), expected, `${source}: a token ${sentence}`);
      }
      t.strictSame(asked, keys ? [jwksUri] : [], 'keys are requested from the configured host only');
    }

    async function all(changes: Record<string, Changes>, expected: boolean) {
      return Promise.all(
        Object.entries(changes).map(
          async ([name, one]) => [name, await token(one), expected] as [string, string, boolean],
        ),
      );
    }
  });
}

/** A token with a valid signature over a payload that is not JSON. */
async function unreadable({ algorithm, privateKey }: Issuer): Promise<string> {
  return new CompactSign(Buffer.from('{')).setProtectedHeader({ alg: algorithm, kid: 'k1' }).sign(privateKey);
}

t.test('the tenant claim', async (t) => {
  const issuer = await issuerOf('ES256', { now: noon });
  const url = 'https://acme.example/tenant';
  const cases: [name: string, claims: Readonly<Record<string, unknown>>, expected: boolean][] = [
    ['org.id', { org: { id: 'acme' } }, true],
    ['org.id', { org: { id: 'globex' } }, false],
    ['org.id', { 'org.id': 'acme' }, true],
    ['org.id', { 'org.id': 'acme', org: { id: 'globex' } }, true],
    ['org.id', { 'org.id': 'globex', org: { id: 'acme' } }, false],
    ['org.id', { 'org.id': null, org: { id: 'acme' } }, false],
    ['org.id', { org: 'acme' }, false],
    ['org.id', { org: null }, false],
    ['org.id', { org: [{ id: 'acme' }] }, false],
    ['org.0', { org: ['acme'] }, false],
    ['org.id', { org: { id: ['acme'] } }, false],
    ['org.id', { org: { id: { id: 'acme' } } }, false],
    ['a.b.c', { a: { b: { c: 'acme' } } }, true],
    ['a.b.c', { a: { 'b.c': 'acme' } }, true],
    ['a.b.c', { 'a.b': { c: 'acme' } }, true],
    ['a.b.c', { 'a.b': { c: 'globex' }, a: { b: { c: 'acme' } } }, false],
    ['a.b.c', { 'a.b': { d: 'globex' }, a: { b: { c: 'acme' } } }, true],
    [url, { [url]: 'acme' }, true],
    [url, { [url]: 'globex' }, false],
    ['https://acme.example/claims.org.id', { 'https://acme.example/claims': { org: { id: 'acme' } } }, true],
    ['org.', { org: { '': 'acme' } }, true],
    ['.org', { org: 'acme' }, false],
    ['.', { tenant: 'acme' }, false],
    ['', { tenant: 'acme' }, false],
    ['org.constructor.name', { org: {} }, false],
    ['__proto__.tenant', {}, false],
    ['toString', {}, false],
  ];
  const { proves } = verifier(unreachable);
  for (const [tenantClaim, claims, expected] of cases) {
    const token = await issuer.token({ claims });
    const name = `${tenantClaim} of ${JSON.stringify(claims)}`;
    t.equal(await proves(token, { ...issuer.settings(), tenantClaim }), expected, name);
  }
});

t.test('a pinned key that does not fit its algorithm accepts no token and does not end the process', async (t) => {
  const issuer = await issuerOf('ES256', { now: noon });
  const { proves } = verifier(unreachable);
  for (const settings of [
    { ...issuer.settings(), algorithm: 'RS256' as const },
    issuer.settings({ publicKeyPem: 'no key' }),
  ]) {
    for (const token of ['x', await issuer.token()]) t.equal(await proves(token, settings), false);
  }
  // An unhandled rejection would end the process, and this test, in the next turn.
  await turn();
});

t.test('published keys', async (t) => {
  const [one, two] = await Promise.all(['k1', 'k2'].map((kid) => issuerOf('ES256', { now: noon, kid })));
  if (one === undefined || two === undefined) throw new Error('there must be two issuers');
  const settings = one.settings({ jwksUri });
  /** A token of this issuer that is valid longer than any test. */
  const lasting = (issuer: Issuer, header: Changes['header'] = {}) =>
    issuer.token({ claims: { exp: issuer.seconds + 10 * 86_400 }, header });
  const [byOne, byTwo] = await Promise.all([lasting(one), lasting(two)]);

  /** A host whose answer can be changed, and its verifier. */
  function host(...keys: readonly JWK[]) {
    const answers = { next: () => published(keys) };
    const made = verifier(() => answers.next());
    return {
      ...made,
      answers,
      publish: (...now: readonly JWK[]) => Object.assign(answers, { next: () => published(now) }),
    };
  }

  t.test('no token waits for the host, as the delay would reveal that the API key is right', async (t) => {
    const silent = verifier(() => new Promise<Response>(() => {}));
    for (const token of [byOne, byTwo]) {
      const since = performance.now();
      t.equal(await silent.provesAtOnce(token, acme, settings), false);
      t.ok(performance.now() - since < 500);
    }
    t.equal(silent.asked.length, 1);
    const { provesAtOnce, prepare } = host(one.jwk);
    await prepare(settings);
    t.equal(await provesAtOnce(byOne, acme, settings), true, 'keys fetched beforehand are used at once');
  });

  t.test('a host that does not answer is reported to the operator once in a cool-down', async (t) => {
    const { proves, troubles, clock } = verifier(unreachable);
    for (let turns = 1; turns <= 2; turns += 1) {
      for (const token of [byOne, byTwo]) await proves(token, settings);
      t.equal(troubles.length, turns);
      clock.now += cooldown;
    }
    t.match(troubles, [{ message: 'fetch failed' }]);
  });

  t.test('an unknown key id makes the keys be fetched, at most once in a cool-down', async (t) => {
    const { proves, publish, clock, asked } = host(one.jwk);
    t.equal(await proves(byOne, settings), true);
    publish(one.jwk, two.jwk);
    clock.now += cooldown - 1;
    t.equal(await proves(byTwo, settings), false, 'within the cool-down');
    clock.now += 1;
    t.equal(await proves(byTwo, settings), true);
    t.equal(await proves(byOne, settings), true);
    t.equal(asked.length, 2);
  });

  t.test('an unknown key id is refused', async (t) => {
    const { proves } = host(one.jwk, two.jwk);
    for (const kid of ['other', '', 'K1', 1, null, ['k1']]) {
      t.equal(await proves(await lasting(one, { kid }), settings), false, JSON.stringify(kid));
    }
    t.equal(await proves(byOne, settings), true);
  });

  t.test('every key that may have signed a token is tried', async (t) => {
    const nameless = await lasting(one, { kid: undefined });
    const named = two.jwk.kid as string;
    const { kid: _, ...anonymous } = one.jwk;
    const { kid: __, ...otherAnonymous } = two.jwk;
    const sets: Record<string, readonly JWK[]> = {
      'of one key': [one.jwk],
      'of two keys': [two.jwk, one.jwk],
      'that lists a key twice': [one.jwk, one.jwk],
      'with two keys under one id': [{ ...two.jwk, kid: 'k1' }, one.jwk],
      'with two keys under one id, the other way round': [one.jwk, { ...two.jwk, kid: 'k1' }],
      'whose keys have no id': [otherAnonymous, anonymous],
      'with a key under another id, and the key without an id': [{ ...one.jwk, kid: named }, anonymous],
    };
    for (const [name, keys] of Object.entries(sets)) {
      const { proves } = host(...keys);
      t.equal(await proves(byOne, settings), true, `a set ${name}`);
      t.equal(await proves(nameless, settings), true, `a set ${name}, a token without an id`);
    }
    const other = await lasting(await issuerOf('ES256', { now: noon, kid: 'k1' }));
    for (const keys of Object.values(sets)) t.equal(await host(...keys).proves(other, settings), false, 'forged');
  });

  t.test('at most 8 keys are tried for one token, those with its id first', async (t) => {
    const wrong = Array.from({ length: 8 }, () => ({ ...two.jwk, kid: 'k1' }));
    const { kid: _, ...anonymous } = two.jwk;
    t.equal(await host(...wrong.map(() => anonymous), one.jwk).proves(byOne, settings), true);
    t.equal(await host(...wrong.slice(1), one.jwk).proves(byOne, settings), true);
    t.equal(await host(...wrong, one.jwk).proves(byOne, settings), false);
    const unusable = wrong.map((jwk) => ({ ...jwk, use: 'enc' }));
    t.equal(await host(...unusable, one.jwk).proves(byOne, settings), true, 'unusable keys do not count');
  });

  t.test('a key is found among entries that cannot be used, and without its optional members', async (t) => {
    const { kty, crv, x, y } = one.jwk;
    const entries: Record<string, unknown> = {
      null: null,
      'a string': 'k1',
      'an array': [],
      'an empty object': {},
      'an unknown type': { kty: 'XYZ', kid: 'k1' },
      'a type that is no string': { ...one.jwk, kty: 1 },
      'a shared secret': { kty: 'oct', k: 'c2VjcmV0', kid: 'k1', alg: 'HS256' },
      'an RSA key': { kty: 'RSA', n: 'sXch', e: 'AQAB', kid: 'k1' },
      'a missing coordinate': { kty, crv, x, kid: 'k1' },
      'a malformed coordinate': { ...one.jwk, x: '*' },
      'a point that is not on the curve': { ...one.jwk, x: y },
      'another curve': { ...one.jwk, crv: 'P-384' },
      'a private key': { ...(await exportJWK(one.privateKey)), kid: 'k1' },
      'a key for encryption': { ...one.jwk, use: 'enc' },
      'malformed operations': { ...one.jwk, key_ops: 'verify' },
    };
    for (const [name, entry] of Object.entries(entries)) {
      const { proves, troubles } = host(entry as JWK, { kty, crv, x, y } as JWK, entry as JWK);
      t.equal(await proves(byOne, settings), true, name);
      t.equal(await host(entry as JWK).proves(byOne, settings), false, `${name} alone`);
      t.same(troubles, [], name);
    }
    const empty = { use: null, alg: null, key_ops: [], x5c: null };
    for (const kid of ['k1', null]) {
      t.equal(await host({ ...one.jwk, ...empty, kid } as unknown as JWK).proves(byOne, settings), true, 'no values');
    }
    const certificate = { x5c: ['*'], x5t: '*', 'x5t#S256': '*', x5u: 'https://evil.example/x5u' };
    t.equal(
      await host({ ...one.jwk, ...certificate } as JWK).proves(byOne, settings),
      true,
      'certificates are not read',
    );
  });

  t.test('an RSA key that is too short does not hide another under the same id', async (t) => {
    const issuer = await issuerOf('RS256', { now: noon });
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const short = { ...publicKey.export({ format: 'jwk' }), kid: 'k1' } as JWK;
    const { proves } = host(short, issuer.jwk);
    t.equal(await proves(await issuer.token(), issuer.settings({ jwksUri })), true);
  });

  t.test('a key that was replaced under the same id makes the keys be fetched', async (t) => {
    const { proves, publish, clock, asked } = host({ ...two.jwk, kid: 'k1' });
    t.equal(await proves(byOne, settings), false);
    publish(one.jwk);
    clock.now += cooldown;
    t.equal(await proves(byOne, settings), true);
    t.equal(asked.length, 2);
    clock.now += cooldown;
    t.equal(await proves(await one.token({ claims: { exp: 1 } }), settings), false);
    t.equal(asked.length, 2, 'a token that is refused for its claims fetches nothing');
  });

  t.test('a key published for encryption or for another algorithm is not used', async (t) => {
    for (const change of [{ use: 'enc' }, { alg: 'ES384' }, { key_ops: ['sign'] }]) {
      const { proves } = host({ ...one.jwk, ...change });
      t.equal(await proves(byOne, settings), false, JSON.stringify(change));
    }
  });

  t.test('a withdrawn key stops being accepted with the next refresh', async (t) => {
    const { proves, publish, clock, asked } = host(one.jwk, two.jwk);
    t.equal(await proves(byOne, settings), true);
    publish(two.jwk);
    clock.now += refresh - 1;
    t.equal(await proves(byOne, settings), true, 'not due');
    clock.now += 1;
    t.equal(await proves(byOne, settings), true, 'refreshed in the background');
    await turn();
    t.equal(await proves(byOne, settings), false);
    t.equal(await proves(byTwo, settings), true);
    t.equal(asked.length, 2);
  });

  for (const [away, next] of Object.entries({
    'cannot be reached': unreachable,
    'answers with an error': () => new Response('', { status: 503 }),
    'answers with no key set': () => published([1]),
    'answers with keys under another status': () => Response.json({ keys: [] }, { status: 203 }),
  })) {
    t.test(`known keys are accepted for a day while their host ${away}`, async (t) => {
      const { proves, answers, clock, publish } = host(one.jwk);
      t.equal(await proves(byOne, settings), true);
      Object.assign(answers, { next });
      for (const later of [refresh, 60 * minute, day - 70 * minute]) {
        clock.now += later;
        t.equal(await proves(byOne, settings), true);
        await turn();
      }
      clock.now += 1;
      await turn();
      t.equal(await proves(byOne, settings), false, 'after a day');
      publish(one.jwk);
      clock.now += cooldown;
      t.equal(await proves(byOne, settings), true, 'the host is back');
    });
  }

  t.test('without keys no token is accepted until the host is back', async (t) => {
    const { proves, answers, clock, publish } = host();
    answers.next = unreachable;
    t.equal(await proves(byOne, settings), false);
    publish(one.jwk);
    t.equal(await proves(byOne, settings), false, 'within the cool-down');
    clock.now += cooldown;
    t.equal(await proves(byOne, settings), true);
  });

  t.test('the keys are fetched once in a cool-down, however many tokens arrive', async (t) => {
    const unknown = await Promise.all(
      Array.from({ length: 200 }, (_, index) => lasting(two, { kid: `unknown-${index}` })),
    );
    for (const [name, next] of Object.entries({
      'that answers': () => published([one.jwk]),
      'that is away': unreachable,
    })) {
      const { proves, answers, clock, asked } = host();
      Object.assign(answers, { next });
      for (let turns = 1; turns <= 3; turns += 1) {
        const answered = await atOnce(200, (index) => proves(unknown[index] as string, settings));
        t.notOk(answered.includes(true));
        for (const token of unknown.slice(0, 20)) await proves(token, settings);
        t.equal(asked.length, turns, `a host ${name}, cool-down ${turns}`);
        clock.now += cooldown;
      }
    }
  });

  t.test('a refresh that fails is tried again once in a cool-down', async (t) => {
    const { proves, answers, clock, asked } = host(one.jwk);
    await proves(byOne, settings);
    answers.next = unreachable;
    clock.now += refresh;
    const answered = await atOnce(200, () => proves(byOne, settings));
    t.notOk(answered.includes(false));
    for (let again = 0; again < 20; again += 1) t.equal(await proves(byOne, settings), true);
    t.equal(asked.length, 2);
  });

  t.test('changed settings take effect at once', async (t) => {
    const { proves } = host(one.jwk);
    t.equal(await proves(byOne, settings), true);
    t.equal(await proves(byOne, { ...settings, audience: 'other' }), false);
    t.equal(await proves(byOne, two.settings()), false, 'another key');
    t.equal(await proves(byOne, { ...settings, algorithm: 'ES384' }), false);
  });

  t.test('keys are not fetched over plain http', async (t) => {
    const { proves, asked } = host(one.jwk);
    t.equal(await proves(byOne, one.settings({ jwksUri: 'http://login.example.com/jwks.json' })), false);
    t.strictSame(asked, []);
  });

  const jwks = JSON.stringify({ keys: [one.jwk] });
  const padded = JSON.stringify({ keys: [one.jwk], padding: 'x'.repeat(300_000) });
  const hosts: Record<string, readonly [answers: boolean, listener: RequestListener]> = {
    'that answers': [true, (_, response) => response.end(jwks)],
    'that answers with a byte order mark': [true, (_, response) => response.end(`\ufeff${jwks}`)],
    'that answers in gzip': [true, (_, response) => response.setHeader('content-encoding', 'gzip').end(gzipSync(jwks))],
    'that redirects': [
      false,
      ({ url }, response) =>
        url === '/moved' ? response.end(jwks) : response.writeHead(302, { location: '/moved' }).end(),
    ],
    'with too long an answer': [false, (_, response) => response.end(padded)],
    'with too long an answer in gzip': [
      false,
      (_, response) => response.setHeader('content-encoding', 'gzip').end(gzipSync(padded)),
    ],
    'that answers with other than JSON': [false, (_, response) => response.end('{"keys":')],
    'that answers with null': [false, (_, response) => response.end('null')],
    'that answers with nothing': [false, (_, response) => response.end()],
    'that has no keys': [false, (_, response) => response.end('{"keys":{}}')],
    'that answers 500': [false, (_, response) => response.writeHead(500).end(jwks)],
    'that answers 404': [false, (_, response) => response.writeHead(404).end(jwks)],
    'that closes the connection': [false, (request) => request.socket.destroy()],
    'that never answers': [false, () => {}],
    'whose answer never ends': [false, (_, response) => response.write(jwks)],
  };
  t.test('hosts', { jobs: 20, buffered: true }, async (t) => {
    for (const [name, [expected, listener]] of Object.entries(hosts)) {
      t.test(`a host ${name}`, async (t) => {
        const { url, requests } = await listening(t, listener);
        const { proves, asked } = verifier((_, options) => fetch(url, options));
        t.equal(await proves(byOne, settings), expected);
        t.equal(await proves(byOne, settings), expected);
        t.equal(asked.length, 1);
        t.strictSame(requests, ['/jwks.json'], 'one request and no other');
      });
    }
  });
});

/** A host on this machine that is closed with the test. */
async function listening(t: Test, listener: RequestListener) {
  const requests: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url);
    listener(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`, requests };
}
