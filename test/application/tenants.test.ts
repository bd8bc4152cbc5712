/** Keys through their life: trusted for a moment and no longer, expiring, replaced, counted. */
import { mkdirSync } from 'node:fs';
import t from 'tap';
import { apiKeyFormat } from '../../src/adapters/crypto/api-key-format.ts';
import { createMemoryTenants } from '../../src/adapters/memory/tenants.ts';
import { openSqlite, sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { migrate } from '../../src/adapters/sql/schema/migrations.ts';
import { createSqlTenants } from '../../src/adapters/sql/tenants.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';
import { createJwtVerifier } from '../../src/adapters/tokens/jwt.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import type { Environment, TenantDirectory } from '../../src/application/ports/tenant-directory.ts';
import { createTenants } from '../../src/application/tenants.ts';
import { createDemoTenant } from '../../src/process/demo.ts';
import { atOnce, newFolder, tenantId } from '../support/storage.ts';

const acme = tenantId('acme');

type Changeable = { -readonly [Method in keyof TenantDirectory]: TenantDirectory[Method] };

/** Two processes over one directory, whose look-ups of keys are counted. */
async function start() {
  const clock = { now: 0 };
  const directory = createMemoryTenants();
  const lookups = { count: 0 };
  const counted: TenantDirectory = {
    ...directory,
    findKey(...key) {
      lookups.count += 1;
      return directory.findKey(...key);
    },
  };
  const now = () => clock.now;
  const reasons: string[] = [];
  const needs = {
    directory: counted,
    secrets: apiKeyFormat,
    tokens: createJwtVerifier({ clock: now, onTrouble() {} }),
    telemetry: { ...noTelemetry, notAuthenticated: (reason: string) => reasons.push(reason) },
    clock: now,
  };
  const process = (environment: Environment = 'sandbox') => createTenants({ ...needs, environment });
  const here = process();
  const { 'x-tn': tenant, 'x-api-key': apiKey } = await createDemoTenant(here, 'acme');
  const [key] = await here.listKeys();
  const credentials = { tenant, apiKey, authorization: undefined };
  return {
    clock,
    lookups,
    reasons,
    directory: counted as Changeable,
    here,
    there: process(),
    live: process('live'),
    credentials,
    keyId: key?.id as string,
  };
}

t.test('a key that was found is not looked up again for a moment', async (t) => {
  const { here, credentials, lookups, clock } = await start();
  for (let turn = 0; turn < 5; turn += 1) t.match(await here.authenticate(credentials), { role: 'full' });
  t.equal(lookups.count, 1);
  clock.now += 1_000;
  await here.authenticate(credentials);
  t.equal(lookups.count, 2);
});

t.test('a key that was not found is looked up each time, and one that cannot be a key never', async (t) => {
  const { here, credentials, lookups } = await start();
  const unknown = { ...credentials, apiKey: apiKeyFormat.newApiKey('sandbox') };
  for (let turn = 0; turn < 2; turn += 1) t.equal(await here.authenticate(unknown), undefined);
  t.equal(lookups.count, 2);
  t.equal(await here.authenticate({ ...credentials, apiKey: 'sk_dev_x' }), undefined);
  t.equal(lookups.count, 2);
});

t.test('why somebody was not let in is told to operators alone', async (t) => {
  const { here, live, credentials, reasons, clock } = await start();
  const issued = async (lifetimeMs?: number) => {
    const made = await here.issueKey(acme, { name: '', role: 'full', lifetimeMs });
    return { id: made?.key.id as string, apiKey: made?.secret as string };
  };
  const revoked = await issued();
  await here.revokeKey(revoked.id);
  const expired = await issued(1_000);
  clock.now += 1_000;
  const asked: [string, typeof here, object][] = [
    ['no_credentials', here, { apiKey: undefined }],
    ['unreadable_key', here, { apiKey: 'sk_dev_x' }],
    ['unreadable_key', live, {}],
    ['not_a_key_of_the_tenant', here, { tenant: 'globex' }],
    ['not_a_key_of_the_tenant', here, { tenant: 'No Tenant' }],
    ['revoked_key', here, { apiKey: revoked.apiKey }],
    ['expired_key', here, { apiKey: expired.apiKey }],
    ['bearer_token', here, { authorization: 'Bearer x' }],
  ];
  for (const [, process, wrong] of asked) t.equal(await process.authenticate({ ...credentials, ...wrong }), undefined);
  t.same(
    reasons,
    asked.map(([reason]) => reason),
  );
});

t.test('a revocation holds here at once, and in another process within a second', async (t) => {
  const { here, there, credentials, clock, keyId } = await start();
  t.ok(await there.authenticate(credentials));
  t.ok(await here.authenticate(credentials));
  await here.revokeKey(keyId);
  t.equal(await here.authenticate(credentials), undefined);
  clock.now += 1_000;
  t.equal(await there.authenticate(credentials), undefined);
});

t.test('what cannot be a key of this environment is refused without a look-up', async (t) => {
  const { here, credentials, lookups } = await start();
  const { apiKey } = credentials;
  const mistyped = apiKey.slice(0, -1) + (apiKey.endsWith('x') ? 'y' : 'x');
  for (const other of [mistyped, apiKeyFormat.newApiKey('live'), apiKey.slice(0, -1), `${apiKey} `, '']) {
    t.equal(await here.authenticate({ ...credentials, apiKey: other }), undefined);
  }
  t.equal(lookups.count, 0);
});

t.test('a key ends exactly at its time, also while it is trusted', async (t) => {
  const { here, credentials, clock, lookups } = await start();
  const issued = await here.issueKey(acme, { name: 'brief', role: 'read', lifetimeMs: 100 });
  const brief = { ...credentials, apiKey: issued?.secret };
  clock.now += 99;
  t.match(await here.authenticate(brief), { role: 'read', keyId: issued?.key.id as string });
  clock.now += 1;
  t.equal(await here.authenticate(brief), undefined);
  t.equal(lookups.count, 1);
  t.ok(await here.authenticate(credentials), 'the other key does not end');
});

t.test('a key and the one in its place both work during the overlap, then only the new one', async (t) => {
  const { here, there, credentials, clock, keyId } = await start();
  const rotated = await here.rotateKey(keyId, { overlapMs: 5_000, lifetimeMs: 60_000 });
  t.match(rotated, { key: { name: 'first', role: 'full', expiresAt: 60_000 }, replaced: { expiresAt: 5_000 } });
  const renewed = { ...credentials, apiKey: rotated?.secret };
  const working = async () => {
    const callers = await Promise.all(
      [credentials, renewed].flatMap((one) => [here.authenticate(one), there.authenticate(one)]),
    );
    return callers.map((caller) => caller !== undefined);
  };
  clock.now += 4_999;
  t.strictSame(await working(), [true, true, true, true]);
  clock.now += 1;
  t.strictSame(await working(), [false, false, true, true]);
});

t.test('a rotation never puts off the end of a key, and what was revoked is not rotated', async (t) => {
  const { here, keyId } = await start();
  const soon = await here.issueKey(acme, { name: 'soon', role: 'full', lifetimeMs: 1_000 });
  const rotated = await here.rotateKey(soon?.key.id as string, { overlapMs: 5_000 });
  t.equal(rotated?.replaced.expiresAt, 1_000);
  t.equal((rotated?.key.expiresAt ?? 0) - (rotated?.key.createdAt ?? 0), 1_000, 'the new one is made for as long');

  await here.revokeKey(keyId);
  const before = await here.listKeys();
  t.equal(await here.rotateKey(keyId, { overlapMs: 5_000 }), undefined);
  t.equal(await here.rotateKey('no such key', { overlapMs: 5_000 }), undefined);
  t.strictSame(await here.listKeys(), before, 'no key was made');
});

t.test('a key is rotated in its own environment alone', async (t) => {
  const { here, live, keyId } = await start();
  const before = await here.listKeys();
  t.equal(await live.rotateKey(keyId, { overlapMs: 0 }), undefined);
  t.strictSame(await here.listKeys(), before, 'it has no end, and no key was made');
});

t.test('use is counted in memory, of what passed alone, and written down when it is told to', async (t) => {
  const { here, credentials, clock } = await start();
  for (let turn = 0; turn < 3; turn += 1) {
    clock.now += 400;
    await here.authenticate(credentials);
    await here.authenticate({ ...credentials, authorization: 'Bearer x' });
  }
  t.match(await here.listKeys(), [{ requests: 0, lastUsedAt: undefined }]);
  await here.recordUse();
  await here.recordUse();
  t.match(await here.listKeys(), [{ requests: 3, lastUsedAt: 1_200 }]);
});

t.test('use that could not be written down is kept for the next time', async (t) => {
  const { here, credentials, clock, directory } = await start();
  const { recordUse } = directory;
  await here.authenticate(credentials);
  directory.recordUse = async () => {
    // Another request while it is being written.
    clock.now += 10;
    await here.authenticate(credentials);
    throw new DatabaseFailure(new Error('disk full'));
  };
  await t.rejects(here.recordUse(), DatabaseFailure);
  directory.recordUse = recordUse;
  await here.recordUse();
  t.match(await here.listKeys(), [{ requests: 2, lastUsedAt: 10 }]);
});

t.test('a hundred requests cost no write, and their count costs one', async (t) => {
  const commits: number[] = [];
  const telemetry = { ...noTelemetry, commit: (writes: number) => commits.push(writes) };
  const dataDir = newFolder(t);
  mkdirSync(dataDir);
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate: true }, telemetry);
  t.teardown(() => database.close());
  await migrate(database, { mayCreate: true });
  const clock = () => 0;
  const needs = {
    secrets: apiKeyFormat,
    tokens: createJwtVerifier({ clock, onTrouble() {} }),
    telemetry,
    clock,
    environment: 'sandbox',
  } as const;
  const tenants = createTenants({ ...needs, directory: createSqlTenants(database) });
  const { 'x-tn': tenant, 'x-api-key': apiKey } = await createDemoTenant(tenants, 'acme');
  commits.length = 0;
  await atOnce(100, () => tenants.authenticate({ tenant, apiKey, authorization: undefined }));
  t.strictSame(commits, []);
  await tenants.recordUse();
  t.strictSame(commits, [1]);
  await tenants.recordUse();
  t.strictSame(commits, [1], 'nothing to write');
  t.match(await tenants.listKeys(), [{ requests: 100 }]);
});

t.test('a clock that is set back does not prolong the trust in a key', async (t) => {
  const { here, there, credentials, clock, keyId } = await start();
  clock.now = 3_600_000;
  t.ok(await there.authenticate(credentials));
  await here.revokeKey(keyId);
  clock.now = 1_000;
  t.equal(await there.authenticate(credentials), undefined);
});

t.test('settings that are not given stay as they are', async (t) => {
  const { here } = await start();
  const channels = [{ channel: 'CARD' }];
  await here.setTenant(acme, { name: 'ACME Inc.', channels });
  t.match(await here.setTenant(acme, { canSavePaymentMethod: false }), {
    name: 'ACME Inc.',
    payment: { channels, canSavePaymentMethod: false },
  });
  t.equal(await here.addTenant(acme, {}), false, 'it exists already');
  const nobody = tenantId('nobody');
  t.equal(await here.setTenant(nobody, {}), undefined);
  t.equal(await here.issueKey(nobody, { name: 'x', role: 'read' }), undefined);
  t.equal(await here.revokeKey('no such key'), undefined);
});
