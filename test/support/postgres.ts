/** Databases on the shared PostgreSQL server of the tests. */
import { readFileSync } from 'node:fs';
import pg from 'pg';
import type { Test } from 'tap';
import { distributeTables, newCitusDatabase } from './citus.ts';
import { shared } from './shared.ts';
import { connectPostgres } from './storage.ts';

const { url: server } = JSON.parse(readFileSync(shared, 'utf8')) as { url: string };

/** Runs SQL directly, without the driver. */
export async function withRawPostgres(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

let made = 0;

/** Creates a database, which is dropped when the test ends, and returns its URL. */
export async function newDatabase(t: Test): Promise<string> {
  made += 1;
  const name = `test_${process.pid}_${made}`;
  await withRawPostgres(server, `create database ${name}`);
  t.teardown(() => withRawPostgres(server, `drop database ${name} with (force)`));
  return server.replace(/\/postgres$/, `/${name}`);
}

/** The layouts of a deployment on PostgreSQL. */
export const newPlaces = {
  'one database': async (t: Test) => ({ url: await newDatabase(t) }),
  'two databases': async (t: Test) => ({ url: await newDatabase(t), keysUrl: await newDatabase(t) }),
  Citus: async (t: Test) => {
    const url = await newCitusDatabase(t);
    const { close } = await connectPostgres(t, { url });
    await close();
    await distributeTables(url);
    return { url };
  },
};
