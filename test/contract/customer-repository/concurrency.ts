import type { WriteResult } from '../../../src/application/ports/customer-repository.ts';
import type { ConflictCode } from '../../../src/domain/identity.ts';
import { atOnce, byExternalId, type Decide, onlyAt, overwrite, storedIn, tally } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import {
  conflicts,
  decideError,
  email,
  fail,
  key,
  phoneNumber,
  refuse,
  type Tenant,
  type TestRepository,
  unknown,
} from './examples.ts';

export function concurrencyContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  const races: [name: string, store: (acme: Tenant, index: number) => Promise<WriteResult>, loser: ConflictCode][] = [
    ['ExternalId', (acme) => acme.store('crm-1'), conflicts[0]],
    ['e-mail address', (acme, index) => acme.store(`crm-${index}`, { email }), conflicts[1]],
    ['phone number', (acme, index) => acme.store(`crm-${index}`, { phoneNumber }), conflicts[2]],
  ];
  for (const [name, store, loser] of races) {
    test(`of 50 concurrent stores with the same ${name}, exactly one succeeds`, async (t, acme) => {
      t.strictSame(tally(await atOnce(50, (index) => store(acme, index))), { SUCCESS: 1, [loser]: 49 });
    });
  }

  test('of 50 concurrent updates to the same e-mail address, exactly one succeeds', async (t, acme) => {
    const customers = await atOnce(50, (index) => acme.mustStore(`crm-${index}`));
    const results = await Promise.all(customers.map(({ by }) => acme.update(by, overwrite({ email }))));
    t.strictSame(tally(results), { SUCCESS: 1, [conflicts[1]]: 49 });
  });

  test('of 50 concurrent requests with the same key, one is executed and 49 are replayed', async (t, acme) => {
    const results = await atOnce(50, () => acme.store('crm-1', { email }, { key: key('k') }));
    t.strictSame(tally(results), { SUCCESS: 50 });
    t.equal(results.filter((result) => 'replayed' in result).length, 49);
    t.equal(new Set(results.map((result) => storedIn(result).customer.customerUrn)).size, 1);
    const later = await atOnce(60, (index) => acme.store(`later-${index}`));
    t.strictSame(tally(later), { SUCCESS: 60 }, 'the ids of the replayed requests are usable');
  });

  test('50 concurrent updates of one record are applied one after the other', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1', { firstName: '' });
    const results = await atOnce(50, (index) =>
      acme.update(by, (current) => overwrite({ firstName: `${current?.customer.firstName}[${index}]` })(current)),
    );
    const versions = results.map((result) => storedIn(result).version).sort((one, other) => one - other);
    t.strictSame(
      versions,
      Array.from({ length: 50 }, (_, index) => index + 2),
    );
    const names = (await acme.find(by))?.customer.firstName?.match(/\d+/g)?.map(Number);
    t.strictSame(new Set(names), new Set(Array.from({ length: 50 }, (_, index) => index)));
    t.equal(names?.length, 50);
  });

  for (const isUpdateFirst of [true, false]) {
    const order = isUpdateFirst ? 'an update and then an erasure' : 'an erasure and then an update';
    test(`${order}, in one turn of the event loop, leave an anonymized record without unique keys`, async (t, acme) => {
      const { by } = await acme.mustStore('crm-1', { email });
      const update = () => acme.update(by, overwrite({ lastName: 'Doe', email: 'new@example.com' }));
      const erase = () => acme.erase(by);
      const [first, last] = isUpdateFirst ? [update(), erase()] : [erase(), update()];
      const [updated, erased] = await Promise.all(isUpdateFirst ? [first, last] : [last, first]);
      t.match(updated.code, /^(SUCCESS|CUSTOMER_NOT_FOUND)$/);
      t.equal(erased.code, 'SUCCESS');
      const found = await acme.find(by);
      t.equal(found?.customer.status, 'Anonymized');
      t.notMatch(JSON.stringify(found), /crm-1|jane|new@|Doe/);
      t.equal((await acme.store('crm-1', { email })).code, 'SUCCESS');
      t.equal((await acme.store('crm-2', { email: 'new@example.com' })).code, 'SUCCESS');
    });
  }

  test('a conditional erasure in one turn with updates erases, or changes nothing', async (t, acme) => {
    for (let round = 0; round < 20; round += 1) {
      const { by } = await acme.mustStore(`crm-${round}`);
      const update = (index: number) => acme.update(by, overwrite({ firstName: `J${index}` }));
      const erase = () => acme.erase(by, { check: onlyAt(1) });
      const results = await atOnce(5, (index) => (index === round % 5 ? erase() : update(index)));
      const erased = results[round % 5] as WriteResult;
      const found = await acme.find(by);
      t.match(erased.code, /^(SUCCESS|VERSION_MISMATCH)$/);
      t.equal(found?.customer.status === 'Anonymized', erased.code === 'SUCCESS');
      if (erased.code === 'VERSION_MISMATCH') t.match(found?.customer.firstName, /^J/);
    }
  });

  test('an update by ExternalId in the same turn as the erasure finds the active customer or none', async (t, acme) => {
    await acme.mustStore('crm-1');
    const seen: Parameters<Decide>[0][] = [];
    const look: Decide = (current) => {
      seen.push(current);
      return { leave: 'CUSTOMER_NOT_FOUND' };
    };
    await Promise.all([acme.erase(byExternalId('crm-1')), acme.update(byExternalId('crm-1'), look)]);
    const last = seen.at(-1);
    t.ok(seen.length > 0);
    t.ok(last === undefined || last.customer.status === 'Active');
  });

  test('an error or a refusal does not affect other writes of the same turn', async (t, acme) => {
    const { by } = await acme.mustStore('crm-0', { email, firstName: 'Jane' });
    const results = await Promise.allSettled([
      acme.store('crm-1', {}, { key: key('k') }),
      acme.update(by, fail),
      acme.update(by, refuse),
      acme.update(by, overwrite({ firstName: 'Joan' })),
      acme.store('crm-2', { email }),
      acme.update(unknown, fail),
      acme.update(unknown, overwrite({})),
      acme.store('crm-3'),
    ]);
    t.strictSame(
      results.map((result) => (result.status === 'fulfilled' ? result.value.code : result.reason)),
      [
        'SUCCESS',
        decideError,
        'INVALID_REQUEST',
        'SUCCESS',
        conflicts[1],
        decideError,
        'CUSTOMER_NOT_FOUND',
        'SUCCESS',
      ],
    );
    t.match(await acme.find(by), { customer: { firstName: 'Joan' }, version: 2 });
    t.ok(await acme.find(byExternalId('crm-3')));
    t.match(await acme.store('crm-1', {}, { key: key('k') }), { code: 'SUCCESS', replayed: true });
  });
}
