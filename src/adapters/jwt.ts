import { createRemoteJWKSet, customFetch, importSPKI, type JWTVerifyGetKey, jwtVerify, type RemoteJWKSet } from 'jose';
import type { Clock, JwtSettings, TokenVerifier } from '../application/ports.ts';

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

interface Needs {
  readonly clock: Clock;
  /** For tests, which have no host with a certificate. */
  readonly fetch?: typeof globalThis.fetch;
}

/** Bearer tokens, proved by jose. */
export function joseTokens({ clock, fetch = globalThis.fetch }: Needs): TokenVerifier {
  /** By what they were made of, so that a tenant whose settings change gets new ones. */
  const keySets = new Map<string, JWTVerifyGetKey>();

  function keysOf({ keys, algorithm }: JwtSettings): JWTVerifyGetKey {
    const name = JSON.stringify([keys, algorithm]);
    let keySet = keySets.get(name);
    if (keySet === undefined) {
      keySet = 'jwksUri' in keys ? published(keys.jwksUri) : pinned(keys.publicKeyPem, algorithm);
      keySets.set(name, keySet);
    }
    return keySet;
  }

  /** Keys that an issuer publishes, kept while their host is away. */
  function published(uri: string): JWTVerifyGetKey {
    const fetched = boundedFetch(fetch, clock);
    const remote = createRemoteJWKSet(new URL(uri), {
      [customFetch]: fetched.fetch,
      cacheMaxAge: Number.POSITIVE_INFINITY,
      // jose would count from the last success, by the time of day: `boundedFetch` counts every attempt, by our clock.
      cooldownDuration: 0,
      timeoutDuration: fetchTimeoutMs,
    });
    return async (header, token) => {
      await refresh(remote, fetched);
      return remote(header, token);
    };
  }

  async function refresh(remote: RemoteJWKSet, fetched: BoundedFetch): Promise<void> {
    const since = clock() - fetched.succeededAt();
    if (remote.jwks() === undefined || since < refreshMs) return;
    if (since > staleMs) return remote.reload();
    // In the background: this request is served with what is known.
    if (!remote.reloading) remote.reload().catch(() => undefined);
  }

  return {
    async proves(token, tenant, settings) {
      try {
        const { payload } = await jwtVerify(token, keysOf(settings), {
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
  };
}

function pinned(pem: string, algorithm: string): JWTVerifyGetKey {
  // Not before it is asked for: where the key does not fit the algorithm, nobody would hear of the rejection.
  let key: ReturnType<typeof importSPKI> | undefined;
  return () => {
    key ??= importSPKI(pem, algorithm);
    return key;
  };
}

interface BoundedFetch {
  readonly fetch: (url: string, options: RequestInit) => Promise<Response>;
  /** See Clock; 0 where no fetch has succeeded yet. */
  succeededAt(): number;
}

/** Fetches over https alone, without redirects, a bounded answer, and not again right after the last time. */
function boundedFetch(fetch: typeof globalThis.fetch, clock: Clock): BoundedFetch {
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let succeededAt = 0;
  return {
    succeededAt: () => succeededAt,
    async fetch(url, options) {
      if (clock() - attemptedAt < cooldownMs) throw new Error('the host of the keys was asked a moment ago');
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
