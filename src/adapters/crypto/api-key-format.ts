import { hash, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { ApiKeyFormat } from '../../application/ports/api-key-format.ts';
import type { Environment } from '../../application/ports/tenant-directory.ts';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const prefixes: Record<Environment, string> = { sandbox: 'sk_dev_', live: 'sk_live_' };
/** In base62 characters: 190 bits. */
const randomLength = 32;
/** A CRC-32 has six base62 digits. It detects typing errors and lets secret scanners recognise an API key. */
const checksumLength = 6;

/** An API key is a prefix, random characters, and a checksum over both. */
export const apiKeyFormat: ApiKeyFormat = {
  newApiKey(environment) {
    const body = prefixes[environment] + randomText(randomLength);
    return body + checksum(body);
  },

  apiKeyDigest(key, environment) {
    const prefix = prefixes[environment];
    if (key.length !== prefix.length + randomLength + checksumLength || !key.startsWith(prefix)) return undefined;
    const body = key.slice(0, -checksumLength);
    if (key.slice(-checksumLength) !== checksum(body)) return undefined;
    return hash('sha256', key, 'buffer');
  },

  newId: () => randomText(12),
};

const randomText = (length: number): string =>
  Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');

function checksum(text: string): string {
  let rest = crc32(text);
  let encoded = '';
  for (let digit = 0; digit < checksumLength; digit += 1) {
    encoded = alphabet[rest % alphabet.length] + encoded;
    rest = Math.floor(rest / alphabet.length);
  }
  return encoded;
}
