/** Where a deployment may be: SQLite files, PostgreSQL with the keys in the same database or in another one. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import type { Vault } from '../../../src/adapters/crypto/vault.ts';
import { erasureParts as allParts, createCustomerStorage } from '../../../src/adapters/sql/customer-storage.ts';
import { sqliteFiles } from '../../../src/adapters/sql/driver/sqlite.ts';
import { unlockVault } from '../../../src/adapters/sql/root-keys.ts';
import {
  openPostgres,
  openSqlite,
  type SqlDatabase,
  type SqliteDatabase,
} from '../../../src/adapters/sql/schema/database.ts';
import { readDeployment } from '../../../src/adapters/sql/schema/migrate.ts';
import type { Migrations } from '../../../src/adapters/sql/schema/migrations.ts';
import type { Part } from '../../../src/adapters/sql/schema/tables.ts';
import { createSqlTenants } from '../../../src/adapters/sql/tenants.ts';
import { noTelemetry } from '../../../src/adapters/telemetry/no-telemetry.ts';
import { newPlaces } from '../../support/postgres.ts';
import { newFolder, noon, referenceData, tenantId } from '../../support/storage.ts';
import { connectRaw, rawPostgres, rawSqlite, readState, type State } from './state.ts';

export const tenant = tenantId('acme');
export type Parts = typeof allParts;

/** A backup of one part. */
export interface Backup {
  readonly part: Part;
  /** Whether it says that it is one; a raw copy does not. */
  readonly isMarked: boolean;
  readonly content: unknown;
}

/** A deployment without processes; a test opens as many as it wants. */
export interface Place {
  readonly name: string;
  readonly vault: Vault;
  readonly deployment: string;
  /** Databases of this many processes. */
  open(count: number): Promise<SqlDatabase[]>;
  /** Ends all processes. */
  end(how: 'crash' | 'stop'): Promise<void>;
  read(): Promise<State>;
  backup(part: Part, isMarked: boolean): Promise<Backup>;
  /** Puts a backup in place, while no process runs. */
  restore(backup: Backup): Promise<void>;
  /** Empties the deployment, while no process runs. */
  reset(): Promise<void>;
  /** The write-ahead log of a part; empty where it is the server's. */
  logOf(part: Part): Buffer;
}

/** The customers of a database of a place. */
export const customersOf = ({ vault, deployment }: Place, database: SqlDatabase, parts: Partial<Parts> = {}) =>
  createCustomerStorage({ database, vault, referenceData, partition: '00', deployment }, { ...allParts, ...parts });

async function prepare(database: SqlDatabase, masterKeyFile: string, all: Migrations | undefined) {
  mkdirSync(dirname(masterKeyFile), { recursive: true });
  const vault = await unlockVault({ database, masterKeyFile, mayCreate: true, ...(all && { all }) });
  await createSqlTenants(database).addTenant({ id: tenant, payment: { channels: [] }, createdAt: noon } as never);
  return { vault, deployment: await readDeployment(database) };
}

type NewPlace = (t: Test, all?: Migrations) => Promise<Place>;

export const places: Record<'SQLite' | 'PostgreSQL, one database' | 'PostgreSQL, two databases', NewPlace> = {
  SQLite: sqlitePlace,
  'PostgreSQL, one database': (t, all) => postgresPlace(t, 'one database', all),
  'PostgreSQL, two databases': (t, all) => postgresPlace(t, 'two databases', all),
};

const parts: readonly Part[] = ['keys', 'data'];
type SqliteFiles = readonly (readonly [suffix: string, bytes: Buffer])[];

async function sqlitePlace(t: Test, all?: Migrations): Promise<Place> {
  const folder = newFolder(t);
  mkdirSync(folder, { recursive: true });
  const files = sqliteFiles(folder);
  const raw = rawSqlite(files, tenant);
  let opened: SqliteDatabase[] = [];
  const openOne = () => openSqlite({ files, mayCreate: true }, noTelemetry);

  const read = (file: string): SqliteFiles =>
    ['', '-wal'].filter((suffix) => existsSync(file + suffix)).map((suffix) => [suffix, readFileSync(file + suffix)]);
  function write(file: string, content: SqliteFiles): void {
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
    for (const [suffix, bytes] of content) writeFileSync(file + suffix, bytes, { mode: 0o600 });
  }

  const first = await openOne();
  const prepared = await prepare(first, join(folder, 'master.key'), all);
  await first.close();
  const empty = parts.map((part) => [files[part], read(files[part])] as const);

  const place: Place = {
    name: 'SQLite',
    ...prepared,
    async open(count) {
      opened = await Promise.all(Array.from({ length: count }, openOne));
      return opened;
    },
    async end(how) {
      // To close a connection also empties the logs, which a crash does not.
      const left = parts.map((part) => [files[part], read(files[part])] as const);
      raw.reopen();
      for (const database of opened) await database.close();
      opened = [];
      if (how === 'crash') for (const [file, content] of left) write(file, content);
    },
    read: () => readState(raw.query),
    async backup(part, isMarked) {
      if (!isMarked) return { part, isMarked, content: read(files[part]) };
      const file = join(folder, 'copy');
      await (opened[0] as SqliteDatabase).copy(part, file);
      const content = read(file);
      rmSync(file);
      return { part, isMarked: part === 'keys', content };
    },
    async restore({ part, content }) {
      raw.reopen();
      write(files[part], content as SqliteFiles);
    },
    async reset() {
      raw.reopen();
      for (const [file, content] of empty) write(file, content);
    },
    logOf: (part) => (existsSync(`${files[part]}-wal`) ? readFileSync(`${files[part]}-wal`) : Buffer.alloc(0)),
  };
  t.teardown(() => place.end('stop'));
  return place;
}

const tablesOf = {
  keys: ['data_keys', 'erasures', 'erasure_heads', 'key_copies_used', 'sequences', 'tombstones'],
  data: ['customers', 'changes', 'feeds', 'flow_references', 'idempotency_records', 'erasure_positions'],
};
const schemaOf = { keys: 'c2a_keys', data: 'c2a' };

async function postgresPlace(t: Test, where: keyof typeof newPlaces, all?: Migrations): Promise<Place> {
  const urls: { url: string; keysUrl?: string } = await newPlaces[where](t);
  const openOne = () => openPostgres({ poolSize: 2, timeoutMs: 5_000, ...urls }, noTelemetry);
  const data = await connectRaw(urls.url);
  const clients = { data, keys: urls.keysUrl === undefined ? data : await connectRaw(urls.keysUrl) };
  const raw = rawPostgres(clients, tenant);
  const databases = await Promise.all([openOne(), openOne(), openOne()]);
  t.teardown(async () => {
    for (const database of databases) await database.close();
    for (const client of new Set(Object.values(clients))) await client.end();
  });

  const nameOf = (part: Part, table: string) => `${schemaOf[part]}.${table}`;
  async function copy(part: Part): Promise<unknown> {
    const columns = tablesOf[part].map(
      (table) => `(select coalesce(json_agg(t), '[]') from ${nameOf(part, table)} t) as ${table}`,
    );
    return (await clients[part].query(`select ${columns.join(', ')}`)).rows[0];
  }
  async function replace(part: Part, content: unknown): Promise<void> {
    const tables = tablesOf[part].map((table) => {
      const rows = pgLiteral(JSON.stringify((content as Record<string, unknown>)[table]));
      const name = nameOf(part, table);
      return `delete from ${name}; insert into ${name} select * from json_populate_recordset(null::${name}, ${rows})`;
    });
    await clients[part].query(`begin; ${tables.join('; ')}; commit`);
  }
  let marks = 0;

  const prepared = await prepare(databases[0] as SqlDatabase, join(t.testdir({}), 'master.key'), all);
  const empty = { keys: await copy('keys'), data: await copy('data') };
  return {
    name: `PostgreSQL, ${where}`,
    ...prepared,
    open: async (count) => databases.slice(0, count),
    async end() {},
    read: () => readState(raw.query),
    backup: async (part, isMarked) => ({ part, isMarked: isMarked && part === 'keys', content: await copy(part) }),
    async restore({ part, isMarked, content }) {
      await replace(part, content);
      marks += 1;
      if (isMarked) {
        await clients.keys.query(`insert into c2a_keys.key_copies_used (made_at) values (${Date.now() + marks})`);
      }
    },
    async reset() {
      for (const part of parts) await replace(part, empty[part]);
    },
    logOf: () => Buffer.alloc(0),
  };
}

const pgLiteral = (text: string): string => `'${text.replaceAll("'", "''")}'`;
