import t from 'tap';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { CustomerExport, exportText } from '../../src/application/export.ts';
import { isCompleted } from '../../src/application/outcome.ts';
import type { StoredCustomer } from '../../src/application/ports/customer-repository.ts';
import { newCustomer } from '../../src/domain/customer.ts';
import { customerUrn } from '../../src/domain/identity.ts';
import { content, noon, tenantId } from '../support/storage.ts';

const stored = (sequence: number): StoredCustomer => ({
  customer: newCustomer(content(`crm-${sequence}`), customerUrn('00', sequence), noon),
  version: 1,
});

t.test('all exports together read one page in a turn of the event loop', async (t) => {
  let turn = 0;
  let isOver = false;
  const count = (): void => {
    turn += 1;
    if (!isOver) setImmediate(count);
  };
  count();
  const readIn: number[] = [];
  const repository = {
    async list(_: unknown, after: unknown, limit: number) {
      readIn.push(turn);
      return after === undefined ? Array.from({ length: limit }, (_, index) => stored(index + 1)) : [];
    },
  };
  const customerExport = new CustomerExport({ repository, referenceData: createReferenceData() });
  const ended = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const begun = customerExport.begin(tenantId('acme'), {});
      if (!isCompleted(begun)) throw new Error('refused');
      const pages = [];
      for await (const page of begun.result) pages.push(page);
      return pages;
    }),
  );
  isOver = true;
  t.equal(readIn.length, 40);
  t.equal(new Set(readIn).size, 40);
  for (const pages of ended) t.match(pages, [{ customers: { length: 25 } }, { customers: [], next: null }]);
});

t.test('a page is text with a line for each customer, and a last line on the last page', async (t) => {
  const { customer } = stored(1);
  t.equal(exportText({ customers: [] }), '');
  t.equal(exportText({ customers: [customer] }), `${JSON.stringify(customer)}\n`);
  t.equal(exportText({ customers: [], next: null }), '{"next":null}\n');
  t.equal(
    exportText({ customers: [customer], next: customer.customerUrn }),
    `${JSON.stringify(customer)}\n{"next":"cu.00.1"}\n`,
  );
});
