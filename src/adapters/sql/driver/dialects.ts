/** Where the dialects of SQL differ. Everything else in this folder is written once, for both. */
import {
  type DialectAdapter,
  DummyDriver,
  type Expression,
  IdentifierNode,
  Kysely,
  type KyselyPlugin,
  OperationNodeTransformer,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryCompiler,
  type SchemableIdentifierNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import { type Part, partOf, type Tables } from '../schema/tables.ts';
import type { Compiled } from './query.ts';

export interface Dialect {
  /** Builds and compiles statements; it runs none. Tables are put in their schema by it. */
  readonly builder: Kysely<Tables>;
  /** The schema of each part. A part is backed up by itself. */
  readonly schemas: Readonly<Record<Part, string>>;
  /** The type of a column that holds bytes. */
  readonly bytes: 'blob' | 'bytea';
  /** The type of a column that holds text, which is compared bytewise, whatever the locale of the database. */
  readonly text: 'text' | Expression<string>;
  /** Whether keys are stored ahead of their customers; see docs/decisions/0010-keys-ahead-of-customers.md. */
  readonly keysAhead: boolean;
  /** Whether the keys are in a database of their own, so that no statement can speak of them and of the records. */
  readonly keysApart: boolean;
  /** A row where there is a table of this name. */
  hasTable(part: Part, table: string): Compiled;
  createSchema(part: Part): readonly Compiled[];
  createIndex(part: Part, name: string, table: string, columns: readonly string[]): Compiled;
}

export const sqliteDialect: Dialect = {
  // Two files on one connection: the keys are its main one; see `sqlite.ts`.
  ...compilingFor({ keys: 'main', data: 'data' }, new SqliteAdapter(), new SqliteQueryCompiler(), SqliteIntrospector),
  bytes: 'blob',
  text: 'text',
  keysAhead: true,
  keysApart: false,
  hasTable: (part, table) => ({
    sql: `select 1 as found from ${sqliteDialect.schemas[part]}.sqlite_schema where type = 'table' and name = '${table}'`,
  }),
  // A file is one schema.
  createSchema: () => [],
  createIndex: (part, name, table, columns) => ({
    sql: `create index ${sqliteDialect.schemas[part]}.${name} on ${table} (${columns.join(', ')})`,
  }),
};

export const postgresDialect: Dialect = {
  ...compilingFor(
    { keys: 'c2a_keys', data: 'c2a' },
    new PostgresAdapter(),
    new PostgresQueryCompiler(),
    PostgresIntrospector,
  ),
  bytes: 'bytea',
  text: sql<string>`text collate "C"`,
  keysAhead: false,
  keysApart: false,
  hasTable: (part, table) => ({
    sql: `select 1 as found from pg_tables where schemaname = '${postgresDialect.schemas[part]}' and tablename = '${table}'`,
  }),
  createSchema: (part) => [{ sql: `create schema if not exists ${postgresDialect.schemas[part]}` }],
  createIndex: (part, name, table, columns) => ({
    sql: `create index ${name} on ${postgresDialect.schemas[part]}.${table} (${columns.join(', ')})`,
  }),
};

/** PostgreSQL with the keys in a database of their own. */
export const postgresApartDialect: Dialect = { ...postgresDialect, keysApart: true };

/** Of which part a statement in PostgreSQL speaks; where it speaks of both they are in one database. */
export const partOfStatement = (sql: string): Part => (/\bc2a_keys\b/.test(sql) ? 'keys' : 'data');

function compilingFor(
  schemas: Dialect['schemas'],
  adapter: DialectAdapter,
  compiler: QueryCompiler,
  Introspector: typeof SqliteIntrospector | typeof PostgresIntrospector,
): Pick<Dialect, 'builder' | 'schemas'> {
  const builder = new Kysely<Tables>({
    dialect: {
      createAdapter: () => adapter,
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new Introspector(db),
      createQueryCompiler: () => compiler,
    },
    plugins: [inSchemas(schemas)],
  });
  return { builder, schemas };
}

/** Puts every table in the schema of its part. */
function inSchemas(schemas: Dialect['schemas']): KyselyPlugin {
  class Qualifier extends OperationNodeTransformer {
    protected override transformSchemableIdentifier(node: SchemableIdentifierNode): SchemableIdentifierNode {
      const part = partOf(node.identifier.name);
      return part === undefined ? node : { ...node, schema: IdentifierNode.create(schemas[part]) };
    }
  }
  const qualifier = new Qualifier();
  return {
    transformQuery: ({ node }) => qualifier.transformNode(node),
    transformResult: async ({ result }) => result,
  };
}
