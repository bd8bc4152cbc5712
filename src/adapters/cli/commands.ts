import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  type ApiKey,
  type JwtAlgorithm,
  type JwtSettings,
  jwtAlgorithms,
  type Role,
  roles,
  type Tenant,
} from '../../application/ports/tenant-directory.ts';
import type { TenantSettings } from '../../application/tenants.ts';
import { timestamp } from '../../domain/customer.ts';
import type { TenantId } from '../../domain/identity.ts';
import { createReferenceData } from '../reference-data.ts';
import { erasureCommands } from './erasure-commands.ts';
import { programCommands } from './program-commands.ts';
import {
  type Command,
  CommandError,
  type Context,
  exactly,
  type Options,
  storageOptions,
  tenantOption,
  toTenantId,
  UsageError,
} from './run.ts';
import { storageCommands } from './storage-commands.ts';

const tenantOptions = {
  name: { type: 'string', about: 'name for people' },
  channel: {
    type: 'string',
    multiple: true,
    about: 'payment channel, for all countries (CARD) or some (SEPA:DE,AT); repeatable; replaces the list',
  },
  'can-save-payment-method': { type: 'string', about: 'whether customers may save a payment method: true or false' },
  'jwt-issuer': { type: 'string', about: 'require bearer tokens of this issuer (iss)' },
  'jwt-audience': { type: 'string', about: 'what aud must hold' },
  'jwt-algorithm': { type: 'string', about: `${jwtAlgorithms.join(', ')} (default RS256)` },
  'jwt-tenant-claim': { type: 'string', about: 'the claim that must equal the tenant (default tenant)' },
  'jwks-uri': { type: 'string', about: 'where the issuer publishes its keys (https)' },
  'jwt-public-key-file': { type: 'string', about: 'the one public key of the issuer (PEM), in place of --jwks-uri' },
  'no-jwt': { type: 'boolean', about: 'no longer require bearer tokens' },
  ...storageOptions,
} as const;
const keyTenantOption = { tenant: { type: 'string', about: 'the tenant, where it is not an argument' } } as const;

const expiresOption = { type: 'string', about: 'how long it works, e.g. 90d (default: until it is revoked)' } as const;
const rotatedExpiresOption = {
  type: 'string',
  about: 'how long the new key works, e.g. 90d, or never (default: as long as the old one was made for)',
} as const;
const defaultOverlapMs = 24 * 60 * 60 * 1000;

/** Tenants and their keys. Over HTTP they cannot be managed. */
const tenantCommands: readonly Command[] = [
  {
    name: 'tenant add',
    usage: '<tenant>',
    about: 'Make a tenant.',
    options: tenantOptions,
    async run(context) {
      const tenant = tenantArgument(context);
      const settings = tenantSettings(context.options);
      const { tenants } = await context.open('create');
      if (!(await tenants.addTenant(tenant, settings))) throw new CommandError(`tenant ${tenant} exists already`);
      const made = (await tenants.listTenants()).find(({ id }) => id === tenant) as Tenant;
      const where = `with the same options: key issue ${tenant}`;
      context.print(tenantView(made), `tenant ${tenant} added; give it a key, ${where}`);
    },
  },
  {
    name: 'tenant list',
    usage: '',
    about: 'List all tenants.',
    options: storageOptions,
    async run(context) {
      const { tenants } = await context.open();
      const all = (await tenants.listTenants()).map(tenantView);
      const rows = all.map(({ id, name = '', channels, canSavePaymentMethod, jwt, createdAt }) => [
        id,
        name,
        channels.join(' '),
        canSavePaymentMethod ? 'saves payment method' : '',
        jwt ? `tokens of ${jwt.issuer}` : '',
        createdAt,
      ]);
      context.print(all, table(rows) || 'no tenants yet; make one with: tenant add <tenant>');
    },
  },
  {
    name: 'tenant set',
    usage: '<tenant>',
    about: 'Change settings of a tenant; those that are not given stay.',
    options: tenantOptions,
    async run(context) {
      const id = tenantArgument(context);
      const given = tenantOptionsGiven(context.options);
      if (given.length === 0) throw new UsageError("nothing to set; see 'c2a tenant set --help'");
      const { tenants } = await context.open();
      const current = (await tenants.listTenants()).find((one) => one.id === id);
      const tenant = await tenants.setTenant(id, tenantSettings(context.options, current?.jwt));
      if (tenant === undefined) throw new CommandError(`there is no tenant ${id}`);
      context.print(tenantView(tenant), `tenant ${id} changed`);
    },
  },
  {
    name: 'key issue',
    usage: '<tenant>',
    about: 'Make an API key. It is shown this once and kept only as a hash.',
    options: {
      name: { type: 'string', about: 'what the key is for' },
      role: { type: 'string', about: `${roles.join(' or ')} (default full)` },
      expires: expiresOption,
      ...keyTenantOption,
      ...storageOptions,
    },
    async run(context) {
      const tenant = tenantArgument(context);
      const { name = '', role = 'full' } = context.options;
      checkName(name);
      if (!isRole(role)) throw new UsageError(`--role must be ${roles.join(' or ')}`);
      const lifetimeMs = lifetime(context.options);
      const { tenants } = await context.open();
      const issued = await tenants.issueKey(tenant, { name: String(name), role, lifetimeMs });
      if (issued === undefined) throw new CommandError(`there is no tenant ${tenant}`);
      context.print(
        { ...keyView(issued.key), key: issued.secret },
        `${issued.secret}\n(key ${issued.key.id} of the ${issued.key.environment} environment, shown once)`,
      );
    },
  },
  {
    name: 'key list',
    usage: '[<tenant>]',
    about: 'List keys, of one tenant or of all; never the keys themselves.',
    options: { ...keyTenantOption, ...storageOptions },
    async run(context) {
      const named = context.arguments_.length > 0 || context.options.tenant !== undefined;
      const tenant = named ? tenantArgument(context) : undefined;
      const { tenants } = await context.open();
      if (tenant !== undefined && !(await tenants.listTenants()).some(({ id }) => id === tenant)) {
        throw new CommandError(`there is no tenant ${tenant}`);
      }
      const all = (await tenants.listKeys(tenant)).map(keyView);
      const rows = all.map((key) => [
        key.id,
        key.tenant,
        `${key.prefix}…`,
        key.role,
        key.environment,
        key.name,
        `created ${key.createdAt}`,
        key.lastUsedAt === undefined ? 'never used' : `last used ${key.lastUsedAt}`,
        `${key.requests} requests`,
        endOf(key),
      ]);
      context.print(all, table(rows) || 'no keys yet; make one with: key issue <tenant>');
    },
  },
  {
    name: 'key rotate',
    usage: '<key-id>',
    about: 'Make a key in place of another, with its name and role; both work for a while.',
    options: {
      overlap: { type: 'string', about: 'how long the old key still works, e.g. 24h (the default) or 0s' },
      expires: rotatedExpiresOption,
      ...storageOptions,
    },
    async run(context) {
      const [id] = exactly(1, context, 'the id of a key; see key list');
      const overlapMs = duration('overlap', context.options) ?? defaultOverlapMs;
      const lifetimeMs = context.options.expires === 'never' ? 'never' : lifetime(context.options);
      const { tenants } = await context.open();
      const rotated = await tenants.rotateKey(id as string, { overlapMs, lifetimeMs });
      if (rotated === undefined) {
        throw new CommandError('no such key in this environment, or it was revoked or has expired; see key list');
      }
      const { key, secret, replaced } = rotated;
      const view = { ...keyView(key), key: secret, replaced: keyView(replaced) };
      const until = view.replaced.expiresAt;
      context.print(
        view,
        `${secret}\n(key ${key.id} of the ${key.environment} environment, shown once; ${replaced.id} works until ${until})`,
      );
    },
  },
  {
    name: 'key revoke',
    usage: '<key-id>',
    about: 'Revoke a key, at once and for good.',
    options: storageOptions,
    async run(context) {
      const [id] = exactly(1, context, 'the id of a key; see key list');
      const { tenants } = await context.open();
      const key = await tenants.revokeKey(id as string);
      if (key === undefined) throw new CommandError('there is no such key; key list shows their ids');
      context.print(keyView(key), `key ${key.id} revoked`);
    },
  },
];

/** Every command but `serve`. */
export const commands: readonly Command[] = [
  ...tenantCommands,
  ...erasureCommands,
  ...storageCommands,
  ...programCommands,
];

function endOf({ revokedAt, expiresAt }: { revokedAt?: string; expiresAt?: string }): string {
  if (revokedAt !== undefined) return `revoked ${revokedAt}`;
  if (expiresAt === undefined) return '';
  return `${Date.parse(expiresAt) <= Date.now() ? 'expired' : 'expires'} ${expiresAt}`;
}

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The milliseconds of an option such as `90d`; undefined where it is not given. */
function duration(option: string, options: Options): number | undefined {
  const text = options[option];
  if (text === undefined) return undefined;
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(String(text)) ?? [];
  if (unit === undefined) throw new UsageError(`--${option} must look like 90d, 12h, 30m or 45s`);
  return Number(count) * units[unit as keyof typeof units];
}

/** How long a key is to work; undefined where `--expires` is not given. */
function lifetime(options: Options): number | undefined {
  const ms = duration('expires', options);
  if (ms === 0) throw new UsageError('--expires must be longer than nothing');
  return ms;
}

/** What is shown to people must not move their cursor. */
function checkName(name: Options[string]): void {
  if (name !== undefined && !/^[^\p{Cc}\p{Cf}]{0,100}$/u.test(String(name))) {
    throw new UsageError('--name must be at most 100 characters, without control characters');
  }
}

/** The tenant, as argument or as `--tenant`. */
function tenantArgument(context: Context): TenantId {
  const named = tenantOption(context);
  if (named === undefined) return toTenantId(exactly(1, context, 'one tenant')[0] as string);
  exactly(0, context, 'one tenant, as an argument or by --tenant');
  return named;
}

const tenantOptionsGiven = (options: Options): string[] =>
  Object.keys(tenantOptions).filter((option) => !(option in storageOptions) && options[option] !== undefined);

/** @param current what of `--jwt-…` is not given stays as it is */
function tenantSettings(options: Options, current?: JwtSettings): TenantSettings {
  const { name, channel, 'can-save-payment-method': canSave, 'no-jwt': noJwt } = options;
  checkName(name);
  const jwt = jwtSettings(options, current);
  if (noJwt && jwt !== undefined) throw new UsageError('--no-jwt goes without the other --jwt options');
  if (canSave !== undefined && canSave !== 'true' && canSave !== 'false') {
    throw new UsageError('--can-save-payment-method must be true or false');
  }
  return {
    name: name as string | undefined,
    channels: (channel as readonly string[] | undefined)?.map(parseChannel),
    canSavePaymentMethod: canSave && canSave === 'true',
    jwt: noJwt ? null : jwt,
  };
}

/** What the `--jwt-…` options say together; undefined where none is given. */
function jwtSettings(options: Options, current: JwtSettings | undefined): JwtSettings | undefined {
  const given = Object.keys(options).filter((option) => option.startsWith('jw') && options[option] !== undefined);
  if (given.length === 0) return undefined;
  const {
    'jwt-issuer': issuer = current?.issuer,
    'jwt-audience': audience = current?.audience,
    'jwt-algorithm': algorithm = current?.algorithm ?? 'RS256',
    'jwt-tenant-claim': tenantClaim = current?.tenantClaim ?? 'tenant',
    'jwks-uri': jwksUri,
    'jwt-public-key-file': file,
  } = options as Record<string, string | undefined>;
  if (!issuer || !audience) throw new UsageError('--jwt-issuer and --jwt-audience are both needed');
  if (!isAlgorithm(algorithm)) throw new UsageError(`--jwt-algorithm must be one of ${jwtAlgorithms.join(', ')}`);
  if (jwksUri !== undefined && file !== undefined) throw new UsageError(oneKeySource);
  const keys =
    jwksUri !== undefined
      ? { jwksUri: httpsUri(jwksUri) }
      : file !== undefined
        ? { publicKeyPem: fittingKey(readPem(file), algorithm) }
        : current?.keys;
  if (keys === undefined) throw new UsageError(oneKeySource);
  // The algorithm may be what changes.
  if ('publicKeyPem' in keys) fittingKey(keys.publicKeyPem, algorithm);
  return { issuer, audience, algorithm, tenantClaim, keys };
}
const oneKeySource = 'exactly one of --jwks-uri and --jwt-public-key-file is needed';

const isAlgorithm = (text: string): text is JwtAlgorithm => jwtAlgorithms.includes(text as JwtAlgorithm);

function httpsUri(text: string): string {
  if (URL.parse(text)?.protocol !== 'https:') throw new UsageError('--jwks-uri must be an https URL');
  return text;
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CommandError(`--jwt-public-key-file cannot be read: ${(error as Error).message}`);
  }
}

/** SubjectPublicKeyInfo in PEM; a private key is refused, so that none ends up in the database. */
function fittingKey(pem: string, algorithm: JwtAlgorithm): string {
  if (!/^-----BEGIN PUBLIC KEY-----/.test(pem)) {
    throw new UsageError('--jwt-public-key-file must hold a public key in PEM (-----BEGIN PUBLIC KEY-----)');
  }
  const key = createPublicKey(pem);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const kind = type === 'ec' ? details?.namedCurve : type;
  if (!kindsOfKeys[algorithm.slice(0, 2) === 'ES' ? algorithm : algorithm.slice(0, 2)]?.includes(String(kind))) {
    throw new UsageError(`--jwt-public-key-file holds a key that does not fit ${algorithm}`);
  }
  if ((details?.modulusLength ?? minRsaBits) < minRsaBits) {
    throw new UsageError(`--jwt-public-key-file holds a key of less than ${minRsaBits} bits, which proves nothing`);
  }
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** RFC 7518 section 3.3. */
const minRsaBits = 2048;

/** Which keys an algorithm can be used with (RFC 7518 section 3.1, RFC 8037), in the words of the runtime. */
const kindsOfKeys: Readonly<Record<string, readonly string[]>> = {
  RS: ['rsa'],
  PS: ['rsa', 'rsa-pss'],
  ES256: ['prime256v1'],
  ES384: ['secp384r1'],
  ES512: ['secp521r1'],
  Ed: ['ed25519'],
};

const referenceData = createReferenceData();

function parseChannel(text: string) {
  const [, channel, countries] = /^([A-Z][A-Z0-9_]{0,31})(?::([A-Z]{2}(?:,[A-Z]{2})*))?$/.exec(text) ?? [];
  const unknown = countries?.split(',').find((country) => referenceData.countryCode(country) === undefined);
  if (channel === undefined || unknown !== undefined) {
    throw new UsageError('--channel must look like CARD or SEPA:DE,AT, with countries of ISO 3166-1');
  }
  return { channel, ...(countries && { countries: countries.split(',') }) };
}

const isRole = (text: unknown): text is Role => roles.includes(text as Role);

function tenantView({ id, name, payment, jwt, createdAt }: Tenant) {
  const channels = payment.channels.map(({ channel, countries }) =>
    countries ? `${channel}:${countries.join(',')}` : channel,
  );
  const { canSavePaymentMethod } = payment;
  return {
    id,
    ...(name !== undefined && { name }),
    channels,
    canSavePaymentMethod,
    ...(jwt && { jwt }),
    createdAt: timestamp(createdAt),
  };
}

function keyView({ digest: _, createdAt, expiresAt, revokedAt, lastUsedAt, ...key }: ApiKey) {
  return {
    ...key,
    createdAt: timestamp(createdAt),
    ...(expiresAt !== undefined && { expiresAt: timestamp(expiresAt) }),
    ...(revokedAt !== undefined && { revokedAt: timestamp(revokedAt) }),
    ...(lastUsedAt !== undefined && { lastUsedAt: timestamp(lastUsedAt) }),
  };
}

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
