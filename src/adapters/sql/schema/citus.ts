import { postgresDialect } from './database.ts';
import { type Part, tables } from './tables.ts';

/**
 * The SQL that distributes this version's tables over the nodes of a Citus cluster by tenant, one statement each. Running
 * it again distributes only what a later version added.
 *
 * @param part the part whose database the statements are for; absent: both parts are in one database
 */
export function distributionStatements(part?: Part): readonly string[] {
  const { schemas } = postgresDialect({ keysApart: part !== undefined, isCitus: true });
  const distributed = Object.entries(tables)
    .filter(([, table]) => table.distributed && (part ?? table.part) === table.part)
    .map(([name, table]) => `${schemas[table.part]}.${name}`);
  return distributed.flatMap((name, index) => [
    // All tables with the first one, so that a tenant's rows of all tables are on one node.
    `select create_distributed_table('${name}', 'tenant', colocate_with => '${index === 0 ? 'none' : distributed[0]}') ` +
      `where not exists (select from pg_dist_partition where logicalrelid = '${name}'::regclass);`,
    // The coordinator's files would keep the rows from before, with data keys that are destroyed later.
    `select truncate_local_data_after_distributing_table('${name}');`,
  ]);
}
