import type { CustomerUrn } from '../../../src/domain/identity.ts';
import { actor, byExternalId, overwrite, storedIn } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import {
  collisions,
  conflicts,
  decideError,
  email,
  fail,
  holders,
  key,
  leave,
  phoneNumber,
  refuse,
  type TestRepository,
  unknown,
  violations,
} from './examples.ts';

export function updateContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('update passes the stored record to decide, writes its decision and increments the version', async (t, acme) => {
    const { stored, by } = await acme.mustStore('crm-1', { email, firstName: 'Jane' });
    for (const [index, name] of ['Joan', 'June', 'Jean'].entries()) {
      const before = await acme.find(by);
      const { stored: after } = storedIn(
        await acme.update(index % 2 ? by : byExternalId('crm-1'), (current) => {
          t.strictSame(current, before);
          return overwrite({ firstName: name })(current);
        }),
      );
      t.strictSame(after, {
        customer: { ...stored.customer, firstName: name, updatedAt: '2026-01-15T12:00:00.001Z' },
        version: index + 2,
        origin: { storedBy: actor, changedBy: actor },
      });
      t.strictSame(await acme.find(by), after);
    }
  });

  test('update returns the code or violations that decide returns, and writes nothing', async (t, acme) => {
    const { stored, by } = await acme.mustStore('crm-1', { email });
    t.strictSame(await acme.update(by, leave('SUCCESS')), { code: 'SUCCESS', stored });
    t.strictSame(await acme.update(by, leave('VERSION_MISMATCH')), { code: 'VERSION_MISMATCH' });
    t.strictSame(await acme.update(by, leave('CUSTOMER_NOT_FOUND')), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await acme.update(by, refuse), { code: 'INVALID_REQUEST', violations });
    t.strictSame(await acme.update(unknown, refuse), { code: 'INVALID_REQUEST', violations }, 'for no record too');
    t.strictSame(await acme.find(by), stored);
  });

  test('update throws what decide throws, writes nothing, and records nothing under the key', async (t, acme) => {
    const { stored, by } = await acme.mustStore('crm-1');
    await t.rejects(acme.update(by, fail, { key: key('k') }), decideError);
    t.strictSame(await acme.find(by), stored);
    const result = await acme.update(by, overwrite({}), { key: key('k') });
    t.strictSame(result, { code: 'SUCCESS', stored: storedIn(result).stored }, 'not replayed');
  });

  test('update returns every conflict with other customers and writes nothing', async (t, acme) => {
    const urns: CustomerUrn[] = [];
    for (const [externalId, fields] of holders) {
      urns.push((await acme.mustStore(externalId, fields)).customer.customerUrn);
    }
    const { stored, by } = await acme.mustStore('crm-1', { email: 'own@example.com', firstName: 'Jane' });
    for (const { taken, expected } of collisions) {
      const result = await acme.update(by, overwrite({ ...taken, firstName: 'Changed' }));
      t.strictSame(result, expected(urns), JSON.stringify(taken));
    }
    t.strictSame(await acme.find(by), stored);
    t.equal((await acme.update(by, overwrite({ email: 'new@example.com' }))).code, 'SUCCESS', 'nothing is reserved');
  });

  test('a customer does not conflict with its own unique keys, in any spelling', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1', { email, phoneNumber });
    const result = await acme.update(by, overwrite({ email: 'JANE.DOE@example.com', phoneNumber }));
    t.equal(storedIn(result).customer.email, 'JANE.DOE@example.com');
    t.match(await acme.store('crm-2', { email }), { code: conflicts[1] });
  });

  test('an update frees the old unique keys and takes the new ones at once', async (t, acme) => {
    const { stored, by } = await acme.mustStore('crm-1', { email, phoneNumber });
    const relinked = { externalIdentifier: 'crm-9', email: 'new@example.com', phoneNumber: '+491709999999' };
    await acme.update(by, overwrite(relinked));
    t.equal(await acme.find(byExternalId('crm-1')), undefined);
    t.strictSame([await acme.hasExternalId('crm-1'), await acme.hasExternalId('crm-9')], [false, true]);
    t.equal((await acme.find(byExternalId('crm-9')))?.customer.customerUrn, stored.customer.customerUrn);
    t.match(await acme.store('crm-9'), { code: conflicts[0] });
    t.match(await acme.store('crm-2', { email: 'NEW@example.com' }), { code: conflicts[1] });
    t.match(await acme.store('crm-2', { phoneNumber: '+491709999999' }), { code: conflicts[2] });
    t.equal((await acme.store('crm-1', { email, phoneNumber })).code, 'SUCCESS');
  });

  test('a removed e-mail address or phone number becomes available', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1', { email, phoneNumber });
    await acme.update(by, overwrite({ email: undefined, phoneNumber: undefined }));
    t.equal((await acme.store('crm-2', { email, phoneNumber })).code, 'SUCCESS');
  });

  test('two customers can swap e-mail addresses by way of a third address, not directly', async (t, acme) => {
    const one = await acme.mustStore('crm-1', { email: 'one@example.com' });
    const two = await acme.mustStore('crm-2', { email: 'two@example.com' });
    t.match(await acme.update(one.by, overwrite({ email: 'two@example.com' })), { code: conflicts[1] });
    await acme.update(one.by, overwrite({ email: 'third@example.com' }));
    await acme.update(two.by, overwrite({ email: 'one@example.com' }));
    t.equal(storedIn(await acme.update(one.by, overwrite({ email: 'two@example.com' }))).version, 3);
    t.match(await acme.store('crm-3', { email: 'two@example.com' }), { code: conflicts[1] });
    t.equal((await acme.store('crm-3', { email: 'third@example.com' })).code, 'SUCCESS');
  });
}
