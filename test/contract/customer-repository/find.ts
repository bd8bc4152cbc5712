import { byExternalId, byUrn, overwrite, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { email, phoneNumber, type TestRepository } from './examples.ts';

export function findContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('a customer that was never stored is not found, whatever its reference', async (t, acme) => {
    await acme.mustStore('crm-1');
    const urns = [
      'cu.00.0',
      'cu.00.2',
      'cu.01.1',
      'cu.99.1',
      'cu.00.10000000000001',
      'cu.00.9007199254740993',
      'cu.00.9223372036854775809',
      'cu.00.18446744073709551617',
      `cu.00.1${'0'.repeat(99)}`,
      `cu.99.${'9'.repeat(100)}`,
    ];
    const externalIds = ['crm-2', 'CRM-1', 'cu.00.1', ''];
    for (const by of [...urns.map(byUrn), ...externalIds.map(byExternalId)]) {
      const name = Object.values(by).join();
      t.equal(await acme.find(by), undefined, `find ${name}`);
      if ('externalId' in by) t.equal(await acme.hasExternalId(by.externalId), false, `hasExternalId ${name}`);
      let current: unknown = 'not called';
      const result = await acme.update(by, (given) => {
        current = given;
        return { leave: 'CUSTOMER_NOT_FOUND' };
      });
      t.strictSame([result, current], [{ code: 'CUSTOMER_NOT_FOUND' }, undefined], `update ${name}`);
      t.strictSame(await acme.erase(by), { code: 'CUSTOMER_NOT_FOUND' }, `erase ${name}`);
    }
  });

  test('tenants share neither unique keys nor records', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const ours = await acme.mustStore('crm-1', { email, phoneNumber });
    const theirs = await globex.mustStore('crm-1', { email, phoneNumber, firstName: 'Theirs' });
    await acme.mustStore('crm-2');

    t.equal(await globex.find(ours.by), undefined, 'not by URN');
    t.equal(await globex.find(byExternalId('crm-2')), undefined, 'not by ExternalId');
    t.strictSame([await acme.hasExternalId('crm-2'), await globex.hasExternalId('crm-2')], [true, false]);
    t.strictSame(await globex.update(ours.by, overwrite({ firstName: 'Mallory' })), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await globex.erase(ours.by), { code: 'CUSTOMER_NOT_FOUND' });
    await globex.erase(byExternalId('crm-1'));
    t.strictSame(await acme.find(ours.by), ours.stored);
    t.equal((await globex.find(theirs.by))?.customer.status, 'Anonymized');
  });

  test('countCustomers counts per tenant, anonymized customers separately', async (t, acme, repository) => {
    const count = (name: string) => repository.countCustomers(tenantId(name));
    t.strictSame(await count('acme'), { customers: 0, anonymized: 0 });
    const globex = tenantOf(repository, tenantId('globex'));
    const initech = tenantOf(repository, tenantId('initech'));
    for (const externalId of ['crm-1', 'crm-2', 'crm-3']) await acme.mustStore(externalId);
    await acme.update(byExternalId('crm-1'), overwrite({ firstName: 'Jane' }));
    await acme.store('crm-1');
    await acme.erase(byExternalId('crm-2'));
    await globex.mustStore('crm-1');
    await initech.mustStore('crm-1');
    await initech.erase(byExternalId('crm-1'));
    t.strictSame(await count('acme'), { customers: 2, anonymized: 1 });
    t.strictSame(await count('globex'), { customers: 1, anonymized: 0 });
    t.strictSame(await count('initech'), { customers: 0, anonymized: 1 });
  });
}
