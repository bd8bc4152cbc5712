import type { WriteResult } from '../../../src/application/ports/customer-repository.ts';
import { atOnce, byExternalId, noon, onlyAt, overwrite, storedIn, tally, tenantId } from '../scenario.ts';
import type { ContractTest } from '../test.ts';
import { conflicting, email, key, phoneNumber, reused, type Tenant, type TestRepository, unknown } from './examples.ts';

type Stored = ReturnType<typeof storedIn>;
const idOf = ({ customer: { customerUrn } }: Stored) => ({ customerUrn });
const notFound = { code: 'CUSTOMER_NOT_FOUND' } as const;

/** Two customers, the first of which was merged into the second. */
async function merged(acme: Tenant, revision?: number) {
  const from = await acme.mustStore('old', { email, firstName: 'Jane' });
  const into = await acme.mustStore('new', { phoneNumber, firstName: 'Joan' });
  await acme.merge(from.by, into.by, revision === undefined ? {} : { revision });
  return { from, into };
}

export function mergeContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  test('a merge anonymizes one customer and leaves the other as it is', async (t, acme, repository) => {
    const from = await acme.mustStore('old', { email, firstName: 'Jane' });
    const into = await acme.mustStore('new', { phoneNumber, firstName: 'Joan' });
    const { customerUrn } = into.customer;
    t.strictSame(await acme.merge(from.by, into.by), { code: 'SUCCESS', stored: into.stored });
    t.strictSame(await acme.find(into.by), into.stored);
    const left = await acme.find(from.by);
    t.match(left, { version: 2, customer: { status: 'Anonymized', mergedInto: customerUrn } });
    t.notMatch(JSON.stringify(left), /old|jane/i);
    t.match(await repository.findErasure(tenantId('acme'), from.customer.customerUrn), {
      mergedInto: customerUrn,
      erasedAt: noon + 1,
    });
    t.equal(await repository.findErasure(tenantId('acme'), customerUrn), undefined);
    t.strictSame(await repository.countCustomers(tenantId('acme')), { customers: 1, anonymized: 1 });
    t.equal((await acme.store('free', { email })).code, 'SUCCESS', 'the e-mail address is free');
  });

  test('the ExternalId of a merged customer finds the other one', async (t, acme) => {
    const { into } = await merged(acme);
    const found = await acme.find(byExternalId('old'));
    t.match(found, { ...into.stored, alias: {} });
    t.notOk('alias' in ((await acme.find(byExternalId('new'))) ?? {}));
    t.equal(await acme.hasExternalId('old'), true);
    t.strictSame(await acme.store('old', { firstName: 'X' }), conflicting(into.customer.customerUrn));
    const updated = await acme.update(byExternalId('old'), overwrite({ firstName: 'Jill' }));
    t.match(updated, { code: 'SUCCESS', stored: { version: 2, customer: idOf(into) } });
    t.match(await acme.find(into.by), { customer: { externalIdentifier: 'new', firstName: 'Jill' } });
    t.match(await acme.find(byExternalId('old')), { version: 2, customer: { firstName: 'Jill' } });
    const renaming = await acme.update(into.by, overwrite({ externalIdentifier: 'old' }));
    t.strictSame(renaming, conflicting(into.customer.customerUrn));
    await acme.update(into.by, overwrite({ externalIdentifier: 'newer' }));
    t.match(await acme.find(byExternalId('old')), { customer: { externalIdentifier: 'newer' } });
    t.equal(await acme.find(byExternalId('new')), undefined);
  });

  test('a sync of a merged customer never overwrites the other one', async (t, acme) => {
    const { from, into } = await merged(acme, 5);
    const taken = conflicting(into.customer.customerUrn);
    for (const revision of [4, 5]) {
      t.strictSame(await acme.sync('old', { firstName: 'X' }, { revision }), { code: 'STALE_REVISION' });
    }
    t.strictSame(await acme.sync('old', { firstName: 'X' }, { revision: 6 }), taken);
    t.strictSame(await acme.sync('old', { firstName: 'X' }), taken);
    t.strictSame(await acme.sync('old', {}, { by: from.by }), notFound);
    t.strictSame(await acme.update(from.by, overwrite({ firstName: 'X' })), notFound);
    t.strictSame(await acme.exchange(['old', { firstName: 'X' }]), { failed: 0, result: taken });
    t.strictSame(await acme.find(into.by), into.stored);
    t.match(await acme.sync('new', { firstName: 'Jill' }, { revision: 1 }), { outcome: 'updated' });
  });

  test('without a revision, a merge has that of the record', async (t, acme, repository) => {
    const from = storedIn(await acme.sync('old', {}, { revision: 3 }));
    const into = await acme.mustStore('new');
    t.strictSame(await acme.merge(from.by, into.by, { revision: 2 }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.find(from.by), from.stored);
    await acme.merge(from.by, into.by);
    t.match(await repository.findErasure(tenantId('acme'), from.customer.customerUrn), { sourceRevision: 3 });
    t.match(await acme.find(byExternalId('old')), { alias: { sourceRevision: 3 } });
    t.strictSame(await acme.sync('old', {}, { revision: 3 }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.sync('old', {}, { revision: 4 }), conflicting(into.customer.customerUrn));
  });

  test('a merge is refused unless both customers exist', async (t, acme, repository) => {
    const [a, b, c] = [await acme.mustStore('a'), await acme.mustStore('b'), await acme.mustStore('c')];
    t.strictSame(await acme.merge(a.by, unknown), notFound);
    t.strictSame(await acme.merge(unknown, a.by), notFound);
    await acme.erase(c.by);
    t.strictSame(await acme.merge(a.by, c.by), notFound);
    t.strictSame(await acme.merge(c.by, a.by), notFound);
    const context = { keyId: 'key', requestId: 'request', now: noon };
    const [from, into] = [a.customer.customerUrn, b.customer.customerUrn];
    t.strictSame(await repository.merge(tenantId('globex'), from, into, context), notFound);
    t.match(await acme.find(a.by), { version: 1 });
    await acme.merge(a.by, b.by);
    t.strictSame(await acme.merge(a.by, c.by), notFound, 'merged elsewhere');
    t.strictSame(await acme.merge(b.by, a.by), notFound);
  });

  test('a repeated merge succeeds and changes nothing', async (t, acme) => {
    const { from, into } = await merged(acme, 5);
    const left = await acme.find(from.by);
    t.strictSame(await acme.merge(from.by, into.by, { now: noon + 9 }), { code: 'SUCCESS', stored: into.stored });
    t.strictSame(await acme.merge(from.by, into.by, { revision: 1 }), { code: 'SUCCESS', stored: into.stored });
    t.strictSame(await acme.find(from.by), left);
    const erased = storedIn(await acme.erase(into.by));
    t.strictSame(await acme.merge(from.by, into.by), { code: 'SUCCESS', stored: erased.stored });
    t.equal(await acme.find(byExternalId('old')), undefined);
  });

  test('a merge with an Idempotency-Key is replayed with the record of the other customer', async (t, acme, repository) => {
    const [from, into] = [await acme.mustStore('old', {}, { key: key('s') }), await acme.mustStore('new')];
    t.strictSame(await acme.merge(unknown, into.by, { key: key('k') }), notFound, 'a refusal is not recorded');
    t.notOk('replayed' in (await acme.merge(from.by, into.by, { key: key('k') })));
    await acme.update(into.by, overwrite({ firstName: 'Jill' }));
    t.match(await acme.merge(from.by, into.by, { key: key('k') }), {
      code: 'SUCCESS',
      replayed: true,
      stored: { version: 2, customer: idOf(into) },
    });
    t.strictSame(await acme.erase(into.by, { key: key('k', 'another') }), reused);
    t.strictSame(await acme.merge(from.by, into.by, { key: key('s', 'another') }), reused);
    t.match(await acme.store('old', {}, { key: key('s') }), { replayed: true, stored: { customer: idOf(from) } });
    t.strictSame(await repository.findIdempotencyRecords(tenantId('acme'), into.customer.customerUrn), [
      { code: 'SUCCESS', expiresAt: key('k').expiresAt },
    ]);
    t.match(await acme.merge(from.by, into.by, { key: key('again') }), { code: 'SUCCESS' });
    t.match(await acme.merge(from.by, into.by, { key: key('again') }), { code: 'SUCCESS', replayed: true });
  });

  test('an exchange by an alias is refused, and changes nothing', async (t, acme) => {
    const [into, from] = [await acme.mustStore('new', { phoneNumber }), await acme.mustStore('old')];
    await acme.mustStore('other', { email });
    await acme.merge(from.by, into.by);
    const exchanged = await acme.exchange(['old', { email, firstName: 'Jane' }]);
    t.strictSame(exchanged, { failed: 0, result: conflicting(into.customer.customerUrn) });
    t.strictSame(await acme.find(into.by), into.stored);
  });

  test('aliases follow later merges', async (t, acme, repository) => {
    const [a, b, c] = [await acme.mustStore('a'), await acme.mustStore('b'), await acme.mustStore('c')];
    await acme.merge(a.by, b.by, { revision: 7 });
    const erasure = await repository.findErasure(tenantId('acme'), a.customer.customerUrn);
    t.strictSame([erasure?.sourceRevision, erasure?.tombstone], [7, undefined], 'a merge leaves no tombstone');
    await acme.merge(b.by, c.by, { revision: 2 });
    t.match(await acme.find(a.by), { customer: { mergedInto: b.customer.customerUrn } });
    t.match(await acme.find(b.by), { customer: { mergedInto: c.customer.customerUrn } });
    t.match(await acme.find(byExternalId('a')), { customer: idOf(c), alias: { sourceRevision: 7 } });
    t.match(await acme.find(byExternalId('b')), { customer: idOf(c), alias: { sourceRevision: 2 } });
    t.strictSame(await acme.store('a'), conflicting(c.customer.customerUrn));
    t.strictSame(await acme.erase(a.by), { code: 'CUSTOMER_MERGED' });
    t.equal((await acme.erase(c.by)).code, 'SUCCESS');
    for (const name of ['a', 'b', 'c']) {
      t.equal(await acme.hasExternalId(name), false);
      t.equal((await acme.store(name)).code, 'SUCCESS');
    }
    t.match(await acme.find(a.by), { customer: { mergedInto: b.customer.customerUrn } });
    t.strictSame(storedIn(await acme.erase(a.by)).stored, await acme.find(a.by));
  });

  for (const by of ['its URN', 'its ExternalId', 'an alias'] as const) {
    test(`an erasure by ${by} also erases the aliases`, async (t, acme, repository) => {
      const { from, into } = await merged(acme);
      t.strictSame(await acme.erase(from.by), { code: 'CUSTOMER_MERGED' });
      t.strictSame(await acme.erase(from.by, { check: onlyAt(2) }), { code: 'CUSTOMER_MERGED' });
      const blind = async (urn: typeof from.customer.customerUrn) =>
        (await repository.findResidue(tenantId('acme'), urn)).findings
          .filter(({ kind }) => kind === 'blind_index')
          .reduce((sum, { found }) => sum + found, 0);
      t.equal(await blind(into.customer.customerUrn), 3, 'ExternalId, alias, phone number');
      const name = { 'its URN': into.by, 'its ExternalId': byExternalId('new'), 'an alias': byExternalId('old') };
      t.match(await acme.erase(name[by]), { code: 'SUCCESS', stored: { customer: idOf(into) } });
      t.equal(await acme.find(byExternalId('old')), undefined);
      t.equal(await acme.hasExternalId('old'), false);
      for (const { customer } of [from, into]) t.equal(await blind(customer.customerUrn), 0);
      t.equal((await acme.erase(from.by)).code, 'SUCCESS', 'nothing of the customer is left');
      t.equal((await acme.store('old')).code, 'SUCCESS');
    });
  }

  test('an erasure by an alias with a revision that is not higher than the merge is stale', async (t, acme) => {
    const { into } = await merged(acme, 5);
    const check = ({
      alias = {},
    }: {
      readonly alias?: { readonly sourceRevision?: number | undefined } | undefined;
    }) => (alias.sourceRevision === 5 ? ('STALE_REVISION' as const) : undefined);
    t.strictSame(await acme.erase(byExternalId('old'), { check, revision: 5 }), { code: 'STALE_REVISION' });
    t.strictSame(await acme.find(into.by), into.stored);
    t.equal((await acme.erase(byExternalId('new'), { check })).code, 'SUCCESS');
  });

  test('an erasure with a revision leaves a tombstone for each alias', async (t, acme) => {
    const { into } = await merged(acme, 5);
    t.equal((await acme.erase(into.by, { revision: 9 })).code, 'SUCCESS');
    for (const name of ['old', 'new']) {
      t.equal(await acme.findTombstone(name), 9);
      t.strictSame(await acme.sync(name, {}, { revision: 9 }), { code: 'STALE_REVISION' });
      t.match(await acme.sync(name, {}, { revision: 10 }), { outcome: 'created' });
    }
  });

  test('an erasure with a lower revision than the merge leaves the revision of the merge for its alias', async (t, acme) => {
    const from = await acme.mustStore('old', { sourceRevision: 100 });
    const into = await acme.mustStore('new', { sourceRevision: 5 });
    await acme.merge(from.by, into.by);
    const last = await acme.mustStore('last', { sourceRevision: 5 });
    await acme.merge(into.by, last.by, { revision: 7 });
    t.equal((await acme.erase(last.by, { revision: 6 })).code, 'SUCCESS');
    t.strictSame([await acme.findTombstone('old'), await acme.findTombstone('new')], [100, 7]);
    t.equal(await acme.findTombstone('last'), 6);
    t.strictSame(await acme.sync('old', {}, { revision: 90 }), { code: 'STALE_REVISION' });
  });

  racesContract(test);
}

function racesContract<Test extends ContractTest>(test: TestRepository<Test>): void {
  /** Runs two requests at once, the first one first in every second round. */
  async function race(round: number, one: () => Promise<WriteResult>, other: () => Promise<WriteResult>) {
    const running = round % 2 === 0 ? [one(), other()] : [other(), one()].reverse();
    const [first, second] = (await Promise.all(running)) as [WriteResult, WriteResult];
    return [first.code, second.code] as const;
  }
  const rounds = Array.from({ length: 20 }, (_, index) => index);
  const pair = async (acme: Tenant, round: number) =>
    [await acme.mustStore(`from-${round}`), await acme.mustStore(`into-${round}`)] as const;

  test('a merge that races an update of either customer loses nothing', async (t, acme) => {
    for (const round of rounds) {
      const [from, into] = await pair(acme, round);
      const change = overwrite({ firstName: 'Jill' });
      const merge = () => acme.merge(from.by, into.by);
      const [one, changed] = await race(round, merge, () => acme.update(into.by, change));
      t.strictSame([one, changed], ['SUCCESS', 'SUCCESS']);
      t.match(await acme.find(byExternalId(`from-${round}`)), { version: 2, customer: { firstName: 'Jill' } });
      const [last, other] = [await acme.mustStore(`last-${round}`), await acme.mustStore(`other-${round}`)];
      const results = await race(
        round,
        () => acme.merge(last.by, other.by),
        () => acme.update(last.by, change),
      );
      t.equal(results[0], 'SUCCESS');
      t.match(await acme.find(last.by), { customer: { status: 'Anonymized', firstName: 'Anonymized' } });
      t.strictSame(await acme.find(other.by), other.stored);
    }
  });

  test('a merge that races an erasure of the other customer leaves no alias', async (t, acme) => {
    for (const round of rounds) {
      const [from, into] = await pair(acme, round);
      const [mergeCode, eraseCode] = await race(
        round,
        () => acme.merge(from.by, into.by),
        () => acme.erase(into.by),
      );
      t.equal(eraseCode, 'SUCCESS');
      t.match(await acme.find(into.by), { customer: { status: 'Anonymized' } });
      t.equal(await acme.hasExternalId(`from-${round}`), mergeCode === 'CUSTOMER_NOT_FOUND');
      if (mergeCode === 'SUCCESS') t.equal((await acme.store(`from-${round}`)).code, 'SUCCESS');
    }
  });

  test('a merge that races an erasure of the same customer: one of them comes first', async (t, acme) => {
    for (const round of rounds) {
      const [from, into] = await pair(acme, round);
      const codes = await race(
        round,
        () => acme.merge(from.by, into.by),
        () => acme.erase(from.by),
      );
      const isMerged = codes[0] === 'SUCCESS';
      t.strictSame(codes, isMerged ? ['SUCCESS', 'CUSTOMER_MERGED'] : ['CUSTOMER_NOT_FOUND', 'SUCCESS']);
      t.equal(await acme.hasExternalId(`from-${round}`), isMerged);
      t.strictSame(await acme.find(into.by), into.stored);
    }
  });

  test('an erasure by ExternalId that races a merge erases the customer that it finds', async (t, acme) => {
    for (const round of rounds) {
      const [from, into] = await pair(acme, round);
      const codes = await race(
        round,
        () => acme.merge(from.by, into.by),
        () => acme.erase(byExternalId(`from-${round}`)),
      );
      const isMerged = codes[0] === 'SUCCESS';
      t.equal(codes[1], 'SUCCESS');
      t.equal((await acme.find(into.by))?.customer.status === 'Anonymized', isMerged);
      t.equal(await acme.hasExternalId(`from-${round}`), false);
    }
  });

  test('of two merges of one customer, or of each into the other, one succeeds', async (t, acme) => {
    for (const round of rounds) {
      const [a, b] = await pair(acme, round);
      const c = await acme.mustStore(`c-${round}`);
      const codes = await race(
        round,
        () => acme.merge(a.by, b.by),
        () => acme.merge(a.by, c.by),
      );
      t.strictSame([...codes].sort(), ['CUSTOMER_NOT_FOUND', 'SUCCESS']);
      const kept = codes[0] === 'SUCCESS' ? b : c;
      t.match(await acme.find(byExternalId(`from-${round}`)), { customer: idOf(kept) });
      const crossed = await race(
        round,
        () => acme.merge(b.by, c.by),
        () => acme.merge(c.by, b.by),
      );
      t.strictSame([...crossed].sort(), ['CUSTOMER_NOT_FOUND', 'SUCCESS']);
      const last = crossed[0] === 'SUCCESS' ? c : b;
      t.match(await acme.find(byExternalId(`from-${round}`)), { customer: idOf(last) }, 'the alias follows');
    }
  });

  test('concurrent merges into one customer, and repeats of each, all succeed', async (t, acme) => {
    const into = await acme.mustStore('into');
    const others = await atOnce(10, (index) => acme.mustStore(`other-${index}`));
    const merges = await atOnce(30, (index) => {
      const other = others[index % 10] as (typeof others)[number];
      return acme.merge(other.by, into.by, { key: key(`k-${index % 10}`) });
    });
    t.strictSame(tally(merges), { SUCCESS: 30 });
    t.equal(merges.filter((result) => 'replayed' in result).length, 20);
    const found = await atOnce(10, (index) => acme.find(byExternalId(`other-${index}`)));
    t.strictSame(new Set(found.map((stored) => stored?.customer.customerUrn)), new Set([into.customer.customerUrn]));
  });
}
