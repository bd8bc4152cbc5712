import { randomUUID } from 'node:crypto';
import type { SqlDatabase } from '../driver/database.ts';
import type { Dialect } from '../driver/dialects.ts';
import { type Compiled, type Routine, runOnce } from '../driver/query.ts';
import { type Part, parts, type SchemaVersion, unfinishedMove, weighedMark } from './tables.ts';

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
      statements: ({ builder, bytes, text, createIndex }) => [
        builder.schema
          .createTable('tenants')
          .addColumn('tenant', text, (column) => column.primaryKey().notNull())
          .addColumn('name', text)
          .addColumn('payment', text, (column) => column.notNull())
          .addColumn('jwt', text)
          .addColumn('created_at', 'bigint', (column) => column.notNull())
          .compile(),
        builder.schema
          .createTable('api_keys')
          .addColumn('tenant', text, (column) => column.notNull())
          .addColumn('key_id', text, (column) => column.notNull())
          .addColumn('digest', bytes, (column) => column.notNull())
          .addColumn('prefix', text, (column) => column.notNull())
          .addColumn('name', text, (column) => column.notNull())
          .addColumn('role', text, (column) => column.notNull())
          .addColumn('environment', text, (column) => column.notNull())
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
          .addColumn('tenant', text, (column) => column.notNull())
          .addColumn('number', 'bigint', (column) => column.notNull())
          .addColumn('version', 'integer', (column) => column.notNull())
          .addColumn('external_id', bytes)
          .addColumn('email', bytes)
          .addColumn('phone_number', bytes)
          .addColumn('sealed', bytes, (column) => column.notNull())
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
          .addColumn('tenant', text, (column) => column.notNull())
          .addColumn('key_digest', bytes, (column) => column.notNull())
          .addColumn('fingerprint', bytes)
          .addColumn('code', text)
          .addColumn('number', 'bigint')
          .addColumn('expires_at', 'bigint', (column) => column.notNull())
          .addPrimaryKeyConstraint('kept_answers_pk', ['tenant', 'key_digest'])
          .compile(),
        createIndex('data', 'kept_answers_expiry', 'kept_answers', ['expires_at']),
        createIndex('data', 'kept_answers_customer', 'kept_answers', ['tenant', 'number']),
        builder.schema
          .createTable('erasures_applied')
          .addColumn('name', text, (column) => column.primaryKey().notNull())
          .addColumn('count', 'bigint', (column) => column.notNull())
          .compile(),
        builder.insertInto('erasures_applied').values({ name: 'erasure', count: 0 }).compile(),
      ],
    },
  ],

  keys: [
    {
      statements: ({ builder, bytes, text }) => [
        builder.schema
          .createTable('root_keys')
          .addColumn('name', text, (column) => column.primaryKey().notNull())
          .addColumn('wrapped', bytes, (column) => column.notNull())
          .compile(),
        builder.schema
          .createTable('data_keys')
          .addColumn('tenant', text, (column) => column.notNull())
          .addColumn('number', 'bigint', (column) => column.notNull())
          .addColumn('wrapped', bytes, (column) => column.notNull())
          .addColumn('created_at', 'bigint', (column) => column.notNull())
          .addPrimaryKeyConstraint('data_keys_pk', ['tenant', 'number'])
          .compile(),
        builder.schema
          .createTable('erasures')
          .addColumn('tenant', text, (column) => column.notNull())
          .addColumn('hash', bytes, (column) => column.notNull())
          .addColumn('sealed', bytes, (column) => column.notNull())
          .addPrimaryKeyConstraint('erasures_pk', ['tenant', 'hash'])
          .compile(),
        builder.schema
          .createTable('pending_erasures')
          .addColumn('tenant', text, (column) => column.notNull())
          .addColumn('number', 'bigint', (column) => column.notNull())
          .addPrimaryKeyConstraint('pending_erasures_pk', ['tenant', 'number'])
          .compile(),
        builder.schema
          .createTable('sequences')
          .addColumn('name', text, (column) => column.primaryKey().notNull())
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
    {
      statements: ({ builder, bytes }) => [
        builder.schema.alterTable('pending_erasures').addColumn('key_digest', bytes).compile(),
        builder.schema.alterTable('pending_erasures').addColumn('expires_at', 'bigint').compile(),
        builder.insertInto('sequences').values({ name: weighedMark, last: 0 }).compile(),
      ],
    },
  ],
};

export type Migrations = typeof migrations;

export interface MigrateOptions {
  /** Whether tables are made where there are none; else that is an error. */
  readonly mayCreate: boolean;
  /** Whether it may be where a move was interrupted; else that is an error. */
  readonly mayBeUnfinished?: boolean;
  /** In place of all there are. */
  readonly all?: Migrations;
}

/**
 * Brings the schemas of a database up to date. Of processes that start together one does the work, and the others find it
 * done. Throws, and touches nothing, where there are no tables and none may be made, where they have moved on too far for
 * this program, and where the keys are not those of the records.
 */
export async function migrate(
  database: SqlDatabase,
  { mayCreate, mayBeUnfinished = false, all = migrations }: MigrateOptions,
): Promise<void> {
  const { dialect } = database;
  function* presentVersions(): Routine<Record<Part, SchemaVersion>> {
    return { keys: yield* presentVersion(dialect, 'keys'), data: yield* presentVersion(dialect, 'data') };
  }
  function* check(versions: Record<Part, SchemaVersion>): Routine<void> {
    for (const part of parts) checkVersion(part, versions[part], all[part].length);
    const { keys, data } = versions;
    if (keys.version === 0 && data.version > 0) throw new Error('there are records, but the keys for them are missing');
    if (data.version === 0 && keys.version > 0) {
      // A first start that was interrupted between the two files has made keys for nobody yet.
      const sequences = dialect.builder.selectFrom('sequences').select('last').where('last', '>', 0);
      const used = yield* runOnce(sequences.compile());
      if (used.length > 0) throw new Error('there are keys, but the records for them are missing');
    } else if (keys.deployment !== data.deployment && !mayBeUnfinished) {
      throw new Error('the keys belong to other records: each deployment has its own');
    }
    if (data.version === 0 && !mayCreate) throw new Error('there is no data here: `serve` and `tenant add` make some');
  }
  const isCurrent = ({ keys, data }: Record<Part, SchemaVersion>) =>
    keys.version === all.keys.length && data.version === all.data.length && keys.deployment === data.deployment;

  const present = await database.read(presentVersions);
  // A newer version may have put it elsewhere; what it is, is judged below.
  if (!mayBeUnfinished && parts.some((part) => present[part].deployment?.endsWith(unfinishedMove))) {
    throw new Error('a move to this place was not finished: run it again');
  }
  if (isCurrent(present)) return;
  // Judged in here alone: of another process's work one part may be seen before the other.
  await database.exclusive(function* () {
    const versions = yield* presentVersions();
    yield* check(versions);
    const deployment = versions.keys.deployment || randomUUID();
    for (const part of parts) {
      const steps = all[part];
      const { version, oldest } = versions[part];
      if (version >= steps.length) continue;
      if (version === 0) for (const statement of versionTable(dialect, part)) yield* runOnce(statement);
      for (const { statements } of steps.slice(version)) {
        for (const statement of statements(dialect)) yield* runOnce(statement);
      }
      const contracted = steps.findLastIndex(({ contracts }) => contracts) + 1;
      const next = { version: steps.length, oldest: Math.max(oldest, contracted), deployment };
      yield* runOnce(dialect.builder.updateTable(`${part}_version`).set(next).compile());
    }
  });
}

function* presentVersion({ builder, hasTable }: Dialect, part: Part): Routine<SchemaVersion> {
  const table = `${part}_version` as const;
  const found = yield* runOnce(hasTable(part, table));
  if (found.length === 0) return { version: 0, oldest: 0, deployment: '' };
  const [row] = yield* runOnce(builder.selectFrom(table).selectAll().compile());
  return row as unknown as SchemaVersion;
}

const versionTable = ({ builder, text, createSchema }: Dialect, part: Part): readonly Compiled[] => [
  ...createSchema(part),
  builder.schema
    .createTable(`${part}_version`)
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('oldest', 'integer', (column) => column.notNull())
    .addColumn('deployment', text, (column) => column.notNull())
    .compile(),
  builder.insertInto(`${part}_version`).values({ version: 0, oldest: 0, deployment: '' }).compile(),
];

/** @param known how many steps this program knows */
export function checkVersion(part: Part, { version, oldest }: SchemaVersion, known: number): void {
  if (version > known && oldest > known) {
    throw new Error(
      `the ${part} have schema version ${version}; this program knows ${known}, and ${oldest} is needed: use a newer one`,
    );
  }
}
