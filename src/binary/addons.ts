import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { embedded } from './embedded.ts';

const prefix = 'c2a-addons-';
/** A start takes a fraction of a second: folders that are older were left by one that was killed meanwhile. */
const leftAfterMs = 60_000;

let dataFolder: string | undefined;

/** Names a folder that may be written to for certain. To be called before anything loads an addon. */
export function unpackAlsoIn(dataDir: string): void {
  dataFolder = resolve(dataDir);
}

type Name = 'better-sqlite3' | 'sodium-native';
type Addons = Readonly<Record<Name, unknown>>;
let loaded: Addons | undefined;

/**
 * An addon that the binary carries; the build puts this in the place where a library looks for its own.
 *
 * The system loads shared objects from files alone. So they are written to a folder of ours that nobody else may enter, held
 * against what was written, loaded, and removed at once: what is loaded stays. The folder of temporary files may be
 * read-only, or nothing in it may be executed (noexec); then the data folder serves.
 *
 * @public
 */
export function addon(name: Name): unknown {
  loaded ??= loadAddons([tmpdir(), ...(dataFolder === undefined ? [] : [dataFolder])]);
  return loaded[name];
}

function loadAddons(folders: readonly string[]): Addons {
  const failures: string[] = [];
  for (const folder of folders) {
    try {
      return loadFrom(folder);
    } catch (error) {
      failures.push(`${folder}: ${(error as Error).message}`);
    }
  }
  throw new Error(
    'the binary needs a folder that it can write to and that is not mounted noexec, for a moment at start (TMPDIR names ' +
      `one). Tried ${failures.join('; ')}`,
  );
}

function loadFrom(parent: string): Addons {
  removeLeftovers(parent);
  // Mode 0700, under a name that nobody can foresee.
  const folder = mkdtempSync(join(parent, prefix));
  // All stay open until all are loaded: the system takes two of one path for the same, and the path is that of the open file.
  const files: number[] = [];
  const load = (name: Name): unknown => {
    const path = join(folder, `${name}.node`);
    const file = embedded(name, (bytes) => written(path, bytes));
    files.push(file);
    const module = { exports: {} };
    // The very file that was looked at, whatever its path may lead to by now.
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

/** Writes a file of ours, opens it again, and makes sure that it is ours and what was written. */
function written(path: string, bytes: Buffer): number {
  writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 });
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const { uid, mode, size } = fstatSync(file);
  const isOurs = uid === process.geteuid?.() && (mode & 0o077) === 0;
  if (!isOurs || size !== bytes.length || !holds(file, bytes)) {
    closeSync(file);
    throw new Error(`${path} is not what was written there`);
  }
  return file;
}

function holds(file: number, bytes: Buffer): boolean {
  const part = Buffer.allocUnsafe(64 * 1024);
  let at = 0;
  while (at < bytes.length) {
    const length = readSync(file, part, 0, part.length, at);
    if (length === 0 || !part.subarray(0, length).equals(bytes.subarray(at, at + length))) return false;
    at += length;
  }
  return true;
}

function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent).filter((one) => one.startsWith(prefix))) {
    const path = join(parent, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory() && found.uid === process.geteuid?.() && Date.now() - found.mtimeMs > leftAfterMs) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}
