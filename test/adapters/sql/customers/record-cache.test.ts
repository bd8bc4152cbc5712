/** How long decrypted records stay in memory. That no stale one is returned is shown in test/contract/equivalence.test.ts. */
import t from 'tap';
import { MemoryCustomers } from '../../../../src/adapters/memory/customers.ts';
import { createMemoryReferences } from '../../../../src/adapters/memory/references.ts';
import { cached, cachedFind, RecordCache } from '../../../../src/adapters/sql/customers/record-cache.ts';
import type { CustomerRepository } from '../../../../src/application/ports/customer-repository.ts';
import type { SummarizedCustomer } from '../../../../src/application/ports/references.ts';
import { newCustomer } from '../../../../src/domain/customer.ts';
import { type CustomerUrn, type ExternalId, parseCustomerUrn } from '../../../../src/domain/identity.ts';
import { subscriptionSummary } from '../../../../src/domain/references.ts';
import { byExternalId, byUrn, content, noon, referenceData, tenantId, tenantOf } from '../../../support/storage.ts';

const acme = tenantId('acme');

/** A repository through a cache. */
const over = (repository: CustomerRepository, cache: RecordCache) =>
  cached(repository, cache, cachedFind(createMemoryReferences(repository).find, cache));
const urnOf = (number: number) => `cu.00.${number}`;
const foundOf = (number: number): SummarizedCustomer => {
  const urn = parseCustomerUrn(urnOf(number)) as CustomerUrn;
  const stored = { customer: newCustomer(content(`crm-${number}`), urn, noon), version: 1 };
  return { stored, subscriptions: subscriptionSummary(0, 0) };
};

/** A cache with the customers crm-0, crm-1, …, each read twice. */
function filled(count: number, epoch: () => number | undefined = () => 1): RecordCache {
  const cache = new RecordCache(epoch);
  for (let number = 0; number < count; number += 1) {
    for (let time = 0; time < 2; time += 1) cache.keep(acme, foundOf(number));
  }
  return cache;
}

t.test('a record is found by URN and by ExternalId, by its tenant only', async (t) => {
  const cache = filled(1);
  t.ok(cache.find(acme, byUrn(urnOf(0))));
  t.ok(cache.find(acme, byExternalId('crm-0')));
  const other = tenantId('other');
  t.equal(cache.find(other, byUrn(urnOf(0))), undefined);
  t.equal(cache.find(other, byExternalId('crm-0')), undefined);
});

t.test('a record that is read once is not kept', async (t) => {
  const cache = new RecordCache(() => 1);
  cache.keep(acme, foundOf(0));
  t.equal(cache.find(acme, byUrn(urnOf(0))), undefined);
  cache.keep(acme, foundOf(0));
  t.ok(cache.find(acme, byUrn(urnOf(0))));
});

t.test('a record is not returned after another process has written, nor where the database has no epoch', async (t) => {
  let epoch: number | undefined = 1;
  const cache = filled(1, () => epoch);
  t.ok(cache.find(acme, byUrn(urnOf(0))));
  epoch = 2;
  t.equal(cache.find(acme, byUrn(urnOf(0))), undefined);
  t.equal(filled(1, () => undefined).find(acme, byUrn(urnOf(0))), undefined);
});

t.test('a dropped record is not returned, and clear removes all', async (t) => {
  const cache = filled(2);
  cache.drop(acme, urnOf(0));
  t.equal(cache.find(acme, byUrn(urnOf(0))), undefined);
  t.equal(cache.find(acme, byExternalId('crm-0')), undefined);
  t.ok(cache.find(acme, byUrn(urnOf(1))));
  cache.clear();
  t.equal(cache.find(acme, byUrn(urnOf(1))), undefined);
});

t.test('it holds at most 10,000 records', async (t) => {
  const cache = filled(12_000);
  const held = Array.from({ length: 12_000 }, (_, number) => cache.find(acme, byUrn(urnOf(number)))).filter(Boolean);
  t.equal(held.length, 10_000);
});

t.test('the decorated repository reads through the cache, and keeps immediate results only', async (t) => {
  const memory = new MemoryCustomers(referenceData);
  await tenantOf(memory).mustStore('crm-1');
  let reads = 0;
  const find = memory.find.bind(memory);
  const counting = Object.assign(memory, {
    find(...at: Parameters<typeof find>) {
      reads += 1;
      return find(...at);
    },
  });
  const repository = over(counting, new RecordCache(() => 1));
  for (let time = 0; time < 5; time += 1) t.ok(await repository.find(acme, byExternalId('crm-1')));
  t.equal(reads, 2);
  t.equal(repository.hasExternalId(acme, 'crm-1' as ExternalId), true);

  const late: CustomerRepository = Object.assign(memory, {
    find: async (...at: Parameters<typeof find>) => find(...at),
  });
  const cache = new RecordCache(() => 1);
  const lateRepository = over(late, cache);
  for (let time = 0; time < 5; time += 1) t.ok(await lateRepository.find(acme, byExternalId('crm-1')));
  t.equal(cache.find(acme, byExternalId('crm-1')), undefined);
});
