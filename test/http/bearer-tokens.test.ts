/** Bearer tokens over HTTP (authentication.ts): when one is required, its syntax, and the 401 for a bad one. */
import t from 'tap';
import { apiKeyFormat } from '../../src/adapters/crypto/api-key-format.ts';
import { base, type Headers } from '../support/client.ts';
import { startService } from '../support/service.ts';
import { exchangeAll, portOf, rawRequests } from '../support/sockets.ts';
import { issuerOf } from '../support/tokens.ts';

/** The clock of a new service. */
const now = Date.parse('2026-01-15T09:30:00.000Z');
const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });

/** A service whose tenant `proved` trusts this issuer; `acme` has no issuer. */
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
  t.test(`${algorithm}: a valid token is accepted, a modified one refused`, async (t) => {
    const issuer = await issuerOf(algorithm, { now });
    const { asProved } = await start(t, issuer);
    const token = await issuer.token({ claims: { tenant: 'proved' } });
    t.equal((await asProved(bearer(token))).status, 404, 'authenticated, and the customer is unknown');
    t.equal((await asProved(bearer(token.replace(/\.[^.]+$/, '.AAAA')))).status, 401);
    t.equal((await asProved(bearer(await issuer.token()))).status, 401, "another tenant's");
  });
}

t.test('the tenant claim may be nested, or have a URL as its name', async (t) => {
  const issuer = await issuerOf('ES256', { now });
  const { set, asProved } = await start(t, issuer);
  for (const [tenantClaim, claimed] of [
    ['org.id', (tenant: string) => ({ org: { id: tenant } })],
    ['https://acme.example/tenant', (tenant: string) => ({ 'https://acme.example/tenant': tenant })],
  ] as const) {
    await set('proved', { jwt: { ...issuer.settings(), tenantClaim } });
    t.equal((await asProved(bearer(await issuer.token({ claims: claimed('proved') })))).status, 404, tenantClaim);
    t.equal((await asProved(bearer(await issuer.token({ claims: claimed('acme') })))).status, 401, tenantClaim);
    t.equal((await asProved(bearer(await issuer.token({ claims: { tenant: 'proved' } })))).status, 401, tenantClaim);
  }
});

t.test('with an issuer', async (t) => {
  const issuer = await issuerOf('ES256', { now });
  const service = await start(t, issuer);
  const { asProved, send, proved, clock, credentials: acme, key } = service;
  const token = await issuer.token({ claims: { tenant: 'proved' } });

  t.test('the scheme is case-insensitive (RFC 9110)', async (t) => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      t.equal((await asProved({ authorization: `${scheme} ${token}` })).status, 404, scheme);
    }
  });

  t.test('every reason for a 401 gives the same headers and bytes', async (t) => {
    const revoked = await key('proved', 'full');
    await service.services.apiKeys.revoke(revoked.id);
    const expected = await send({});
    t.match(expected, { status: 401, bytes: '' });
    const ways: Record<string, object> = {
      'no token': proved.credentials,
      'an empty header': { ...proved.credentials, authorization: '' },
      'an empty token': { ...proved.credentials, authorization: 'Bearer ' },
      'no scheme': { ...proved.credentials, authorization: token },
      'the scheme twice': { ...proved.credentials, authorization: `Bearer Bearer ${token}` },
      'two tokens': { ...proved.credentials, authorization: `Bearer ${token}, Bearer ${token}` },
      'two spaces': { ...proved.credentials, authorization: `Bearer  ${token}` },
      Basic: { ...proved.credentials, authorization: `Basic ${Buffer.from(`proved:${token}`).toString('base64')}` },
      DPoP: { ...proved.credentials, authorization: `DPoP ${token}` },
      'a malformed token': { ...proved.credentials, ...bearer('x') },
      'a token with odd characters': { ...proved.credentials, ...bearer(`${token}"`) },
      'a token as large as headers may be': { ...proved.credentials, ...bearer('A'.repeat(15_000)) },
      "another tenant's token": { ...proved.credentials, ...bearer(await issuer.token()) },
      'a token that expired': {
        ...proved.credentials,
        ...bearer(await issuer.token({ claims: { tenant: 'proved', exp: issuer.seconds - 60 } })),
      },
      'a token in the query or in a cookie': { ...proved.credentials, cookie: `token=${token}` },
      'a valid token, and a wrong key': {
        ...proved.credentials,
        ...bearer(token),
        'x-api-key': apiKeyFormat.newApiKey('sandbox'),
      },
      'a valid token, and a revoked key': { ...revoked.credentials, ...bearer(token) },
      "a valid token, and another tenant's key": { ...acme, 'x-tn': 'proved', ...bearer(token) },
      'a valid token, and no key': { 'x-tn': 'proved', ...bearer(token) },
      'a valid token to a tenant without an issuer': { ...acme, ...bearer(token) },
      'a valid token to a tenant that is unknown': { ...acme, 'x-tn': 'nobody', ...bearer(token) },
    };
    for (const [way, headers] of Object.entries(ways)) t.strictSame(await send(headers), expected, way);
    t.equal((await asProved(bearer(token))).status, 404, 'the valid token is still accepted');
  });

  t.test('a second Authorization header is not ignored', async (t) => {
    const port = await portOf(service);
    const { get } = rawRequests(proved);
    const ask = async (...tokens: readonly string[]) => {
      const headers = tokens.map((one) => `Authorization: Bearer ${one}\r\n`);
      const [answer] = await exchangeAll(port, get(headers.join('')));
      return answer?.status;
    };
    t.equal(await ask(token), 404);
    t.equal(await ask(token, 'x'), 401);
    t.equal(await ask('x', token), 401);
  });

  t.test('a token is refused 30 s after it expired, even if it was accepted before', async (t) => {
    clock.now = (issuer.seconds + 60 + 29) * 1000;
    t.equal((await asProved(bearer(token))).status, 404);
    clock.now += 1_000;
    t.equal((await asProved(bearer(token))).status, 401);
    clock.now = now;
  });

  t.test('unreachable keys of the issuer give the same 401, not 500', async (t) => {
    const expected = await send({});
    for (const unreachable of ['https://127.0.0.1:1/jwks.json', 'http://127.0.0.1:1/jwks.json']) {
      await service.set('proved', { jwt: issuer.settings({ jwksUri: unreachable }) });
      t.strictSame(await asProved(bearer(token)), expected, unreachable);
    }
    await service.set('proved', { jwt: issuer.settings() });
    t.equal((await asProved(bearer(token))).status, 404);
  });

  t.test('setting and removing an issuer affects API keys in use', async (t) => {
    await service.set('acme', { jwt: issuer.settings({ publicKeyPem: issuer.publicKeyPem }) });
    t.equal((await send(acme)).status, 401);
    t.equal((await send({ ...acme, ...bearer(await issuer.token()) })).status, 404);
    await service.set('acme', { jwt: null });
    t.equal((await send(acme)).status, 404);
    t.equal((await send({ ...acme, ...bearer(await issuer.token()) })).status, 401);
  });
});
