import { hash, randomInt } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { ApiKeyFormat } from '../../application/ports/api-key-format.ts';
import { type Environment, environments } from '../../application/ports/tenant-directory.ts';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const prefixes: Record<Environment, string> = { sandbox: 'sk_dev_', live: 'sk_live_' };
/** In base62 characters: 190 bits. */
const randomLength = 32;
/** A CRC-32 has six base62 digits. It detects typing errors and lets secret scanners recognise an API key. */
const checksumLength = 6;
const shownPrefixLength = 11;

/** An API key is a prefix, random characters, and a checksum over both. */
export const apiKeyFormat: ApiKeyFormat = {
  newApiKey(environment) {
    const body = prefixes[environment] + randomText(randomLength);
    return body + checksum(body);
  },

  apiKeyDigest(key, environment) {
    return isWellFormed(key, environment) ? hash('sha256', key, 'buffer') : undefined;
  },

  shownPrefix: (key) =>
    environments.some((environment) => isWellFormed(key, environment)) ? key.slice(0, shownPrefixLength) : undefined,

  newId: () => randomText(12),
};

function isWellFormed(key: string, environment: Environment): boolean {
  const prefix = prefixes[environment];
  const hasShape =
    key.length === prefix.length + randomLength + checksumLength && key.startsWith(prefix) && /^\w+$/.test(key);
  return hasShape && key.slice(-checksumLength) === checksum(key.slice(0, -checksumLength));
}

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
