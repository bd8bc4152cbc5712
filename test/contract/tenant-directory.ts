/**
 * The contract of `TenantDirectory` (`src/application/ports/tenant-directory.ts`). To test an adapter, call
 * `tenantDirectoryContract`. If several connections can use one storage, also call `sharedTenantsContract`.
 */
import { createHash } from 'node:crypto';
import type { ApiKey, Tenant, TenantDirectory } from '../../src/application/ports/tenant-directory.ts';
import { noon, tenantId } from './scenario.ts';
import type { ContractTest } from './test.ts';

/** Opens an empty directory, which is closed when the test ends. */
export type OpenDirectory<Test> = (t: Test) => Promise<TenantDirectory>;
/** Makes an empty storage and returns a function that connects to it. Storage and connections end with the test. */
export type MakeDirectories<Test> = (t: Test) => () => Promise<TenantDirectory>;

const payment = {
  channels: [{ channel: 'CARD' }, { channel: 'SEPA', countries: ['DE', 'AT'] }],
  canSavePaymentMethod: true,
};

const jwt = {
  issuer: 'https://id.example.com/',
  audience: 'c2a',
  algorithm: 'ES256',
  tenantClaim: 'tn',
  keys: { jwksUri: 'https://id.example.com/keys' },
} as const;

const tenant = (name: string, more: Partial<Tenant> = {}): Tenant => ({
  id: tenantId(name),
  payment,
  createdAt: noon,
  ...more,
});

const digest = (text: string): Uint8Array => new Uint8Array(createHash('sha256').update(text).digest());

const apiKey = (owner: string, id: string, more: Partial<ApiKey> = {}): ApiKey => ({
  id,
  tenant: tenantId(owner),
  digest: digest(`${owner} ${id}`),
  prefix: 'sk_dev_abcd',
  name: `key ${id}`,
  role: 'full',
  environment: 'sandbox',
  createdAt: noon,
  requests: 0,
  ...more,
});

/** An API key with its digest as a `Uint8Array`: an adapter may return a subclass, which would not compare as equal. */
const plain = (key: ApiKey | undefined): ApiKey | undefined => key && { ...key, digest: new Uint8Array(key.digest) };
const ids = (keys: readonly ApiKey[]): string[] => keys.map(({ id }) => id);

/** @param t gets one test for each clause of the contract, each over an empty directory */
export function tenantDirectoryContract<Test extends ContractTest>(t: Test, open: OpenDirectory<Test>): void {
  const test = (clause: string, run: (t: Test, directory: TenantDirectory) => Promise<void>) =>
    t.test(clause, async (t: Test) => run(t, await open(t)));

  test('an empty directory has no tenants and no API keys', async (t, directory) => {
    t.strictSame(await directory.listTenants(), []);
    t.strictSame(await directory.listKeys(), []);
    t.equal(await directory.findTenant(tenantId('acme')), undefined);
    t.equal(await directory.findKey(tenantId('acme'), digest('x')), undefined);
  });

  test('findTenant returns a tenant as added, with and without optional settings', async (t, directory) => {
    const tenants = [tenant('acme', { name: 'ACME "Ltd" 🦊', jwt }), tenant('globex')];
    for (const one of tenants) {
      t.equal(await directory.addTenant(one), true);
      t.strictSame(await directory.findTenant(one.id), one);
    }
  });

  test('addTenant returns false for an existing tenant, which stays unchanged', async (t, directory) => {
    const first = tenant('acme', { name: 'First' });
    await directory.addTenant(first);
    t.equal(await directory.addTenant(tenant('acme', { name: 'Second' })), false);
    t.strictSame(await directory.findTenant(first.id), first);
    const answers = await Promise.all(
      ['one', 'two', 'three'].map((name) => directory.addTenant(tenant('globex', { name }))),
    );
    t.equal(answers.filter(Boolean).length, 1, 'one of three concurrent calls succeeds');
  });

  test('listTenants orders by id', async (t, directory) => {
    for (const name of ['globex', 'acme-2', '0', 'acme_2', 'acme', 'acme2']) await directory.addTenant(tenant(name));
    const listed = (await directory.listTenants()).map(({ id }) => id);
    t.strictSame(listed, [...listed].sort());
    t.equal(listed.length, 6);
  });

  test('setTenant replaces name and settings of one tenant, and keeps createdAt', async (t, directory) => {
    await directory.addTenant(tenant('acme', { name: 'ACME', jwt }));
    await directory.addTenant(tenant('globex'));
    const settings = { channels: [], canSavePaymentMethod: false };
    const changed = tenant('acme', { payment: settings, createdAt: noon + 1 });
    t.equal(await directory.setTenant(changed), true);
    t.strictSame(await directory.findTenant(tenantId('acme')), { ...changed, createdAt: noon });
    t.strictSame(await directory.findTenant(tenantId('globex')), tenant('globex'));
  });

  test('setTenant returns false for an unknown tenant, and adds none', async (t, directory) => {
    t.equal(await directory.setTenant(tenant('acme')), false);
    t.strictSame(await directory.listTenants(), []);
  });

  test('findKey returns the API key and its tenant', async (t, directory) => {
    const owner = tenant('acme', { name: 'ACME' });
    const key = apiKey('acme', 'k1', { role: 'read', environment: 'live', expiresAt: noon + 9 });
    await directory.addTenant(owner);
    t.equal(await directory.addKey(key), true);
    const found = await directory.findKey(owner.id, key.digest);
    t.strictSame({ ...found, key: plain(found?.key) }, { tenant: owner, key });
  });

  test('findKey returns undefined for another tenant or another digest', async (t, directory) => {
    const key = apiKey('acme', 'k1');
    await directory.addTenant(tenant('acme'));
    await directory.addTenant(tenant('globex'));
    await directory.addKey(key);
    t.equal(await directory.findKey(tenantId('globex'), key.digest), undefined);
    t.equal(await directory.findKey(tenantId('nobody'), key.digest), undefined);
    for (const other of [digest('other'), key.digest.subarray(0, 31), new Uint8Array()]) {
      t.equal(await directory.findKey(key.tenant, other), undefined);
    }
  });

  test('addKey returns false for an unknown tenant', async (t, directory) => {
    t.equal(await directory.addKey(apiKey('acme', 'k1')), false);
    await directory.addTenant(tenant('acme'));
    t.strictSame(await directory.listKeys(), []);
  });

  test('listKeys orders by age, for one tenant or all, revoked keys included', async (t, directory) => {
    for (const name of ['acme', 'globex']) await directory.addTenant(tenant(name));
    await directory.addKey(apiKey('acme', 'newest', { createdAt: noon + 3 }));
    await directory.addKey(apiKey('globex', 'second', { createdAt: noon + 1 }));
    await directory.addKey(apiKey('acme', 'oldest', { createdAt: noon }));
    await directory.addKey(apiKey('acme', 'third', { createdAt: noon + 2 }));
    await directory.revokeKey('third', noon + 9);
    t.strictSame(ids(await directory.listKeys()), ['oldest', 'second', 'third', 'newest']);
    t.strictSame(ids(await directory.listKeys(tenantId('acme'))), ['oldest', 'third', 'newest']);
    t.strictSame(ids(await directory.listKeys(tenantId('globex'))), ['second']);
    t.strictSame(await directory.listKeys(tenantId('nobody')), []);
  });

  test('revokeKey sets the time of the first revocation', async (t, directory) => {
    const key = apiKey('acme', 'k1');
    const other = apiKey('acme', 'k2');
    await directory.addTenant(tenant('acme'));
    for (const one of [key, other]) await directory.addKey(one);
    const revoked = { ...key, revokedAt: noon + 5 };
    t.strictSame(plain(await directory.revokeKey('k1', noon + 5)), revoked);
    t.strictSame(plain(await directory.revokeKey('k1', noon + 6)), revoked, 'again');
    t.strictSame(plain((await directory.findKey(key.tenant, key.digest))?.key), revoked);
    t.strictSame((await directory.listKeys()).map(plain), [revoked, other]);
  });

  test('expireKey sets an earlier expiry, never a later one, and none on a revoked key', async (t, directory) => {
    const key = apiKey('acme', 'k1');
    const ends = (expiresAt: number) => directory.expireKey('k1', expiresAt).then(plain);
    await directory.addTenant(tenant('acme'));
    await directory.addKey(key);
    t.strictSame(await ends(noon + 5), { ...key, expiresAt: noon + 5 });
    t.strictSame(await ends(noon + 6), { ...key, expiresAt: noon + 5 }, 'later');
    t.strictSame(await ends(noon + 4), { ...key, expiresAt: noon + 4 }, 'earlier');
    const revoked = plain(await directory.revokeKey('k1', noon + 1));
    t.strictSame(await ends(noon + 3), revoked, 'of a revoked key');
    t.strictSame(plain((await directory.findKey(key.tenant, key.digest))?.key), revoked);
  });

  test('recordUse adds to the counts, and ignores keys that do not exist', async (t, directory) => {
    const use = (owner: string, id: string, requests: number, lastUsedAt: number) => ({
      tenant: tenantId(owner),
      id,
      requests,
      lastUsedAt,
    });
    const [used, idle] = [apiKey('acme', 'k1'), apiKey('globex', 'k2')];
    for (const name of ['acme', 'globex']) await directory.addTenant(tenant(name));
    for (const one of [used, idle]) await directory.addKey(one);
    await directory.recordUse([use('acme', 'k1', 2, noon + 1), use('acme', 'nowhere', 1, noon + 1)]);
    await directory.recordUse([use('acme', 'k2', 9, noon + 2), use('acme', 'k1', 3, noon + 2)]);
    await directory.recordUse([]);
    t.strictSame((await directory.listKeys()).map(plain), [{ ...used, requests: 5, lastUsedAt: noon + 2 }, idle]);
  });

  test('revokeKey and expireKey return undefined for an unknown key', async (t, directory) => {
    t.equal(await directory.revokeKey('k1', noon), undefined);
    t.equal(await directory.expireKey('k1', noon), undefined);
  });
}

/** The additional contract of a storage that several connections or processes use. */
export function sharedTenantsContract<Test extends ContractTest>(t: Test, make: MakeDirectories<Test>): void {
  t.test('a connection sees the acknowledged writes of another at once', async (t: Test) => {
    const connect = make(t);
    const [one, other] = [await connect(), await connect()];
    const key = apiKey('acme', 'k1');
    await one.addTenant(tenant('acme'));
    t.strictSame(await other.findTenant(key.tenant), tenant('acme'));
    t.equal(await other.addTenant(tenant('acme')), false);
    t.equal(await other.addKey(key), true);
    await one.setTenant(tenant('acme', { name: 'ACME' }));
    t.match(await other.findKey(key.tenant, key.digest), { tenant: { name: 'ACME' }, key: { id: 'k1' } });
    await one.revokeKey('k1', noon + 1);
    t.equal((await other.findKey(key.tenant, key.digest))?.key.revokedAt, noon + 1);
    t.equal((await (await connect()).listKeys()).length, 1);
  });
}
