/** Whatever dies in between, and whoever races it: from its first step on an erasure leaves nothing to read. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createMemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createSqlCustomers } from '../../src/adapters/sql/customers/repository.ts';
import type { SqlDatabase } from '../../src/adapters/sql/driver/database.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import { isAnonymized } from '../../src/domain/anonymization.ts';
import { parseCustomerUrn } from '../../src/domain/identity.ts';
import { copiesOf, wrappedKeys } from '../support/bytes.ts';
import { startSqliteProcess } from '../support/sqlite-process.ts';
import {
  byExternalId,
  byUrn,
  connectSqlite,
  newFolder,
  noon,
  overwrite,
  referenceData,
  requestKey,
  storedIn,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

const acmeId = tenantId('acme');
const identity = { email: 'jane@example.com', phoneNumber: '+491701234567' };
const urnOf = (text: string) => parseCustomerUrn(text) as NonNullable<ReturnType<typeof parseCustomerUrn>>;

/** The same database in a process that dies, or whose disk is full, after so many writes. */
function endingAfter(
  writes: number,
  database: SqlDatabase,
  error: Error = new Error('the process is dead'),
): SqlDatabase {
  let left = writes;
  return {
    ...database,
    async write(program) {
      left -= 1;
      if (left < 0) throw error;
      return database.write(program);
    },
  };
}

/** A customer whose key was destroyed by a process that died before it rewrote the record. */
async function halfErased(t: Test) {
  const path = newFolder(t);
  const { database, vault, repository, close } = await connectSqlite(t, path);
  const acme = tenantOf(repository);
  await acme.has('crm-0');
  const { customer, by } = await acme.has('crm-1', identity);
  const before = wrappedKeys(path);
  const dying = createSqlCustomers({ database: endingAfter(1, database), vault, referenceData, partition: '00' });
  await t.rejects(tenantOf(dying).forget(by), { message: 'the process is dead' });
  const living = wrappedKeys(path);
  const destroyed = before.filter((key) => !living.some((other) => other.equals(key)));
  return { path, close, database, repository, acme, customer, by, destroyed };
}
type HalfErased = Awaited<ReturnType<typeof halfErased>>;

/** Records that were not rewritten yet. */
const notRewritten = (path: string): unknown =>
  withRawSqlite(sqliteFiles(path).data, (raw) =>
    raw.prepare('SELECT count(*) FROM customers WHERE anonymized_at IS NULL').pluck().get(),
  );

/** Asserts what everybody sees of a customer that was erased, however that came about. */
async function isErased(t: Test, repository: CustomerRepository, urn: string, externalId: string): Promise<void> {
  const acme = tenantOf(repository);
  const found = await acme.find(byUrn(urn));
  t.match(found?.customer, { status: 'Anonymized', externalIdentifier: `anonymized-${urn}`, firstName: 'Anonymized' });
  t.notOk(found?.customer.phoneNumber);
  t.equal(await acme.find(byExternalId(externalId)), undefined);
  t.match(await acme.change(byUrn(urn), overwrite({ firstName: 'Jane' })), { code: 'CUSTOMER_NOT_FOUND' });
  t.match(await repository.findErasure(acmeId, urnOf(urn)), { urn });
  const { findings } = await repository.findResidue(acmeId, urnOf(urn));
  t.same(
    findings.filter(({ found }) => found > 0),
    [],
    'nothing is left',
  );
}

t.test('between its two steps an erasure has destroyed the key and entered that in the ledger', async (t) => {
  const { path, repository, customer, destroyed } = await halfErased(t);
  t.equal(destroyed.length, 1);
  t.equal(wrappedKeys(path).length, 1, 'the other customer keeps its key');
  t.equal(copiesOf(destroyed, path), 0, 'no copy is left, in the log neither');
  t.equal(notRewritten(path), 2);
  t.match(await repository.findErasure(acmeId, customer.customerUrn), { keyId: 'key', requestId: 'request' });
});

t.test('whoever touches a half erased customer completes it', async (t) => {
  const touches: Record<string, (half: HalfErased) => Promise<unknown>> = {
    'a look by URN': ({ acme, by }) => acme.find(by),
    'a look by ExternalId': ({ acme }) => acme.find(byExternalId('crm-1')),
    'the question whether its ExternalId is free': ({ acme }) => acme.holds('crm-1'),
    'a change by URN': ({ acme, by }) => acme.change(by, overwrite({ firstName: 'Jane' })),
    'a change by ExternalId': ({ acme }) => acme.change(byExternalId('crm-1'), overwrite({ firstName: 'Jane' })),
    'another erasure': ({ acme, by }) => acme.forget(by),
    'a store of its ExternalId': ({ acme }) => acme.has('crm-1'),
    'a store of its e-mail': ({ acme }) => acme.has('crm-2', { email: identity.email }),
    'a store of its phone number': ({ acme }) => acme.has('crm-2', { phoneNumber: identity.phoneNumber }),
    'a customer that takes its e-mail': ({ acme }) =>
      acme.change(byExternalId('crm-0'), overwrite({ email: identity.email })),
  };
  for (const [name, touch] of Object.entries(touches)) {
    await t.test(name, async (t) => {
      const half = await halfErased(t);
      const before = notRewritten(half.path) as number;
      await touch(half);
      t.ok((notRewritten(half.path) as number) <= before - 1 + Number(/^a store/.test(name)), 'it was rewritten');
      const ours = await half.acme.find(byExternalId('crm-1'));
      t.not(ours?.customer.customerUrn, half.customer.customerUrn);
      t.match((await half.acme.find(half.by))?.customer, { status: 'Anonymized', anonymizedAt: String });
    });
  }
});

t.test('where the record cannot be rewritten, the erasure holds, is answered, and is completed later', async (t) => {
  const path = newFolder(t);
  const { database, vault, repository } = await connectSqlite(t, path);
  const { customer, by } = await tenantOf(repository).has('crm-1', identity);
  const full = endingAfter(1, database, new DatabaseFailure(new Error('disk full')));
  const acme = tenantOf(createSqlCustomers({ database: full, vault, referenceData, partition: '00' }));
  t.match(await acme.forget(by), { code: 'SUCCESS', stored: { customer: { status: 'Anonymized' } } });
  t.equal(notRewritten(path), 1);
  t.match(
    (await acme.find(by))?.customer,
    { status: 'Anonymized', claimedRegion: { countryCode: 'DE' } },
    'while it lasts',
  );
  t.equal(await acme.find(byExternalId('crm-1')), undefined);
  t.equal(notRewritten(path), 1);
  await isErased(t, repository, customer.customerUrn, 'crm-1');
  t.equal(notRewritten(path), 0);
});

t.test('a record that is damaged can be erased, and stands in nobody’s way', async (t) => {
  const path = newFolder(t);
  const { repository } = await connectSqlite(t, path);
  const acme = tenantOf(repository);
  const { customer, by } = await acme.has('crm-1', identity);
  withRawSqlite(sqliteFiles(path).data, (raw) => {
    const sealed = raw.prepare<[], Buffer>('SELECT sealed FROM customers').pluck().get() as Buffer;
    sealed.writeUInt8(sealed.readUInt8(60) ^ 1, 60);
    raw.prepare('UPDATE customers SET sealed = ?').run(sealed);
  });
  await t.rejects(acme.find(by), DatabaseFailure);
  for (const [externalId, fields, code] of [
    ['crm-1', {}, 'CUSTOMER_ALREADY_STORED'],
    ['crm-2', { email: identity.email }, 'USER_WITH_SAME_EMAIL_EXISTS'],
    ['crm-3', { phoneNumber: identity.phoneNumber }, 'USER_WITH_SAME_PHONE_NUMBER_EXISTS'],
  ] as const) {
    t.equal((await acme.add(externalId, fields)).code, code);
  }
  t.equal((await acme.forget(by)).code, 'SUCCESS');
  await isErased(t, repository, customer.customerUrn, 'crm-1');
  t.notOk((await repository.findErasure(acmeId, customer.customerUrn))?.rewritten, 'what it held nobody knows');
});

t.test('a start completes what a crash left half done, before it answers anything', async (t) => {
  const { path, close, customer } = await halfErased(t);
  await close();
  const { repository } = await connectSqlite(t, path);
  t.equal(notRewritten(path), 1);
  await isErased(t, repository, customer.customerUrn, 'crm-1');
  const acme = tenantOf(repository);
  t.equal((await acme.add('crm-1', identity)).code, 'SUCCESS', 'all its identities are free');
});

t.test('the request that died gets its answer when it is repeated, even under another number of tries', async (t) => {
  const { database, vault, repository } = await connectSqlite(t, newFolder(t));
  const { by, customer } = await tenantOf(repository).has('crm-1', identity);
  const when = { key: requestKey('k', 'delete', noon + 1000) };
  const dying = createSqlCustomers({ database: endingAfter(1, database), vault, referenceData, partition: '00' });
  await t.rejects(tenantOf(dying).forget(by, when), { message: 'the process is dead' });
  for (let time = 0; time < 2; time += 1) {
    t.match(await tenantOf(repository).forget(by, when), { code: 'SUCCESS', repeated: true });
  }
  await isErased(t, repository, customer.customerUrn, 'crm-1');
});

t.test('the request gets its answer where of its first step only what is with the keys was stored', async (t) => {
  const when = { key: requestKey('k', 'delete', noon + 1000) };
  await t.test('by who has begun it', async (t) => {
    const path = newFolder(t);
    const { database, vault, repository } = await connectSqlite(t, path);
    const { customer } = await tenantOf(repository).has('crm-1', identity);
    let writes = 0;
    const failing: SqlDatabase = {
      ...database,
      async write(program) {
        const result = await database.write(program);
        writes += 1;
        if (writes > 1) return result;
        withRawSqlite(sqliteFiles(path).data, (raw) => raw.exec('DELETE FROM kept_answers'));
        throw new DatabaseFailure(new Error('disk full'));
      },
    };
    const acme = tenantOf(createSqlCustomers({ database: failing, vault, referenceData, partition: '00' }));
    t.match(await acme.forget(byExternalId('crm-1'), when), { code: 'SUCCESS' });
    await isErased(t, repository, customer.customerUrn, 'crm-1');
  });
  const broken = { message: /database failure|the process is dead/ };
  await t.test('by a process that goes on', async (t) => {
    const { database, vault, repository } = await connectSqlite(t, newFolder(t));
    const { customer } = await tenantOf(repository).has('crm-1', identity);
    const dying = createSqlCustomers({ database: endingAfter(1, database), vault, referenceData, partition: '00' });
    await t.rejects(tenantOf(dying).forget(byExternalId('crm-1')), broken);
    t.match(await tenantOf(repository).forget(byExternalId('crm-1'), when), { code: 'SUCCESS' });
    await isErased(t, repository, customer.customerUrn, 'crm-1');
  });
  await t.test('by the next start', async (t) => {
    const path = newFolder(t);
    const { database, vault, repository, close } = await connectSqlite(t, path);
    const { customer } = await tenantOf(repository).has('crm-1', identity);
    const dying = createSqlCustomers({ database: endingAfter(1, database), vault, referenceData, partition: '00' });
    await t.rejects(tenantOf(dying).forget(byExternalId('crm-1'), when), broken);
    withRawSqlite(sqliteFiles(path).data, (raw) => raw.exec('DELETE FROM kept_answers'));
    await close();
    const again = await connectSqlite(t, path);
    t.equal(notRewritten(path), 0);
    const answer = await tenantOf(again.repository).forget(byExternalId('crm-1'), when);
    t.match(answer, { code: 'SUCCESS', repeated: true, stored: { customer: { customerUrn: customer.customerUrn } } });
    const other = await tenantOf(again.repository).has('crm-2');
    t.equal((await tenantOf(again.repository).forget(other.by, when)).code, 'IDEMPOTENCY_KEY_REUSED');
  });
});

t.test('an erasure stays on the list until its record is rewritten and nothing of it is kept', async (t) => {
  const path = newFolder(t);
  const { database, vault, repository } = await connectSqlite(t, path);
  const { keys, data } = sqliteFiles(path);
  const listed = () => withRawSqlite(keys, (raw) => raw.prepare('SELECT count(*) FROM pending_erasures').pluck().get());
  const acme = tenantOf(repository);
  const { by } = await acme.has('crm-1', identity);
  const full = endingAfter(1, database, new DatabaseFailure(new Error('disk full')));
  await tenantOf(createSqlCustomers({ database: full, vault, referenceData, partition: '00' })).forget(by);
  t.same([listed(), notRewritten(path)], [1, 1]);
  // Others go on, whoever died; and what raced the erasure was kept after it.
  await acme.change(by, overwrite({ firstName: 'Jane' }), { key: requestKey('raced', 'update', noon + 1000) });
  withRawSqlite(data, (raw) => raw.exec("UPDATE kept_answers SET number = 1, code = 'SUCCESS', fingerprint = x'00'"));
  await repository.deleteExpired(noon);
  t.same([listed(), notRewritten(path)], [0, 0]);
  t.equal(await acme.holds('crm-1'), false);
  t.equal(
    withRawSqlite(data, (raw) => raw.prepare('SELECT fingerprint FROM kept_answers').pluck().get()),
    null,
  );
});

t.test('an entry of the ledger that is damaged is in the way of no start, and of no other erasure', async (t) => {
  const path = newFolder(t);
  const { database, vault, repository, close } = await connectSqlite(t, path);
  const { keys } = sqliteFiles(path);
  const acme = tenantOf(repository);
  for (const name of ['crm-1', 'crm-2', 'crm-3']) await acme.has(name);
  for (const number of [1, 2, 3]) {
    const dying = createSqlCustomers({ database: endingAfter(1, database), vault, referenceData, partition: '00' });
    await t.rejects(tenantOf(dying).forget(byUrn(`cu.00.${number}`)), { message: 'the process is dead' });
  }
  const damaged = vault.erasureHash('acme cu.00.2');
  withRawSqlite(keys, (raw) => raw.prepare('UPDATE erasures SET sealed = randomblob(100) WHERE hash = ?').run(damaged));
  const listed = () => withRawSqlite(keys, (raw) => raw.prepare('SELECT number FROM pending_erasures').pluck().all());
  await t.rejects(repository.deleteExpired(noon), DatabaseFailure, 'it is heard of');
  t.same([listed(), notRewritten(path)], [[2], 1]);
  await close();
  // As at the first start of a release, or with a copy: everything is looked at.
  withRawSqlite(keys, (raw) => raw.exec("UPDATE sequences SET last = 0 WHERE name = 'weighed'"));
  const again = tenantOf((await connectSqlite(t, path)).repository);
  for (const urn of ['cu.00.1', 'cu.00.3'])
    t.match(await again.find(byUrn(urn)), { customer: { status: 'Anonymized' } });
  await t.rejects(again.find(byUrn('cu.00.2')), DatabaseFailure);
});

t.test('an erasure that fails at its first step has changed nothing', async (t) => {
  const { database, vault, repository } = await connectSqlite(t, newFolder(t));
  const { by, stored, customer } = await tenantOf(repository).has('crm-1', identity);
  const dying = createSqlCustomers({ database: endingAfter(0, database), vault, referenceData, partition: '00' });
  await t.rejects(tenantOf(dying).forget(by), { message: 'the process is dead' });
  t.same(await tenantOf(repository).find(by), stored);
  t.equal(await repository.findErasure(acmeId, customer.customerUrn), undefined);
});

t.test('a lost key that nobody destroyed is a failure, never taken for an erasure', async (t) => {
  const path = newFolder(t);
  const { repository } = await connectSqlite(t, path);
  const { by } = await tenantOf(repository).has('crm-1');
  withRawSqlite(sqliteFiles(path).keys, (raw) => raw.exec('DELETE FROM data_keys'));
  await t.rejects(tenantOf(repository).find(by), { cause: { message: /ledger knows of no erasure/ } });
  t.equal(notRewritten(path), 1);
  t.equal(
    (await tenantOf(repository).add('crm-1')).code,
    'CUSTOMER_ALREADY_STORED',
    'and it stands in the way no less',
  );
});

t.test('kill -9 at any moment of an erasure leaves it undone or, from its first step on, done', async (t) => {
  const path = newFolder(t);
  const said = { stored: new Set<string>(), erased: new Set<string>() };
  const seen = { erased: 0, halfDone: 0 };
  for (let round = 0; round < 8; round += 1) {
    const eraser = await startSqliteProcess(t, 'eraseForever', path, `r${round}`);
    eraser.tell();
    await eraser.said(4);
    await delay(Math.random() * 150);
    await eraser.kill();
    for (const line of eraser.lines) {
      const [what, urn] = line.split(' ') as [keyof typeof said, string];
      said[what].add(urn);
    }
    const before = notRewritten(path) as number;
    const { repository, database, close } = await connectSqlite(t, path);
    await database.write(function* () {});
    seen.halfDone += before - (notRewritten(path) as number);
    const wrong: string[] = [];
    for (const urn of said.stored) {
      const stored = await tenantOf(repository).find(byUrn(urn));
      const entered = (await repository.findErasure(acmeId, urnOf(urn))) !== undefined;
      const gone = stored !== undefined && isAnonymized(stored.customer);
      if (!stored || gone !== entered || (said.erased.has(urn) && !gone)) wrong.push(urn);
      if (gone) seen.erased += 1;
    }
    t.same(wrong, []);
    await close();
    const alive = withRawSqlite(sqliteFiles(path).data, (raw) =>
      raw.prepare('SELECT number FROM customers WHERE anonymized_at IS NULL').all(),
    );
    t.ok(wrappedKeys(path).length >= alive.length, 'every living record has its key');
  }
  t.ok(seen.erased > 0);
  t.comment(
    `${said.stored.size} stored, ${said.erased.size} acknowledged erasures, ${seen.halfDone} completed at start`,
  );
});

t.test('a start wipes the destroyed key that a crash left in the log', async (t) => {
  const path = newFolder(t);
  const { repository, database, vault } = await connectSqlite(t, path);
  const { by } = await tenantOf(repository).has('crm-1');
  const keys = wrappedKeys(path);
  const unscrubbed: SqlDatabase = { ...endingAfter(1, database), checkpoint: () => Promise.reject(new Error('dead')) };
  await t.rejects(
    tenantOf(createSqlCustomers({ database: unscrubbed, vault, referenceData, partition: '00' })).forget(by),
  );
  t.ok(copiesOf(keys, path) > 0, 'the log still holds it');
  await connectSqlite(t, path);
  t.equal(copiesOf(keys, path), 0);
});

t.test('changes that race an erasure over two processes never leave anything readable', async (t) => {
  const path = newFolder(t);
  const { repository } = await connectSqlite(t, path);
  const acme = tenantOf(repository);
  const changer = await startSqliteProcess(t, 'changeUntilGone', path);
  changer.tell();
  const rounds = 100;
  for (let round = 0; round < rounds; round += 1) {
    const { by, customer } = await acme.has('crm-1', identity);
    changer.tell(customer.customerUrn);
    await delay(Math.random() * 6);
    storedIn(await acme.forget(by));
    await changer.said(round + 1);
    const stored = await acme.find(by);
    if (!stored || !isAnonymized(stored.customer)) t.fail(`round ${round}: ${JSON.stringify(stored)}`);
    const { findings } = await repository.findResidue(acmeId, customer.customerUrn);
    if (findings.some(({ found }) => found > 0)) t.fail(`round ${round}: ${JSON.stringify(findings)}`);
  }
  const changes = (await changer.done()).map(Number);
  t.equal(changes.length, rounds);
  t.ok(
    changes.some((count) => count > 0),
    `changes were made in between: ${changes.join(' ')}`,
  );
  t.equal(wrappedKeys(path).length, 0);
  t.equal(notRewritten(path), 0);
});

t.test('both orders of a change and an erasure in one turn end erased, over every adapter', async (t) => {
  const repositories: Record<string, (t: Test) => Promise<[CustomerRepository, CustomerRepository]>> = {
    memory: async () => {
      const one = createMemoryCustomers({ referenceData });
      return [one, one];
    },
    'one connection': async (t) => {
      const { repository } = await connectSqlite(t, newFolder(t));
      return [repository, repository];
    },
    'two connections': async (t) => {
      const path = newFolder(t);
      return [(await connectSqlite(t, path)).repository, (await connectSqlite(t, path)).repository];
    },
  };
  for (const [name, open] of Object.entries(repositories)) {
    await t.test(name, async (t) => {
      const [one, other] = await open(t);
      for (const order of ['change first', 'erasure first']) {
        const { by, customer } = await tenantOf(one).has('crm-1', identity);
        const calls = [
          () => tenantOf(other).change(by, overwrite({ firstName: 'Joan', email: 'joan@example.com' })),
          () => tenantOf(one).forget(by),
        ];
        await Promise.all((order === 'change first' ? calls : calls.toReversed()).map((call) => call()));
        for (const repository of [one, other]) await isErased(t, repository, customer.customerUrn, 'crm-1');
      }
      t.equal((await tenantOf(other).add('crm-1', { ...identity, email: 'joan@example.com' })).code, 'SUCCESS');
    });
  }
});
