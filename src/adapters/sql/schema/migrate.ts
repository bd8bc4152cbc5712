/** Migrates a database to the current schema version. */
import { randomUUID } from 'node:crypto';
import { type Compiled, type Routine, runOnce } from '../driver/query.ts';
import type { Dialect, SqlDatabase } from './database.ts';
import { type Migrations, migrations } from './migrations.ts';
import { type Part, parts, type SchemaVersion, unfinishedTransfer } from './tables.ts';

export interface MigrateOptions {
  /** Whether to create the tables in an empty database; otherwise an empty database is an error. */
  readonly mayCreate: boolean;
  /** Whether the database may be the target of an unfinished transfer; otherwise such a database is an error. */
  readonly mayBeUnfinished?: boolean;
  /** Replaces the list of all migrations, for tests. */
  readonly all?: Migrations;
}

type Versions = Record<Part, SchemaVersion>;

/**
 * Applies the pending migrations. If several processes start together, only one of them does this. Throws, and changes
 * nothing, if there are no tables and `mayCreate` is false, if the schema is too new for this program, if a transfer to
 * this database is unfinished, or if keys and records belong to different deployments.
 */
export async function migrate(
  database: SqlDatabase,
  { mayCreate, mayBeUnfinished = false, all = migrations }: MigrateOptions,
): Promise<void> {
  const { dialect } = database;
  const present = await database.read(() => readVersions(dialect));
  // `?.` because a newer schema may store the id elsewhere. `checkVersion` rejects that schema below.
  if (!mayBeUnfinished && parts.some((part) => present[part].deployment?.endsWith(unfinishedTransfer))) {
    throw new Error('a `c2a move` to this database was not finished: run it again');
  }
  if (isCurrent(present, all)) return;
  // Read again under the lock: the first read may have seen another process's migration half done.
  await database.exclusive(function* () {
    const versions = yield* readVersions(dialect);
    for (const part of parts) checkVersion(part, versions[part], all[part].length);
    yield* checkDeployment(dialect, versions, mayBeUnfinished);
    if (versions.data.version === 0 && !mayCreate) {
      throw new Error('the database contains no deployment: `serve` and `tenant add` create one');
    }
    const deployment = versions.keys.deployment || randomUUID();
    for (const part of parts) yield* applyDue(dialect, part, versions[part], all, deployment);
  });
}

/** The id of the deployment, which is the same in both parts. */
export async function readDeployment(database: SqlDatabase): Promise<string> {
  const { deployment } = await database.read(() => readVersion(database.dialect, 'keys'));
  return deployment;
}

/** Throws if the schema is too new for this program. @param known how many migrations the program knows */
export function checkVersion(part: Part, { version, oldest }: SchemaVersion, known: number): void {
  if (version > known && oldest > known) {
    throw new Error(
      `the ${part} have schema version ${version}; this program knows ${known}, and ${oldest} is needed: use a newer program`,
    );
  }
}

const isCurrent = ({ keys, data }: Versions, all: Migrations): boolean =>
  keys.version === all.keys.length && data.version === all.data.length && keys.deployment === data.deployment;

function* checkDeployment({ builder }: Dialect, { keys, data }: Versions, mayBeUnfinished: boolean): Routine<void> {
  if (keys.version === 0 && data.version > 0) throw new Error('there are records, but their keys are missing');
  if (data.version === 0 && keys.version > 0) {
    // No URN was taken if the first start was interrupted after it created the keys and before it created the records.
    const used = yield* runOnce(builder.selectFrom('sequences').select('last').where('last', '>', 0).compile());
    if (used.length > 0) throw new Error('there are keys, but their records are missing');
  } else if (keys.deployment !== data.deployment && !mayBeUnfinished) {
    throw new Error('the keys belong to the records of another deployment');
  }
}

function* applyDue(
  dialect: Dialect,
  part: Part,
  { version, oldest }: SchemaVersion,
  all: Migrations,
  deployment: string,
): Routine<void> {
  const steps = all[part];
  if (version >= steps.length) return;
  if (version === 0) for (const statement of versionTable(dialect, part)) yield* runOnce(statement);
  for (const { statements } of steps.slice(version)) {
    for (const statement of statements(dialect)) yield* runOnce(statement);
  }
  const contracted = steps.findLastIndex(({ contracts }) => contracts) + 1;
  const next = { version: steps.length, oldest: Math.max(oldest, contracted), deployment };
  yield* runOnce(dialect.builder.updateTable(`${part}_version`).set(next).compile());
}

function* readVersions(dialect: Dialect): Routine<Versions> {
  return { keys: yield* readVersion(dialect, 'keys'), data: yield* readVersion(dialect, 'data') };
}

function* readVersion({ builder, hasTable }: Dialect, part: Part): Routine<SchemaVersion> {
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
