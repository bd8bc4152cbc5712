import { erasureCheck } from '../../../src/application/write-requests.ts';
import { byExternalId, noon, overwrite, storedIn, tenantId, tombstoneMs } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { email, phoneNumber, type Tenant, type TestRepository } from './examples.ts';

const stale = { code: 'STALE_REVISION' } as const;
const jane = { email, phoneNumber, firstName: 'Jane' };

/** Deletes a customer as a request with a source revision does. */
const erase = (acme: Tenant, externalId: string, revision: number, now = noon) =>
  acme.erase(byExternalId(externalId), { revision, now, check: erasureCheck(undefined, revision) });

/** What may come late or twice. None of it may bring an erased customer back, or change a new registration. */
export function erasedStaysErasedContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('a re-run of an old backfill brings no erased customer back', async (t, acme) => {
    const backfill = async (way: 'store' | 'sync') => [
      await acme[way]('erased', jane, { revision: 1 }),
      await acme[way]('registered-again', {}, { revision: 2 }),
      await acme[way]('renamed', {}, { revision: 3 }),
    ];
    const first = (await backfill('store')).map(storedIn);
    t.equal((await erase(acme, 'erased', 11)).code, 'SUCCESS');
    t.equal((await erase(acme, 'registered-again', 12)).code, 'SUCCESS');
    await acme.sync('new-name', {}, { by: first[2]?.by as never, revision: 13 });
    const again = storedIn(await acme.sync('registered-again', jane, { revision: 14 }));
    for (const way of ['store', 'sync', 'store'] as const) t.strictSame(await backfill(way), [stale, stale, stale]);
    t.equal(await acme.find(byExternalId('erased')), undefined);
    t.equal(await acme.find(byExternalId('renamed')), undefined);
    t.strictSame(await acme.find(byExternalId('registered-again')), again.stored);
    t.match(await acme.find(byExternalId('new-name')), { version: 2 });
  });

  test('a delete that overtakes its store does not reach a new registration', async (t, acme) => {
    t.strictSame(await erase(acme, 'crm-1', 5), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await acme.store('crm-1', jane, { revision: 4 }), stale);
    const { stored } = storedIn(await acme.store('crm-1', jane, { revision: 6 }));
    t.strictSame(await acme.store('crm-1', {}, { revision: 4 }), stale);
    t.strictSame(await acme.sync('crm-1', {}, { revision: 4 }), stale);
    t.strictSame(await erase(acme, 'crm-1', 5), stale);
    t.strictSame(await acme.find(byExternalId('crm-1')), stored);
  });

  test('a late update of an erased customer does not reach a new registration', async (t, acme) => {
    const { by } = storedIn(await acme.sync('crm-1', jane, { revision: 1 }));
    t.equal((await erase(acme, 'crm-1', 3)).code, 'SUCCESS');
    const late = [
      () => acme.sync('crm-1', { firstName: 'Late' }, { revision: 2 }),
      () => acme.sync('crm-1', { firstName: 'Late' }, { revision: 2, by }),
      () => acme.update(by, overwrite({ firstName: 'Late' }), { revision: 2 }),
      () => acme.update(by, overwrite({ firstName: 'Late' })),
      () => erase(acme, 'crm-1', 3),
    ];
    const codes = async () => {
      const found: string[] = [];
      for (const request of late) found.push((await request()).code);
      return found;
    };
    const byUrn = ['CUSTOMER_NOT_FOUND', 'CUSTOMER_NOT_FOUND', 'CUSTOMER_NOT_FOUND'];
    t.strictSame(await codes(), [stale.code, ...byUrn, 'CUSTOMER_NOT_FOUND']);
    const { stored } = storedIn(await acme.sync('crm-1', jane, { revision: 4 }));
    t.strictSame(await codes(), [stale.code, ...byUrn, stale.code]);
    t.strictSame(await acme.find(byExternalId('crm-1')), stored);
  });

  test('a late sync by the old name after a change of the ExternalId creates nobody', async (t, acme) => {
    const { by } = storedIn(await acme.sync('old', jane, { revision: 1 }));
    const renaming = () => acme.sync('new', jane, { by, revision: 3 });
    t.match(await renaming(), { outcome: 'updated' });
    t.strictSame(await acme.sync('old', { firstName: 'Late' }, { revision: 2 }), stale);
    t.strictSame(await erase(acme, 'old', 3), { code: 'CUSTOMER_NOT_FOUND' });
    const { stored } = storedIn(await acme.sync('old', {}, { revision: 4 }));
    t.strictSame(await acme.sync('old', { firstName: 'Late' }, { revision: 2 }), stale);
    t.strictSame(await erase(acme, 'old', 3), stale);
    t.match(await renaming(), { outcome: 'unchanged' });
    t.strictSame(await acme.find(byExternalId('old')), stored);
    t.equal((await erase(acme, 'new', 5)).code, 'SUCCESS');
    t.strictSame(await renaming(), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await acme.sync('new', jane, { revision: 3 }), stale);
    t.strictSame(await acme.sync('new', jane, { by: { urn: stored.customer.customerUrn }, revision: 5 }), stale);
    t.equal(await acme.find(byExternalId('new')), undefined);
  });

  test('an old message comes back only after the tombstone has expired', async (t, acme, repository) => {
    await acme.sync('crm-1', jane, { revision: 1 });
    await erase(acme, 'crm-1', 3);
    for (const late of [0, 1, tombstoneMs - 1]) {
      t.strictSame(await acme.sync('crm-1', jane, { revision: 1, now: noon + late }), stale);
      await repository.deleteExpired(tenantId('acme'), noon + late);
    }
    t.match(await acme.sync('crm-1', jane, { revision: 1, now: noon + tombstoneMs }), { outcome: 'created' });
  });
}
