import { createPublicKey } from 'node:crypto';
import { Option } from 'commander';
import { type JwtAlgorithm, type JwtSettings, jwtAlgorithms } from '../../application/ports/tenant-directory.ts';
import { UsageError } from './context.ts';
import { readText } from './options.ts';

export const jwtOptions = [
  new Option('--jwt-issuer <iss>', 'require bearer tokens of this issuer (iss)'),
  new Option('--jwt-audience <aud>', 'the audience that tokens must name (aud)'),
  new Option('--jwt-algorithm <name>', `signature algorithm: ${jwtAlgorithms.join(', ')} (default RS256)`),
  new Option(
    '--jwt-tenant-claim <name>',
    "the claim that must equal the tenant's id: a name, which may be a URL, or a path such as org.id (default tenant)",
  ),
  new Option('--jwks-uri <url>', 'https URL where the issuer publishes its keys'),
  new Option('--jwt-public-key-file <file>', "the issuer's only public key (PEM), instead of --jwks-uri"),
];

/** The options parsed by commander. */
export type JwtOptions = Partial<
  Record<'jwtIssuer' | 'jwtAudience' | 'jwtAlgorithm' | 'jwtTenantClaim' | 'jwksUri' | 'jwtPublicKeyFile', string>
>;

/**
 * The settings from the `--jwt-…` options; undefined if none is given.
 *
 * @param current the tenant's present settings, used for options that are not given
 */
export function jwtSettings(options: JwtOptions, current: JwtSettings | undefined): JwtSettings | undefined {
  if (!jwtOptions.some((option) => option.attributeName() in options)) return undefined;
  const { jwtIssuer: issuer = current?.issuer, jwtAudience: audience = current?.audience } = options;
  const { jwtAlgorithm: algorithm = current?.algorithm ?? 'RS256' } = options;
  if (!issuer || !audience) throw new UsageError('--jwt-issuer and --jwt-audience are both needed');
  if (!isAlgorithm(algorithm)) throw new UsageError(`--jwt-algorithm must be one of ${jwtAlgorithms.join(', ')}`);
  const tenantClaim = options.jwtTenantClaim ?? current?.tenantClaim ?? 'tenant';
  return { issuer, audience, algorithm, tenantClaim, keys: keySource(options, algorithm, current?.keys) };
}

const isAlgorithm = (text: string): text is JwtAlgorithm => jwtAlgorithms.includes(text as JwtAlgorithm);

function keySource(
  { jwksUri, jwtPublicKeyFile: file }: JwtOptions,
  algorithm: JwtAlgorithm,
  current: JwtSettings['keys'] | undefined,
): JwtSettings['keys'] {
  const isAmbiguous = jwksUri !== undefined && file !== undefined;
  if (jwksUri !== undefined && !isAmbiguous) {
    if (URL.parse(jwksUri)?.protocol !== 'https:') throw new UsageError('--jwks-uri must be an https URL');
    return { jwksUri };
  }
  if (file !== undefined && !isAmbiguous)
    return { publicKeyPem: publicKey(readText(file, '--jwt-public-key-file'), algorithm) };
  if (current === undefined || isAmbiguous) {
    throw new UsageError('exactly one of --jwks-uri and --jwt-public-key-file is needed');
  }
  // Checked again, because the algorithm may have changed.
  if ('publicKeyPem' in current) publicKey(current.publicKeyPem, algorithm);
  return current;
}

/** Checks a public key and returns it as SubjectPublicKeyInfo in PEM. Rejects a private key: it must not be stored. */
function publicKey(pem: string, algorithm: JwtAlgorithm): string {
  if (!/^-----BEGIN PUBLIC KEY-----/.test(pem)) {
    throw new UsageError('--jwt-public-key-file must contain a public key in PEM (-----BEGIN PUBLIC KEY-----)');
  }
  const key = createPublicKey(pem);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const kind = type === 'ec' ? details?.namedCurve : type;
  const family = algorithm.startsWith('ES') ? algorithm : algorithm.slice(0, 2);
  if (!keyKinds[family]?.includes(String(kind))) {
    throw new UsageError(`--jwt-public-key-file contains a key that does not fit ${algorithm}`);
  }
  if ((details?.modulusLength ?? minRsaBits) < minRsaBits) {
    throw new UsageError(`--jwt-public-key-file contains a key of less than ${minRsaBits} bits, which is too weak`);
  }
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** RFC 7518 section 3.3. */
const minRsaBits = 2048;

/** The key types of each algorithm family (RFC 7518 section 3.1, RFC 8037), by Node's names. */
const keyKinds: Readonly<Record<string, readonly string[]>> = {
  RS: ['rsa'],
  PS: ['rsa', 'rsa-pss'],
  ES256: ['prime256v1'],
  ES384: ['secp384r1'],
  ES512: ['secp521r1'],
  Ed: ['ed25519'],
};
