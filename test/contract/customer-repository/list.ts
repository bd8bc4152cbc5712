import type { CustomerUrn } from '../../../src/domain/identity.ts';
import { overwrite, storedIn, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { email, type Tenant, type TestRepository } from './examples.ts';

/** Stores customers one after the other, and returns their records. */
async function storeMany(tenant: Tenant, count: number) {
  const records = [];
  for (let index = 0; index < count; index += 1) records.push((await tenant.mustStore(`crm-${index}`)).stored);
  return records;
}

export function listContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('list returns the records in the order of their sequences as numbers, page by page', async (t, acme) => {
    t.strictSame(await acme.list(), [], 'of a tenant without customers');
    const sequenceOf = ({ customer }: { customer: { customerUrn: CustomerUrn } }) =>
      Number(customer.customerUrn.split('.')[2]);
    const stored = (await storeMany(acme, 12)).sort((one, other) => sequenceOf(one) - sequenceOf(other));
    t.strictSame(await acme.list(), stored);
    for (const limit of [1, 5, 12, 13]) {
      const listed = [];
      for (let page = await acme.list(undefined, limit); ; ) {
        listed.push(...page);
        if (page.length < limit) break;
        page = await acme.list(page.at(-1)?.customer.customerUrn, limit);
      }
      t.strictSame(listed, stored, `in pages of ${limit}`);
    }
  });

  test('list continues after a URN that was never issued', async (t, acme) => {
    const stored = await storeMany(acme, 2);
    const partition = Number(stored[0]?.customer.customerUrn.split('.')[1]);
    const after = async (urn: string) => acme.list(urn as CustomerUrn);
    const ofPartition = (number: number) => `cu.${String(number).padStart(2, '0')}`;
    t.strictSame(await after(`${ofPartition(partition)}.0`), stored);
    const tooLarge = ['10000000000000', '9223372036854775809', '9'.repeat(100)];
    for (const sequence of tooLarge) t.strictSame(await after(`${ofPartition(partition)}.${sequence}`), []);
    for (const sequence of ['0', '1', ...tooLarge]) {
      t.strictSame(await after(`${ofPartition(partition + 1)}.${sequence}`), [], 'of a later partition');
      if (partition > 0) t.strictSame(await after(`${ofPartition(partition - 1)}.${sequence}`), stored);
    }
  });

  test('list shows each customer as it is now, anonymized ones too', async (t, acme) => {
    const [first, second, third] = [
      await acme.mustStore('crm-1', { email }),
      await acme.mustStore('crm-2'),
      await acme.mustStore('crm-3'),
    ];
    const changed = storedIn(await acme.update(third.by, overwrite({ firstName: 'Jane' })));
    const erased = storedIn(await acme.erase(first.by));
    const byUrn = new Map((await acme.list()).map((one) => [one.customer.customerUrn, one]));
    t.equal(byUrn.size, 3);
    for (const { customer, stored } of [erased, second, changed]) {
      t.strictSame(byUrn.get(customer.customerUrn), stored);
    }
  });

  test('list returns only customers of the tenant, and fills its pages with them', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const ours: CustomerUrn[] = [];
    for (let index = 0; index < 3; index += 1) {
      ours.push((await acme.mustStore(`crm-${index}`)).customer.customerUrn);
      await globex.mustStore(`crm-${index}`);
    }
    const urnsOf = async (page: ReturnType<Tenant['list']>) => (await page).map(({ customer }) => customer.customerUrn);
    t.strictSame((await urnsOf(acme.list())).sort(), ours.sort());
    t.equal((await globex.list(undefined, 3)).length, 3);
    t.notOk((await urnsOf(globex.list())).some((urn) => ours.includes(urn)));
    t.strictSame(await repository.list(tenantId('initech'), undefined, 3), []);
  });
}
