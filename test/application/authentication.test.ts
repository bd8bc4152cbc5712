import { mkdirSync } from 'node:fs';
import t from 'tap';
import { apiKeyFormat } from '../../src/adapters/crypto/api-key-format.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import { openSqlite } from '../../src/adapters/sql/schema/database.ts';
import { migrate } from '../../src/adapters/sql/schema/migrate.ts';
import { createSqlTenants } from '../../src/adapters/sql/tenants.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { createDemoTenant } from '../../src/process/demo.ts';
import { atOnce, newFolder } from '../support/storage.ts';
import { acme, startProcess, startProcesses } from './processes.ts';

t.test('a known API key is not looked up again for half a second', async (t) => {
  const { here, credentials, lookups, clock } = await startProcesses();
  for (let turn = 0; turn < 5; turn += 1)
    t.match(await here.authentication.authenticate(credentials), { role: 'full' });
  t.equal(lookups.count, 1);
  clock.now += 1_000;
  await here.authentication.authenticate(credentials);
  t.equal(lookups.count, 2);
});

t.test('recall returns the caller of a cached API key, and undefined where authenticate has to decide', async (t) => {
  const { here, credentials, clock } = await startProcesses();
  const { authentication } = here;
  t.equal(authentication.recall(credentials), undefined, 'not looked up yet');
  const caller = await authentication.authenticate(credentials);
  t.equal(authentication.recall(credentials), caller);
  t.equal(authentication.recall({ ...credentials, tenant: 'globex' }), undefined);
  t.equal(authentication.recall({ ...credentials, authorization: 'Bearer x' }), undefined);
  clock.now += 500;
  t.equal(authentication.recall(credentials), undefined);
});

t.test('an unknown API key is looked up each time, and a malformed one never', async (t) => {
  const { here, credentials, lookups } = await startProcesses();
  const unknown = { ...credentials, apiKey: apiKeyFormat.newApiKey('sandbox') };
  for (let turn = 0; turn < 2; turn += 1) t.equal(await here.authentication.authenticate(unknown), undefined);
  t.equal(lookups.count, 2);
  t.equal(await here.authentication.authenticate({ ...credentials, apiKey: 'sk_dev_x' }), undefined);
  t.equal(lookups.count, 2);
});

t.test('only telemetry gets the reason of a failed authentication', async (t) => {
  const { here, live, credentials, reasons, clock } = await startProcesses();
  const issued = async (lifetimeMs?: number) => {
    const made = await here.apiKeys.issue(acme, { name: '', role: 'full', lifetimeMs });
    return { id: made?.key.id as string, apiKey: made?.secret as string };
  };
  const revoked = await issued();
  await here.apiKeys.revoke(revoked.id);
  const expired = await issued(1_000);
  clock.now += 1_000;
  const failures: [string, typeof here, object][] = [
    ['no_credentials', here, { apiKey: undefined }],
    ['unreadable_key', here, { apiKey: 'sk_dev_x' }],
    ['unreadable_key', live, {}],
    ['not_a_key_of_the_tenant', here, { tenant: 'globex' }],
    ['not_a_key_of_the_tenant', here, { tenant: 'No Tenant' }],
    ['revoked_key', here, { apiKey: revoked.apiKey }],
    ['expired_key', here, { apiKey: expired.apiKey }],
    ['bearer_token', here, { authorization: 'Bearer x' }],
  ];
  for (const [, process, wrong] of failures) {
    t.equal(await process.authentication.authenticate({ ...credentials, ...wrong }), undefined);
  }
  t.same(
    reasons,
    failures.map(([reason]) => reason),
  );
});

t.test('a revocation takes effect in this process at once, in another within a second', async (t) => {
  const { here, there, credentials, clock, keyId } = await startProcesses();
  t.ok(await there.authentication.authenticate(credentials));
  t.ok(await here.authentication.authenticate(credentials));
  await here.apiKeys.revoke(keyId);
  t.equal(await here.authentication.authenticate(credentials), undefined);
  clock.now += 1_000;
  t.equal(await there.authentication.authenticate(credentials), undefined);
});

t.test('isKeyValid sees a revocation within a second and an expiry at once, and counts no use', async (t) => {
  const { here, there, credentials, clock, keyId, reasons, lookups } = await startProcesses();
  const { authentication } = there;
  const valid = () => authentication.isKeyValid(credentials);
  t.same([await valid(), await valid(), lookups.count], [true, true, 1]);
  t.ok(await authentication.isKeyValid({ ...credentials, authorization: 'Bearer expired' }), 'no token is verified');
  const brief = await here.apiKeys.issue(acme, { name: '', role: 'read', lifetimeMs: 100 });
  const ofBrief = { ...credentials, apiKey: brief?.secret };
  t.ok(await authentication.isKeyValid(ofBrief));
  clock.now += 100;
  t.notOk(await authentication.isKeyValid(ofBrief));
  await here.apiKeys.revoke(keyId);
  clock.now += 900;
  t.notOk(await valid());
  t.same(reasons, ['expired_key', 'revoked_key']);
  await authentication.recordUse();
  t.match(await here.apiKeys.list(), [{ requests: 0 }, { requests: 0 }]);
});

t.test('a clock that is set back does not prolong the use of a cached key', async (t) => {
  const { here, there, credentials, clock, keyId } = await startProcesses();
  clock.now = 3_600_000;
  t.ok(await there.authentication.authenticate(credentials));
  await here.apiKeys.revoke(keyId);
  clock.now = 1_000;
  t.equal(await there.authentication.authenticate(credentials), undefined);
});

t.test('a mistyped API key, or one of the other environment, is refused without a look-up', async (t) => {
  const { here, credentials, lookups } = await startProcesses();
  const { apiKey } = credentials;
  const mistyped = apiKey.slice(0, -1) + (apiKey.endsWith('x') ? 'y' : 'x');
  for (const other of [mistyped, apiKeyFormat.newApiKey('live'), apiKey.slice(0, -1), `${apiKey} `, '']) {
    t.equal(await here.authentication.authenticate({ ...credentials, apiKey: other }), undefined);
  }
  t.equal(lookups.count, 0);
});

t.test('an API key expires exactly at its time, also while it is cached', async (t) => {
  const { here, credentials, clock, lookups } = await startProcesses();
  const issued = await here.apiKeys.issue(acme, { name: 'brief', role: 'read', lifetimeMs: 100 });
  const brief = { ...credentials, apiKey: issued?.secret };
  clock.now += 99;
  t.match(await here.authentication.authenticate(brief), { role: 'read', keyId: issued?.key.id as string });
  clock.now += 1;
  t.equal(here.authentication.recall(brief), undefined);
  t.equal(await here.authentication.authenticate(brief), undefined);
  t.equal(lookups.count, 1);
  t.ok(await here.authentication.authenticate(credentials), 'the other key does not expire');
});

t.test('only authenticated requests count as uses, and recordUse stores the count', async (t) => {
  const { here, credentials, clock } = await startProcesses();
  for (let turn = 0; turn < 3; turn += 1) {
    clock.now += 400;
    await here.authentication.authenticate(credentials);
    await here.authentication.authenticate({ ...credentials, authorization: 'Bearer x' });
  }
  t.match(await here.apiKeys.list(), [{ requests: 0, lastUsedAt: undefined }]);
  await here.authentication.recordUse();
  await here.authentication.recordUse();
  t.match(await here.apiKeys.list(), [{ requests: 3, lastUsedAt: 1_200 }]);
});

t.test('uses that could not be stored are kept for the next call', async (t) => {
  const { here, credentials, clock, directory } = await startProcesses();
  const { recordUse } = directory;
  await here.authentication.authenticate(credentials);
  directory.recordUse = async () => {
    // Another request during the write.
    clock.now += 10;
    await here.authentication.authenticate(credentials);
    throw new DatabaseFailure(new Error('disk full'));
  };
  await t.rejects(here.authentication.recordUse(), DatabaseFailure);
  directory.recordUse = recordUse;
  await here.authentication.recordUse();
  t.match(await here.apiKeys.list(), [{ requests: 2, lastUsedAt: 10 }]);
});

t.test('a hundred requests cost no write, and recordUse one', async (t) => {
  const commits: number[] = [];
  const telemetry = { ...noTelemetry, commit: (writes: number) => commits.push(writes) };
  const dataDir = newFolder(t);
  mkdirSync(dataDir);
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate: true }, telemetry);
  t.teardown(() => database.close());
  await migrate(database, { mayCreate: true });
  const process = startProcess(createSqlTenants(database), { telemetry });
  const { 'x-tn': tenant, 'x-api-key': apiKey } = await createDemoTenant(process, 'acme');
  const { authentication, apiKeys } = process;
  commits.length = 0;
  await atOnce(100, () => authentication.authenticate({ tenant, apiKey, authorization: undefined }));
  t.strictSame(commits, []);
  await authentication.recordUse();
  t.strictSame(commits, [1]);
  await authentication.recordUse();
  t.strictSame(commits, [1], 'nothing to write');
  t.match(await apiKeys.list(), [{ requests: 100 }]);
});
