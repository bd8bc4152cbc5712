/**
 * A database node that is away, on plain PostgreSQL. Citus answers a statement that touches a tenant whose node is away
 * with an ERROR over a sound session. Here each distributed table is replaced with a view that does the same.
 */
import { tables } from '../../src/adapters/sql/schema/tables.ts';
import { withRawPostgres } from './postgres.ts';

const schemas = { data: 'c2a', keys: 'c2a_keys' } as const;

/**
 * Makes it possible to take the nodes of tenants away, in a database that the program has created. Every tenant has a
 * node of its own, and all nodes are there at first.
 *
 * @returns a function that takes away the nodes of exactly these tenants
 */
export async function distribute(url: string): Promise<(...tenants: readonly string[]) => Promise<void>> {
  const distributed = Object.entries(tables).filter(([, table]) => table.distributed);
  const views = distributed.map(([table, { part }]) => {
    const name = `${schemas[part]}.${table}`;
    return `alter table ${name} rename to ${table}_shards;
      create view ${name} as select * from ${name}_shards where test_nodes.is_up(tenant) with check option;`;
  });
  await withRawPostgres(
    url,
    `create schema test_nodes;
     create table test_nodes.down (tenant text);
     create function test_nodes.is_up(one text) returns boolean language plpgsql stable as $$
       begin
         if exists (select from test_nodes.down where tenant = one) then
           raise exception 'connection to the remote node failed' using errcode = '08006';
         end if;
         return true;
       end $$;
     ${views.join('\n')}`,
  );
  return async (...down) => {
    const rows = down.map((tenant) => `insert into test_nodes.down values ('${tenant}');`);
    await withRawPostgres(url, `delete from test_nodes.down; ${rows.join(' ')}`);
  };
}
