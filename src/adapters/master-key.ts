import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import sodium from 'sodium-native';
import { overwrite, syncFolder } from './files.ts';
import { secureBuffer } from './vault.ts';

/** A master key that is not there, cannot be read, or is not the right one. */
export class MasterKeyError extends Error {}

const keyBytes = 32;

/**
 * The master key of a file: one line of 64 hexadecimal digits. Throws `MasterKeyError`, saying what is wrong, or
 * `otherwise` where the file is missing.
 */
export function readMasterKey(path: string, otherwise?: unknown): Buffer {
  if (!existsSync(path)) {
    throw (
      otherwise ??
      new MasterKeyError(`${path} is missing, the master key without which no data can be read (C2A_MASTER_KEY_FILE)`)
    );
  }
  const text = readFileSync(path);
  const [, digits] = /^([0-9a-f]{64})\r?\n?$/i.exec(text.toString('latin1')) ?? [];
  sodium.sodium_memzero(text);
  if (digits === undefined) {
    throw new MasterKeyError(`${path} must hold a master key: one line of 64 hexadecimal digits (C2A_MASTER_KEY_FILE)`);
  }
  const key = secureBuffer(keyBytes);
  key.write(digits, 'hex');
  return key;
}

/**
 * A new master key in a file of mode 0600, on disk when this returns. A file that is there already and holds a key
 * is taken as it is: whoever put it there chose it, or was interrupted.
 */
export function makeMasterKey(path: string): Buffer {
  if (existsSync(path) && statSync(path).size > 0) return readMasterKey(path);
  const key = secureBuffer(keyBytes);
  sodium.randombytes_buf(key);
  const file = openSync(path, 'w', 0o600);
  try {
    // Whatever the umask was.
    fchmodSync(file, 0o600);
    writeSync(file, `${key.toString('hex')}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  syncFolder(path);
  return key;
}

/** Puts a key file in the place of another, whose content is overwritten first. */
export function adoptMasterKey(next: string, path: string): void {
  if (existsSync(path)) overwrite(path);
  renameSync(next, path);
  syncFolder(path);
}
