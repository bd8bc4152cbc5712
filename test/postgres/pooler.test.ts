/** Behind PgBouncer in transaction mode, where each transaction may get another connection to the server. */
import t, { type Test } from 'tap';
import { customerRepositoryContract, sharedCustomersContract } from '../contract/customer-repository.ts';
import { sharedTenantsContract } from '../contract/tenant-directory.ts';
import { findPgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { atOnce, connectPostgres, tenantOf } from '../support/storage.ts';

const program = findPgBouncer();

if (program === undefined) {
  t.pass('PgBouncer is not installed: apt-get install pgbouncer', { skip: true });
} else {
  const storage = (t: Test) => {
    const url = newDatabase(t).then((direct) => startPgBouncer(t, program, direct));
    return async () => connectPostgres(t, { url: await url });
  };

  t.test('customers', async (t) => customerRepositoryContract(t, async (t) => (await storage(t)()).repository));
  t.test('customers, shared', async (t) => sharedCustomersContract(t, storage));
  t.test('tenants, shared', async (t) =>
    sharedTenantsContract(t, (t) => {
      const connect = storage(t);
      return async () => (await connect()).directory;
    }),
  );

  t.test('no setting or prepared statement is left on a pooled connection', async (t) => {
    const direct = await newDatabase(t);
    const url = await startPgBouncer(t, program, direct);
    const { repository } = await connectPostgres(t, { url });
    await atOnce(100, (index) => tenantOf(repository).store(`crm-${index}`));
    const settings = await withRawPostgres(url, `select current_setting('statement_timeout') as timeout`);
    t.same(settings, [{ timeout: '0' }]);
    t.same(await withRawPostgres(url, 'select name from pg_prepared_statements'), []);
    const connections = await withRawPostgres(
      direct,
      `select count(*)::int as count from pg_stat_activity where datname = current_database()`,
    );
    t.ok(Number(connections[0]?.count) <= 6, `${connections[0]?.count} connections for a hundred writes at once`);
  });
}
