import {
  MasterKeyError,
  makeMasterKey,
  masterKeyPath,
  readMasterKey,
  replaceMasterKey,
  requireWritable,
} from '../crypto/master-key.ts';
import { newRoots, rewrapRoots, type WrappedRoots } from '../crypto/root-keys.ts';
import { openVault, type Vault } from '../crypto/vault.ts';
import { compileQuery, type Routine, runOnce } from './driver/query.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import { type MigrateOptions, migrate } from './schema/migrate.ts';
import type { Tables } from './schema/tables.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly masterKeyFile: string;
}

/**
 * Opens a database's vault with the master key from a file, and migrates the schemas. If `mayCreate`, creates the root
 * keys in an empty database, and the master key if its file is missing. For an existing deployment, throws
 * `MasterKeyError` before anything is changed if the file is missing, holds no key, or holds the wrong key.
 */
export async function unlockVault({
  database,
  masterKeyFile,
  ...migration
}: Dependencies & MigrateOptions): Promise<Vault> {
  const run = rootKeyQueries(database.dialect);
  const file = masterKeyPath(masterKeyFile);
  const roots = await database.read(function* () {
    const table = yield* runOnce(database.dialect.hasTable('keys', 'root_keys'));
    return table.length === 0 ? undefined : yield* readRoots(run);
  });
  // Before the migration: with a wrong master key, nothing may change.
  const vault = roots && (tryKey(file, roots) ?? (await openInTurn({ database, masterKeyFile: file })));
  await migrate(database, migration);
  if (vault !== undefined) return vault;
  return database.exclusive(function* () {
    const roots = yield* readRoots(run);
    if (roots !== undefined) return openWithFile(file, roots);
    // Do not create new keys: they would decrypt none of the records.
    if ((yield* run.anyNumberTaken({})).length > 0 || (yield* run.anyTenant({})).length > 0)
      throw new MasterKeyError('there are records but no keys for them: restore a backup of the keys');
    // If several processes start together, the lock lets only one of them create the keys.
    const masterKey = makeMasterKey(file);
    const made = newRoots(masterKey);
    for (const [name, wrapped] of Object.entries(made)) yield* run.insert({ name, wrapped });
    return openVault(masterKey, made);
  });
}

/**
 * Wraps the root keys with a new master key, which replaces the old one in its file. Running servers continue, because
 * they have the root keys in memory. If the rotation is interrupted, the next start or rotation completes it.
 */
export async function rotateMasterKey({ database, masterKeyFile }: Dependencies): Promise<void> {
  const run = rootKeyQueries(database.dialect);
  const file = masterKeyPath(masterKeyFile);
  requireWritable(file);
  await database.exclusive(function* () {
    const roots = yield* readRoots(run);
    if (roots === undefined) throw new Error('there are no keys yet');
    openWithFile(file, roots);
    const rewrapped = rewrapRoots(roots, readMasterKey(file), makeMasterKey(nextFile(file)));
    for (const [name, wrapped] of Object.entries(rewrapped)) yield* run.replace({ name, wrapped });
  });
  await openInTurn({ database, masterKeyFile: file });
  await database.checkpoint('keys');
}

/** The file that holds a rotation's new master key until the rotation replaces the old key. */
const nextFile = (masterKeyFile: string): string => `${masterKeyFile}.next`;

/** The vault; undefined if the file does not hold the vault's master key. */
function tryKey(masterKeyFile: string, roots: WrappedRoots): Vault | undefined {
  try {
    return openVault(readMasterKey(masterKeyFile), roots);
  } catch {
    // `openInTurn` tries again under the lock, while no rotation is running, and reports the error.
    return undefined;
  }
}

/** Opens the vault and completes a rotation that was interrupted, under the lock that all processes share. */
function openInTurn({ database, masterKeyFile }: Dependencies): Promise<Vault> {
  const run = rootKeyQueries(database.dialect);
  return database.exclusive(function* () {
    return openWithFile(masterKeyFile, (yield* readRoots(run)) as WrappedRoots);
  });
}

function openWithFile(masterKeyFile: string, roots: WrappedRoots): Vault {
  try {
    return openVault(readMasterKey(masterKeyFile), roots);
  } catch (error) {
    // A rotation that was interrupted after its commit left the new key beside the old one.
    const vault = openVault(readMasterKey(nextFile(masterKeyFile), error), roots);
    replaceMasterKey(nextFile(masterKeyFile), masterKeyFile);
    return vault;
  }
}

/** The wrapped root keys; undefined if there are none. */
function* readRoots({ list }: ReturnType<typeof rootKeyQueries>): Routine<WrappedRoots | undefined> {
  const rows = yield* list({});
  if (rows.length === 0) return undefined;
  return Object.fromEntries(rows.map(({ name, wrapped }) => [name, wrapped])) as WrappedRoots;
}

export const rootKeyQueries = ({ builder }: Dialect) => ({
  list: compileQuery((_: object) => builder.selectFrom('root_keys').select(['name', 'wrapped'])),
  // A record needs a number that these keys have issued. If they are other, empty keys, its tenant is still there.
  anyNumberTaken: compileQuery((_: object) => builder.selectFrom('sequences').select('name').where('last', '>', 0)),
  anyTenant: compileQuery((_: object) => builder.selectFrom('tenants').select('tenant').limit(1)),
  insert: compileQuery(({ name, wrapped }: Tables['root_keys']) =>
    builder.insertInto('root_keys').values({ name, wrapped }),
  ),
  replace: compileQuery(({ name, wrapped }: Tables['root_keys']) =>
    builder.updateTable('root_keys').set({ wrapped }).where('name', '=', name),
  ),
});
