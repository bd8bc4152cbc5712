import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { embedded } from './embedded.ts';

const prefix = 'c2a-addons-';
/** A start takes less than a second, so an older folder belongs to a start that was killed. */
const leftoverAfterMs = 60_000;

/** Candidate folders for unpacking addons; the first that works is used. */
const folders = [tmpdir()];

/** Adds a candidate folder for unpacking addons. Call it before an addon is loaded. */
export function unpackAlsoIn(dataDir: string): void {
  folders.push(resolve(dataDir));
}

type Name = 'better-sqlite3' | 'sodium-native';
type Addons = Readonly<Record<Name, unknown>>;
let loaded: Addons | undefined;

/**
 * Loads a native addon that is embedded in the binary; replaces the libraries' own loaders. The system loads shared
 * objects only from files: so the addons are written to a private folder, compared, loaded, and removed.
 *
 * @public
 */
export function addon(name: Name): unknown {
  loaded ??= loadAddons();
  return loaded[name];
}

function loadAddons(): Addons {
  const failures: string[] = [];
  for (const folder of folders) {
    try {
      return loadFrom(folder);
    } catch (error) {
      failures.push(`${folder}: ${(error as Error).message}`);
    }
  }
  throw new Error(
    'the binary needs a folder that it can write to and that is not mounted noexec, to unpack its addons at the ' +
      'start: set TMPDIR to such a folder. ' +
      `Tried ${failures.join('; ')}`,
  );
}

function loadFrom(parent: string): Addons {
  removeLeftovers(parent);
  // Mode 0700, with an unpredictable name.
  const folder = mkdtempSync(join(parent, prefix));
  // No file is closed until all are loaded: the path contains the number of the descriptor, and a reused number would
  // give two addons the same path, which dlopen treats as one object.
  const files: number[] = [];
  const load = (name: Name): unknown => {
    const path = join(folder, `${name}.node`);
    const file = embedded(name, (bytes) => writeVerified(path, bytes));
    files.push(file);
    const module = { exports: {} };
    // Loads the file that was compared, even if its path was replaced meanwhile.
    const opened = `/proc/self/fd/${file}`;
    process.dlopen(module, existsSync(opened) ? opened : path);
    return module.exports;
  };
  try {
    return { 'better-sqlite3': load('better-sqlite3'), 'sodium-native': load('sodium-native') };
  } finally {
    for (const file of files) closeSync(file);
    rmSync(folder, { recursive: true });
  }
}

/** Writes a file and opens it again. Throws if its owner, mode or content is then not as written. */
function writeVerified(path: string, bytes: Buffer): number {
  writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 });
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const { uid, mode, size } = fstatSync(file);
  const isOurs = uid === process.geteuid?.() && (mode & 0o077) === 0;
  if (!isOurs || size !== bytes.length || !readFileSync(file).equals(bytes)) {
    closeSync(file);
    throw new Error(`${path} was changed after it was written`);
  }
  return file;
}

function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent).filter((one) => one.startsWith(prefix))) {
    const path = join(parent, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory() && found.uid === process.geteuid?.() && Date.now() - found.mtimeMs > leftoverAfterMs) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}
