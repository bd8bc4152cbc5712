import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  importSPKI,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import type { Clock } from '../../application/ports/clock.ts';
import type { JwtSettings } from '../../application/ports/tenant-directory.ts';
import type { TokenVerifier } from '../../application/ports/token-verifier.ts';

/** How far clocks may be apart. */
const skewSeconds = 30;
/** An unknown key id makes us look again, and a host that did not answer is asked again, but not more often than this. */
const cooldownMs = 30_000;
/** How often keys are fetched anew while they are used, so that one that was withdrawn stops to count. */
const refreshMs = 10 * 60_000;
/** How long known keys count while their host cannot be reached. */
const staleMs = 24 * 60 * 60_000;
const fetchTimeoutMs = 3_000;
const maxJwksBytes = 256 * 1024;

interface Dependencies {
  readonly clock: Clock;
  /** Hears why the keys of an issuer are not the newest. At most once in a cool-down for each. */
  readonly onTrouble: (jwksUri: string, error: unknown) => void;
  /** For tests, which have no host with a certificate. */
  readonly fetch?: typeof globalThis.fetch;
}

/** Where a key comes from. */
interface KeySource {
  readonly find: JWTVerifyGetKey;
  /** Resolves when keys are known, or cannot be had now. */
  prepare(): Promise<void>;
}

/** Bearer tokens, proved by jose. */
export function createJwtVerifier({ clock, onTrouble, fetch = globalThis.fetch }: Dependencies): TokenVerifier {
  /** By what they were made of, so that a tenant whose settings change gets new ones. */
  const sources = new Map<string, KeySource>();

  function sourceOf({ keys, algorithm }: JwtSettings): KeySource {
    const name = JSON.stringify([keys, algorithm]);
    let source = sources.get(name);
    if (source === undefined) {
      source = 'jwksUri' in keys ? published(keys.jwksUri) : pinned(keys.publicKeyPem, algorithm);
      sources.set(name, source);
    }
    return source;
  }

  /** Keys that an issuer publishes, fetched in the background and kept while their host is away. */
  function published(uri: string): KeySource {
    const fetched = boundedFetch(fetch, clock);
    const remote = createRemoteJWKSet(new URL(uri), {
      [customFetch]: fetched.fetch,
      cacheMaxAge: Number.POSITIVE_INFINITY,
      // jose would count from the last success, by the time of day: `boundedFetch` counts every attempt, by our clock.
      cooldownDuration: 0,
      timeoutDuration: fetchTimeoutMs,
    });
    let known: { readonly jwks: JSONWebKeySet; readonly find: JWTVerifyGetKey } | undefined;
    let fetching: Promise<void> | undefined;

    function fetchAnew(): Promise<void> {
      if (fetching === undefined && fetched.mayAsk()) {
        fetching = remote
          .reload()
          .catch((error) => onTrouble(uri, error))
          .finally(() => {
            fetching = undefined;
          });
      }
      return fetching ?? Promise.resolve();
    }
    function currentKeys(): JWTVerifyGetKey | undefined {
      // A clock that was set back makes it no younger.
      const age = Math.abs(clock() - fetched.succeededAt());
      if (age >= refreshMs) fetchAnew();
      const jwks = remote.jwks();
      if (jwks === undefined || age > staleMs) return undefined;
      if (known?.jwks !== jwks) known = { jwks, find: createLocalJWKSet(jwks) };
      return known.find;
    }

    return {
      async find(header, token) {
        const keys = currentKeys();
        if (keys === undefined) throw new Error('no keys are known');
        try {
          return await keys(header, token);
        } catch (error) {
          // It may have been published since. Whoever waited for it would tell by that that the API key is right.
          fetchAnew();
          throw error;
        }
      },
      prepare: () => (currentKeys() === undefined ? fetchAnew() : (fetching ?? Promise.resolve())),
    };
  }

  return {
    async verifies(token, tenant, settings) {
      try {
        const { payload } = await jwtVerify(token, sourceOf(settings).find, {
          algorithms: [settings.algorithm],
          issuer: settings.issuer,
          audience: settings.audience,
          clockTolerance: skewSeconds,
          requiredClaims: ['exp'],
          currentDate: new Date(clock()),
        });
        return payload[settings.tenantClaim] === tenant;
      } catch {
        // Whatever is wrong with it, or with its issuer's keys: the token proves nothing.
        return false;
      }
    },
    prepare: (settings) => sourceOf(settings).prepare(),
  };
}

function pinned(pem: string, algorithm: string): KeySource {
  // Not before it is asked for: where the key does not fit the algorithm, nobody would hear of the rejection.
  let key: ReturnType<typeof importSPKI> | undefined;
  return {
    find() {
      key ??= importSPKI(pem, algorithm);
      return key;
    },
    prepare: async () => {},
  };
}

interface BoundedFetch {
  readonly fetch: (url: string, options: RequestInit) => Promise<Response>;
  /** See Clock; 0 where no fetch has succeeded yet. */
  succeededAt(): number;
  /** Whether the host was not asked a moment ago. */
  mayAsk(): boolean;
}

/** Fetches over https alone, without redirects, a bounded answer, and not again right after the last time. */
function boundedFetch(fetch: typeof globalThis.fetch, clock: Clock): BoundedFetch {
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let succeededAt = 0;
  return {
    succeededAt: () => succeededAt,
    mayAsk: () => Math.abs(clock() - attemptedAt) >= cooldownMs,
    async fetch(url, options) {
      attemptedAt = clock();
      if (new URL(url).protocol !== 'https:') throw new Error('keys are fetched over https alone');
      const response = await fetch(url, { ...options, redirect: 'error' });
      const text = await boundedText(response);
      if (response.status === 200 && isKeySet(JSON.parse(text))) succeededAt = clock();
      return new Response(text, { status: response.status, headers: response.headers });
    },
  };
}

/** What jose takes for one. */
const isKeySet = ({ keys }: { keys?: unknown }): boolean =>
  Array.isArray(keys) && keys.every((key) => typeof key === 'object' && key !== null && !Array.isArray(key));

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxJwksBytes) throw new Error('the answer with the keys is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
