/** The contract of `AccessRecords` (`src/application/ports/access-records.ts`). To test an adapter, call it. */
import type { Access, AccessRecords } from '../../src/application/ports/access-records.ts';
import type { CustomerUrn } from '../../src/domain/identity.ts';
import { actor, atOnce, noon, tenantId } from './scenario.ts';
import type { ContractTest } from './test.ts';

/** @param open opens a storage without access records, which is closed when the test ends */
export function accessRecordsContract<Test extends ContractTest>(
  t: Test,
  open: (t: Test) => Promise<AccessRecords>,
): void {
  const [acme, globex] = [tenantId('acme'), tenantId('globex')];
  const urn = 'cu.00.1' as CustomerUrn;
  const found: Access = { customerUrn: urn, at: noon, operation: 'find', actor };

  t.test('the accesses to a customer are listed, oldest first, as they were added', async (t: Test) => {
    const records = await open(t);
    t.strictSame(await records.list(acme, urn), []);
    const exported: Access = { ...found, at: noon + 1, operation: 'subject-export', reference: 'DSAR-2026-0042' };
    await records.add(acme, exported);
    await records.add(acme, found);
    t.strictSame(await records.list(acme, urn), [found, exported]);
  });

  t.test('accesses are of one customer of one tenant', async (t: Test) => {
    const records = await open(t);
    await records.add(acme, found);
    t.strictSame(await records.list(globex, urn), []);
    t.strictSame(await records.list(acme, 'cu.00.2' as CustomerUrn), []);
    t.strictSame(await records.list(acme, `cu.00.${'9'.repeat(100)}` as CustomerUrn), []);
  });

  t.test('accesses at the same time are all kept', async (t: Test) => {
    const records = await open(t);
    await atOnce(50, () => records.add(acme, found));
    t.strictSame(await records.list(acme, urn), Array(50).fill(found));
  });
}
