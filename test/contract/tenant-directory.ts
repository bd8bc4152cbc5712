/**
 * What every `TenantDirectory` promises; see `src/application/ports.ts`. Call `sharedTenantsContract` too where
 * several connections see one storage.
 */
import { createHash } from 'node:crypto';
import type { ApiKey, Tenant, TenantDirectory } from '../../src/application/ports/tenant-directory.ts';
import { noon, tenantId } from './scenario.ts';
import type { ContractTest } from './test.ts';

/** Opens a directory that holds nothing; it is closed when the test ends. */
export type OpenDirectory<Test> = (t: Test) => Promise<TenantDirectory>;
/** Makes storage that holds nothing, and gives what connects to it; all of it ends with the test. */
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

/** A key whose digest is plain bytes, so that keys compare whatever kind of byte array an adapter gives. */
const plain = (key: ApiKey | undefined): ApiKey | undefined => key && { ...key, digest: new Uint8Array(key.digest) };
const ids = (keys: readonly ApiKey[]): string[] => keys.map(({ id }) => id);

/** @param t gets a test for each sentence of the contract */
export function tenantDirectoryContract<Test extends ContractTest>(t: Test, open: OpenDirectory<Test>): void {
  /** A sentence of the contract, tried on a directory that holds nothing. */
  const holds = (sentence: string, prove: (t: Test, directory: TenantDirectory) => Promise<void>) =>
    t.test(sentence, async (t: Test) => prove(t, await open(t)));

  holds('an empty directory holds nothing', async (t, directory) => {
    t.strictSame(await directory.listTenants(), []);
    t.strictSame(await directory.listKeys(), []);
    t.equal(await directory.findTenant(tenantId('acme')), undefined);
    t.equal(await directory.findKey(tenantId('acme'), digest('x')), undefined);
  });

  holds('a tenant is found as it was added, with and without what is optional', async (t, directory) => {
    const tenants = [tenant('acme', { name: 'ACME "Ltd" 🦊', jwt }), tenant('globex')];
    for (const one of tenants) {
      t.equal(await directory.addTenant(one), true);
      t.strictSame(await directory.findTenant(one.id), one);
    }
  });

  holds('a tenant is added once, and the first one stays', async (t, directory) => {
    const first = tenant('acme', { name: 'First' });
    await directory.addTenant(first);
    t.equal(await directory.addTenant(tenant('acme', { name: 'Second' })), false);
    t.strictSame(await directory.findTenant(first.id), first);
    const answers = await Promise.all(
      ['one', 'two', 'three'].map((name) => directory.addTenant(tenant('globex', { name }))),
    );
    t.equal(answers.filter(Boolean).length, 1, 'also of several at once');
  });

  holds('tenants are listed by id', async (t, directory) => {
    for (const name of ['globex', 'acme-2', '0', 'acme_2', 'acme', 'acme2']) await directory.addTenant(tenant(name));
    const listed = (await directory.listTenants()).map(({ id }) => id);
    t.strictSame(listed, [...listed].sort());
    t.equal(listed.length, 6);
  });

  holds('name and settings of a tenant are replaced, and the rest stays', async (t, directory) => {
    await directory.addTenant(tenant('acme', { name: 'ACME', jwt }));
    await directory.addTenant(tenant('globex'));
    const settings = { channels: [], canSavePaymentMethod: false };
    const changed = tenant('acme', { payment: settings, createdAt: noon + 1 });
    t.equal(await directory.setTenant(changed), true);
    t.strictSame(await directory.findTenant(tenantId('acme')), { ...changed, createdAt: noon });
    t.strictSame(await directory.findTenant(tenantId('globex')), tenant('globex'));
  });

  holds('a tenant that is not there is not set, and not made', async (t, directory) => {
    t.equal(await directory.setTenant(tenant('acme')), false);
    t.strictSame(await directory.listTenants(), []);
  });

  holds('a key is found by tenant and digest, with its tenant', async (t, directory) => {
    const owner = tenant('acme', { name: 'ACME' });
    const key = apiKey('acme', 'k1', { role: 'read', environment: 'live', expiresAt: noon + 9 });
    await directory.addTenant(owner);
    t.equal(await directory.addKey(key), true);
    const found = await directory.findKey(owner.id, key.digest);
    t.strictSame({ ...found, key: plain(found?.key) }, { tenant: owner, key });
  });

  holds('a key is not found by another tenant or by another digest', async (t, directory) => {
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

  holds('a key of no tenant is not added', async (t, directory) => {
    t.equal(await directory.addKey(apiKey('acme', 'k1')), false);
    await directory.addTenant(tenant('acme'));
    t.strictSame(await directory.listKeys(), []);
  });

  holds('keys are listed oldest first, of one tenant or of all, revoked ones included', async (t, directory) => {
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

  holds('a revoked key says so wherever it is seen, and its first time stays', async (t, directory) => {
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

  holds('the end of a key is brought forward, and never put off', async (t, directory) => {
    const key = apiKey('acme', 'k1');
    const ends = (expiresAt: number) => directory.expireKey('k1', expiresAt).then(plain);
    await directory.addTenant(tenant('acme'));
    await directory.addKey(key);
    t.strictSame(await ends(noon + 5), { ...key, expiresAt: noon + 5 });
    t.strictSame(await ends(noon + 6), { ...key, expiresAt: noon + 5 }, 'later');
    t.strictSame(await ends(noon + 4), { ...key, expiresAt: noon + 4 }, 'earlier');
    const revoked = plain(await directory.revokeKey('k1', noon + 1));
    t.strictSame(await ends(noon + 3), revoked, 'a revoked key stays as it is');
    t.strictSame(plain((await directory.findKey(key.tenant, key.digest))?.key), revoked);
  });

  holds('the uses of keys are added up, and those of none are passed over', async (t, directory) => {
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

  holds('a key that is not there is neither revoked nor ended', async (t, directory) => {
    t.equal(await directory.revokeKey('k1', noon), undefined);
    t.equal(await directory.expireKey('k1', noon), undefined);
  });
}

/** What a directory promises in addition where several connections (processes) see one storage. */
export function sharedTenantsContract<Test extends ContractTest>(t: Test, make: MakeDirectories<Test>): void {
  t.test('what one connection was answered the other sees at once', async (t: Test) => {
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
