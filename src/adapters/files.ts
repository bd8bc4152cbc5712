import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Overwrites a file with zeros, on disk. What a file system or a drive keeps of the old blocks is beyond us. */
export function overwrite(path: string): void {
  // Never what a link leads to.
  const file = openSync(path, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0));
  try {
    const zeros = Buffer.alloc(64 * 1024);
    const { size } = statSync(path);
    for (let at = 0; at < size; at += zeros.length) writeSync(file, zeros, 0, Math.min(zeros.length, size - at), at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes a folder, for its owner alone, and those around it, where they are not there. */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    // Not by `recursive`: Node does not come back from where a folder can be neither found nor made (/proc).
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Makes the names in a file's folder durable. */
export function syncFolder(path: string): void {
  const folder = openSync(dirname(path), 'r');
  fsyncSync(folder);
  closeSync(folder);
}

/**
 * Puts a new copy in place of the previous one, whose bytes are overwritten once the new one has its name. What is there
 * must be such a copy (`isCopy`): anything else is left alone, and refused. Of several that do so at once, one copy is the last.
 */
export async function replaceCopy(
  name: string,
  isCopy: (path: string) => boolean,
  write: (next: string) => Promise<void>,
): Promise<void> {
  const path = existsSync(name) ? realpathSync(name) : name;
  if (existsSync(path) && !isCopy(path))
    throw new Error(`${path} is there, and is no earlier copy of these keys: choose another name`);
  wipeLeft(path);
  // Names of this run alone: another must not take them for its own.
  const own = randomBytes(8).toString('hex');
  const next = `${path}.next-${own}`;
  const previous = `${path}.previous-${own}`;
  await write(next);
  // A second name first: at no moment is there no file of that name. (Where another run gives its copy the name in this very
  // moment, that copy is removed without being overwritten.)
  if (existsSync(path)) linkSync(path, previous);
  renameSync(next, path);
  syncFolder(path);
  if (existsSync(previous)) wipeAllNames(previous);
}

/** A file that nobody has written to for so long is not being written any more. */
const abandonedMs = 10 * 60_000;

/** Wipes what runs of `replaceCopy` have left that were interrupted. */
function wipeLeft(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    const rest = name.startsWith(basename(path)) ? name.slice(basename(path).length) : '';
    const [, kind] = /^\.(next|previous)-[\da-f]{16}(?:-journal)?$/.exec(rest) ?? [];
    const left = join(dirname(path), name);
    const stat = kind === undefined ? undefined : lstatSync(left, { throwIfNoEntry: false });
    if (stat === undefined || Date.now() - Math.max(stat.mtimeMs, stat.ctimeMs) < abandonedMs) continue;
    if (kind === 'next') wipe(left);
    // Interrupted before the new copy had its name, this is a second name of the one that counts.
    else if (existsSync(path) && isSameFile(left, path)) unlinkSync(left);
    else wipeAllNames(left);
  }
}

/** Overwrites a file, whatever other names it has, and removes this one. */
function wipeAllNames(path: string): void {
  overwrite(path);
  unlinkSync(path);
}

/** Overwrites and removes a file, where there is one. Throws where it has other names too, or is a link to another file. */
export function wipe(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isFile() || stat.nlink > 1) throw new Error(`${path} is not a file of ours: remove it`);
  wipeAllNames(path);
}

/** Whether two paths lead to the same bytes, under whatever names. */
export function isSameFile(one: string, other: string): boolean {
  const [first, second] = [statSync(one), statSync(other)];
  return first.dev === second.dev && first.ino === second.ino;
}
