/** An erasure leaves idempotency records unchanged, so that retries can still be distinguished from reused keys. */
import { byExternalId, noon, overwrite, storedIn, tenantId } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { email, key, phoneNumber, reused, second, type TestRepository, unknown } from './examples.ts';

export function idempotencyAfterErasureContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('a late retry of a store replays the anonymized record and stores no customer again', async (t, acme) => {
    const store = () => acme.store('crm-1', { email, phoneNumber, lastName: 'Doe' }, { key: key('k') });
    const { by } = storedIn(await store());
    const erased = await acme.erase(by);
    const retried = await store();
    t.strictSame(retried, { ...erased, replayed: true });
    t.notMatch(JSON.stringify(retried), /crm-1|jane|Doe|1701234567/);
    t.equal(await acme.find(byExternalId('crm-1')), undefined);
    t.equal((await acme.find(by))?.version, 2);
  });

  test('the idempotency records of an erased customer stay until they expire', async (t, acme, repository) => {
    const store = () => acme.store('crm-1', { email }, { key: key('store') });
    const { by, customer } = storedIn(await store());
    const update = () => acme.update(by, overwrite({ firstName: 'Jane' }), { key: key('update') });
    const erase = () => acme.erase(by, { key: key('erase') });
    await update();
    const erased = await erase();
    for (const retry of [store, update, erase]) t.strictSame(await retry(), { ...erased, replayed: true });
    for (const name of ['store', 'update', 'erase']) {
      t.strictSame(await acme.store('crm-1', { email }, { key: key(name, 'another') }), reused, name);
    }
    const records = await repository.findIdempotencyRecords(tenantId('acme'), customer.customerUrn);
    t.strictSame(records, Array(3).fill({ code: 'SUCCESS', expiresAt: noon + second }));
  });

  test('after an erasure, reusing an earlier key is refused and never returns the erased record', async (t, acme) => {
    await acme.mustStore('crm-1', {}, { key: key('store') });
    const other = await acme.mustStore('crm-2');
    await acme.erase(byExternalId('crm-1'), { key: key('erase') });
    for (const name of ['store', 'erase']) {
      const again = { key: key(name, 'another') };
      for (const by of [other.by, byExternalId('crm-2'), unknown]) {
        t.strictSame(await acme.erase(by, again), reused);
        t.strictSame(await acme.update(by, overwrite({ firstName: 'Jane' }), again), reused);
      }
      t.strictSame(await acme.store('crm-3', {}, again), reused);
    }
    t.strictSame(await acme.find(other.by), other.stored);
    t.equal(await acme.find(byExternalId('crm-3')), undefined);
  });

  test('a retry of an erasure is replayed, also after its ExternalId was stored anew', async (t, acme) => {
    await acme.mustStore('crm-1');
    const erase = () => acme.erase(byExternalId('crm-1'), { key: key('k') });
    const erased = await erase();
    t.strictSame(await erase(), { ...erased, replayed: true });
    const anew = await acme.mustStore('crm-1');
    t.strictSame(await erase(), { ...erased, replayed: true });
    t.strictSame(await acme.find(anew.by), anew.stored);
  });

  test('a repeated erasure under a new key is recorded, and its retry is replayed', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1');
    const erased = await acme.erase(by);
    const again = { ...erased, outcome: 'unchanged' };
    t.strictSame(await acme.erase(by, { key: key('k') }), again);
    t.strictSame(await acme.erase(by, { key: key('k') }), { ...again, replayed: true });
    t.strictSame(await acme.erase(unknown, { key: key('k', 'another') }), reused);
  });
}
