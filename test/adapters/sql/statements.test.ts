/**
 * Citus sends a statement to one node only if it names the tenant, as a parameter, for each table that is distributed
 * (docs/decisions/0036-citus.md). Every statement of docs/statements.md does. A statement for all tenants would need a
 * list of exceptions here, each with its reason; those of `move`, which copies whole tables, are not on that page.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import t from 'tap';
import { dialects, statementsOf } from '../../../scripts/statements.ts';
import { routingOf } from '../../support/routing.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/statements.md'), 'utf8');
const [, postgres = ''] = page.split('\n## PostgreSQL\n');
/** The statements of a section of the page, from its lines. */
const inSections = (isWanted: (title: string) => boolean): string[] =>
  postgres
    .split('\n### ')
    .filter((section) => isWanted(section.slice(0, section.indexOf('\n'))))
    .flatMap((section) => section.split('\n').filter((line) => line.endsWith(';')));

t.test('every statement names the tenant for each distributed table', async (t) => {
  const statements = inSections((title) => !title.startsWith('Schema of'));
  t.ok(statements.length > 70, `${statements.length} statements were read`);
  const others: string[] = [];
  for (const statement of statements) {
    const { unnamed } = await routingOf(statement);
    if (unnamed.length > 0) others.push(statement.slice(0, -1));
  }
  t.equal(others.length, 1);
  t.match(others, [/from "c2a"\."webhooks" where .* exists \(/], 'asks for all tenants at once, so not on Citus');
  const onCitus = Object.values(statementsOf(dialects.Citus)).flat();
  t.notOk(onCitus.includes(others[0] as string));
});

t.test('on Citus no statement inserts inside of WITH', async (t) => {
  const statementsOfDialect = (name: keyof typeof dialects) => Object.values(statementsOf(dialects[name])).flat();
  const together: string[] = [];
  for (const name of ['Citus', 'Citus, keys in a database of their own'] as const) {
    for (const statement of statementsOfDialect(name)) {
      if ((await routingOf(statement)).insertsInWith) together.push(statement);
    }
  }
  t.same(together, []);
  t.ok((await routingOf(statementsOfDialect('PostgreSQL').find((sql) => sql.includes('keyed')) ?? '')).insertsInWith);
});

t.test('the rule itself', async (t) => {
  const unnamed = async (sql: string) => (await routingOf(sql)).unnamed;
  t.same(await unnamed('select 1 from c2a.customers where tenant = $1'), []);
  t.same(await unnamed('select 1 from c2a.customers where tenant = $1 or number = $2'), ['customers']);
  t.same(await unnamed('select 1 from c2a.customers where tenant > $1'), ['customers']);
  t.same(await unnamed('select 1 from c2a.tenants'), [], 'a table of the coordinator');
  const related = `select (select wrapped from c2a_keys.data_keys k where k.tenant = customers.tenant) from c2a.customers
    where tenant = $1 union all select 1 from c2a.changes`;
  t.same(await unnamed(related), ['data_keys', 'changes']);
  t.same(await unnamed('insert into c2a.changes (number, tenant) values ($1, $2), ($1, $2)'), []);
  t.same(await unnamed(`insert into c2a.changes (number, tenant) values ($1, $2), ($1, 'a')`), ['changes']);
  const selected = 'with w as (select 1) insert into c2a.changes (tenant, number)';
  t.same(await unnamed(`${selected} select $1::text, 2 from w`), []);
  t.same(await unnamed(`${selected} select tenant, 2 from w`), ['changes']);
  t.same(await unnamed('delete from c2a.changes where (tenant, number) in (select $1, number from c2a.customers)'), [
    'changes',
    'customers',
  ]);
  t.same((await routingOf('update c2a.customers set version = $1 where number = $2 and tenant = $3')).tenants, [3]);
});
