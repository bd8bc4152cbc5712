/** The contract of `AuditTrail` (`src/application/ports/audit-trail.ts`), over the repository of the same storage. */
import type { AuditTrail, CustomerTrail } from '../../src/application/ports/audit-trail.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import type { CustomerUrn } from '../../src/domain/identity.ts';
import { byExternalId, overwrite, tenantId, tenantOf } from './scenario.ts';
import type { ContractTest } from './test.ts';

interface Opened {
  readonly repository: CustomerRepository;
  readonly trail: AuditTrail;
}

const acme = tenantId('acme');

/** @param t gets one test for each clause of the contract, each over an empty storage */
export function auditTrailContract<Test extends ContractTest>(t: Test, open: (t: Test) => Promise<Opened>): void {
  const test = (clause: string, run: (t: Test, opened: Opened & Side) => Promise<void>) =>
    t.test(clause, async (t: Test) => {
      const opened = await open(t);
      await run(t, { ...opened, ...sideOf(opened.repository) });
    });

  test('events are those of the feed, with their bodies as text', async (t, { repository, trail, store, erase }) => {
    for (const name of ['crm-1', 'crm-2', 'crm-3']) await store(name);
    await erase('crm-2');
    const feed = await repository.changes(acme, 0, 10);
    const events = await trail.events(acme, 0, 10);
    t.strictSame(
      events.map(({ body, ...event }) => ({ ...event, ...JSON.parse(body) })),
      feed.map((event) => ({ ...event })),
    );
    t.strictSame(await trail.events(acme, 1, 2), events.slice(1, 3));
    t.strictSame(await trail.events(acme, 4, 2), []);
    t.strictSame(await trail.events(tenantId('globex'), 0, 10), []);
  });

  test('customers are listed with their versions and events, in pages', async (t, opened) => {
    const { trail, store, update, erase } = opened;
    const urns = [await store('crm-1'), await store('crm-2'), await store('crm-3')] as const;
    await update('crm-1', 'Doe');
    await update('crm-1', 'Roe');
    await erase('crm-2');
    await opened.repository.lastChange(acme);
    const expected = [trailOf(urns[0], 3, false), trailOf(urns[1], 2, true), trailOf(urns[2], 1, false)];
    const all: CustomerTrail[] = [];
    for (let after: CustomerUrn | undefined; ; ) {
      const page = await trail.customers(acme, after, urns[2], 2);
      all.push(...page);
      after = page.at(-1)?.customerUrn;
      if (after === undefined) break;
    }
    t.strictSame(all, expected);
    t.strictSame(await trail.customers(acme, undefined, urns[1], 10), expected.slice(0, 2));
    t.equal(await trail.lastCustomer(acme), urns[2]);
    t.equal(await trail.lastPosition(acme), await opened.repository.lastChange(acme));
    t.equal(await trail.lastPosition(tenantId('globex')), 0);
    t.equal(await trail.lastCustomer(tenantId('globex')), undefined);
    t.strictSame(await trail.customer(acme, urns[1]), expected[1]);
    t.equal(await trail.customer(acme, 'cu.00.999' as CustomerUrn), undefined);
    t.strictSame(await trail.customers(tenantId('globex'), undefined, urns[2], 10), []);
    t.equal(await trail.customer(tenantId('globex'), urns[1]), undefined);
  });

  test('the erasure log is read as it is', async (t, { repository, trail, store, erase }) => {
    t.equal(await trail.lastErasure(acme), undefined);
    t.equal(await trail.finishedErasures(acme), 0);
    t.strictSame(await trail.erasures(acme, 0, 10), []);
    const urns = [await store('crm-1'), await store('crm-2')] as const;
    await erase('crm-1');
    await erase('crm-2');
    await repository.recoverErasures(acme);
    const positions = [];
    for (const urn of urns) {
      t.equal(await trail.hasErasure(acme, urn), true);
      positions.push((await repository.findErasure(acme, urn))?.position);
    }
    t.equal(await trail.hasErasure(acme, await store('crm-3')), false);
    const [first, second] = positions;
    // An adapter without a hash chain has no positions, and its log cannot be walked.
    if (first === undefined || second === undefined) return;
    t.strictSame(await trail.lastErasure(acme), second);
    t.equal(await trail.finishedErasures(acme), 2);
    t.strictSame(await trail.erasures(acme, 0, 1), [{ ...first, customerUrn: urns[0] }]);
    t.strictSame(await trail.erasures(acme, 1, 10), [{ ...second, customerUrn: urns[1] }]);
    t.equal(await trail.hasErasureAt(acme, first), true);
    t.equal(await trail.hasErasureAt(acme, { ...first, chain: second.chain }), false);
    t.equal(await trail.hasErasureAt(acme, { ...second, sequence: 3 }), false);
  });
}

function sideOf(repository: CustomerRepository) {
  const side = tenantOf(repository, acme);
  return {
    store: async (name: string) => (await side.mustStore(name)).customer.customerUrn,
    update: (name: string, lastName: string) => side.update(byExternalId(name), overwrite({ lastName })),
    erase: async (name: string) => side.erase(byExternalId(name)),
  };
}
type Side = ReturnType<typeof sideOf>;

const trailOf = (customerUrn: CustomerUrn, version: number, isAnonymized: boolean): CustomerTrail => ({
  customerUrn,
  record: { version, isAnonymized },
  events: { count: version, unnumbered: 0, firstVersion: 1, lastVersion: version, isAnonymizing: isAnonymized },
});
