/** Bearer tokens over HTTP: who needs one, how it is sent, and that a bad one is refused like anything else. */
import t from 'tap';
import { apiKeyFormat } from '../../src/adapters/crypto/api-key-format.ts';
import { base, exchange, type Headers, startService } from '../support/service.ts';
import { issuerOf } from '../support/tokens.ts';

/** When the clock of a service begins. */
const now = Date.parse('2026-01-15T09:30:00.000Z');
const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });

/** A service whose tenant `proved` trusts this issuer; `acme` trusts none. */
async function start(test: Parameters<typeof startService>[0], issuer: Awaited<ReturnType<typeof issuerOf>>) {
  const service = await startService(test);
  const proved = await service.tenant('proved');
  await service.set('proved', { jwt: issuer.settings() });
  const asProved = (headers: object) => send({ ...proved.credentials, ...headers });
  async function send(headers: object) {
    const {
      statusCode,
      rawPayload,
      headers: answered,
    } = await service.app.inject({
      url: `${base}/info?exId=x`,
      headers: { 'x-request-id': 'fixed', ...headers },
    });
    const { date: _, ...others } = answered;
    return { status: statusCode, bytes: rawPayload.toString(), headers: others };
  }
  return { ...service, proved, send, asProved };
}

for (const algorithm of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
  t.test(`${algorithm}: a good token passes, and one that was touched does not`, async (t) => {
    const issuer = await issuerOf(algorithm, { now });
    const { asProved } = await start(t, issuer);
    const token = await issuer.token({ claims: { tenant: 'proved' } });
    t.equal((await asProved(bearer(token))).status, 404, 'authenticated: there is no such customer');
    t.equal((await asProved(bearer(token.replace(/\.[^.]+$/, '.AAAA')))).status, 401);
    t.equal((await asProved(bearer(await issuer.token()))).status, 401, "another tenant's");
  });
}

t.test('with an issuer', async (t) => {
  const issuer = await issuerOf('ES256', { now });
  const service = await start(t, issuer);
  const { asProved, send, proved, clock, credentials: acme, key } = service;
  const token = await issuer.token({ claims: { tenant: 'proved' } });

  t.test('the scheme is read in any case, as RFC 9110 has it', async (t) => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      t.equal((await asProved({ authorization: `${scheme} ${token}` })).status, 404, scheme);
    }
  });

  t.test('every way to fail looks the same, in headers and in bytes', async (t) => {
    const revoked = await key('proved', 'full');
    await service.services.tenants.revokeKey(revoked.id);
    const expected = await send({});
    t.match(expected, { status: 401, bytes: '' });
    const ways: Record<string, object> = {
      'a token that is missing': proved.credentials,
      'an empty header': { ...proved.credentials, authorization: '' },
      'an empty token': { ...proved.credentials, authorization: 'Bearer ' },
      'no scheme': { ...proved.credentials, authorization: token },
      'the scheme twice': { ...proved.credentials, authorization: `Bearer Bearer ${token}` },
      'two tokens': { ...proved.credentials, authorization: `Bearer ${token}, Bearer ${token}` },
      'two spaces': { ...proved.credentials, authorization: `Bearer  ${token}` },
      Basic: { ...proved.credentials, authorization: `Basic ${Buffer.from(`proved:${token}`).toString('base64')}` },
      DPoP: { ...proved.credentials, authorization: `DPoP ${token}` },
      'a token that is none': { ...proved.credentials, ...bearer('x') },
      'a token with odd characters': { ...proved.credentials, ...bearer(`${token}"`) },
      'a token as large as headers may be': { ...proved.credentials, ...bearer('A'.repeat(15_000)) },
      "another tenant's token": { ...proved.credentials, ...bearer(await issuer.token()) },
      'a token that expired': {
        ...proved.credentials,
        ...bearer(await issuer.token({ claims: { tenant: 'proved', exp: issuer.seconds - 60 } })),
      },
      'a token in the query or in a cookie': { ...proved.credentials, cookie: `token=${token}` },
      'a good token, and a wrong key': {
        ...proved.credentials,
        ...bearer(token),
        'x-api-key': apiKeyFormat.newApiKey('sandbox'),
      },
      'a good token, and a revoked key': { ...revoked.credentials, ...bearer(token) },
      "a good token, and another tenant's key": { ...acme, 'x-tn': 'proved', ...bearer(token) },
      'a good token, and no key': { 'x-tn': 'proved', ...bearer(token) },
      'a good token to a tenant without an issuer': { ...acme, ...bearer(token) },
      'a good token to a tenant that is unknown': { ...acme, 'x-tn': 'nobody', ...bearer(token) },
    };
    for (const [way, headers] of Object.entries(ways)) t.strictSame(await send(headers), expected, way);
    t.equal((await asProved(bearer(token))).status, 404, 'and the good one still passes');
  });

  t.test('a second Authorization header is not ignored', async (t) => {
    const ask = (...tokens: readonly string[]) =>
      exchange(
        { app: service.app, credentials: proved.credentials },
        [
          `GET ${base}/info?exId=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCREDENTIALS\r\n`,
          ...tokens.map((one) => `Authorization: Bearer ${one}\r\n`),
          '\r\n',
        ].join(''),
      );
    t.match(await ask(token), /^HTTP\/1\.1 404 /);
    t.match(await ask(token, 'x'), /^HTTP\/1\.1 401 /);
    t.match(await ask('x', token), /^HTTP\/1\.1 401 /);
  });

  t.test('a token ends 30 s after its time, also one that has passed before', async (t) => {
    clock.now = (issuer.seconds + 60 + 29) * 1000;
    t.equal((await asProved(bearer(token))).status, 404);
    clock.now += 1_000;
    t.equal((await asProved(bearer(token))).status, 401);
    clock.now = now;
  });

  t.test('without keys of the issuer it is 401 like any other, never 500', async (t) => {
    const expected = await send({});
    for (const unreachable of ['https://127.0.0.1:1/jwks.json', 'http://127.0.0.1:1/jwks.json']) {
      await service.set('proved', { jwt: issuer.settings({ jwksUri: unreachable }) });
      t.strictSame(await asProved(bearer(token)), expected, unreachable);
    }
    await service.set('proved', { jwt: issuer.settings() });
    t.equal((await asProved(bearer(token))).status, 404);
  });

  t.test('settings hold for keys that are in use: an issuer that is set, and one that is taken away', async (t) => {
    await service.set('acme', { jwt: issuer.settings({ publicKeyPem: issuer.publicKeyPem }) });
    t.equal((await send(acme)).status, 401);
    t.equal((await send({ ...acme, ...bearer(await issuer.token()) })).status, 404);
    await service.set('acme', { jwt: null });
    t.equal((await send(acme)).status, 404);
    t.equal((await send({ ...acme, ...bearer(await issuer.token()) })).status, 401);
  });
});
