/** An issuer of bearer tokens, and what somebody may make who is none. */
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose';
import type { JwtAlgorithm, JwtSettings } from '../../src/application/ports/tenant-directory.ts';

export const jwksUri = 'https://login.example.com/jwks.json';

export interface Changes {
  /** In place of the claims of a good token; undefined leaves one out. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: { readonly crit?: string[]; readonly [name: string]: unknown };
}

export type Issuer = Awaited<ReturnType<typeof issuerOf>>;

/** An issuer with one key, whose good tokens are for the tenant `acme` and for a minute from `now` (milliseconds). */
export async function issuerOf(algorithm: JwtAlgorithm, { now, kid = 'k1' }: { now: number; kid?: string }) {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const publicKeyPem = await exportSPKI(publicKey);
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' };
  const seconds = Math.floor(now / 1000);
  const good = { iss: 'https://login.example.com', aud: 'c2a', nbf: seconds, exp: seconds + 60, tenant: 'acme' };

  return {
    algorithm,
    seconds,
    privateKey,
    publicKeyPem,
    jwk,

    /** What a tenant has set that trusts this issuer: by its one key, unless it says otherwise. */
    settings: (keys: JwtSettings['keys'] = { publicKeyPem }): JwtSettings => ({
      issuer: good.iss,
      audience: good.aud,
      algorithm,
      tenantClaim: 'tenant',
      keys,
    }),

    token({ claims = {}, header = {} }: Changes = {}, key: CryptoKey = privateKey): Promise<string> {
      const crit = Object.fromEntries((header.crit ?? []).map((name) => [name, true]));
      return new SignJWT({ ...good, ...claims })
        .setProtectedHeader({ alg: algorithm, kid, ...header })
        .sign(key, { crit });
    },

    /** A token with any header at all, by any signature of `<header>.<payload>`. */
    forge(header: object, sign: (signed: string) => Buffer): string {
      const signed = `${part({ kid, ...header })}.${part(good)}`;
      return `${signed}.${sign(signed).toString('base64url')}`;
    },
  };
}

/** A part of a token. */
export const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
