import { byExternalId, storedIn } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { conflicting, conflicts, email, phoneNumber, type TestRepository } from './examples.ts';

export function exchangeContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('exchange applies changes whose unique keys pass in a cycle', async (t, acme) => {
    const a = await acme.mustStore('a', { email: 'a@example.com', phoneNumber });
    const b = await acme.mustStore('b', { email: 'b@example.com' });
    const c = await acme.mustStore('c', { email: 'c@example.com', firstName: 'C' });
    t.match(await acme.sync('a', { email: 'b@example.com' }), { code: conflicts[1] });
    const exchanged = await acme.exchange(
      ['a', { email: 'b@example.com' }],
      ['b', { email: 'c@example.com', phoneNumber }],
      ['c', { email: 'a@example.com', firstName: 'C' }],
    );
    t.match(exchanged, {
      results: [
        { outcome: 'updated', changedFields: ['email', 'phoneNumber'] },
        { outcome: 'updated', changedFields: ['email', 'phoneNumber'] },
        { outcome: 'updated', changedFields: ['email'] },
      ],
    });
    t.match(await acme.find(a.by), { version: 2, customer: { email: 'b@example.com' } });
    t.match(await acme.find(b.by), { version: 2, customer: { email: 'c@example.com', phoneNumber } });
    t.match(await acme.find(c.by), { version: 2, customer: { email: 'a@example.com' } });
    for (const name of ['a', 'b', 'c']) {
      t.match(await acme.store('new', { email: `${name}@example.com` }), { code: conflicts[1] });
    }
    t.match(await acme.exchange(['b', {}, { by: a.by }], ['a', {}, { by: b.by }]), { results: [{}, {}] });
    t.match(await acme.find(byExternalId('a')), { customer: { customerUrn: b.customer.customerUrn } });
  });

  test('an exchange of ExternalIds leaves tombstones that do not forbid it', async (t, acme) => {
    const a = storedIn(await acme.sync('a', {}, { revision: 1 }));
    const b = storedIn(await acme.sync('b', { email }, { revision: 2 }));
    const swapped = [
      ['b', {}, { by: a.by, revision: 8 }],
      ['a', { email }, { by: b.by, revision: 7 }],
    ] as const;
    const taken = await acme.mustStore('taken', { phoneNumber });
    const failing = acme.exchange(...swapped, ['taken', {}, { by: a.by, revision: 9 }]);
    t.match(await failing, { failed: 2, result: conflicting(taken.customer.customerUrn) });
    for (const name of ['a', 'b']) t.equal(await acme.findTombstone(name), undefined);
    t.match(await acme.exchange(...swapped), { results: [{ outcome: 'updated' }, { outcome: 'updated' }] });
    t.match(await acme.find(a.by), { customer: { externalIdentifier: 'b', sourceRevision: 8 } });
    t.strictSame([await acme.findTombstone('a'), await acme.findTombstone('b')], [8, 7]);
  });

  test('an exchange that cannot be applied as a whole changes nothing', async (t, acme) => {
    const a = await acme.mustStore('a', { email: 'a@example.com' });
    const b = await acme.mustStore('b', { email: 'b@example.com' });
    const other = await acme.mustStore('other', { phoneNumber });
    const failed = await acme.exchange(
      ['a', { email: 'b@example.com' }],
      ['b', { email: 'a@example.com', phoneNumber }],
    );
    t.match(failed, { failed: 1, result: conflicting(undefined, undefined, other.customer.customerUrn) });
    t.strictSame(await acme.find(a.by), a.stored);
    t.strictSame(await acme.find(byExternalId('b')), b.stored);
    t.match(await acme.store('new', { email: 'a@example.com' }), { code: conflicts[1] });
    t.match(await acme.store('new', { email: 'b@example.com' }), { code: conflicts[1] });
  });

  test('an exchange may change a customer twice, leave one as it is, and creates none', async (t, acme) => {
    const a = await acme.mustStore('a', { email: 'a@example.com' });
    const b = await acme.mustStore('b', { email: 'b@example.com', firstName: 'B' });
    const twice = await acme.exchange(
      ['c', { email: 'b@example.com' }, { by: a.by }],
      ['b', { email: 'b@example.com', firstName: 'B' }],
      ['a', {}],
    );
    t.match(twice, { failed: 0, result: conflicting(undefined, b.customer.customerUrn) });
    const results = [{ outcome: 'updated' }, { outcome: 'unchanged' }, { outcome: 'updated' }];
    const unchanged = ['b', { email: 'b@example.com', firstName: 'B' }] as const;
    const renamed = ['c', {}, { by: a.by }] as const;
    t.match(await acme.exchange(renamed, unchanged, ['a', { email: 'a@example.com' }]), { results });
    t.match(await acme.find(byExternalId('a')), { version: 3, customer: { customerUrn: a.customer.customerUrn } });
    t.strictSame(await acme.find(byExternalId('b')), b.stored, 'and it is still found by its unique keys');
    t.match(await acme.store('new', { email: 'b@example.com' }), { code: conflicts[1] });
    for (const unknown of ['c', 'd']) {
      const failed = await acme.exchange(['a', {}], [unknown, {}]);
      t.strictSame(failed, { failed: 1, result: { code: 'CUSTOMER_NOT_FOUND' } });
    }
    t.match(await acme.find(byExternalId('a')), { version: 3 });
  });
}
