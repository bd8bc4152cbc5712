import { byExternalId, byUrn, overwrite, storedIn, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { email, phoneNumber, type TestRepository } from './examples.ts';

export function findContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('a customer that was never stored is not found, whatever its reference', async (t, acme) => {
    await acme.mustStore('crm-1');
    const urns = [
      'cu.00.0',
      'cu.00.2',
      'cu.01.1',
      'cu.99.1',
      'cu.00.10000000000001',
      'cu.00.9007199254740993',
      'cu.00.9223372036854775809',
      'cu.00.18446744073709551617',
      `cu.00.1${'0'.repeat(99)}`,
      `cu.99.${'9'.repeat(100)}`,
    ];
    const externalIds = ['crm-2', 'CRM-1', 'cu.00.1', ''];
    for (const by of [...urns.map(byUrn), ...externalIds.map(byExternalId)]) {
      const name = Object.values(by).join();
      t.equal(await acme.find(by), undefined, `find ${name}`);
      if ('externalId' in by) t.equal(await acme.hasExternalId(by.externalId), false, `hasExternalId ${name}`);
      let current: unknown = 'not called';
      const result = await acme.update(by, (given) => {
        current = given;
        return { leave: 'CUSTOMER_NOT_FOUND' };
      });
      t.strictSame([result, current], [{ code: 'CUSTOMER_NOT_FOUND' }, undefined], `update ${name}`);
      t.strictSame(await acme.erase(by), { code: 'CUSTOMER_NOT_FOUND' }, `erase ${name}`);
      if ('urn' in by) t.strictSame(await acme.history({ customerUrn: by.urn }), [], `history ${name}`);
    }
  });

  test('tenants share neither unique keys nor records', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const ours = await acme.mustStore('crm-1', { email, phoneNumber });
    const theirs = await globex.mustStore('crm-1', { email, phoneNumber, firstName: 'Theirs' });
    await acme.mustStore('crm-2');

    t.equal(await globex.find(ours.by), undefined, 'not by URN');
    t.equal(await globex.find(byExternalId('crm-2')), undefined, 'not by ExternalId');
    for (const at of [{ email }, { phoneNumber }]) {
      t.strictSame([await acme.find(at), await globex.find(at)], [ours.stored, theirs.stored], 'by contact, its own');
    }
    const { stored: onlyOurs } = await acme.mustStore('crm-3', {
      email: 'only@example.com',
      phoneNumber: '+491709999999',
    });
    for (const at of [{ email: 'only@example.com' }, { phoneNumber: '+491709999999' }]) {
      t.strictSame([await acme.find(at), await globex.find(at)], [onlyOurs, undefined], 'by contact, of one tenant');
    }
    t.strictSame([await acme.hasExternalId('crm-2'), await globex.hasExternalId('crm-2')], [true, false]);
    t.strictSame(await globex.update(ours.by, overwrite({ firstName: 'Mallory' })), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await globex.erase(ours.by), { code: 'CUSTOMER_NOT_FOUND' });
    await globex.erase(byExternalId('crm-1'));
    t.strictSame(await acme.find(ours.by), ours.stored);
    t.equal((await globex.find(theirs.by))?.customer.status, 'Anonymized');
  });

  test('a customer is found by the canonical form of its e-mail address and by its phone number', async (t, acme) => {
    const { stored } = await acme.mustStore('crm-1', { email: 'Jané.Doe@Bücher.example', phoneNumber });
    const { stored: other } = await acme.mustStore('crm-2', { email });
    await acme.mustStore('crm-3');
    t.strictSame(await acme.find({ email: 'jané.doe@xn--bcher-kva.example' }), stored);
    t.strictSame(await acme.find({ phoneNumber }), stored);
    t.strictSame(await acme.find({ email }), other);
    const unknown = [
      { email: 'Jané.Doe@Bücher.example' },
      { email: 'crm-1' },
      { email: phoneNumber },
      { email: '' },
      { phoneNumber: '+491709999999' },
      { phoneNumber: '01701234567' },
      { phoneNumber: email },
      { phoneNumber: '' },
    ];
    for (const by of unknown) t.equal(await acme.find(by), undefined, JSON.stringify(by));
    t.equal(await acme.find(byExternalId(email)), undefined, 'a contact is no ExternalId');
  });

  test('a customer is found by its contact data as they are now, also if it was read before', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1', { email, phoneNumber });
    const [newEmail, newNumber] = ['new@example.com', '+491709999999'];
    // More than once: a cache may keep what is read often.
    for (let time = 0; time < 3; time += 1) {
      for (const at of [by, { email }, { phoneNumber }]) t.equal((await acme.find(at))?.version, 1);
    }
    const { stored } = storedIn(await acme.update(by, overwrite({ email: newEmail, phoneNumber: newNumber })));
    for (const at of [{ email }, { phoneNumber }]) t.equal(await acme.find(at), undefined);
    for (const at of [{ email: newEmail }, { phoneNumber: newNumber }]) t.strictSame(await acme.find(at), stored);
    const { stored: heir } = await acme.mustStore('crm-2', { email });
    t.strictSame(await acme.find({ email }), heir);
    await acme.update(by, overwrite({ email: undefined, phoneNumber: undefined }));
    for (const at of [{ email: newEmail }, { phoneNumber: newNumber }]) t.equal(await acme.find(at), undefined);
  });

  test('an erased customer is not found by its contact data, neither the old nor the anonymized', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1', { email, phoneNumber });
    for (let time = 0; time < 3; time += 1) await acme.find({ email });
    const { customer } = storedIn(await acme.erase(by));
    for (const at of [{ email }, { email: customer.email as string }, { phoneNumber }]) {
      t.equal(await acme.find(at), undefined, JSON.stringify(at));
    }
    for (let time = 0; time < 3; time += 1) await acme.find(by);
    t.equal(await acme.find(byExternalId(customer.externalIdentifier)), undefined, 'nor by its placeholder');
    t.equal(await acme.hasExternalId(customer.externalIdentifier), false);
    const { stored } = await acme.mustStore('crm-2', { email, phoneNumber });
    for (const at of [{ email }, { phoneNumber }]) t.strictSame(await acme.find(at), stored);
  });

  test('countCustomers counts per tenant, anonymized customers separately', async (t, acme, repository) => {
    const count = (name: string) => repository.countCustomers(tenantId(name));
    t.strictSame(await count('acme'), { customers: 0, anonymized: 0 });
    const globex = tenantOf(repository, tenantId('globex'));
    const initech = tenantOf(repository, tenantId('initech'));
    for (const externalId of ['crm-1', 'crm-2', 'crm-3']) await acme.mustStore(externalId);
    await acme.update(byExternalId('crm-1'), overwrite({ firstName: 'Jane' }));
    await acme.store('crm-1');
    await acme.erase(byExternalId('crm-2'));
    await globex.mustStore('crm-1');
    await initech.mustStore('crm-1');
    await initech.erase(byExternalId('crm-1'));
    t.strictSame(await count('acme'), { customers: 2, anonymized: 1 });
    t.strictSame(await count('globex'), { customers: 1, anonymized: 0 });
    t.strictSame(await count('initech'), { customers: 0, anonymized: 1 });
  });
}
