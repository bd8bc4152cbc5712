import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import sodium from 'sodium-native';
import { overwrite, sync } from '../files.ts';
import { systemProblem } from '../system-errors.ts';
import { keyBytes, secureBuffer } from './primitives.ts';

/** The master key is missing, cannot be read, or is the wrong one. */
export class MasterKeyError extends Error {}

/**
 * Reads a master key file: one line of 64 hexadecimal digits. Throws `MasterKeyError`.
 *
 * @param ifMissing thrown in place of `MasterKeyError` if there is no file
 */
export function readMasterKey(path: string, ifMissing?: unknown): Buffer {
  if (!existsSync(path)) {
    throw (
      ifMissing ?? new MasterKeyError(`the master key ${path} is missing; no data can be read (C2A_MASTER_KEY_FILE)`)
    );
  }
  const text = withFile(path, () => readFileSync(path, 'latin1'));
  if (!/^[\da-f]{64}\r?\n?$/i.test(text)) {
    throw new MasterKeyError(`${path} must hold a master key: one line of 64 hexadecimal digits (C2A_MASTER_KEY_FILE)`);
  }
  const key = secureBuffer(keyBytes);
  key.write(text, 'hex');
  return key;
}

/**
 * Makes a new master key in a file of mode 0600, synced to disk. If the file already holds a key, returns that key: the
 * operator provided it, or an interrupted start made it. Throws `MasterKeyError` if the file holds anything else.
 */
export function makeMasterKey(path: string): Buffer {
  if (existsSync(path) && statSync(path).size > 0) return readMasterKey(path);
  const key = secureBuffer(keyBytes);
  sodium.randombytes_buf(key);
  // Renamed when complete, so that no interruption leaves half a key. An old draft is removed, as its mode may differ.
  const draft = `${path}.draft`;
  withFile(path, () => {
    rmSync(draft, { force: true });
    writeFileSync(draft, `${key.toString('hex')}\n`, { mode: 0o600, flush: true });
    // The mode above is subject to the umask.
    chmodSync(draft, 0o600);
    renameSync(draft, path);
    sync(dirname(path));
  });
  return key;
}

/** Runs `use`. Throws `MasterKeyError` for an error of the operating system. */
function withFile<Result>(path: string, use: () => Result): Result {
  try {
    return use();
  } catch (error) {
    const problem = systemProblem(error, path);
    throw problem === undefined ? error : new MasterKeyError(`${problem} (C2A_MASTER_KEY_FILE)`);
  }
}

/** Throws `MasterKeyError` if the file exists and is not writable: checked before a rotation changes anything. */
export function requireWritable(path: string): void {
  try {
    if (existsSync(path)) accessSync(path, constants.W_OK);
  } catch {
    throw new MasterKeyError(
      `${path} cannot be written to, so the master key cannot be replaced (C2A_MASTER_KEY_FILE)`,
    );
  }
}

/** Renames a key file to the name of another, which is overwritten first. */
export function replaceMasterKey(next: string, path: string): void {
  withFile(path, () => {
    if (existsSync(path)) overwrite(path);
    renameSync(next, path);
    sync(dirname(path));
  });
}

/** The path with links resolved, so that replacing the key replaces the target of a link, not the link. */
export const masterKeyPath = (path: string): string => (existsSync(path) ? realpathSync(path) : path);

/** Whether the file's mode gives group or others any access. */
export const isAccessibleByOthers = (path: string): boolean => (statSync(path).mode & 0o077) !== 0;
