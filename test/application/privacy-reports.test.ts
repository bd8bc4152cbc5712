import t, { type Test } from 'tap';
import { ephemeralVault } from '../../src/adapters/crypto/vault.ts';
import { createMemoryAccessRecords } from '../../src/adapters/memory/access-records.ts';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createMemoryReferences } from '../../src/adapters/memory/references.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import type { ResidueFinding } from '../../src/application/ports/erasures.ts';
import { PrivacyReports } from '../../src/application/privacy-reports.ts';
import { actor, idempotencyKey, noon, tenantId, tenantOf } from '../contract/scenario.ts';

const acme = tenantId('acme');
const referenceData = createReferenceData();
const finding = (kind: ResidueFinding['kind'], found: number): ResidueFinding => ({ kind, place: `a ${kind}`, found });

/** Reports on a customer that was erased. @param methods replace those of the repository */
async function erased(methods: Partial<CustomerRepository> = {}, reference?: string) {
  const memory = new MemoryCustomers(referenceData);
  const tenant = tenantOf(memory);
  const key = idempotencyKey('k', 'store', noon + 1_000);
  const { customer, by } = await tenant.mustStore('crm-1', { email: 'jane@example.com' }, { key });
  await tenant.erase(by, { reference });
  const clock = { now: noon + 500 };
  const repository = Object.assign(memory, methods);
  const reports = new PrivacyReports({
    repository,
    accessRecords: createMemoryAccessRecords(),
    references: createMemoryReferences(repository),
    signer: ephemeralVault(),
    referenceData,
    clock: () => clock.now,
  });
  return { reports, clock, urn: customer.customerUrn, tenant };
}

const receiptOf = async ({ reports, urn }: Awaited<ReturnType<typeof erased>>) =>
  (await reports.receipt(acme, urn))?.receipt;

/** A receipt made from these findings. */
const receiptWith = async (findings: readonly ResidueFinding[]) =>
  receiptOf(await erased({ findResidue: async () => ({ findings, unseen: [] }) }));

t.test('a receipt over memory', async (t) => {
  const reports = await erased();
  t.match(await receiptOf(reports), {
    customerUrn: reports.urn,
    erasedAt: '2026-01-15T12:00:00.001Z',
    ...actor,
    rewritten: ['externalIdentifier', 'email', 'status'],
    dataKeyDestroyed: true,
    erasureLog: null,
    residualScan: { clean: true, findings: [{ kind: 'data_key', found: 0 }] },
  });
});

t.test('a receipt and an export have the case number of the erasure, if its request had one', async (t) => {
  const reports = await erased({}, 'DSAR-2026-0042');
  t.equal((await receiptOf(reports))?.reference, 'DSAR-2026-0042');
  t.equal((await reports.reports.subjectExport(acme, reports.urn, { actor }))?.erasure?.reference, 'DSAR-2026-0042');
  t.notOk('reference' in ((await receiptOf(await erased())) ?? {}));
});

t.test(
  'dataKeyDestroyed needs a finding about the data key, and nothing found of any kind that has keys',
  async (t) => {
    const cases: [isDestroyed: boolean, isClean: boolean, findings: readonly ResidueFinding[]][] = [
      [false, true, []],
      [false, true, [finding('record', 0)]],
      [true, true, [finding('data_key', 0)]],
      [true, false, [finding('data_key', 0), finding('records_copy', 1), finding('blind_index', 1)]],
      [false, false, [finding('data_key', 1)]],
      [false, false, [finding('data_key', 0), finding('keys_log', 1)]],
      [false, false, [finding('data_key', 0), finding('keys_copy', 2)]],
    ];
    for (const [dataKeyDestroyed, clean, findings] of cases) {
      t.match(await receiptWith(findings), { dataKeyDestroyed, residualScan: { clean } }, JSON.stringify(findings));
    }
  },
);

t.test('a receipt contains the position in the erasure log', async (t) => {
  const position = { sequence: 7, chain: 'abc' };
  const reports: Awaited<ReturnType<typeof erased>> = await erased({
    findErasure: async (_, urn) => ({ urn, ...actor, erasedAt: noon, position }),
  });
  t.match(await receiptOf(reports), { erasureLog: position, rewritten: null });
});

t.test('a receipt lists idempotency records until they expire', async (t) => {
  const reports = await erased();
  const fields = async () => (await receiptOf(reports))?.kept.map(({ field }) => field);
  t.ok((await fields())?.includes('idempotency record, until 2026-01-15T12:00:01.000Z'));
  reports.clock.now = noon + 1_000;
  t.notOk((await fields())?.some((field) => field.startsWith('idempotency record')));
});

t.test('a receipt lists the tombstone of the ExternalId until it expires', async (t) => {
  const tombstone = { revision: 3, expiresAt: noon + 1_000 };
  const reports: Awaited<ReturnType<typeof erased>> = await erased({
    findErasure: async (_, urn) => ({ urn, ...actor, erasedAt: noon, tombstone }),
  });
  const fields = async () => (await receiptOf(reports))?.kept.map(({ field }) => field);
  t.ok((await fields())?.includes('tombstone of the ExternalId, until 2026-01-15T12:00:01.000Z'));
  reports.clock.now = noon + 1_000;
  t.notOk((await fields())?.some((field) => field.startsWith('tombstone')));
});

t.test('a receipt is given for a damaged record, and any other error is thrown', async (t) => {
  const failing = (error: Error) =>
    erased({
      find: async () => {
        throw error;
      },
    });
  const damaged = await receiptOf(await failing(new DatabaseFailure(new Error('damaged'))));
  t.ok(damaged?.kept.some(({ field }) => field === 'primaryBillingAddress.countryCode'));
  await t.rejects(receiptOf(await failing(new TypeError('unexpected'))), new TypeError('unexpected'));
});

t.test('a subject export lists the copies that contain data of the customer', async (t) => {
  const exported = async (t: Test, findings: readonly ResidueFinding[]) => {
    const { reports, urn } = await erased({ findResidue: async () => ({ findings, unseen: [] }) });
    const data = await reports.subjectExport(acme, urn, { actor });
    t.match(data, { record: { status: 'Anonymized' }, idempotencyRecords: [{ code: 'SUCCESS' }] });
    return data?.copies;
  };
  const inUse = [finding('data_key', 1), finding('record', 1), finding('records_log', 1)];
  t.strictSame(await exported(t, inUse), []);
  t.strictSame(await exported(t, [finding('keys_copy', 0), finding('records_copy', 0)]), []);
  const copies = [finding('keys_copy', 1), finding('records_copy', 2)];
  t.strictSame(await exported(t, [...inUse, ...copies]), ['a keys_copy', 'a records_copy']);
});
