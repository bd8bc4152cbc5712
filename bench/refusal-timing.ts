/**
 * Does the time of a 401 reveal its reason? Starts a server, sends requests with each reason in random order over
 * keep-alive connections, and compares their times: `node bench/refusal-timing.ts [requests per reason]`.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { apiKeyFormat } from '../src/adapters/crypto/api-key-format.ts';
import { openServices } from '../src/compose.ts';
import { readConfig } from '../src/config.ts';
import { parseTenantId, type TenantId } from '../src/domain/identity.ts';
import { serving } from '../test/support/process.ts';

const samples = Number(process.argv[2] ?? 400);
const lanes = 4;
const warmUp = 40;

type Headers = Readonly<Record<string, string>>;

/** Makes two tenants, `plain` and `proved` (which requires a bearer token). Returns headers for each reason of a 401. */
async function prepare(dataDir: string): Promise<Record<string, Headers>> {
  const { tenants, apiKeys, close } = await openServices(
    { ...readConfig({}, {}), storage: 'sqlite', dataDir },
    { mayCreate: true },
  );
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const [issuer, audience] = ['https://login.example.com', 'c2a'];
  const keys = { publicKeyPem: await exportSPKI(publicKey) };
  const jwt = { issuer, audience, algorithm: 'RS256', tenantClaim: 'tenant', keys } as const;
  const [plain, proved] = ['plain', 'proved'].map((name) => parseTenantId(name) as TenantId) as [TenantId, TenantId];
  await tenants.add(plain, {});
  await tenants.add(proved, { jwt });

  async function issue(tenant: TenantId) {
    const issued = await apiKeys.issue(tenant, { name: 'bench', role: 'full' });
    if (issued === undefined) throw new Error(`there is no tenant ${tenant}`);
    return { id: issued.key.id, headers: { 'x-tn': tenant, 'x-api-key': issued.secret } };
  }
  const token = await new SignJWT({ tenant: 'plain' })
    .setProtectedHeader({ alg: 'RS256' })
    .setIssuer(issuer)
    .setAudience(audience)
    .setExpirationTime('1h')
    .sign(privateKey);
  const [{ headers: good }, { headers: needsToken }, revoked] = [
    await issue(plain),
    await issue(proved),
    await issue(plain),
  ];
  await apiKeys.revoke(revoked.id);
  await close();

  return {
    'missing headers': {},
    'malformed key': { ...good, 'x-api-key': 'sk_dev_nonsense' },
    'wrong environment': { ...good, 'x-api-key': apiKeyFormat.newApiKey('live') },
    'unknown tenant': { ...good, 'x-tn': 'nobody' },
    'wrong key': { ...good, 'x-api-key': apiKeyFormat.newApiKey('sandbox') },
    "other tenant's key": { ...good, 'x-tn': 'proved' },
    'revoked key': revoked.headers,
    'token not required': { ...good, authorization: 'Bearer x' },
    'token missing': needsToken,
    'token malformed': { ...needsToken, authorization: 'Bearer x' },
    "other tenant's token": { ...needsToken, authorization: `Bearer ${token}` },
  };
}

/** Sends a request and returns the milliseconds until its answer. */
async function time(socket: Socket, request: string): Promise<number> {
  const answered = once(socket, 'data') as Promise<[Buffer]>;
  const sent = performance.now();
  socket.write(request);
  const [answer] = await answered;
  const elapsed = performance.now() - sent;
  if (!answer.toString('latin1').startsWith('HTTP/1.1 401 ')) throw new Error(`not refused: ${answer}`);
  return elapsed;
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item);
}

/** The times for each reason. Each round has each reason once, in random order, at random moments of the event loop. */
async function measure(url: string, reasons: Record<string, Headers>): Promise<Map<string, number[]>> {
  const { hostname, port } = new URL(url);
  const requests = Object.entries(reasons).map(([reason, headers]) => {
    const lines = Object.entries({ host: hostname, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    return { reason, request: `GET /api/c2a/customer/info?urn=cu.00.1 HTTP/1.1\r\n${lines.join('')}\r\n` };
  });
  const times = new Map(requests.map(({ reason }) => [reason, [] as number[]]));

  async function lane(): Promise<void> {
    const socket = connect(Number(port), hostname).setNoDelay();
    await once(socket, 'connect');
    for (let round = -warmUp / lanes; round < samples / lanes; round += 1) {
      for (const { reason, request } of shuffled(requests)) {
        await sleep(1 + Math.random() * 4);
        const elapsed = await time(socket, request);
        if (round >= 0) times.get(reason)?.push(elapsed);
      }
    }
    socket.destroy();
  }
  await Promise.all(Array.from({ length: lanes }, lane));
  return times;
}

/** The z value of the Mann-Whitney test for two samples. */
function rankDistance(one: readonly number[], other: readonly number[]): number {
  const [n, m] = [one.length, other.length];
  let wins = 0;
  for (const a of one) for (const b of other) wins += a > b ? 1 : a === b ? 0.5 : 0;
  return (wins - (n * m) / 2) / Math.sqrt((n * m * (n + m + 1)) / 12);
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(share * (sorted.length - 1))] as number;
}

/** Prints a line per reason, compared with all others together, and the three pairs that differ most. */
function report(times: ReadonlyMap<string, readonly number[]>): void {
  const all = [...times];
  const lines = all.map(([reason, own]) => {
    const others = all.flatMap(([name, values]) => (name === reason ? [] : values));
    const figures = {
      median: quantile(own, 0.5),
      mean: mean(own),
      p95: quantile(own, 0.95),
      z: rankDistance(own, others),
    };
    return [
      reason,
      Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Number(value.toFixed(2))])),
    ];
  });
  console.table(Object.fromEntries(lines));

  const pairs = all.flatMap(([one, a], index) =>
    all.slice(index + 1).map(([other, b]) => ({ one, other, z: rankDistance(a, b) })),
  );
  pairs.sort((one, other) => Math.abs(other.z) - Math.abs(one.z));
  for (const { one, other, z } of pairs.slice(0, 3)) console.log(`${one} / ${other}: z = ${z.toFixed(2)}`);
  console.log(`If all reasons take the same time, one of ${pairs.length} pairs exceeds |z| = 3.5 in about 40 runs.`);
}

const dataDir = mkdtempSync(join(tmpdir(), 'c2a-refusals-'));
const reasons = await prepare(dataDir);
const server = await serving(['--data-dir', dataDir, '--log-level', 'silent']);
try {
  report(await measure(server.url, reasons));
} finally {
  await server.stop();
  rmSync(dataDir, { recursive: true });
}
