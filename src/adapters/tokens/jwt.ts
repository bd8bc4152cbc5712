import {
  type CryptoKey,
  createLocalJWKSet,
  decodeProtectedHeader,
  errors,
  importSPKI,
  type JWK,
  type JWTPayload,
  jwtVerify,
} from 'jose';
import type { Clock } from '../../application/ports/clock.ts';
import type { JwtAlgorithm, JwtSettings } from '../../application/ports/tenant-directory.ts';
import type { TokenVerifier } from '../../application/ports/token-verifier.ts';
import { isObject } from '../../domain/field-schema.ts';
import { claimAt } from './tenant-claim.ts';

/** Tolerated clock skew between issuer and service. */
const clockSkewSeconds = 30;
/** The shortest time between two fetches of an issuer's keys, successful or not. */
const cooldownMs = 30_000;
/** Keys in use are fetched again after this time, so that a withdrawn key stops being accepted. */
const refreshMs = 10 * 60_000;
/** Keys that cannot be refreshed are accepted for this time. */
const staleMs = 24 * 60 * 60_000;
const fetchTimeoutMs = 3_000;
const maxKeySetBytes = 256 * 1024;
/** Keys tried for one token, at 0.1 (RS256) to 2 ms (ES512) each: all of them take less time than a 401. */
const maxKeysTried = 8;

interface Dependencies {
  readonly clock: Clock;
  /** Called when an issuer's keys could not be fetched; at most once in 30 s for each issuer. */
  readonly onTrouble: (jwksUri: string, error: unknown) => void;
  /** For tests, which have no host with a certificate. */
  readonly fetch?: typeof globalThis.fetch;
}

type KeySource = Pick<PublishedKeys, 'find' | 'refresh' | 'prepare'>;

/** Verifies bearer tokens with jose. */
export function createJwtVerifier({ clock, onTrouble, fetch = globalThis.fetch }: Dependencies): TokenVerifier {
  /** By settings, so that a tenant whose settings change gets another source. */
  const sources = new Map<string, KeySource>();

  function sourceOf({ keys, algorithm }: JwtSettings): KeySource {
    const name = JSON.stringify([keys, algorithm]);
    let source = sources.get(name);
    if (source === undefined) {
      source =
        'jwksUri' in keys
          ? new PublishedKeys(keys.jwksUri, algorithm, { clock, onTrouble, fetch })
          : pinnedKey(keys.publicKeyPem, algorithm);
      sources.set(name, source);
    }
    return source;
  }

  /** The claims of a token that one of its issuer's keys has signed. Rejects for any other token. */
  async function claimsOf(token: string, settings: JwtSettings): Promise<JWTPayload> {
    const source = sourceOf(settings);
    const { kid } = decodeProtectedHeader(token);
    for (const key of (await source.find(kid)).slice(0, maxKeysTried)) {
      try {
        const { payload } = await jwtVerify(token, key, {
          algorithms: [settings.algorithm],
          issuer: settings.issuer,
          audience: settings.audience,
          clockTolerance: clockSkewSeconds,
          requiredClaims: ['exp'],
          currentDate: new Date(clock()),
        });
        return payload;
      } catch (error) {
        if (!isWrongKey(error)) throw error;
      }
    }
    // The issuer may have a new key. The fetch is not awaited: its delay would reveal that the API key is right.
    source.refresh();
    throw new Error('no key of the issuer has signed the token');
  }

  return {
    async verifies(token, tenant, settings) {
      try {
        return claimAt(await claimsOf(token, settings), settings.tenantClaim) === tenant;
      } catch {
        // An invalid token and missing keys are the same to the caller: the token proves nothing.
        return false;
      }
    },
    prepare: (settings) => sourceOf(settings).prepare(),
  };
}

/** Whether another key could verify the token. A TypeError means an RSA key of less than 2048 bits. */
const isWrongKey = (error: unknown): boolean =>
  error instanceof errors.JWSSignatureVerificationFailed || error instanceof TypeError;

function pinnedKey(pem: string, algorithm: string): KeySource {
  const keys = importSPKI(pem, algorithm).then((key) => [key]);
  // If the import fails, each verification fails. The rejection is handled here, or it would end the process.
  keys.catch(() => {});
  return { find: () => keys, refresh: async () => {}, prepare: async () => {} };
}

interface PublishedKey {
  readonly kid: string | undefined;
  readonly key: CryptoKey;
}

/** The key set of an issuer (RFC 7517), fetched in the background, and kept for a day while its host is unreachable. */
class PublishedKeys {
  readonly #uri: string;
  readonly #algorithm: JwtAlgorithm;
  readonly #dependencies: Required<Dependencies>;
  #keys: readonly PublishedKey[] | undefined;
  #fetchedAt = 0;
  #attemptedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;

  constructor(uri: string, algorithm: JwtAlgorithm, dependencies: Required<Dependencies>) {
    this.#uri = uri;
    this.#algorithm = algorithm;
    this.#dependencies = dependencies;
  }

  /**
   * The keys that may have signed a token with this key id, or without one; those with this id first. Rejects if no keys
   * are known.
   */
  async find(kid: unknown): Promise<CryptoKey[]> {
    const keys = this.#current();
    if (keys === undefined) throw new Error('no keys are known');
    const named = kid === undefined ? keys : keys.filter((one) => one.kid === kid);
    const unnamed = kid === undefined ? [] : keys.filter((one) => one.kid === undefined);
    return [...named, ...unnamed].map(({ key }) => key);
  }

  /** Resolves when keys are known or an attempt to fetch them failed. */
  prepare(): Promise<void> {
    return this.#current() === undefined ? this.refresh() : (this.#fetching ?? Promise.resolve());
  }

  /** The keys known now. Starts a refresh if it is due. */
  #current(): readonly PublishedKey[] | undefined {
    const age = this.#since(this.#fetchedAt);
    if (age >= refreshMs) this.refresh();
    return age > staleMs ? undefined : this.#keys;
  }

  /** Resolves when the fetch in flight is done; starts one unless the last attempt was within the cool-down. */
  refresh(): Promise<void> {
    if (this.#fetching === undefined && this.#since(this.#attemptedAt) >= cooldownMs) {
      this.#attemptedAt = this.#dependencies.clock();
      this.#fetching = this.#fetchKeys();
    }
    return this.#fetching ?? Promise.resolve();
  }

  async #fetchKeys(): Promise<void> {
    const { clock, fetch, onTrouble } = this.#dependencies;
    try {
      this.#keys = await usableKeys(await fetchKeySet(this.#uri, fetch), this.#algorithm);
      this.#fetchedAt = clock();
    } catch (error) {
      onTrouble(this.#uri, error);
    } finally {
      this.#fetching = undefined;
    }
  }

  /** Absolute difference from now in milliseconds, also if the clock was set back. */
  #since(time: number): number {
    return Math.abs(this.#dependencies.clock() - time);
  }
}

/**
 * The keys of a key set that can verify this algorithm. Other entries, even malformed ones, are ignored (RFC 7517 section
 * 5). Rejects if the value is no key set.
 */
async function usableKeys(keySet: unknown, algorithm: JwtAlgorithm): Promise<PublishedKey[]> {
  const { keys: entries } = (isObject(keySet) ? keySet : {}) as { readonly keys?: unknown };
  const isKeySet = Array.isArray(entries) && (entries.length === 0 || entries.some(isObject));
  if (!isKeySet) throw new Error('the host of the keys answered with no key set');
  const imported = entries.map(async (entry: JWK): Promise<PublishedKey[]> => {
    try {
      const jwk = withValues(entry);
      // A set for each key, because jose accepts or rejects a set as a whole.
      return [{ kid: jwk.kid, key: await createLocalJWKSet({ keys: [jwk] })({ alg: algorithm }) }];
    } catch {
      return [];
    }
  });
  return (await Promise.all(imported)).flat();
}

/** Without the members that a serializer wrote although they have no value: null, or an empty array. */
const withValues = (entry: JWK): JWK =>
  Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== null && !isEmptyArray(value))) as JWK;

const isEmptyArray = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** Fetches over https only, without redirects and with a bounded answer. */
async function fetchKeySet(uri: string, fetch: typeof globalThis.fetch): Promise<unknown> {
  if (new URL(uri).protocol !== 'https:') throw new Error(`the URI of the keys must use https, but is ${uri}`);
  const response = await fetch(uri, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(fetchTimeoutMs),
  });
  const text = await boundedText(response);
  if (response.status !== 200) throw new Error(`the host of the keys answered with status ${response.status}`);
  return JSON.parse(text);
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxKeySetBytes) throw new Error(`the answer with the keys is longer than ${maxKeySetBytes} bytes`);
    chunks.push(chunk);
  }
  // Unlike `toString`, ignores a byte order mark.
  return new TextDecoder().decode(Buffer.concat(chunks));
}
