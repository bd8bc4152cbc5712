import {
  adoptMasterKey,
  MasterKeyError,
  makeMasterKey,
  masterKeyPath,
  readMasterKey,
  requireWritable,
} from '../crypto/master-key.ts';
import { newRoots, rewrapRoots, type WrappedRoots } from '../crypto/root-keys.ts';
import { openVault, type Vault } from '../crypto/vault.ts';
import type { SqlDatabase } from './driver/database.ts';
import type { Dialect } from './driver/dialects.ts';
import { compileQuery, type Routine, runOnce } from './driver/query.ts';
import { type MigrateOptions, migrate } from './schema/migrations.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly masterKeyFile: string;
}

/**
 * Brings the schemas up to date, and opens the vault of a database with the master key of a file. In an empty database both
 * keys are made, where that may be. Throws `MasterKeyError` where the file is missing or holds no key, or not the key that
 * the database was made with; then nothing was touched.
 */
export async function unlockVault({
  database,
  masterKeyFile,
  ...migration
}: Dependencies & MigrateOptions): Promise<Vault> {
  const run = rootKeyStatements(database.dialect);
  const file = masterKeyPath(masterKeyFile);
  const present = await database.read(() => readRoots(database.dialect, run));
  // Before anything is written.
  const vault = present && ((await tryFile(file, present)) ?? (await adoptNext({ database, masterKeyFile: file })));
  await migrate(database, migration);
  if (vault !== undefined) return vault;
  return database.exclusive(function* () {
    const roots = toRoots(yield* run.list({}));
    if (roots !== undefined) return openWithFile(file, roots);
    // New keys would open nothing of what is there.
    const [customer] = yield* run.anyCustomer({});
    if (customer !== undefined) throw new MasterKeyError('there are records, but no keys for them: put them back');
    // In here only one of several processes that start at once makes keys.
    const masterKey = makeMasterKey(file);
    const made = newRoots(masterKey);
    for (const [name, wrapped] of Object.entries(made)) yield* run.insert({ name, wrapped });
    return openVault(masterKey, made);
  });
}

/**
 * Wraps the root keys by a new master key, which takes the place of the old one in its file. Servers that run go on:
 * they hold the root keys. Where it is interrupted, the next start or the next rotation completes it.
 */
export async function rotateMasterKey({ database, masterKeyFile }: Dependencies): Promise<void> {
  const run = rootKeyStatements(database.dialect);
  const file = masterKeyPath(masterKeyFile);
  const next = nextFile(file);
  requireWritable(file);
  await database.exclusive(function* () {
    const roots = toRoots(yield* run.list({}));
    if (roots === undefined) throw new Error('there are no keys yet');
    openWithFile(file, roots);
    const rewrapped = rewrapRoots(roots, readMasterKey(file), makeMasterKey(next));
    for (const [name, wrapped] of Object.entries(rewrapped)) yield* run.replace({ name, wrapped });
  });
  await adoptNext({ database, masterKeyFile: file });
  await database.checkpoint('keys');
}

/** Where a rotation puts the new key until the old one is no longer needed. */
const nextFile = (masterKeyFile: string): string => `${masterKeyFile}.next`;

/** The vault, where the file holds the key for it. */
async function tryFile(masterKeyFile: string, roots: WrappedRoots): Promise<Vault | undefined> {
  try {
    return openVault(readMasterKey(masterKeyFile), roots);
  } catch {
    // What is wrong is found out by `adoptNext`, where no rotation can be under way.
    return undefined;
  }
}

/** Opens the vault, and completes a rotation. No other start or rotation comes between. */
function adoptNext({ database, masterKeyFile }: Dependencies): Promise<Vault> {
  const run = rootKeyStatements(database.dialect);
  return database.exclusive(function* () {
    return openWithFile(masterKeyFile, toRoots(yield* run.list({})) as WrappedRoots);
  });
}

function openWithFile(masterKeyFile: string, roots: WrappedRoots): Vault {
  try {
    return openVault(readMasterKey(masterKeyFile), roots);
  } catch (error) {
    // A rotation that was interrupted after its commit has left the key that counts beside the one that did.
    const vault = openVault(readMasterKey(nextFile(masterKeyFile), error), roots);
    adoptMasterKey(nextFile(masterKeyFile), masterKeyFile);
    return vault;
  }
}

/** Undefined where there are none, or no table for them yet. */
function* readRoots(
  { hasTable }: Dialect,
  run: ReturnType<typeof rootKeyStatements>,
): Routine<WrappedRoots | undefined> {
  const table = yield* runOnce(hasTable('keys', 'root_keys'));
  return table.length === 0 ? undefined : toRoots(yield* run.list({}));
}

function toRoots(rows: readonly { readonly name: string; readonly wrapped: Buffer }[]): WrappedRoots | undefined {
  if (rows.length === 0) return undefined;
  return Object.fromEntries(rows.map(({ name, wrapped }) => [name, wrapped])) as WrappedRoots;
}

export function rootKeyStatements({ builder }: Dialect) {
  return {
    list: compileQuery((_: object) => builder.selectFrom('root_keys').select(['name', 'wrapped'])),
    anyCustomer: compileQuery((_: object) => builder.selectFrom('customers').select('number').limit(1)),
    insert: compileQuery((root: { name: string; wrapped: Buffer }) =>
      builder.insertInto('root_keys').values({ name: root.name, wrapped: root.wrapped }),
    ),
    replace: compileQuery((root: { name: string; wrapped: Buffer }) =>
      builder.updateTable('root_keys').set({ wrapped: root.wrapped }).where('name', '=', root.name),
    ),
  };
}
