/** The differences between the SQL of SQLite and PostgreSQL. All other SQL is written once, for both. */
import {
  type Expression,
  IdentifierNode,
  Kysely,
  type Dialect as KyselyDialect,
  type KyselyPlugin,
  OperationNodeTransformer,
  PostgresDialect,
  type RootOperationNode,
  type SchemableIdentifierNode,
  SqliteDialect,
  sql,
} from 'kysely';
import type { Compiled, NodeWithPart, Part } from './query.ts';

export interface Dialect<Tables> {
  /** Builds and compiles queries; it does not run them. It adds the schema to every table name. */
  readonly builder: Kysely<Tables>;
  /** The schema of each part. */
  readonly schemas: Readonly<Record<Part, string>>;
  /** The type of a column for bytes. */
  readonly bytes: 'blob' | 'bytea';
  /** The type of a column for text that is compared bytewise, whatever the locale of the database. */
  readonly text: 'text' | Expression<string>;
  /** Whether keys are stored ahead of their customers; see docs/decisions/0010-keys-ahead-of-customers.md. */
  readonly keysAhead: boolean;
  /** Whether the keys are in a separate database: a query can then use tables of one part only. */
  readonly keysApart: boolean;
  /** A query that returns a row if the table exists. */
  hasTable(part: Part, table: string): Compiled;
  createSchema(part: Part): readonly Compiled[];
  createIndex(part: Part, name: string, table: string, columns: readonly string[], options?: IndexOptions): Compiled;
  /** PostgreSQL can lock rows, and can write several tables in one statement (`with … as (insert …)`). */
  readonly isPostgres: boolean;
  /**
   * PostgreSQL with Citus (in at least one of the databases), which distributes the tables by tenant over several
   * nodes. It sends a statement to one node only if the statement names the tenant for each of its tables, and has no
   * `insert` inside of `with`; see docs/decisions/0036-citus.md.
   */
  readonly isCitus: boolean;
}

interface IndexOptions {
  readonly isUnique?: true;
  /** The condition of a partial index. */
  readonly where?: string;
}

/** The part of a table; undefined for a name that is not a table, such as one of a `WITH` clause. */
type PartOfTable = (table: string) => Part | undefined;

/** The connection of the builder: never opened, because the builder only compiles queries. */
const notRun = (): never => {
  throw new Error('the query builder only compiles queries: it cannot run one');
};

/** SQLite with two files on one connection, where the keys are the `main` schema; see `sqlite-connection.ts`. */
export function createSqliteDialect<Tables>(partOf: PartOfTable): Dialect<Tables> {
  const placement = { schemas: { keys: 'main', data: 'data' }, partOf, keysApart: false };
  const { schemas } = placement;
  return {
    ...createBuilder<Tables>(placement, new SqliteDialect({ database: notRun })),
    bytes: 'blob',
    text: 'text',
    keysAhead: true,
    hasTable: (part, table) => ({
      sql: `select 1 as found from ${schemas[part]}.sqlite_schema where type = 'table' and name = '${table}'`,
      part,
    }),
    // Nothing to create: each file is one schema.
    createSchema: () => [],
    createIndex: (part, name, table, columns, options) => ({
      sql: indexSql(`${schemas[part]}.${name}`, table, columns, options),
      part,
    }),
    isPostgres: false,
    isCitus: false,
  };
}

export interface PostgresLayout {
  /** See `Dialect`. */
  readonly keysApart: boolean;
  readonly isCitus: boolean;
}

export function createPostgresDialect<Tables>(
  partOf: PartOfTable,
  { keysApart, isCitus }: PostgresLayout,
): Dialect<Tables> {
  const placement = { schemas: { keys: 'c2a_keys', data: 'c2a' }, partOf, keysApart };
  const { schemas } = placement;
  return {
    ...createBuilder<Tables>(placement, new PostgresDialect({ pool: notRun })),
    bytes: 'bytea',
    text: sql<string>`text collate "C"`,
    keysAhead: false,
    hasTable: (part, table) => ({
      sql: `select 1 as found from pg_tables where schemaname = '${schemas[part]}' and tablename = '${table}'`,
      part,
    }),
    createSchema: (part) => [{ sql: `create schema if not exists ${schemas[part]}`, part }],
    createIndex: (part, name, table, columns, options) => ({
      sql: indexSql(name, `${schemas[part]}.${table}`, columns, options),
      part,
    }),
    isPostgres: true,
    isCitus,
  };
}

const indexSql = (name: string, table: string, columns: readonly string[], { isUnique, where }: IndexOptions = {}) =>
  `create ${isUnique ? 'unique ' : ''}index ${name} on ${table} (${columns.join(', ')})${where ? ` where ${where}` : ''}`;

interface Placement extends Pick<Dialect<unknown>, 'schemas' | 'keysApart'> {
  readonly partOf: PartOfTable;
}

const createBuilder = <Tables>({ schemas, keysApart, partOf }: Placement, dialect: KyselyDialect) => ({
  builder: new Kysely<Tables>({ dialect, plugins: [new SchemaQualifier({ schemas, keysApart, partOf })] }),
  schemas,
  keysApart,
});

/** Adds the schema to every table name in a query, and adds to the query the part that its tables belong to. */
class SchemaQualifier extends OperationNodeTransformer implements KyselyPlugin {
  readonly #placement: Placement;
  readonly #named = new Set<Part>();

  constructor(placement: Placement) {
    super();
    this.#placement = placement;
  }

  transformQuery({ node }: { readonly node: RootOperationNode }): RootOperationNode & NodeWithPart {
    this.#named.clear();
    const qualified = this.transformNode(node);
    if (this.#placement.keysApart && this.#named.size > 1) {
      throw new Error('a query names tables of the keys and of the records, which are in separate databases');
    }
    const [part] = this.#named;
    return part === undefined ? qualified : { ...qualified, part };
  }

  transformResult: KyselyPlugin['transformResult'] = async ({ result }) => result;

  protected override transformSchemableIdentifier(node: SchemableIdentifierNode): SchemableIdentifierNode {
    const { schemas, partOf } = this.#placement;
    const part = partOf(node.identifier.name);
    if (part === undefined) return node;
    this.#named.add(part);
    return { ...node, schema: IdentifierNode.create(schemas[part]) };
  }
}
