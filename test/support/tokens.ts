/** An issuer of bearer tokens. It also makes wrong and forged tokens. */
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose';
import type { JwtAlgorithm, JwtSettings } from '../../src/application/ports/tenant-directory.ts';

export const jwksUri = 'https://login.example.com/jwks.json';

export interface Changes {
  /** Replaces claims of a valid token; undefined removes a claim. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: { readonly crit?: string[]; readonly [name: string]: unknown };
}

export type Issuer = Awaited<ReturnType<typeof issuerOf>>;

/** An issuer with one key. Its tokens are by default for the tenant `acme`, for a minute from `now` (milliseconds). */
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

    /** The settings of a tenant that trusts this issuer. By default they contain the issuer's public key. */
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

    /** A token with any header and any signature. `sign` gets `<header>.<payload>` and returns the signature. */
    forge(header: object, sign: (signed: string) => Buffer): string {
      const signed = `${part({ kid, ...header })}.${part(good)}`;
      return `${signed}.${sign(signed).toString('base64url')}`;
    },
  };
}

/** The encoding of a token's part: base64url of its JSON. */
export const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
