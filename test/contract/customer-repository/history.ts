import type { ChangeEvent } from '../../../src/application/ports/change-events.ts';
import { rewrittenFields } from '../../../src/domain/anonymization.ts';
import { actor, atOnce, byExternalId, noon, onlyAt, overwrite, storedIn, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import {
  conflicts,
  decideError,
  email,
  fail,
  key,
  leave,
  phoneNumber,
  refuse,
  second,
  type TestRepository,
} from './examples.ts';

export function historyContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('history has one event for each version: who changed which fields, and when', async (t, acme, repository) => {
    const { customer, by } = await acme.mustStore('crm-1', { email, phoneNumber, firstName: 'Jane' });
    const address = { city: 'Berlin', countryCode: 'DE' };
    await acme.update(byExternalId('crm-1'), overwrite({ primaryBillingAddress: address, firstName: undefined }));
    const changed = storedIn(await acme.update(by, overwrite({ email: 'new@example.com' })));
    const { customerUrn } = customer;
    const living = [
      {
        customerUrn,
        version: 1,
        at: noon,
        type: 'customer.stored',
        changedFields: [
          ...['externalIdentifier', 'email', 'phoneNumber', 'firstName', 'legalType', 'privacy', 'status'],
          'claimedRegion',
        ],
        actor,
      },
      {
        customerUrn,
        version: 2,
        at: noon + 1,
        type: 'customer.updated',
        changedFields: ['firstName', 'primaryBillingAddress'],
        actor,
      },
      { customerUrn, version: 3, at: noon + 1, type: 'customer.updated', changedFields: ['email'], actor },
    ];
    t.strictSame((await acme.history(customer)).map(withoutId), living);

    const other = { keyId: 'other', requestId: 'erasure' };
    await repository.erase(tenantId('acme'), by, { ...other, now: noon + second });
    const erased = {
      customerUrn,
      version: 4,
      at: noon + second,
      type: 'customer.anonymized',
      changedFields: rewrittenFields(changed.customer),
      actor: other,
    };
    const history = await acme.history(customer);
    t.strictSame(history.map(withoutId), [...living, erased], 'an erasure keeps the earlier events');
    t.equal(new Set(history.map(({ id }) => id)).size, 4);
  });

  test('a write that changes nothing adds no event', async (t, acme) => {
    const { customer, by } = await acme.mustStore('crm-1', { email }, { key: key('store') });
    await acme.mustStore('crm-2', { phoneNumber });
    await acme.store('crm-1', { email }, { key: key('store') });
    await acme.store('crm-1');
    for (const code of ['SUCCESS', 'VERSION_MISMATCH', 'CUSTOMER_NOT_FOUND'] as const)
      await acme.update(by, leave(code));
    await acme.update(by, refuse);
    await t.rejects(acme.update(by, fail), decideError);
    t.equal((await acme.update(by, overwrite({ phoneNumber }))).code, conflicts[2]);
    t.strictSame(await acme.erase(by, { check: onlyAt(7) }), { code: 'VERSION_MISMATCH' });
    t.strictSame(versions(await acme.history(customer)), [1]);

    await acme.update(by, overwrite({ firstName: 'Jane' }), { key: key('update') });
    await acme.update(by, overwrite({ firstName: 'Joan' }), { key: key('update') });
    t.strictSame(versions(await acme.history(customer)), [1, 2], 'a replay');
    await acme.erase(by);
    await acme.erase(by);
    await acme.update(by, overwrite({ firstName: 'Jane' }));
    t.strictSame(versions(await acme.history(customer)), [1, 2, 3], 'a second erasure');
  });

  test('a sync adds an event with its source revision, and an exchange that fails adds none', async (t, acme) => {
    const { customer } = storedIn(await acme.sync('a', { email: 'a@example.com' }, { revision: 1 }));
    await acme.sync('a', { email: 'a@example.com' }, { revision: 1 });
    await acme.sync('a', { email: 'a@example.com', firstName: 'Jane' }, { revision: 7 });
    await acme.sync('a', { email: 'a@example.com' }, { revision: 6 });
    const { customer: other } = await acme.mustStore('b', { email: 'b@example.com' });
    await acme.mustStore('c', { phoneNumber });
    const before = await acme.history(customer);
    t.strictSame(
      before.map(({ type, sourceRevision, version }) => [version, type, sourceRevision]),
      [
        [1, 'customer.stored', 1],
        [2, 'customer.updated', 7],
      ],
    );
    t.strictSame(before[1]?.changedFields, ['firstName']);

    await acme.exchange(['a', { email: 'b@example.com' }], ['b', { email: 'a@example.com', phoneNumber }]);
    t.strictSame(await acme.history(customer), before);
    t.strictSame(versions(await acme.history(other)), [1]);
    await acme.exchange(['a', { email: 'b@example.com' }], ['b', { email: 'a@example.com' }]);
    t.strictSame(versions(await acme.history(customer)), [1, 2, 3]);
    t.strictSame(versions(await acme.history(other)), [1, 2]);
    t.match(await acme.find({ email: 'b@example.com' }), { customer: { customerUrn: customer.customerUrn } });
  });

  test('history is of one customer of one tenant', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const ours = await acme.mustStore('crm-1');
    const theirs = await globex.mustStore('crm-1');
    await globex.update(theirs.by, overwrite({ firstName: 'Theirs' }));
    t.strictSame(versions(await acme.history(ours.customer)), [1]);
    t.strictSame(versions(await globex.history(theirs.customer)), [1, 2]);
    t.strictSame(await globex.history(ours.customer), []);
    t.strictSame(await acme.history(theirs.customer), []);
    await acme.erase(ours.by);
    const again = await acme.mustStore('crm-1');
    t.strictSame(versions(await acme.history(again.customer)), [1], 'a new customer begins anew');
  });

  test('updates at once add their events without gaps, in the order of versions', async (t, acme) => {
    const { customer, by } = await acme.mustStore('crm-1', { firstName: '' });
    await atOnce(20, () =>
      acme.update(by, (current) => overwrite({ firstName: `${current?.customer.firstName}.` })(current)),
    );
    t.strictSame(
      versions(await acme.history(customer)),
      Array.from({ length: 21 }, (_, index) => index + 1),
    );
  });
}

const versions = (events: readonly { readonly version: number }[]): number[] => events.map(({ version }) => version);
const withoutId = ({ id: _, ...event }: ChangeEvent) => event;
