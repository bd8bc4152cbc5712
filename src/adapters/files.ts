import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Overwrites a file with zeros and syncs it. The file system or the drive may still keep the old blocks. */
export function overwrite(path: string): void {
  // O_NOFOLLOW: never the target of a link.
  const file = openSync(path, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0));
  try {
    const zeros = Buffer.alloc(64 * 1024);
    const { size } = fstatSync(file);
    for (let at = 0; at < size; at += zeros.length) writeSync(file, zeros, 0, Math.min(zeros.length, size - at), at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes a folder and its missing parents, readable by the owner only. */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    // Not `recursive`: Node never returns if a parent cannot be created, as in /proc.
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Writes a new file, synced to disk. Throws if the file exists. If the write fails, the file is removed. */
export function writeNewFile(path: string, text: string): void {
  const file = openSync(path, 'wx');
  try {
    writeFileSync(file, text, { flush: true });
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(file);
  }
}

/**
 * Writes a file (mode 0600, synced) that appears under its name only when it is complete. Throws an error with the code
 * EEXIST if the name exists, unless `mayReplace`. If `chunks` throws or the signal aborts, no file is left. A killed process
 * leaves the temporary file, `<path>.partial-…`.
 */
export async function writeWholeFile(
  path: string,
  chunks: AsyncIterable<string>,
  { mayReplace, signal }: { readonly mayReplace: boolean; readonly signal: AbortSignal },
): Promise<void> {
  if (!mayReplace && existsSync(path)) throw alreadyExists(path);
  const partial = `${path}.partial-${randomBytes(8).toString('hex')}`;
  const file = await open(partial, 'wx', 0o600);
  try {
    await writeFile(file, chunks, { signal });
    await file.sync();
    if (mayReplace) renameSync(partial, path);
    else linkSync(partial, path);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? alreadyExists(path) : error;
  } finally {
    await file.close();
    rmSync(partial, { force: true });
  }
  sync(dirname(path));
}

const alreadyExists = (path: string): Error => Object.assign(new Error(`${path} already exists`), { code: 'EEXIST' });

/** Syncs a file or a folder to disk. Syncing a folder makes the names in it durable. */
export function sync(path: string): void {
  const file = openSync(path, 'r');
  fsyncSync(file);
  closeSync(file);
}

/**
 * Replaces a backup file with a new one and overwrites the old one. A file of that name exists at every moment. Throws
 * if `isBackup` returns false for the old file. Of concurrent calls, the last to finish wins.
 *
 * @param write writes the new backup to a path
 */
export async function replaceBackup(
  name: string,
  isBackup: (path: string) => boolean,
  write: (path: string) => Promise<void>,
): Promise<void> {
  const path = existsSync(name) ? realpathSync(name) : name;
  if (existsSync(path) && !isBackup(path)) {
    throw new Error(`${path} exists and is not a backup of these keys: choose another name`);
  }
  removeLeftovers(path);
  // Random names, so that runs at the same time do not share them.
  const run = randomBytes(8).toString('hex');
  const next = `${path}.next-${run}`;
  const previous = `${path}.previous-${run}`;
  await write(next);
  try {
    // The old file gets a second name, under which it is overwritten after the new file has taken its place. If another
    // run replaces the file between these two calls, the backup of that run is removed without being overwritten.
    if (existsSync(path)) linkSync(path, previous);
    renameSync(next, path);
  } catch (error) {
    wipe(next);
    // Another name of the old file, which is still in its place.
    rmSync(previous, { force: true });
    throw error;
  }
  sync(dirname(path));
  if (existsSync(previous)) overwriteAndRemove(previous);
}

/** A temporary file that was not written to for this long belongs to an interrupted run. */
const leftoverAfterMs = 10 * 60_000;

/** Overwrites and removes the temporary files of interrupted runs of `replaceBackup`. */
function removeLeftovers(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(basename(path))) continue;
    const [, kind] = /^\.(next|previous)-[\da-f]{16}(?:-journal)?$/.exec(name.slice(basename(path).length)) ?? [];
    const leftover = join(dirname(path), name);
    const stat = kind === undefined ? undefined : lstatSync(leftover, { throwIfNoEntry: false });
    if (stat === undefined || Date.now() - Math.max(stat.mtimeMs, stat.ctimeMs) < leftoverAfterMs) continue;
    if (kind === 'next') wipe(leftover);
    // The run was interrupted before the rename: the file is still the backup.
    else if (existsSync(path) && isSameFile(leftover, path)) unlinkSync(leftover);
    else overwriteAndRemove(leftover);
  }
}

/** Overwrites a file, even if it has other names, and removes this name. */
function overwriteAndRemove(path: string): void {
  overwrite(path);
  unlinkSync(path);
}

/** Overwrites and removes a file, if it exists. Throws if it is a link or has other names. */
export function wipe(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isFile() || stat.nlink > 1) throw new Error(`${path} is a link, or has other names: remove it`);
  overwriteAndRemove(path);
}

/** Whether two paths lead to the same file, directly or through links of any kind. Throws if a path does not exist. */
export function isSameFile(one: string, other: string): boolean {
  const [first, second] = [statSync(one), statSync(other)];
  return first.dev === second.dev && first.ino === second.ino;
}
