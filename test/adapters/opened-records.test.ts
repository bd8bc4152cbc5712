/** How long opened personal data stays in memory; that nothing stale is served is shown in test/contract/equivalence. */
import t from 'tap';
import { openedRecords } from '../../src/adapters/sql/customers/record-cache.ts';
import { newCustomer } from '../../src/domain/customer.ts';
import { type CustomerUrn, parseCustomerUrn } from '../../src/domain/identity.ts';
import { byExternalId, byUrn, content, noon, tenantId } from '../support/storage.ts';

const acme = tenantId('acme');
const urnOf = (number: number) => `cu.00.${number}`;

function rowOf(number: number) {
  const bytes = Buffer.from(String(number));
  return { number, version: 1, sealed: bytes, wrapped: bytes, created_at: noon, updated_at: noon, anonymized_at: null };
}

/** The customers crm-0, crm-1, … of acme, as two reads of each have kept them. */
function kept(count: number, epoch: () => number | undefined = () => 1) {
  const records = openedRecords({ epoch });
  for (let number = 0; number < count; number += 1) {
    const urn = parseCustomerUrn(urnOf(number)) as CustomerUrn;
    const customer = newCustomer(content(`crm-${number}`), urn, noon);
    for (let time = 0; time < 2; time += 1) records.keep(acme, rowOf(number), { customer, version: 1 });
  }
  return records;
}

t.test('what nobody asks for is forgotten with the second aging, what is asked for stays', async (t) => {
  const records = kept(2);
  for (let round = 0; round < 5; round += 1) {
    records.age();
    t.ok(records.recall(acme, byUrn(urnOf(0))));
  }
  t.equal(records.recall(acme, byUrn(urnOf(1))), undefined);
  t.equal(records.recall(acme, byExternalId('crm-1')), undefined);
  t.ok(records.open(acme, rowOf(0)));
  t.equal(records.open(acme, rowOf(1)), undefined);
});

t.test('it holds no more than two generations', async (t) => {
  const records = kept(45_000);
  let held = 0;
  // From the newest: looking for one brings it to the present generation.
  for (let number = 44_999; number >= 0; number -= 1) held += Number(records.open(acme, rowOf(number)) !== undefined);
  t.ok(held > 10_000 && held <= 20_000, `${held} are held`);
});

t.test('another tenant has none of it', async (t) => {
  const records = kept(1);
  const other = tenantId('other');
  t.equal(records.recall(other, byUrn(urnOf(0))), undefined);
  t.equal(records.recall(other, byExternalId('crm-0')), undefined);
  t.equal(records.open(other, rowOf(0)), undefined);
});

t.test('where the database cannot tell who has written, only the same bytes are the same record', async (t) => {
  const records = kept(1, () => undefined);
  const row = rowOf(0);
  t.equal(records.recall(acme, byUrn(urnOf(0))), undefined);
  t.ok(records.open(acme, row));
  t.equal(records.open(acme, { ...row, sealed: Buffer.from('other') }), undefined);
  t.equal(records.open(acme, { ...row, wrapped: Buffer.from('other') }), undefined);
});

t.test('what was read but once is not kept', async (t) => {
  const records = openedRecords({ epoch: () => 1 });
  const customer = newCustomer(content('crm-0'), parseCustomerUrn(urnOf(0)) as CustomerUrn, noon);
  const keep = () => records.keep(acme, rowOf(0), { customer, version: 1 });
  keep();
  t.equal(records.open(acme, rowOf(0)), undefined);
  keep();
  t.ok(records.open(acme, rowOf(0)));
});
