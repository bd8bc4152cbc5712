/**
 * Databases of a Citus cluster. With `C2A_TEST_CITUS_URL`, the URL of a coordinator and of a database in which its
 * workers are registered, tests run over that cluster. Otherwise they run over a stand-in for the extension
 * (test/fixtures/citus-stand-in): the same statements and transactions, on one node.
 */
import type { Test } from 'tap';
import { distributionStatements } from '../../src/adapters/sql/schema/citus.ts';
import { newDatabase, withRawPostgres } from './postgres.ts';

/** The coordinator's URL, with the credentials of a superuser of every node. */
export const cluster = process.env.C2A_TEST_CITUS_URL;

interface Node {
  readonly name: string;
  readonly port: number;
}

/** Distributes the tables of a database with a new, empty deployment. */
export async function distributeTables(url: string): Promise<void> {
  for (const statement of distributionStatements()) await withRawPostgres(url, statement);
}

/** Creates a database in which Citus is installed, on every node. It is dropped when the test ends. */
export async function newCitusDatabase(t: Test): Promise<string> {
  if (cluster === undefined) {
    const url = await newDatabase(t);
    await withRawPostgres(url, 'create extension citus');
    return url;
  }
  const workers = (await withRawPostgres(
    cluster,
    'select nodename as name, nodeport as port from pg_dist_node where groupid <> 0 and isactive',
  )) as unknown as Node[];
  const { hostname, port } = new URL(cluster);
  made += 1;
  const database = `test_${process.pid}_${made}`;
  const all = [cluster, ...workers.map(({ name, port }) => at(cluster, { hostname: name, port: String(port) }))];
  for (const node of all) {
    await withRawPostgres(node, `create database ${database}`);
    await withRawPostgres(at(node, { pathname: database }), 'create extension citus');
  }
  t.teardown(async () => {
    for (const node of all) await withRawPostgres(node, `drop database ${database} with (force)`);
  });
  const url = at(cluster, { pathname: database });
  await withRawPostgres(url, `select citus_set_coordinator_host('${hostname}', ${port || 5432})`);
  for (const { name, port } of workers) await withRawPostgres(url, `select citus_add_node('${name}', ${port})`);
  return url;
}
let made = 0;

/** The URL with other parts. */
function at(url: string, parts: Partial<Pick<URL, 'hostname' | 'port' | 'pathname'>>): string {
  return Object.assign(new URL(url), parts).href;
}
