import t from 'tap';
import { parseTenantId, type TenantId } from '../../src/domain/identity.ts';
import { acme, startProcesses } from './processes.ts';

t.test('an old key and its replacement both work during the overlap, then only the replacement', async (t) => {
  const { here, there, credentials, clock, keyId } = await startProcesses();
  const rotated = await here.apiKeys.rotate(keyId, { overlapMs: 5_000, lifetimeMs: 60_000 });
  t.match(rotated, { key: { name: 'first', role: 'full', expiresAt: 60_000 }, replaced: { expiresAt: 5_000 } });
  const renewed = { ...credentials, apiKey: rotated?.secret };
  const working = async () => {
    const callers = await Promise.all(
      [credentials, renewed].flatMap((one) => [
        here.authentication.authenticate(one),
        there.authentication.authenticate(one),
      ]),
    );
    return callers.map((caller) => caller !== undefined);
  };
  clock.now += 4_999;
  t.strictSame(await working(), [true, true, true, true]);
  clock.now += 1;
  t.strictSame(await working(), [false, false, true, true]);
});

t.test('a rotation never postpones the expiry of the old key, and keeps its lifetime for the new one', async (t) => {
  const { apiKeys } = (await startProcesses()).here;
  const soon = await apiKeys.issue(acme, { name: 'soon', role: 'full', lifetimeMs: 1_000 });
  const rotated = await apiKeys.rotate(soon?.key.id as string, { overlapMs: 5_000 });
  t.equal(rotated?.replaced.expiresAt, 1_000);
  t.equal((rotated?.key.expiresAt ?? 0) - (rotated?.key.createdAt ?? 0), 1_000);
});

t.test('a revoked, expired or unknown key is not rotated, and no key is issued', async (t) => {
  const { here, keyId, clock } = await startProcesses();
  const { apiKeys } = here;
  const expired = await apiKeys.issue(acme, { name: 'expired', role: 'full', lifetimeMs: 1_000 });
  clock.now += 1_000;
  await apiKeys.revoke(keyId);
  const before = await apiKeys.list();
  for (const id of [keyId, expired?.key.id as string, 'no such key']) {
    t.equal(await apiKeys.rotate(id, { overlapMs: 5_000 }), undefined);
  }
  t.strictSame(await apiKeys.list(), before);
});

t.test('a key is rotated in its own environment only', async (t) => {
  const { here, live, keyId } = await startProcesses();
  const before = await here.apiKeys.list();
  t.equal(await live.apiKeys.rotate(keyId, { overlapMs: 0 }), undefined);
  t.strictSame(await here.apiKeys.list(), before, 'no expiry is set, and no key is issued');
});

t.test('no key is issued for an unknown tenant, and none is revoked under an unknown id', async (t) => {
  const { apiKeys } = (await startProcesses()).here;
  t.equal(await apiKeys.issue(parseTenantId('nobody') as TenantId, { name: 'x', role: 'read' }), undefined);
  t.equal(await apiKeys.revoke('no such key'), undefined);
});
