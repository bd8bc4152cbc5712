import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import sodium from 'sodium-native';
import { overwrite, syncFolder } from '../files.ts';
import { secureBuffer } from './primitives.ts';

/** A master key that is not there, cannot be read, or is not the right one. */
export class MasterKeyError extends Error {}

const keyBytes = 32;
const digitsLength = 2 * keyBytes;

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
  const key = secureBuffer(keyBytes);
  const isKey = decodeHex(text, key);
  sodium.sodium_memzero(text);
  if (!isKey) {
    throw new MasterKeyError(`${path} must hold a master key: one line of 64 hexadecimal digits (C2A_MASTER_KEY_FILE)`);
  }
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
  const text = encodeHex(key);
  // Under another name until it is whole.
  const draft = `${path}.draft`;
  const file = openSync(draft, 'w', 0o600);
  try {
    // Whatever the umask was.
    fchmodSync(file, 0o600);
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
    sodium.sodium_memzero(text);
  }
  renameSync(draft, path);
  syncFolder(path);
  return key;
}

/** Throws `MasterKeyError` where a key file is there and could not be overwritten; see `adoptMasterKey`. */
export function requireWritable(path: string): void {
  try {
    if (existsSync(path)) accessSync(path, constants.W_OK);
  } catch {
    throw new MasterKeyError(`${path} cannot be written to, where the new master key is to be (C2A_MASTER_KEY_FILE)`);
  }
}

/** Puts a key file in the place of another, whose content is overwritten first. */
export function adoptMasterKey(next: string, path: string): void {
  if (existsSync(path)) overwrite(path);
  renameSync(next, path);
  syncFolder(path);
}

/** Where a key file really is: a link to a safer place stays one when the key in it changes. */
export const masterKeyPath = (path: string): string => (existsSync(path) ? realpathSync(path) : path);

/** Whether others than the owner may read a file. */
export const isReadableByOthers = (path: string): boolean => (statSync(path).mode & 0o077) !== 0;

// Both directions by hand: a string of digits would stay in memory until it is collected, and cannot be wiped.

/** False where the text is not one line of so many digits. */
function decodeHex(text: Buffer, key: Buffer): boolean {
  const rest = text.subarray(digitsLength).toString('latin1');
  if (text.length < digitsLength || !/^\r?\n?$/.test(rest)) return false;
  for (let index = 0; index < keyBytes; index += 1) {
    const high = digitValue(text[2 * index] as number);
    const low = digitValue(text[2 * index + 1] as number);
    if (high < 0 || low < 0) return false;
    key[index] = 16 * high + low;
  }
  return true;
}

function digitValue(character: number): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30;
  // Lower case.
  const letter = character | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

/** A line of digits. */
function encodeHex(key: Buffer): Buffer {
  const digits = '0123456789abcdef';
  const text = secureBuffer(digitsLength + 1);
  for (const [index, byte] of key.entries()) {
    text[2 * index] = digits.charCodeAt(byte >> 4);
    text[2 * index + 1] = digits.charCodeAt(byte & 15);
  }
  text[digitsLength] = 0x0a;
  return text;
}
