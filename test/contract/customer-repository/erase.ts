import { anonymize, rewrittenFields } from '../../../src/domain/anonymization.ts';
import { actor, byExternalId, noon, onlyAt, overwrite, storedIn, tenantId, tenantOf } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { email, key, phoneNumber, second, type TestRepository, unknown } from './examples.ts';

export function eraseContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('erase frees the unique keys, and leaves the anonymized record to be found by URN only', async (t, acme) => {
    const { stored, by } = await acme.mustStore('crm-1', { email, phoneNumber, firstName: 'Jane' });
    const anonymized = anonymize(stored.customer, '2026-01-15T12:00:00.001Z');
    t.strictSame(await acme.erase(byExternalId('crm-1')), {
      code: 'SUCCESS',
      stored: { customer: anonymized, version: 2 },
    });
    t.strictSame(await acme.find(by), { customer: anonymized, version: 2 });
    for (const externalId of ['crm-1', anonymized.externalIdentifier]) {
      t.equal(await acme.find(byExternalId(externalId)), undefined, externalId);
      t.equal(await acme.hasExternalId(externalId), false, externalId);
    }
    const again = await acme.mustStore('crm-1', { email, phoneNumber });
    t.not(again.customer.customerUrn, stored.customer.customerUrn);
    t.strictSame((await acme.find(by))?.customer, anonymized, 'a new customer does not change the old record');
  });

  test('a second erasure returns SUCCESS and changes nothing', async (t, acme) => {
    const { by } = await acme.mustStore('crm-1', { email });
    const { stored } = storedIn(await acme.erase(by));
    const again = { code: 'SUCCESS', stored, outcome: 'unchanged' };
    t.strictSame(await acme.erase(by, { now: noon + second }), again);
    t.strictSame(await acme.erase(byExternalId('crm-1')), { code: 'CUSTOMER_NOT_FOUND' });
  });

  test('an erasure that does not accept the version changes nothing', async (t, acme, repository) => {
    const { by, customer } = await acme.mustStore('crm-1', { email });
    const changed = storedIn(await acme.update(by, overwrite({ firstName: 'Jane' }), { now: noon + 1 }));
    const check = onlyAt(1);
    t.strictSame(await acme.erase(by, { check, key: key('k') }), { code: 'VERSION_MISMATCH' });
    t.strictSame(await acme.find(by), changed.stored);
    t.equal(await repository.findErasure(tenantId('acme'), customer.customerUrn), undefined);
    t.strictSame(await acme.erase(unknown, { check }), { code: 'CUSTOMER_NOT_FOUND' });
    const erased = await acme.erase(by, { check: onlyAt(2), key: key('k') });
    t.strictSame([erased.code, 'replayed' in erased, storedIn(erased).version], ['SUCCESS', false, 3], 'not recorded');
    const again = { code: 'SUCCESS', stored: storedIn(erased).stored, outcome: 'unchanged' };
    t.strictSame(await acme.erase(by, { check }), again);
  });

  test('findErasure returns the case number of the request that erased the customer', async (t, acme, repository) => {
    for (const reference of ['DSAR-2026-0042', undefined]) {
      const { by, customer } = await acme.mustStore('crm-1');
      await acme.erase(by, { reference });
      await acme.erase(by, { reference: 'another' });
      const erasure = await repository.findErasure(tenantId('acme'), customer.customerUrn);
      t.equal(erasure?.reference, reference);
      t.equal('reference' in (erasure ?? {}), reference !== undefined);
    }
  });

  test('an anonymized customer causes no conflict', async (t, acme) => {
    for (const externalId of ['crm-1', 'crm-2', 'crm-3']) {
      const { by } = await acme.mustStore(externalId, { email });
      const { customer } = storedIn(await acme.erase(by));
      const result = await acme.store(customer.externalIdentifier, { email: customer.email as string });
      t.equal(result.code, 'SUCCESS');
    }
  });

  test('findErasure returns the actor, the time and the rewritten fields of the first erasure', async (t, acme, repository) => {
    const { customer, by } = await acme.mustStore('crm-1', { email, firstName: 'Jane' });
    const urn = customer.customerUrn;
    t.equal(await repository.findErasure(tenantId('acme'), urn), undefined);
    await acme.update(by, overwrite({ firstName: 'Joan' }));
    t.equal(await repository.findErasure(tenantId('acme'), urn), undefined);
    await acme.erase(by);
    const erasure = await repository.findErasure(tenantId('acme'), urn);
    t.match(erasure, { urn, ...actor, erasedAt: noon + 1 });
    t.strictSame(erasure?.rewritten, rewrittenFields(customer));
    await repository.erase(tenantId('acme'), by, { keyId: 'another', requestId: 'another', now: noon + second });
    t.strictSame(await repository.findErasure(tenantId('acme'), urn), erasure);
  });

  test('positions in the erasure log start at 1 for each tenant, if there are any', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const erased = [];
    for (const [name, tenant] of [
      ['acme', acme],
      ['globex', globex],
      ['acme', acme],
    ] as const) {
      const { customer, by } = await tenant.mustStore('crm-1');
      await tenant.erase(by);
      erased.push(await repository.findErasure(tenantId(name), customer.customerUrn));
    }
    const positions = erased.map((erasure) => erasure?.position);
    const expected = positions[0] === undefined ? [undefined, undefined, undefined] : [1, 1, 2];
    t.strictSame(
      positions.map((position) => position?.sequence),
      expected,
    );
    t.equal(new Set(positions.map((position) => position?.chain)).size, positions[0] === undefined ? 1 : 3);
  });

  test('reports on an erasure are about one customer of one tenant', async (t, acme, repository) => {
    const globex = tenantOf(repository, tenantId('globex'));
    const erased = await acme.mustStore('crm-1', {}, { key: key('k') });
    const living = await acme.mustStore('crm-2');
    const theirs = await globex.mustStore('crm-1', {}, { key: key('k') });
    await acme.erase(erased.by);
    const urnOf = ({ customer }: typeof erased) => customer.customerUrn;
    t.equal(await repository.findErasure(tenantId('acme'), urnOf(living)), undefined);
    t.equal(await repository.findErasure(tenantId('globex'), urnOf(erased)), undefined);
    t.equal(await repository.findErasure(tenantId('globex'), urnOf(theirs)), undefined);
    const records = async (tenant: string, of: typeof erased) =>
      (await repository.findIdempotencyRecords(tenantId(tenant), urnOf(of))).length;
    t.strictSame([await records('acme', erased), await records('globex', theirs)], [1, 1]);
    t.strictSame(
      [await records('globex', erased), await records('acme', theirs), await records('acme', living)],
      [0, 0, 0],
    );
  });

  test('findResidue finds the data key of a customer, and nothing after the erasure', async (t, acme, repository) => {
    const { customer, by } = await acme.mustStore('crm-1', { email, phoneNumber }, { key: key('k') });
    const found = async () => {
      const { findings } = await repository.findResidue(tenantId('acme'), customer.customerUrn);
      t.ok(findings.some(({ kind }) => kind === 'data_key'));
      return findings.filter(({ found }) => found > 0).map(({ kind }) => kind);
    };
    t.ok((await found()).includes('data_key'));
    t.ok((await found()).includes('blind_index'));
    await acme.erase(by);
    t.strictSame(await found(), []);
  });

  test('recoverErasures changes nothing if every erasure is complete', async (t, acme, repository) => {
    const living = await acme.mustStore('crm-1', { email });
    const erased = storedIn(await acme.erase((await acme.mustStore('crm-2')).by));
    t.strictSame(await repository.recoverErasures(tenantId('acme')), { erasedAgain: 0, findings: [] });
    t.strictSame(await acme.find(living.by), living.stored);
    t.strictSame(await acme.find(erased.by), erased.stored);
  });
}
