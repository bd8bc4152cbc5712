import type { CustomerUrn, ExternalId } from '../../../src/domain/identity.ts';
import { atOnce, byExternalId, noon, overwrite, storedIn, tally, tenantId, tombstoneMs } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { conflicting, email, key, phoneNumber, reused, type TestRepository, unknown } from './examples.ts';

export function syncContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('sync creates a customer, then replaces its content: absent fields are removed', async (t, acme) => {
    const created = await acme.sync('crm-1', { email, firstName: 'Jane' });
    t.match(created, { code: 'SUCCESS', outcome: 'created', stored: { version: 1, customer: { email } } });
    const updated = await acme.sync('crm-1', { firstName: 'Joan' }, { now: noon + 1 });
    t.match(updated, { code: 'SUCCESS', outcome: 'updated', changedFields: ['email', 'firstName'] });
    const { stored, version } = storedIn(updated);
    t.equal(version, 2);
    t.notOk('email' in stored.customer);
    t.strictSame(await acme.find(byExternalId('crm-1')), stored);
    t.strictSame(await acme.sync('crm-1', { firstName: 'Joan' }), { code: 'SUCCESS', stored, outcome: 'unchanged' });
    t.equal((await acme.store('crm-2', { email })).code, 'SUCCESS', 'the e-mail address is free');
  });

  test('sync by URN can change the ExternalId, and creates nobody', async (t, acme) => {
    const { by } = storedIn(await acme.sync('crm-1', { email }));
    const renamed = await acme.sync('crm-2', { email }, { by });
    t.match(renamed, { outcome: 'updated', changedFields: ['externalIdentifier'], stored: { version: 2 } });
    t.equal(await acme.find(byExternalId('crm-1')), undefined);
    t.strictSame(await acme.sync('crm-3', {}, { by: unknown }), { code: 'CUSTOMER_NOT_FOUND' });
    await acme.erase(by);
    t.strictSame(await acme.sync('crm-2', {}, { by }), { code: 'CUSTOMER_NOT_FOUND' });
  });

  test('sync reports all conflicts and writes nothing', async (t, acme) => {
    const one = await acme.mustStore('crm-1', { email });
    const two = await acme.mustStore('crm-2', { phoneNumber });
    const urns = [undefined, one.customer.customerUrn, two.customer.customerUrn] as const;
    t.strictSame(await acme.sync('crm-3', { email, phoneNumber }), conflicting(...urns));
    t.equal(await acme.find(byExternalId('crm-3')), undefined);
    t.strictSame(await acme.sync('crm-2', { email, phoneNumber }), conflicting(undefined, urns[1]));
    t.strictSame(await acme.find(two.by), two.stored);
    const renaming = await acme.sync('crm-1', { phoneNumber: '+491709999999' }, { by: two.by });
    t.strictSame(renaming, conflicting(urns[1]));
  });

  test('a newer revision is applied; an older one, or the same with other content, is not', async (t, acme) => {
    t.match(await acme.sync('crm-1', { firstName: 'A' }, { revision: 5 }), { outcome: 'created' });
    t.strictSame(await acme.sync('crm-1', { firstName: 'B' }, { revision: 4 }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.sync('crm-1', { firstName: 'B' }, { revision: 5 }), { code: 'REVISION_CONFLICT' });
    t.match(await acme.sync('crm-1', { firstName: 'A' }, { revision: 5 }), {
      outcome: 'unchanged',
      stored: { version: 1 },
    });
    t.match(await acme.sync('crm-1', { firstName: 'A' }, { revision: 6 }), { outcome: 'updated', changedFields: [] });
    t.match(await acme.find(byExternalId('crm-1')), { version: 2, customer: { firstName: 'A', sourceRevision: 6 } });
    t.match(await acme.sync('crm-1', { firstName: 'C' }, {}), {
      outcome: 'updated',
      stored: { customer: { firstName: 'C', sourceRevision: 6 } },
    });
    t.match(await acme.sync('crm-1', { firstName: 'D' }, { revision: Number.MAX_SAFE_INTEGER }), {
      stored: { customer: { sourceRevision: Number.MAX_SAFE_INTEGER } },
    });
  });

  test('an erasure with a revision leaves a tombstone: only a higher revision brings the ExternalId back', async (t, acme, repository) => {
    const { by } = storedIn(await acme.sync('crm-1', { email }, { revision: 5 }));
    t.equal((await acme.erase(by, { revision: 7 })).code, 'SUCCESS');
    t.equal(await acme.findTombstone('crm-1'), 7);
    const erasure = await repository.findErasure(tenantId('acme'), 'urn' in by ? by.urn : ('' as CustomerUrn));
    t.match(erasure, { tombstone: { revision: 7 } });
    for (const revision of [6, 7]) {
      t.strictSame(await acme.sync('crm-1', { email }, { revision }), { code: 'STALE_REVISION' });
      t.strictSame(await acme.store('crm-1', { email }, { revision }), { code: 'STALE_REVISION' });
    }
    t.equal(await acme.hasExternalId('crm-1'), false);
    const back = await acme.sync('crm-1', { email }, { revision: 8 });
    t.match(back, { outcome: 'created' });
    t.not(storedIn(back).customer.customerUrn, 'urn' in by ? by.urn : '');
  });

  test('a delete that overtakes its store leaves a tombstone; without a revision it leaves none', async (t, acme) => {
    t.strictSame(await acme.erase(byExternalId('crm-1'), { revision: 3 }), { code: 'CUSTOMER_NOT_FOUND' });
    t.strictSame(await acme.store('crm-1', {}, { revision: 2 }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.erase(byExternalId('crm-1'), { revision: 1 }), { code: 'CUSTOMER_NOT_FOUND' });
    t.equal(await acme.findTombstone('crm-1'), 3, 'the highest revision stays');
    t.equal((await acme.store('crm-1')).code, 'SUCCESS', 'a request without a revision is not fenced');
    t.strictSame(await acme.erase(byExternalId('crm-2')), { code: 'CUSTOMER_NOT_FOUND' });
    t.equal(await acme.findTombstone('crm-2'), undefined);
    t.equal((await acme.store('crm-2', {}, { revision: 0 })).code, 'SUCCESS');
  });

  test('a change of the ExternalId with a revision leaves a tombstone of the old one', async (t, acme) => {
    const { by } = storedIn(await acme.sync('crm-1', { email }, { revision: 1 }));
    t.match(await acme.sync('crm-2', { email }, { by, revision: 3 }), { outcome: 'updated' });
    t.strictSame(await acme.sync('crm-1', { email }, { revision: 2 }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.sync('crm-1', {}, { revision: 3 }), { code: 'STALE_REVISION' });
    t.match(await acme.sync('crm-1', {}, { revision: 4 }), { outcome: 'created' });
    t.match(await acme.sync('crm-3', { email }, { by }), { outcome: 'updated' });
    t.match(await acme.sync('crm-2', {}, { revision: 0 }), { outcome: 'created' }, 'no revision, no tombstone');
  });

  test('a change of the ExternalId does not bring back one that was erased by the same or a higher revision', async (t, acme) => {
    const { by, stored } = storedIn(await acme.sync('crm-1', { email }, { revision: 1 }));
    await acme.erase(byExternalId('crm-2'), { revision: 5 });
    for (const revision of [3, 5]) {
      t.strictSame(await acme.sync('crm-2', { email }, { by, revision }), { code: 'STALE_REVISION' });
      const renaming = overwrite({ externalIdentifier: 'crm-2' as ExternalId, sourceRevision: revision });
      t.strictSame(await acme.update(by, renaming, { revision }), { code: 'STALE_REVISION' });
      t.strictSame(await acme.exchange(['crm-2', { email }, { by, revision }]), {
        failed: 0,
        result: { code: 'STALE_REVISION' },
      });
    }
    t.strictSame(await acme.find(by), stored);
    t.equal(await acme.findTombstone('crm-1'), undefined, 'what is refused leaves no tombstone');
    t.match(await acme.sync('crm-2', { email }, { by, revision: 6 }), { outcome: 'updated' });
    t.equal((await acme.update(by, overwrite({ externalIdentifier: 'crm-1' as ExternalId }))).code, 'SUCCESS');
    t.equal((await acme.update(by, overwrite({ externalIdentifier: 'crm-2' as ExternalId }))).code, 'SUCCESS');
  });

  test('a tombstone ends when it expires, and deleteExpired deletes it', async (t, acme, repository) => {
    await acme.erase(byExternalId('crm-1'), { now: noon, revision: 3 });
    t.equal(await acme.findTombstone('crm-1', noon + tombstoneMs - 1), 3);
    t.equal(await acme.findTombstone('crm-1', noon + tombstoneMs), undefined);
    t.match(await acme.sync('crm-1', {}, { revision: 1, now: noon + tombstoneMs }), { outcome: 'created' });
    await acme.erase(byExternalId('crm-2'), { now: noon, revision: 9 });
    await acme.erase(byExternalId('crm-2'), { now: noon + tombstoneMs, revision: 4 });
    t.equal(await acme.findTombstone('crm-2', noon + tombstoneMs), 4, 'an expired one does not stay');
    await repository.deleteExpired(tenantId('acme'), noon + tombstoneMs);
    t.equal(await acme.findTombstone('crm-1', noon), undefined);
    t.equal(await acme.findTombstone('crm-2', noon), 4);
  });

  test('an update or an erasure with an older revision is refused', async (t, acme) => {
    const { by, stored } = storedIn(await acme.sync('crm-1', { email }, { revision: 5 }));
    const check = ({ sourceRevision = 0 }) => (sourceRevision > 4 ? ('STALE_REVISION' as const) : undefined);
    t.strictSame(await acme.erase(by, { revision: 4, check }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.find(by), stored);
    t.equal(await acme.findTombstone('crm-1'), undefined);
  });

  test('a repeat with the same Idempotency-Key gets the first outcome', async (t, acme) => {
    const first = await acme.sync('crm-1', { email }, { key: key('k') });
    t.notOk('replayed' in first);
    await acme.sync('crm-1', { firstName: 'Jane' });
    t.match(await acme.sync('crm-1', { email }, { key: key('k') }), {
      outcome: 'created',
      replayed: true,
      stored: { version: 2 },
    });
    t.strictSame(await acme.sync('crm-1', {}, { key: key('k', 'another request') }), reused);
    t.match(await acme.sync('crm-1', { firstName: 'Jane' }, { key: key('same') }), { outcome: 'unchanged' });
    t.match(await acme.sync('crm-1', { firstName: 'Jane' }, { key: key('same') }), {
      outcome: 'unchanged',
      replayed: true,
    });
    await acme.sync('crm-2', {}, { revision: 2 });
    t.strictSame(await acme.sync('crm-2', {}, { revision: 1, key: key('stale') }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.sync('crm-2', {}, { revision: 1, key: key('stale') }), { code: 'STALE_REVISION' });
  });

  test('concurrent syncs of one new customer create one', async (t, acme) => {
    const results = await atOnce(50, (index) => acme.sync('crm-1', { firstName: `J${index}` }, { revision: index }));
    const found = await acme.find(byExternalId('crm-1'));
    t.match(found, { customer: { firstName: 'J49', sourceRevision: 49 } });
    const created = results.filter((result) => result.code === 'SUCCESS' && result.outcome === 'created');
    t.equal(created.length, 1);
    const unfenced = await atOnce(50, () => acme.sync('crm-2', { email }));
    t.strictSame(tally(unfenced), { SUCCESS: 50 });
    t.equal(unfenced.filter((result) => result.code === 'SUCCESS' && result.outcome === 'created').length, 1);
    const more = await atOnce(150, (index) => acme.sync(`more-${index}`));
    t.strictSame(tally(more), { SUCCESS: 150 }, 'the ids that were not used are usable');
  });

  test('a delete that races the sync of its customer erases it, or keeps it from being created', async (t, acme) => {
    for (let round = 0; round < 20; round += 1) {
      const name = `crm-${round}`;
      const requests = [
        () => acme.sync(name, { firstName: 'A' }, { revision: 1 }),
        () => acme.erase(byExternalId(name), { revision: 3 }),
        () => acme.sync(name, { firstName: 'B' }, { revision: 2 }),
      ];
      await Promise.all(requests.map((_, index) => (requests[(index + round) % 3] as () => Promise<unknown>)()));
      t.equal(await acme.find(byExternalId(name)), undefined);
      t.equal(await acme.findTombstone(name), 3);
    }
  });
}
