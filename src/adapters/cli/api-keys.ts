import type { Command } from 'commander';
import { type ApiKey, type Role, roles } from '../../application/ports/tenant-directory.ts';
import { timestamp } from '../../domain/customer.ts';
import type { TenantId } from '../../domain/identity.ts';
import { CommandError, type Context, UsageError } from './context.ts';
import { checkName, table, toTenantId, withStorage } from './options.ts';

const defaultOverlapMs = 24 * 60 * 60 * 1000;

/** `key issue`, `key list`, `key rotate` and `key revoke`. HTTP callers cannot manage API keys. */
export function addApiKeyCommands(program: Command, context: Context): void {
  const group = program.command('key');
  addIssue(group, context);
  addList(group, context);
  addRotate(group, context);
  addRevoke(group, context);
}

function addIssue(group: Command, { open, print }: Context): void {
  const command = group
    .command('issue [tenant]')
    .description('Issue an API key. The key is shown only once; the service stores its digest.')
    .option('--name <text>', 'what the key is for')
    .option('--role <role>', `${roles.join(' or ')} (default full)`)
    .option('--expires <time>', 'how long the key works, e.g. 90d (default: until it is revoked)')
    .option('--tenant <tenant>', 'the tenant, instead of the argument');
  withStorage(command).action(async (named: string | undefined, options) => {
    const tenant = tenantOf(named, options.tenant);
    if (tenant === undefined) throw new UsageError('expected one tenant, as an argument or with --tenant');
    const { name = '', role = 'full' } = options;
    checkName(name);
    if (!isRole(role)) throw new UsageError(`--role must be ${roles.join(' or ')}`);
    const lifetimeMs = lifetime(options.expires);
    const { apiKeys } = await open(options);
    const issued = await apiKeys.issue(tenant, { name, role, lifetimeMs });
    if (issued === undefined) throw new CommandError(`there is no tenant ${tenant}`);
    const { key, secret } = issued;
    print(
      { ...keyView(key), key: secret },
      `${secret}\n(key ${key.id} of the ${key.environment} environment, shown once)`,
    );
  });
}

function addList(group: Command, { open, print }: Context): void {
  const command = group
    .command('list [tenant]')
    .description('List the API keys of one tenant or of all tenants, without their secrets.')
    .option('--tenant <tenant>', 'the tenant, instead of the argument');
  withStorage(command).action(async (named: string | undefined, options) => {
    const tenant = tenantOf(named, options.tenant);
    const { tenants, apiKeys } = await open(options);
    if (tenant !== undefined && !(await tenants.list()).some(({ id }) => id === tenant)) {
      throw new CommandError(`there is no tenant ${tenant}`);
    }
    const views = (await apiKeys.list(tenant)).map(keyView);
    print(views, table(views.map(cells)) || 'no API keys yet; issue one with: key issue <tenant>');
  });
}

function addRotate(group: Command, { open, print }: Context): void {
  const command = group
    .command('rotate <key-id>')
    .description('Issue a key that replaces an old key and has its name and role. The old key still works for a while.')
    .option('--overlap <time>', 'how long the old key still works, e.g. 24h (default) or 0s')
    .option(
      '--expires <time>',
      "how long the new key works, e.g. 90d, or never (default: the old key's original lifetime)",
    );
  withStorage(command).action(async (id: string, options) => {
    const overlapMs = duration('overlap', options.overlap) ?? defaultOverlapMs;
    const lifetimeMs = options.expires === 'never' ? 'never' : lifetime(options.expires);
    const { apiKeys } = await open(options);
    const rotated = await apiKeys.rotate(id, { overlapMs, lifetimeMs });
    if (rotated === undefined) {
      throw new CommandError(`${id} is not an active key of this environment; see 'c2a key list'`);
    }
    const { key, secret } = rotated;
    const replaced = keyView(rotated.replaced);
    print(
      { ...keyView(key), key: secret, replaced },
      `${secret}\n(key ${key.id} of the ${key.environment} environment, shown once; ` +
        `${replaced.id} works until ${replaced.expiresAt})`,
    );
  });
}

function addRevoke(group: Command, { open, print }: Context): void {
  withStorage(group.command('revoke <key-id>'))
    .description('Revoke a key, immediately and permanently.')
    .action(async (id: string, options) => {
      const { apiKeys } = await open(options);
      const key = await apiKeys.revoke(id);
      if (key === undefined) throw new CommandError(`there is no key ${id}; see 'c2a key list'`);
      print(keyView(key), `key ${key.id} revoked`);
    });
}

/** The tenant from the argument or from `--tenant`; undefined if neither is given. */
function tenantOf(argument: string | undefined, option: string | undefined): TenantId | undefined {
  if (argument !== undefined && option !== undefined) {
    throw new UsageError('expected one tenant, as an argument or with --tenant');
  }
  const name = argument ?? option;
  return name === undefined ? undefined : toTenantId(name);
}

const isRole = (text: string): text is Role => roles.includes(text as Role);

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The milliseconds of an option such as `90d`; undefined if it is not given. */
function duration(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (unit === undefined) throw new UsageError(`--${option} must look like 90d, 12h, 30m or 45s`);
  return Number(count) * units[unit as keyof typeof units];
}

function lifetime(expires: string | undefined): number | undefined {
  const ms = duration('expires', expires);
  if (ms === 0) throw new UsageError('--expires must be greater than zero');
  return ms;
}

/** A stored key for printing, without its digest. */
function keyView({ digest: _, createdAt, expiresAt, revokedAt, lastUsedAt, ...key }: ApiKey) {
  return {
    ...key,
    createdAt: timestamp(createdAt),
    ...(expiresAt !== undefined && { expiresAt: timestamp(expiresAt) }),
    ...(revokedAt !== undefined && { revokedAt: timestamp(revokedAt) }),
    ...(lastUsedAt !== undefined && { lastUsedAt: timestamp(lastUsedAt) }),
  };
}
type KeyView = ReturnType<typeof keyView>;

const cells = (key: KeyView): string[] => [
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
];

function endOf({ revokedAt, expiresAt }: KeyView): string {
  if (revokedAt !== undefined) return `revoked ${revokedAt}`;
  if (expiresAt === undefined) return '';
  return `${Date.parse(expiresAt) <= Date.now() ? 'expired' : 'expires'} ${expiresAt}`;
}
