/** An erasure that is interrupted or raced: from its first step on the customer cannot be read. */
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { sqliteFiles } from '../../src/adapters/sql/driver/sqlite.ts';
import type { SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
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
  idempotencyKey,
  newFolder,
  noon,
  overwrite,
  referenceData,
  storedIn,
  tenantId,
  tenantOf,
  withRawSqlite,
} from '../support/storage.ts';

const acmeId = tenantId('acme');
const jane = { email: 'jane@example.com', phoneNumber: '+491701234567' };
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
    async write(routine) {
      left -= 1;
      if (left < 0) throw error;
      return database.write(routine);
    },
  };
}

/** A data folder whose tenant is known, as recovery asks the tenants. */
async function connect(t: Test, path: string) {
  const connected = await connectSqlite(t, path);
  await connected.directory.addTenant({ id: acmeId, payment: { channels: [] }, createdAt: noon } as never);
  return connected;
}

/** A customer whose data key was destroyed by a process that died before it anonymized the record. */
async function halfErased(t: Test, key?: ReturnType<typeof idempotencyKey>) {
  const path = newFolder(t);
  const { database, repository, customers, over, close } = await connect(t, path);
  const acme = tenantOf(repository);
  await acme.mustStore('crm-0');
  const { customer, by } = await acme.mustStore('crm-1', jane);
  const before = wrappedKeys(path);
  const dying = over(endingAfter(1, database)).repository;
  await t.rejects(tenantOf(dying).erase(by, key && { key }), { message: 'the process is dead' });
  const living = wrappedKeys(path);
  const destroyed = before.filter((key) => !living.some((other) => other.equals(key)));
  return { path, close, database, over, repository, recovery: customers.recovery, acme, customer, by, destroyed };
}
type HalfErased = Awaited<ReturnType<typeof halfErased>>;

/** How many records are not anonymized. */
const living = (path: string): unknown =>
  withRawSqlite(sqliteFiles(path).data, (raw) =>
    raw.prepare('SELECT count(*) FROM customers WHERE erasure IS NULL').pluck().get(),
  );
/** How often the records were written: one event for each version. */
const writes = (path: string): unknown =>
  withRawSqlite(sqliteFiles(path).data, (raw) => raw.prepare('SELECT count(*) FROM changes').pluck().get());

/** Asserts what every caller sees of a customer that was erased, whether or not its record is anonymized. */
async function looksErased(t: Test, repository: CustomerRepository, urn: string, externalId: string): Promise<void> {
  const acme = tenantOf(repository);
  const found = await acme.find(byUrn(urn));
  t.match(found?.customer, { status: 'Anonymized', externalIdentifier: `anonymized-${urn}`, firstName: 'Anonymized' });
  t.notOk(found?.customer.phoneNumber);
  const listed = await acme.list();
  t.strictSame(
    listed.find(({ customer }) => customer.customerUrn === urn),
    found,
  );
  t.equal(await acme.find(byExternalId(externalId)), undefined);
  t.equal(await acme.hasExternalId(externalId), false);
  for (const by of [{ email: jane.email }, { phoneNumber: jane.phoneNumber }]) t.equal(await acme.find(by), undefined);
  t.match(await acme.update(byUrn(urn), overwrite({ firstName: 'Jane' })), { code: 'CUSTOMER_NOT_FOUND' });
  t.match(await repository.findErasure(acmeId, urnOf(urn)), { urn });
}

/** Asserts that nothing of an erased customer is left. */
async function isErased(t: Test, repository: CustomerRepository, urn: string, externalId: string): Promise<void> {
  await looksErased(t, repository, urn, externalId);
  const { findings } = await repository.findResidue(acmeId, urnOf(urn));
  t.ok(findings.length > 0);
  t.same(
    findings.filter(({ found }) => found > 0),
    [],
    'nothing is left',
  );
}

t.test('between its two steps an erasure has destroyed the data key and appended to the log', async (t) => {
  const { path, repository, customer, destroyed } = await halfErased(t);
  t.equal(destroyed.length, 1);
  t.equal(wrappedKeys(path).length, 1, 'the other customer keeps its key');
  t.equal(copiesOf(destroyed, path), 0, 'no copy is left, in the write-ahead log neither');
  t.equal(living(path), 2);
  t.match(await repository.findErasure(acmeId, customer.customerUrn), { keyId: 'key', requestId: 'request' });
});

t.test('reads show a half-erased customer as erased, and write nothing', async (t) => {
  const { path, repository, customer } = await halfErased(t);
  const before = writes(path);
  await looksErased(t, repository, customer.customerUrn, 'crm-1');
  t.same([living(path), writes(path)], [2, before]);
  t.match(await repository.history(acmeId, customer.customerUrn), [{ version: 1 }], 'no event before the second step');
});

t.test('a write that meets a half-erased customer finishes its erasure', async (t) => {
  const met: Record<string, (half: HalfErased) => Promise<unknown>> = {
    'another erasure by URN': ({ acme, by }) => acme.erase(by),
    'another erasure by ExternalId': ({ acme }) => acme.erase(byExternalId('crm-1')),
    'a store of its ExternalId': ({ acme }) => acme.mustStore('crm-1'),
    'a store of its e-mail': ({ acme }) => acme.mustStore('crm-2', { email: jane.email }),
    'a store of its phone number': ({ acme }) => acme.mustStore('crm-2', { phoneNumber: jane.phoneNumber }),
    'an update to its e-mail': ({ acme }) => acme.update(byExternalId('crm-0'), overwrite({ email: jane.email })),
    'a recovery': ({ recovery }) => recovery.recover(acmeId),
  };
  for (const [name, write] of Object.entries(met)) {
    await t.test(name, async (t) => {
      const half = await halfErased(t);
      await write(half);
      const ours = withRawSqlite(sqliteFiles(half.path).data, (raw) =>
        raw.prepare('SELECT erasure, external_id, email, phone_number FROM customers WHERE number = 2').get(),
      );
      t.same(ours, { erasure: 1, external_id: null, email: null, phone_number: null });
      t.not((await half.acme.find(byExternalId('crm-1')))?.customer.customerUrn, half.customer.customerUrn);
      t.match((await half.acme.find(half.by))?.customer, { status: 'Anonymized', anonymizedAt: String });
    });
  }
});

t.test(
  'where the record cannot be anonymized, the erasure holds, is acknowledged, and is finished later',
  async (t) => {
    const path = newFolder(t);
    const { database, repository, customers, over } = await connect(t, path);
    const { customer, by } = await tenantOf(repository).mustStore('crm-1', jane);
    const full = endingAfter(1, database, new DatabaseFailure(new Error('disk full')));
    const acme = tenantOf(over(full).repository);
    t.match(await acme.erase(by), {
      code: 'SUCCESS',
      stored: { version: 2, customer: { status: 'Anonymized', claimedRegion: { countryCode: 'DE' } } },
    });
    t.equal(living(path), 1);
    t.match((await acme.find(by))?.customer, { status: 'Anonymized', claimedRegion: { countryCode: 'DE' } });
    t.equal(await acme.find(byExternalId('crm-1')), undefined);
    t.equal(living(path), 1);
    await customers.recovery.recover(acmeId);
    t.equal(living(path), 0);
    await isErased(t, repository, customer.customerUrn, 'crm-1');
  },
);

t.test('a record that is damaged can be erased, and frees its unique keys', async (t) => {
  const path = newFolder(t);
  const { repository } = await connect(t, path);
  const acme = tenantOf(repository);
  const { customer, by } = await acme.mustStore('crm-1', jane);
  withRawSqlite(sqliteFiles(path).data, (raw) => {
    const sealed = raw.prepare<[], Buffer>('SELECT sealed FROM customers').pluck().get() as Buffer;
    sealed.writeUInt8(sealed.readUInt8(60) ^ 1, 60);
    raw.prepare('UPDATE customers SET sealed = ?').run(sealed);
  });
  await t.rejects(acme.find(by), DatabaseFailure);
  for (const [externalId, fields, code] of [
    ['crm-1', {}, 'CUSTOMER_ALREADY_STORED'],
    ['crm-2', { email: jane.email }, 'USER_WITH_SAME_EMAIL_EXISTS'],
    ['crm-3', { phoneNumber: jane.phoneNumber }, 'USER_WITH_SAME_PHONE_NUMBER_EXISTS'],
  ] as const) {
    t.equal((await acme.store(externalId, fields)).code, code);
  }
  t.equal((await acme.erase(by)).code, 'SUCCESS');
  await isErased(t, repository, customer.customerUrn, 'crm-1');
  t.notOk((await repository.findErasure(acmeId, customer.customerUrn))?.rewritten, 'its fields are unknown');
});

t.test('a start finishes what a crash left half erased, before it answers anything', async (t) => {
  const { path, close, customer } = await halfErased(t);
  await close();
  const { repository } = await connect(t, path);
  t.equal(living(path), 1);
  await isErased(t, repository, customer.customerUrn, 'crm-1');
  t.equal((await tenantOf(repository).store('crm-1', jane)).code, 'SUCCESS', 'all its unique keys are free');
});

t.test('the interrupted request gets its answer when it is retried, from the log and from its record', async (t) => {
  const key = idempotencyKey('k', 'delete', noon + 1000);
  const another = idempotencyKey('k', 'another', noon + 1000);
  const { path, acme, recovery, repository, by, customer } = await halfErased(t, key);
  const records = () =>
    withRawSqlite(sqliteFiles(path).data, (raw) =>
      raw.prepare('SELECT count(*) FROM idempotency_records').pluck().get(),
    );
  const answer = { code: 'SUCCESS', replayed: true, stored: { customer: { customerUrn: customer.customerUrn } } };
  t.equal(records(), 0);
  t.equal((await acme.erase(byExternalId('crm-0'), { key: another })).code, 'IDEMPOTENCY_KEY_REUSED');
  t.equal(records(), 0);
  for (let time = 0; time < 2; time += 1) {
    t.match(await acme.erase(by, { key }), answer);
    t.equal(records(), 1);
  }
  await recovery.recover(acmeId);
  t.match(await acme.erase(by, { key }), answer);
  t.equal((await acme.erase(byExternalId('crm-0'), { key: another })).code, 'IDEMPOTENCY_KEY_REUSED');
  await isErased(t, repository, customer.customerUrn, 'crm-1');
});

t.test('the first step is acknowledged where only the keys have stored it', async (t) => {
  const key = idempotencyKey('k', 'delete', noon + 1000);
  const path = newFolder(t);
  const { database, repository, over } = await connect(t, path);
  const { customer } = await tenantOf(repository).mustStore('crm-1', jane);
  let count = 0;
  const failing: SqlDatabase = {
    ...database,
    async write(routine) {
      const result = await database.write(routine);
      count += 1;
      if (count === 1) throw new DatabaseFailure(new Error('connection lost'), true);
      return result;
    },
  };
  const acme = tenantOf(over(failing).repository);
  t.match(await acme.erase(byExternalId('crm-1'), { key }), { code: 'SUCCESS' });
  await isErased(t, repository, customer.customerUrn, 'crm-1');
  t.match(await acme.erase(byExternalId('crm-1'), { key }), { code: 'SUCCESS', replayed: true });
});

t.test('a refused request under the key of another one is not acknowledged', async (t) => {
  const { path, acme, repository, customer, database, over } = await halfErased(t);
  await acme.mustStore('crm-2', {}, { key: idempotencyKey('k', 'store', noon + 1000) });
  const key = idempotencyKey('k', 'delete', noon + 1000);
  const full = over(endingAfter(0, database, new DatabaseFailure(new Error('disk full')))).repository;
  await t.rejects(tenantOf(full).erase(byExternalId('crm-1'), { key }), DatabaseFailure);
  t.equal((await acme.erase(byExternalId('crm-1'), { key })).code, 'IDEMPOTENCY_KEY_REUSED');
  t.equal(living(path), 3);
  await looksErased(t, repository, customer.customerUrn, 'crm-1');
});

t.test(
  'an erasure that another process has begun is finished and recorded under the key of this request',
  async (t) => {
    const key = idempotencyKey('k', 'delete', noon + 1000);
    const { acme, repository, customer } = await halfErased(t);
    t.match(await acme.erase(byExternalId('crm-1'), { key }), { code: 'SUCCESS' });
    await isErased(t, repository, customer.customerUrn, 'crm-1');
    t.match(await acme.erase(byExternalId('crm-1'), { key }), { code: 'SUCCESS', replayed: true });
  },
);

t.test('a start stores the idempotency record that is owed', async (t) => {
  const key = idempotencyKey('k', 'delete', noon + 1000);
  const { path, close, customer } = await halfErased(t, key);
  await close();
  const { repository } = await connect(t, path);
  t.equal(living(path), 1);
  const acme = tenantOf(repository);
  t.match(await repository.findIdempotencyRecords(acmeId, customer.customerUrn), [{ code: 'SUCCESS' }]);
  const answer = await acme.erase(byExternalId('crm-1'), { key });
  t.match(answer, { code: 'SUCCESS', replayed: true, stored: { customer: { customerUrn: customer.customerUrn } } });
  const { by } = await acme.mustStore('crm-2');
  t.equal((await acme.erase(by, { key: idempotencyKey('k', 'another', noon) })).code, 'IDEMPOTENCY_KEY_REUSED');
});

t.test('an Idempotency-Key that has expired erases again, also before the job has deleted it', async (t) => {
  const { repository } = await connect(t, newFolder(t));
  const acme = tenantOf(repository);
  for (const [index, now] of [noon, noon + 1000, noon + 2000].entries()) {
    const { by } = await acme.mustStore(`crm-${index}`, {}, { now });
    const key = idempotencyKey('k', `delete ${index}`, now + 1000);
    t.match(await acme.erase(by, { key, now }), { code: 'SUCCESS', replayed: undefined });
    t.match(await acme.erase(by, { key, now: now + 999 }), { code: 'SUCCESS', replayed: true });
  }
});

t.test('the job deletes expired digests from the log, and recovery needs them no more', async (t) => {
  const key = idempotencyKey('k', 'delete', noon + 1000);
  const { path, repository, recovery, customer } = await halfErased(t, key);
  const digests = () =>
    withRawSqlite(sqliteFiles(path).keys, (raw) =>
      raw.prepare('SELECT key_digest IS NULL AND request_digest IS NULL FROM erasures').pluck().all(),
    );
  await repository.deleteExpired(acmeId, noon + 999);
  t.same(digests(), [0]);
  await repository.deleteExpired(acmeId, noon + 1000);
  t.same(digests(), [1]);
  t.same(await recovery.recover(acmeId), { erasedAgain: 1, findings: [] });
  await isErased(t, repository, customer.customerUrn, 'crm-1');
});

t.test('an entry that is damaged keeps no start and no other erasure from being finished', async (t) => {
  const path = newFolder(t);
  const { database, vault, repository, customers, over, close } = await connect(t, path);
  const { keys } = sqliteFiles(path);
  const acme = tenantOf(repository);
  for (const name of ['crm-1', 'crm-2', 'crm-3']) await acme.mustStore(name);
  for (const number of [1, 2, 3]) {
    const dying = over(endingAfter(1, database)).repository;
    await t.rejects(tenantOf(dying).erase(byUrn(`cu.00.${number}`)), { message: 'the process is dead' });
  }
  const damaged = vault.erasureHash('acme cu.00.2');
  withRawSqlite(keys, (raw) => raw.prepare('UPDATE erasures SET sealed = randomblob(100) WHERE hash = ?').run(damaged));
  t.match((await customers.recovery.recover(acmeId)).findings, [
    { kind: 'broken_link', sequence: 2 },
    { kind: 'broken_seal', sequence: 2 },
  ]);
  t.equal(living(path), 1);
  await close();
  // As with a backup of the records: everything is walked again.
  withRawSqlite(sqliteFiles(path).data, (raw) => raw.exec('DELETE FROM erasure_positions'));
  const again = tenantOf((await connect(t, path)).repository);
  for (const urn of ['cu.00.1', 'cu.00.3']) {
    t.match(await again.find(byUrn(urn)), { customer: { status: 'Anonymized' } });
  }
  await t.rejects(again.find(byUrn('cu.00.2')), DatabaseFailure);
});

t.test('an erasure whose first step fails has changed nothing', async (t) => {
  const { database, over, repository } = await connect(t, newFolder(t));
  const { by, stored, customer } = await tenantOf(repository).mustStore('crm-1', jane);
  const dying = over(endingAfter(0, database)).repository;
  await t.rejects(tenantOf(dying).erase(by), { message: 'the process is dead' });
  t.same(await tenantOf(repository).find(by), stored);
  t.equal(await repository.findErasure(acmeId, customer.customerUrn), undefined);
});

t.test('a data key that is lost without an erasure is a failure, never taken for an erasure', async (t) => {
  const path = newFolder(t);
  const { repository } = await connect(t, path);
  const acme = tenantOf(repository);
  const { by } = await acme.mustStore('crm-1');
  withRawSqlite(sqliteFiles(path).keys, (raw) => raw.exec('DELETE FROM data_keys'));
  await t.rejects(acme.find(by), { name: 'DatabaseFailure', cause: { message: /erasure is not in the log/ } });
  t.equal(living(path), 1);
  t.equal((await acme.store('crm-1')).code, 'CUSTOMER_ALREADY_STORED', 'it keeps its unique keys');
});

/** How many customers have an entry in the log, or no data key, and a record that is not anonymized. */
const halfErasedIn = (path: string): number =>
  withRawSqlite(sqliteFiles(path).keys, (raw) => {
    raw.prepare('ATTACH ? AS data').run(sqliteFiles(path).data);
    const keyless = 'SELECT count(*) FROM data.customers LEFT JOIN data_keys USING (tenant, number)';
    return raw.prepare(`${keyless} WHERE erasure IS NULL AND wrapped IS NULL`).pluck().get() as number;
  });

t.test('kill -9 at any moment of an erasure leaves it undone or, from its first step on, done', async (t) => {
  const path = newFolder(t);
  await (await connect(t, path)).close();
  const said = { stored: new Set<string>(), erased: new Set<string>() };
  const seen = { erased: 0, halfErased: 0 };
  for (let round = 0; round < 8 || (seen.halfErased === 0 && round < 50); round += 1) {
    const eraser = await startSqliteProcess(t, 'eraseForever', path, `r${round}`);
    eraser.tell();
    await eraser.said(4);
    await delay(Math.random() * 150);
    await eraser.kill();
    for (const line of eraser.lines) {
      const [what, urn] = line.split(' ') as [keyof typeof said, string];
      said[what].add(urn);
    }
    const before = halfErasedIn(path);
    const { repository, close } = await connectSqlite(t, path);
    t.equal(halfErasedIn(path), 0);
    seen.halfErased += before;
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
    t.equal(wrappedKeys(path).length, living(path), 'every living record has its key');
  }
  t.ok(seen.erased > 0 && seen.halfErased > 0, `${seen.halfErased} erasures were half done`);
});

t.test('a start empties the write-ahead log in which a crash left the destroyed key', async (t) => {
  const path = newFolder(t);
  const { repository, database, over } = await connect(t, path);
  const { by } = await tenantOf(repository).mustStore('crm-1');
  const keys = wrappedKeys(path);
  const dead = new Error('the process is dead');
  const dying: SqlDatabase = { ...database, checkpoint: () => Promise.reject(dead) };
  await t.rejects(tenantOf(over(dying).repository).erase(by), dead);
  t.ok(copiesOf(keys, path) > 0, 'the write-ahead log still has it');
  await connect(t, path);
  t.equal(copiesOf(keys, path), 0);
});

t.test('updates that race an erasure in another process never leave anything readable', async (t) => {
  const path = newFolder(t);
  const { repository } = await connect(t, path);
  const acme = tenantOf(repository);
  const changer = await startSqliteProcess(t, 'changeUntilGone', path);
  changer.tell();
  const rounds = 30;
  for (let round = 0; round < rounds; round += 1) {
    const { by, customer } = await acme.mustStore('crm-1', jane);
    changer.tell(customer.customerUrn);
    await delay(Math.random() * 6);
    storedIn(await acme.erase(by));
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
  t.equal(living(path), 0);
});

t.test('both orders of an update and an erasure in one turn end erased, over every adapter', async (t) => {
  const repositories: Record<string, (t: Test) => Promise<[CustomerRepository, CustomerRepository]>> = {
    memory: async () => {
      const one = new MemoryCustomers(referenceData);
      return [one, one];
    },
    'one connection': async (t) => {
      const { repository } = await connect(t, newFolder(t));
      return [repository, repository];
    },
    'two connections': async (t) => {
      const path = newFolder(t);
      return [(await connect(t, path)).repository, (await connect(t, path)).repository];
    },
  };
  for (const [name, open] of Object.entries(repositories)) {
    await t.test(name, async (t) => {
      const [one, other] = await open(t);
      for (const order of ['update first', 'erasure first']) {
        const { by, customer } = await tenantOf(one).mustStore('crm-1', jane);
        const calls = [
          () => tenantOf(other).update(by, overwrite({ firstName: 'Joan', email: 'joan@example.com' })),
          () => tenantOf(one).erase(by),
        ];
        await Promise.all((order === 'update first' ? calls : calls.toReversed()).map((call) => call()));
        for (const repository of [one, other]) await isErased(t, repository, customer.customerUrn, 'crm-1');
      }
      t.equal((await tenantOf(other).store('crm-1', { ...jane, email: 'joan@example.com' })).code, 'SUCCESS');
    });
  }
});
