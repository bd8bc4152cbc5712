/**
 * The contract of `ReferenceRepository` (`src/application/ports/references.ts`). To test an adapter, call
 * `referencesContract`. If several connections can use one storage, also call `sharedReferencesContract`.
 */
import { setImmediate } from 'node:timers/promises';
import type { CustomerReference, CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import type { NewReference, ReferenceRepository } from '../../src/application/ports/references.ts';
import type { CustomerUrn, TenantId } from '../../src/domain/identity.ts';
import { atOnce, byExternalId, noon, tenantId, tenantOf } from './scenario.ts';
import type { ContractTest } from './test.ts';

/** References, and the customers beside which they are stored. */
export interface ReferenceStorage {
  readonly repository: CustomerRepository;
  readonly references: ReferenceRepository;
}
/** Opens an empty storage, which is closed when the test ends. */
export type OpenReferences<Test> = (t: Test) => Promise<ReferenceStorage>;
/** Makes an empty storage and returns a function that connects to it. Storage and connections end with the test. */
export type MakeReferences<Test> = (t: Test) => () => Promise<ReferenceStorage>;

type More = Partial<Omit<NewReference, 'customerUrn'>>;

/** References as one tenant uses them. */
function referencesOf({ repository, references }: ReferenceStorage, tenant: TenantId = tenantId('acme')) {
  const customers = tenantOf(repository, tenant);
  const scenario = {
    ...customers,
    /** Stores a customer; returns its URN. */
    customer: async (name: string) => (await customers.mustStore(name)).customer.customerUrn,
    bind: (customerUrn: CustomerUrn, more: More = {}, now = noon) =>
      references.bind(tenant, { customerUrn, kind: 'subscription', reference: 'sub.1', state: 'active', ...more }, now),
    /** The kinds, references and states of a customer's references. */
    listed: async (urn: CustomerUrn) =>
      (await references.list(tenant, urn))?.map(({ kind, reference, state }) => `${kind} ${reference} ${state}`),
    list: (urn: CustomerUrn) => references.list(tenant, urn),
    found: async (by: CustomerReference | { email: string }) => references.find(tenant, by),
    /** Total, active and canceled subscriptions. */
    summary: async (urn: CustomerUrn) => Object.values((await scenario.found({ urn }))?.subscriptions ?? {}),
  };
  return scenario;
}

/** Holds for every URN, whatever was done: the summary counts what the list has. */
async function assertCounted(t: ContractTest, acme: ReturnType<typeof referencesOf>, urn: CustomerUrn): Promise<void> {
  const subscriptions = ((await acme.list(urn)) ?? []).filter(({ kind }) => kind === 'subscription');
  const active = subscriptions.filter(({ state }) => state === 'active').length;
  const { length } = subscriptions;
  t.strictSame(await acme.summary(urn), [length, active, length - active], `the summary of ${urn}`);
}

const unknown = 'cu.00.999' as CustomerUrn;

/** @param t gets one test for each clause of the contract, each over an empty storage */
export function referencesContract<Test extends ContractTest>(t: Test, open: OpenReferences<Test>): void {
  const test = (
    clause: string,
    run: (t: Test, acme: ReturnType<typeof referencesOf>, storage: ReferenceStorage) => Promise<void>,
  ) =>
    t.test(clause, async (t: Test) => {
      const storage = await open(t);
      await run(t, referencesOf(storage), storage);
    });

  test('a reference is bound to a customer, and a repeat changes nothing', async (t, acme) => {
    const urn = await acme.customer('crm-1');
    const bound = {
      code: 'SUCCESS',
      stored: {
        customerUrn: urn,
        kind: 'subscription',
        reference: 'sub.1',
        state: 'active',
        createdAt: noon,
        updatedAt: noon,
      },
    };
    t.strictSame(await acme.bind(urn), bound);
    t.strictSame(await acme.bind(urn, {}, noon + 1), bound);
    t.strictSame(await acme.list(urn), [bound.stored]);
  });

  test('a state changes in both directions', async (t, acme) => {
    const urn = await acme.customer('crm-1');
    await acme.bind(urn);
    for (const [state, now] of [
      ['canceled', noon + 1],
      ['active', noon + 2],
    ] as const) {
      const changed = await acme.bind(urn, { state }, now);
      t.match(changed, { code: 'SUCCESS', stored: { state, createdAt: noon, updatedAt: now } });
      t.strictSame(await acme.list(urn), ['stored' in changed && changed.stored]);
    }
  });

  test('references are listed by kind and reference', async (t, acme) => {
    const urn = await acme.customer('crm-1');
    t.strictSame(await acme.list(urn), []);
    for (const [kind, reference] of [
      ['subscription', 'b'],
      ['subscription', 'B'],
      ['subscription', '10'],
      ['subscription', '9'],
      ['paymentMethod', '~'],
      ['offer', '!'],
      ['checkout', 'x'.repeat(64)],
    ] as const) {
      await acme.bind(urn, { kind, reference });
    }
    t.strictSame(await acme.listed(urn), [
      `checkout ${'x'.repeat(64)} active`,
      'offer ! active',
      'paymentMethod ~ active',
      'subscription 10 active',
      'subscription 9 active',
      'subscription B active',
      'subscription b active',
    ]);
  });

  test('an unknown customer has no references', async (t, acme) => {
    for (const urn of [unknown, `cu.00.${'9'.repeat(100)}` as CustomerUrn]) {
      t.strictSame(await acme.bind(urn), { code: 'CUSTOMER_NOT_FOUND' });
      t.equal(await acme.list(urn), undefined);
      t.equal(await acme.found({ urn }), undefined);
    }
  });

  test('a reference of one customer is refused to another, unless its kind or tenant is another', async (t, acme, storage) => {
    const [one, other] = [await acme.customer('crm-1'), await acme.customer('crm-2')];
    await acme.bind(one);
    t.strictSame(await acme.bind(other, { state: 'canceled' }), { code: 'REFERENCE_OF_ANOTHER_CUSTOMER' });
    t.strictSame(await acme.listed(one), ['subscription sub.1 active']);
    t.match(await acme.bind(other, { kind: 'offer' }), { code: 'SUCCESS' });

    const globex = referencesOf(storage, tenantId('globex'));
    t.strictSame(await globex.bind(one), { code: 'CUSTOMER_NOT_FOUND' });
    t.equal(await globex.list(one), undefined);
    const theirs = await globex.customer('crm-1');
    t.match(await globex.bind(theirs, { state: 'canceled' }), { code: 'SUCCESS' });
    t.strictSame(await acme.listed(one), ['subscription sub.1 active']);
    t.strictSame(await globex.listed(theirs), ['subscription sub.1 canceled']);
  });

  test('the summary counts subscriptions by their state, at once', async (t, acme) => {
    const urn = (await acme.mustStore('crm-1', { email: 'jane@example.com' })).customer.customerUrn;
    t.strictSame(await acme.summary(urn), [0, 0, 0]);
    await acme.bind(urn);
    // Read several times: a cache keeps what is read often.
    for (let time = 0; time < 3; time += 1) t.strictSame(await acme.summary(urn), [1, 1, 0]);
    await acme.bind(urn, { reference: 'sub.2', state: 'canceled' });
    await acme.bind(urn, { reference: 'sub.3' });
    await acme.bind(urn, { kind: 'offer', reference: 'sub.4' });
    for (let time = 0; time < 3; time += 1) t.strictSame(await acme.summary(urn), [3, 2, 1]);
    await acme.bind(urn, { state: 'canceled' });
    const subscriptions = { total: 3, active: 1, canceled: 2 };
    const stored = await acme.find({ urn });
    for (const by of [{ urn }, byExternalId('crm-1'), { email: 'jane@example.com' }]) {
      t.strictSame(await acme.found(by), { stored, subscriptions });
    }
    t.equal(await acme.found(byExternalId('crm-2')), undefined);
  });

  test('references outlive an erasure: a state may change, and none is added', async (t, acme) => {
    const [urn, other] = [await acme.customer('crm-1'), await acme.customer('crm-2')];
    await acme.bind(urn);
    await acme.bind(other, { reference: 'sub.2' });
    await acme.erase({ urn });
    t.strictSame(await acme.listed(urn), ['subscription sub.1 active']);
    t.strictSame(await acme.summary(urn), [1, 1, 0]);
    t.strictSame(await acme.bind(urn, { reference: 'sub.3' }), { code: 'CUSTOMER_ANONYMIZED' });
    t.strictSame(await acme.bind(urn, { reference: 'sub.2' }), { code: 'REFERENCE_OF_ANOTHER_CUSTOMER' });
    t.match(await acme.bind(urn, { state: 'canceled' }, noon + 2), {
      code: 'SUCCESS',
      stored: { updatedAt: noon + 2 },
    });
    t.strictSame(await acme.listed(urn), ['subscription sub.1 canceled']);
    t.strictSame(await acme.summary(urn), [1, 0, 1]);
    t.equal(await acme.found(byExternalId('crm-1')), undefined);
  });

  test('a merge moves the references, and both URNs name them', async (t, acme) => {
    const [from, into, other] = [await acme.customer('old'), await acme.customer('new'), await acme.customer('other')];
    await acme.bind(from);
    await acme.bind(into, { reference: 'sub.2', state: 'canceled' });
    for (let time = 0; time < 3; time += 1) await acme.summary(into);
    await acme.merge({ urn: from }, { urn: into });
    const both = ['subscription sub.1 active', 'subscription sub.2 canceled'];
    for (const urn of [from, into]) {
      t.strictSame(await acme.listed(urn), both);
      t.strictSame(await acme.summary(urn), [2, 1, 1]);
    }
    t.match(await acme.list(from), [{ customerUrn: into }, { customerUrn: into }]);
    t.match(await acme.found(byExternalId('old')), { subscriptions: { total: 2 } });
    t.match(await acme.bind(from, { reference: 'sub.2', state: 'active' }), { stored: { customerUrn: into } });
    t.match(await acme.bind(into, { state: 'canceled' }), { code: 'SUCCESS' });
    t.match(await acme.bind(from, { reference: 'sub.3' }), { code: 'SUCCESS', stored: { customerUrn: into } });
    t.strictSame(await acme.bind(other), { code: 'REFERENCE_OF_ANOTHER_CUSTOMER' });
    t.strictSame(await acme.summary(into), [3, 2, 1]);
  });

  test('merges are followed, and an erasure of the customer that stays keeps its references', async (t, acme) => {
    const [one, two, three] = [await acme.customer('one'), await acme.customer('two'), await acme.customer('three')];
    for (const [index, urn] of [one, two, three].entries()) await acme.bind(urn, { reference: `sub.${index}` });
    await acme.merge({ urn: one }, { urn: two });
    await acme.merge({ urn: two }, { urn: three });
    t.match(await acme.bind(one, { reference: 'sub.9' }), { code: 'SUCCESS', stored: { customerUrn: three } });
    await acme.erase({ urn: three });
    for (const urn of [one, two, three]) {
      t.strictSame(await acme.summary(urn), [4, 4, 0]);
      t.match(
        await acme.list(urn),
        Array.from({ length: 4 }, () => ({ customerUrn: three })),
      );
      t.strictSame(await acme.bind(urn, { reference: 'sub.10' }), { code: 'CUSTOMER_ANONYMIZED' });
    }
    t.match(await acme.bind(one, { reference: 'sub.1', state: 'canceled' }), { stored: { customerUrn: three } });
    t.strictSame(await acme.summary(three), [4, 3, 1]);
  });

  test('of many calls at once for one reference, one binds it', async (t, acme) => {
    const urn = await acme.customer('crm-1');
    const results = await atOnce(50, (index) =>
      acme.bind(urn, { state: index % 2 ? 'active' : 'canceled' }, noon + index),
    );
    t.ok(results.every(({ code }) => code === 'SUCCESS'));
    const [last, ...others] = (await acme.list(urn)) ?? [];
    t.strictSame(others, []);
    t.equal(results.filter((one) => 'stored' in one && one.stored.createdAt === last?.createdAt).length, 50);
    await assertCounted(t, acme, urn);
  });

  test('calls at once, with erasures and merges', (t, _, storage) => raceFor(t, async () => storage));
}

/** The additional contract of a storage that several connections or processes use. */
export function sharedReferencesContract<Test extends ContractTest>(t: Test, make: MakeReferences<Test>): void {
  t.test('a summary is never older than what another connection has bound', async (t: Test) => {
    const connect = make(t);
    const [one, other] = [referencesOf(await connect()), referencesOf(await connect())];
    const [urn, from] = [await one.customer('crm-1'), await one.customer('crm-2')];
    for (let count = 0; count < 5; count += 1) {
      for (let time = 0; time < 3; time += 1) t.strictSame(await one.summary(urn), [count, count, 0]);
      await setImmediate();
      await other.bind(urn, { reference: `sub.${count}` });
    }
    await other.bind(from, { reference: 'sub.5' });
    await other.merge({ urn: from }, { urn });
    t.strictSame(await one.summary(urn), [6, 6, 0]);
  });

  t.test('calls at once over several connections, with erasures and merges', (t: Test) => raceFor(t, make(t)));
}

/** Binds references while their customers are merged and erased. */
async function raceFor(t: ContractTest, connect: () => Promise<ReferenceStorage>): Promise<void> {
  const [first, ...others] = await atOnce(4, async () => referencesOf(await connect()));
  const acme = first as ReturnType<typeof referencesOf>;
  const callers = [acme, ...others];
  const caller = (index: number) => callers[index % callers.length] as typeof acme;
  for (let round = 0; round < 10; round += 1) {
    const urns = await atOnce(4, (index) => acme.customer(`crm-${round}-${index}`));
    const [from, into, gone, rival] = urns as [CustomerUrn, CustomerUrn, CustomerUrn, CustomerUrn];
    const named = (index: number) => `sub.${round}.${index}`;
    const [bound, contested, late, merged, erased] = await Promise.all([
      atOnce(12, (index) => caller(index).bind(index % 2 ? from : into, { reference: named(index >> 1) })),
      atOnce(4, (index) => caller(index).bind(index % 2 ? gone : rival, { reference: named(100) })),
      atOnce(8, (index) => caller(index).bind(gone, { reference: named(200 + index) })),
      caller(1).merge({ urn: from }, { urn: into }),
      caller(2).erase({ urn: gone }),
    ]);
    t.strictSame([merged.code, erased.code], ['SUCCESS', 'SUCCESS']);
    const successes = (results: typeof bound) => results.filter(({ code }) => code === 'SUCCESS');
    t.ok(
      bound.every(({ code }) => code === 'SUCCESS' || code === 'REFERENCE_OF_ANOTHER_CUSTOMER'),
      'the merged customer and the one that stays',
    );
    // Of two calls for one reference, one comes first.
    const expected = [0, 1, 2, 3, 4, 5].map((index) => `subscription ${named(index)} active`);
    t.strictSame(await acme.listed(into), expected, 'all are those of the customer that stays');
    t.strictSame(await acme.listed(from), expected);
    const kept = [...((await acme.listed(gone)) ?? []), ...((await acme.listed(rival)) ?? [])];
    const counted = successes(late).length + (successes(contested).length > 0 ? 1 : 0);
    t.equal(kept.length, counted, 'what was bound before the erasure stays, and nothing else');
    t.ok(
      late.every(({ code }) => code === 'SUCCESS' || code === 'CUSTOMER_ANONYMIZED'),
      'the erased customer',
    );
    for (const urn of urns) await assertCounted(t, acme, urn);
    await setImmediate();
  }
}
