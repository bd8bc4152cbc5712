import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** Overwrites a file with zeros, on disk. What a file system or a drive keeps of the old blocks is beyond us. */
export function overwrite(path: string): void {
  const file = openSync(path, 'r+');
  try {
    const zeros = Buffer.alloc(64 * 1024);
    const { size } = statSync(path);
    for (let at = 0; at < size; at += zeros.length) writeSync(file, zeros, 0, Math.min(zeros.length, size - at), at);
    fsyncSync(file);
  } finally {
    closeSync(file);
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
 * must be such a copy (`isCopy`): anything else is left alone, and refused.
 */
export async function replaceCopy(
  path: string,
  isCopy: (path: string) => boolean,
  write: (next: string) => Promise<void>,
): Promise<void> {
  if (existsSync(path) && !isCopy(path))
    throw new Error(`${path} is there, and is no earlier copy of these keys: choose another name`);
  const next = `${path}.next`;
  const previous = `${path}.previous`;
  // Left by one that was interrupted.
  wipe(next);
  wipe(previous);
  await write(next);
  // A second name first: at no moment is there no file of that name.
  if (existsSync(path)) linkSync(path, previous);
  renameSync(next, path);
  syncFolder(path);
  wipe(previous);
}

/** Overwrites and removes a file, where there is one. */
export function wipe(path: string): void {
  if (!existsSync(path)) return;
  overwrite(path);
  unlinkSync(path);
}

/** Whether two paths lead to the same bytes, under whatever names. */
export function isSameFile(one: string, other: string): boolean {
  const [first, second] = [statSync(one), statSync(other)];
  return first.dev === second.dev && first.ino === second.ino;
}
