/** Several servers on one PostgreSQL. */
import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { distributeTables, newCitusDatabase } from '../support/citus.ts';
import { storing } from '../support/client.ts';
import { deployment, type Server } from '../support/deployment.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { atOnce, newFolder } from '../support/storage.ts';

/** Servers on new databases, with the same master key file. */
async function cluster(t: Test, servers: number, layout: 'one database' | 'two databases' | 'Citus' = 'one database') {
  const url = layout === 'Citus' ? await newCitusDatabase(t) : await newDatabase(t);
  const keysUrl = layout === 'two databases' ? await newDatabase(t) : undefined;
  const words = ['--database-url', url, ...(keysUrl === undefined ? [] : ['--keys-database-url', keysUrl])];
  const one = deployment(t, newFolder(t), words);
  const first = await one.serve();
  if (layout === 'Citus') await distributeTables(url);
  const others = await atOnce(servers - 1, () => one.serve());
  const all = [first, ...others];
  return { ...one, url, keysUrl, words, all, turn: (index: number) => all[index % all.length] as Server };
}

const tally = (outcomes: readonly string[]) => {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
};

for (const layout of ['one database', 'two databases', 'Citus'] as const) {
  t.test(layout, async (t) => {
    const { all, turn, command, url, keysUrl = url } = await cluster(t, 3, layout);
    const store = async (index: number, customer: object, headers = {}) => {
      const { status, body } = await turn(index).post('store', storing(customer), headers);
      return { outcome: `${status} ${body.status.messageCode}`, urn: body.result?.customerUrn as string };
    };

    t.test('of many concurrent stores of one unique value, one succeeds', async (t) => {
      for (const [field, value, code] of [
        ['externalIdentifier', 'crm-1', 'CUSTOMER_ALREADY_STORED'],
        ['email', 'jane@example.com', 'USER_WITH_SAME_EMAIL_EXISTS'],
        ['phoneNumber', '+491701234567', 'USER_WITH_SAME_PHONE_NUMBER_EXISTS'],
      ] as const) {
        const outcomes = await atOnce(48, (index) =>
          store(index, { externalIdentifier: `race-${field}-${index}`, [field]: value }),
        );
        t.same(tally(outcomes.map(({ outcome }) => outcome)), { '200 SUCCESS': 1, [`409 ${code}`]: 47 }, field);
      }
    });

    t.test('every CustomerUrn is assigned once', async (t) => {
      const stored = await atOnce(300, (index) => store(index, { externalIdentifier: `urn-${index}` }));
      t.equal(new Set(stored.map(({ urn }) => urn)).size, 300);
      const [{ last }] = (await withRawPostgres(
        keysUrl,
        `select last from c2a_keys.sequences where name = 'customer'`,
      )) as [{ last: string }];
      t.ok(Number(last) >= 300);
    });

    t.test('an Idempotency-Key stores one customer', async (t) => {
      const answers = await atOnce(30, (index) =>
        store(index, { externalIdentifier: 'once' }, { 'idempotency-key': 'k-1' }),
      );
      const outcomes = tally(answers.map(({ outcome }) => outcome));
      t.equal((outcomes['200 SUCCESS'] ?? 0) + (outcomes['409 REQUEST_IN_PROGRESS'] ?? 0), 30);
      t.equal(new Set(answers.map(({ urn }) => urn).filter(Boolean)).size, 1);
    });

    t.test('every server rejects a revoked API key within a second', async (t) => {
      const { value: issued } = await command('key', 'issue', 'acme');
      const ask = async (server: Server) =>
        (await server.get('/api/c2a/customer/info?exId=crm-1', { 'x-api-key': issued.key })).status;
      for (const server of all) t.not(await ask(server), 401);
      await command('key', 'revoke', issued.id);
      await delay(1_000);
      for (const server of all) t.equal(await ask(server), 401);
    });

    t.test('updates that race an erasure leave nothing readable, on any server', async (t) => {
      for (let round = 0; round < 10; round += 1) {
        const { urn } = await store(0, { externalIdentifier: `gone-${round}`, email: `gone-${round}@example.com` });
        const updates = atOnce(12, (index) =>
          turn(index).post('update', { customer: { customerUrn: urn, firstName: `Jane ${index}` } }),
        );
        const [deleted] = await Promise.all([turn(round).post('delete', { customerUrn: urn }), updates]);
        t.equal(deleted.status, 200);
        for (const server of all) {
          t.match((await server.info({ urn })).body.result, { status: 'Anonymized', firstName: 'Anonymized' });
          t.equal((await server.receipt(urn)).body.result.receipt.residualScan.clean, true);
        }
        t.equal((await store(round, { externalIdentifier: `gone-${round}` })).outcome, '200 SUCCESS', 'it is free');
      }
    });

    t.test('concurrent erasures of one customer on several servers are all finished', async (t) => {
      for (let round = 0; round < 10; round += 1) {
        const { urn } = await store(0, { externalIdentifier: `twice-${round}` });
        const answers = await atOnce(6, (index) => turn(index).post('delete', { customerUrn: urn }));
        t.same(tally(answers.map(({ status }) => String(status))), { 200: 6 });
      }
      const sequences = async (place: string, table: string) =>
        (await withRawPostgres(place, `select sequence from ${table}`)).map(({ sequence }) => Number(sequence));
      const heads = () => sequences(keysUrl, 'c2a_keys.erasure_heads');
      t.ok(Number((await heads())[0]) >= 20, 'each erasure has one entry');
      const areEqual = async () =>
        JSON.stringify(await heads()) === JSON.stringify(await sequences(url, 'c2a.erasure_positions'));
      for (let look = 0; look < 40 && !(await areEqual()); look += 1) await delay(500);
      t.ok(await areEqual(), 'a job has moved the position to the end of the log');
    });
  });
}

t.test('a server without the master key does not start, and names the file', async (t) => {
  const { masterKeyFile, words, command, beside } = await cluster(t, 1);
  const elsewhere = deployment(t, beside('elsewhere'), words);
  await t.rejects(elsewhere.serve(), { message: /master\.key is missing.*C2A_MASTER_KEY_FILE/ });
  const copy = beside('copy.key');
  writeFileSync(copy, '0'.repeat(64), { mode: 0o600 });
  await t.rejects(elsewhere.serve('--master-key-file', copy), {
    message: /is not the one that the data was sealed with/,
  });
  await elsewhere.serve('--master-key-file', masterKeyFile);
  t.equal((await command('tenant', 'list')).value.length, 1);
});

t.test('acknowledged writes survive kill -9 of every server', async (t) => {
  const { all, turn, serve } = await cluster(t, 2);
  const acknowledged = new Set<string>();
  let isRunning = true;
  const lanes = atOnce(8, async (lane) => {
    for (let count = 0; isRunning; count += 1) {
      const name = `lane-${lane}-${count}`;
      const answer = await turn(lane)
        .post('store', storing({ externalIdentifier: name }))
        .catch(() => undefined);
      if (answer?.status === 200) acknowledged.add(name);
      if (answer === undefined) return;
    }
  });
  await delay(700);
  for (const { child } of all) child.kill('SIGKILL');
  isRunning = false;
  await lanes;
  const again = await serve();
  const lost: string[] = [];
  for (const name of acknowledged) if ((await again.info({ exId: name })).status !== 200) lost.push(name);
  t.ok(acknowledged.size > 20, `${acknowledged.size} were acknowledged`);
  t.same(lost, []);
});
