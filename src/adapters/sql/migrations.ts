import type { SqlDatabase } from './database.ts';
import type { Dialect } from './dialects.ts';
import { bind, type Compiled, type Program } from './statement.ts';
import { type Part, parts, type SchemaVersion } from './tables.ts';

interface Migration {
  /** The statements of the step, in their order. */
  statements(dialect: Dialect): readonly Compiled[];
  /**
   * Whether programs that do not know the step can no longer work with the tables. A change is made in two releases: one
   * that expands (the old program goes on beside the new one), and a later one that contracts.
   */
  readonly contracts?: true;
}

/** Every step of the schemas, oldest first. A step that was released is never edited: add the next. */
export const migrations: Readonly<Record<Part, readonly Migration[]>> = {
  data: [
    {
      statements: ({ builder, bytes, createIndex }) => [
        builder.schema
          .createTable('tenants')
          .addColumn('tenant', 'text', (column) => column.primaryKey().notNull())
          .addColumn('name', 'text')
          .addColumn('payment', 'text', (column) => column.notNull())
          .addColumn('jwt', 'text')
          .addColumn('created_at', 'bigint', (column) => column.notNull())
          .compile(),
        builder.schema
          .createTable('api_keys')
          .addColumn('tenant', 'text', (column) => column.notNull())
          .addColumn('key_id', 'text', (column) => column.notNull())
          .addColumn('digest', bytes, (column) => column.notNull())
          .addColumn('prefix', 'text', (column) => column.notNull())
          .addColumn('name', 'text', (column) => column.notNull())
          .addColumn('role', 'text', (column) => column.notNull())
          .addColumn('environment', 'text', (column) => column.notNull())
          .addColumn('created_at', 'bigint', (column) => column.notNull())
          .addColumn('expires_at', 'bigint')
          .addColumn('revoked_at', 'bigint')
          .addColumn('last_used_at', 'bigint')
          .addColumn('requests', 'bigint', (column) => column.notNull())
          .addPrimaryKeyConstraint('api_keys_pk', ['tenant', 'key_id'])
          .addUniqueConstraint('api_keys_digest', ['tenant', 'digest'])
          .compile(),
        builder.schema
          .createTable('customers')
          .addColumn('tenant', 'text', (column) => column.notNull())
          .addColumn('number', 'bigint', (column) => column.notNull())
          .addColumn('version', 'integer', (column) => column.notNull())
          .addColumn('external_id', bytes)
          .addColumn('email', bytes)
          .addColumn('phone_number', bytes)
          .addColumn('sealed', bytes)
          .addColumn('remainder', 'text', (column) => column.notNull())
          .addColumn('created_at', 'bigint', (column) => column.notNull())
          .addColumn('updated_at', 'bigint', (column) => column.notNull())
          .addColumn('anonymized_at', 'bigint')
          .addPrimaryKeyConstraint('customers_pk', ['tenant', 'number'])
          .addUniqueConstraint('customers_external_id', ['tenant', 'external_id'])
          .addUniqueConstraint('customers_email', ['tenant', 'email'])
          .addUniqueConstraint('customers_phone_number', ['tenant', 'phone_number'])
          .compile(),
        builder.schema
          .createTable('kept_answers')
          .addColumn('tenant', 'text', (column) => column.notNull())
          .addColumn('key_digest', bytes, (column) => column.notNull())
          .addColumn('fingerprint', bytes, (column) => column.notNull())
          .addColumn('answer', 'text')
          .addColumn('expires_at', 'bigint', (column) => column.notNull())
          .addPrimaryKeyConstraint('kept_answers_pk', ['tenant', 'key_digest'])
          .compile(),
        createIndex('data', 'kept_answers_expiry', 'kept_answers', ['tenant', 'expires_at']),
        builder.schema
          .createTable('erasures_applied')
          .addColumn('name', 'text', (column) => column.primaryKey().notNull())
          .addColumn('count', 'bigint', (column) => column.notNull())
          .compile(),
        builder.insertInto('erasures_applied').values({ name: 'erasure', count: 0 }).compile(),
      ],
    },
  ],

  keys: [
    {
      statements: ({ builder, bytes }) => [
        builder.schema
          .createTable('root_keys')
          .addColumn('name', 'text', (column) => column.primaryKey().notNull())
          .addColumn('wrapped', bytes, (column) => column.notNull())
          .compile(),
        builder.schema
          .createTable('data_keys')
          .addColumn('tenant', 'text', (column) => column.notNull())
          .addColumn('number', 'bigint', (column) => column.notNull())
          .addColumn('wrapped', bytes, (column) => column.notNull())
          .addColumn('created_at', 'bigint', (column) => column.notNull())
          .addPrimaryKeyConstraint('data_keys_pk', ['tenant', 'number'])
          .compile(),
        builder.schema
          .createTable('erasures')
          .addColumn('tenant', 'text', (column) => column.notNull())
          .addColumn('hash', bytes, (column) => column.notNull())
          .addColumn('sealed', bytes, (column) => column.notNull())
          .addPrimaryKeyConstraint('erasures_pk', ['tenant', 'hash'])
          .compile(),
        builder.schema
          .createTable('sequences')
          .addColumn('name', 'text', (column) => column.primaryKey().notNull())
          .addColumn('last', 'bigint', (column) => column.notNull())
          .compile(),
        builder
          .insertInto('sequences')
          .values([
            { name: 'customer', last: 0 },
            { name: 'erasure', last: 0 },
          ])
          .compile(),
      ],
    },
  ],
};

export type Migrations = typeof migrations;

/**
 * Brings the schemas of a database up to date. Of processes that start together one does the work, and the others find it
 * done. Throws, and touches nothing, where the tables have moved on too far for this program.
 */
export async function migrate(database: SqlDatabase, all: Migrations = migrations): Promise<void> {
  const { dialect } = database;
  const isCurrent = (part: Part, { version }: SchemaVersion) => version >= all[part].length;
  function* presentVersions(): Program<Record<Part, SchemaVersion>> {
    return { keys: yield* presentVersion(dialect, 'keys'), data: yield* presentVersion(dialect, 'data') };
  }

  const present = await database.read(presentVersions);
  for (const part of parts) checkVersion(part, present[part], all[part].length);
  if (parts.every((part) => isCurrent(part, present[part]))) return;

  await database.exclusive(function* () {
    const versions = yield* presentVersions();
    for (const part of parts) {
      const steps = all[part];
      const { version, oldest } = versions[part];
      checkVersion(part, versions[part], steps.length);
      if (isCurrent(part, versions[part])) continue;
      if (version === 0) for (const statement of versionTable(dialect, part)) yield* bind(statement);
      for (const { statements } of steps.slice(version)) {
        for (const statement of statements(dialect)) yield* bind(statement);
      }
      const contracted = steps.findLastIndex(({ contracts }) => contracts) + 1;
      const next = { version: steps.length, oldest: Math.max(oldest, contracted) };
      yield* bind(dialect.builder.updateTable(`${part}_version`).set(next).compile());
    }
  });
}

function* presentVersion({ builder, hasTable }: Dialect, part: Part): Program<SchemaVersion> {
  const table = `${part}_version` as const;
  const found = yield* bind(hasTable(part, table));
  if (found.length === 0) return { version: 0, oldest: 0 };
  const [row] = yield* bind(builder.selectFrom(table).select(['version', 'oldest']).compile());
  return row as unknown as SchemaVersion;
}

const versionTable = ({ builder, createSchema }: Dialect, part: Part): readonly Compiled[] => [
  ...createSchema(part),
  builder.schema
    .createTable(`${part}_version`)
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('oldest', 'integer', (column) => column.notNull())
    .compile(),
  builder.insertInto(`${part}_version`).values({ version: 0, oldest: 0 }).compile(),
];

/** @param known how many steps this program knows */
export function checkVersion(part: Part, { version, oldest }: SchemaVersion, known: number): void {
  if (version > known && oldest > known) {
    throw new Error(
      `the ${part} have schema version ${version}; this program knows ${known}, and ${oldest} is needed: use a newer one`,
    );
  }
}
