import type { WriteResult } from '../../../src/application/ports/customer-repository.ts';
import { byExternalId, noon, overwrite, storedIn, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { conflicts, email, key, leave, refuse, reused, second, type TestRepository } from './examples.ts';

export function idempotencyContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('a retry under a key replays the SUCCESS and writes nothing', async (t, acme) => {
    const first = await acme.store('crm-1', { email }, { key: key('k') });
    t.strictSame(first, { code: 'SUCCESS', stored: storedIn(first).stored }, 'not replayed');
    t.strictSame(await acme.store('crm-1', { email }, { key: key('k') }), { ...first, replayed: true });
    const { by } = storedIn(first);
    const changed = await acme.update(by, overwrite({ firstName: 'Jane' }), { key: key('l') });
    const again = await acme.update(by, overwrite({ firstName: 'Jane' }), { key: key('l') });
    t.strictSame(again, { ...changed, replayed: true });
    t.equal((await acme.find(by))?.version, 2);
  });

  test('another request under a used key is IDEMPOTENCY_KEY_REUSED, and the record stays', async (t, acme) => {
    const first = await acme.store('crm-1', {}, { key: key('k') });
    t.strictSame(await acme.store('crm-2', {}, { key: key('k', 'another') }), reused);
    t.strictSame(await acme.erase(storedIn(first).by, { key: key('k', 'another') }), reused);
    t.equal(await acme.find(byExternalId('crm-2')), undefined);
    t.strictSame(await acme.store('crm-1', {}, { key: key('k') }), { ...first, replayed: true });
  });

  test('a replay returns the record as it is now', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1', { firstName: 'Jane' }, { key: key('k') });
    const changed = await acme.update(by, overwrite({ firstName: 'Joan', externalIdentifier: 'crm-2' }));
    t.strictSame(await acme.store('crm-1', { firstName: 'Jane' }, { key: key('k') }), { ...changed, replayed: true });
  });

  test('a result other than SUCCESS is not recorded: a retry is evaluated again', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1');
    const requests: [code: WriteResult['code'], send: () => Promise<WriteResult>][] = [
      [conflicts[0], () => acme.store('crm-1', {}, { key: key('conflict') })],
      ['CUSTOMER_NOT_FOUND', () => acme.erase(byExternalId('crm-2'), { key: key('unknown') })],
    ];
    for (const [code, send] of requests) t.match(await send(), { code });
    t.strictSame(await acme.update(by, leave('VERSION_MISMATCH'), { key: key('version') }), {
      code: 'VERSION_MISMATCH',
    });
    t.match(await acme.update(by, refuse, { key: key('invalid') }), { code: 'INVALID_REQUEST' });

    await acme.update(by, overwrite({ externalIdentifier: 'crm-2' }));
    for (const [code, send] of requests) {
      const retried = await send();
      t.strictSame(retried, { code: 'SUCCESS', stored: storedIn(retried).stored }, `${code} is not replayed`);
    }
  });

  test('an update that arrives before the store of its customer is evaluated again later', async (t, acme) => {
    const update = () => acme.update(byExternalId('crm-1'), overwrite({ firstName: 'Jane' }), { key: key('k') });
    t.strictSame(await update(), { code: 'CUSTOMER_NOT_FOUND' });
    await acme.mustStore('crm-1');
    t.match(storedIn(await update()), { version: 2, customer: { firstName: 'Jane' } });
    t.match(await update(), { code: 'SUCCESS', stored: { version: 2 }, replayed: true });
  });

  test('a key whose request was refused may be used for another request', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1');
    t.match(await acme.update(by, refuse, { key: key('k') }), { code: 'INVALID_REQUEST' });
    t.match(await acme.update(by, leave('VERSION_MISMATCH'), { key: key('k', 'another') }), {
      code: 'VERSION_MISMATCH',
    });
    const corrected = await acme.update(by, overwrite({ firstName: 'Jane' }), { key: key('k', 'corrected') });
    t.strictSame(corrected, { code: 'SUCCESS', stored: storedIn(corrected).stored }, 'not replayed');
  });

  test('a SUCCESS that changed nothing is recorded', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1');
    const first = await acme.update(by, leave('SUCCESS'), { key: key('k') });
    t.strictSame(await acme.update(by, overwrite({}), { key: key('k') }), { ...first, replayed: true });
  });

  test('a key may be used for another request from its expiry on, not before', async (t, acme) => {
    const first = await acme.mustStore('crm-1', {}, { key: key('k') });
    const other = (now: number) => acme.store('crm-2', {}, { now, key: key('k', 'another', now + second) });
    t.strictSame(await other(noon + second - 1), reused);
    const stored = await other(noon + second);
    t.not(storedIn(stored).customer.customerUrn, first.customer.customerUrn);
    t.strictSame(await other(noon + 2 * second - 1), { ...stored, replayed: true }, 'until its own expiry');
    t.strictSame(await acme.store('crm-1', {}, { now: noon + second, key: key('k') }), reused);
  });

  test('many keys that expire together may be used again; a key that expires later may not', async (t, acme) => {
    const names = Array.from({ length: 30 }, (_, index) => `k${index}`);
    const late = await acme.store('late', {}, { key: key('late', 'a request', noon + 10 * second) });
    for (const name of names) await acme.mustStore(name, {}, { key: key(name) });
    for (const name of names.toReversed()) {
      const again = { now: noon + second, key: key(name, 'another', noon + 2 * second) };
      t.equal((await acme.mustStore(`${name}-again`, {}, again)).version, 1, name);
    }
    const retried = await acme.store('late', {}, { now: noon + 2 * second, key: key('late') });
    t.strictSame(retried, { ...late, replayed: true });
  });

  test('the same key used by two tenants counts as two keys', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const ours = await acme.mustStore('crm-1', {}, { key: key('k') });
    const theirs = await globex.store('crm-1', {}, { key: key('k') });
    t.strictSame(theirs, { code: 'SUCCESS', stored: storedIn(theirs).stored }, 'not replayed');
    t.not(storedIn(theirs).customer.customerUrn, ours.customer.customerUrn);
    t.strictSame(await globex.store('crm-1', {}, { key: key('k', 'another') }), reused);
  });

  test('deleteExpired deletes the expired idempotency records of the tenant, and no others', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const first = await acme.mustStore('crm-1', {}, { key: key('k') });
    const theirs = await globex.mustStore('crm-1', {}, { key: key('k') });
    const later = await acme.mustStore('crm-2', {}, { key: key('l', 'a request', noon + 2 * second) });
    const records = (tenant: string, { customer }: typeof first) =>
      repository.findIdempotencyRecords(tenantId(tenant), customer.customerUrn);
    await repository.deleteExpired(tenantId('acme'), noon + second - 1);
    t.strictSame(await records('acme', first), [{ code: 'SUCCESS', expiresAt: noon + second }]);
    await repository.deleteExpired(tenantId('acme'), noon + second);
    t.strictSame([await records('acme', first), (await records('globex', theirs)).length], [[], 1]);
    await repository.deleteExpired(tenantId('globex'), noon + second);
    t.strictSame(await records('globex', theirs), []);
    t.strictSame(await records('acme', later), [{ code: 'SUCCESS', expiresAt: noon + 2 * second }]);
  });
}
