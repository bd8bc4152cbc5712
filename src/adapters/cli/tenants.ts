import { type Command, Option } from 'commander';
import type { CustomerCount } from '../../application/ports/customer-repository.ts';
import type { JwtSettings, Tenant } from '../../application/ports/tenant-directory.ts';
import type { TenantSettings } from '../../application/tenants.ts';
import { timestamp } from '../../domain/customer.ts';
import { createReferenceData } from '../reference-data.ts';
import { CommandError, type Context, UsageError } from './context.ts';
import { type JwtOptions, jwtOptions, jwtSettings } from './jwt-settings.ts';
import { checkName, table, toTenantId, withStorage } from './options.ts';

const tenantOptions = [
  new Option('--name <text>', 'display name'),
  new Option(
    '--channel <channel>',
    'payment channel, for all countries (CARD) or some (SEPA:DE,AT); repeatable; replaces the list',
  ).argParser((text: string, channels: readonly string[] = []) => [...channels, text]),
  new Option('--can-save-payment-method <boolean>', 'whether customers may save a payment method: true or false'),
  ...jwtOptions,
  new Option('--no-jwt', 'no longer require bearer tokens'),
];

interface TenantOptions extends JwtOptions {
  readonly name?: string;
  readonly channel?: readonly string[];
  readonly canSavePaymentMethod?: string;
  /** False with `--no-jwt`, which commander parses as the negation of `--jwt`. */
  readonly jwt: boolean;
}

/** `tenant add`, `tenant set` and `tenant list`. HTTP callers cannot manage tenants. */
export function addTenantCommands(program: Command, { open, print }: Context): void {
  const group = program.command('tenant');

  withTenantOptions(group.command('add <tenant>'))
    .description('Add a tenant.')
    .action(async (name: string, options) => {
      const id = toTenantId(name);
      const settings = tenantSettings(options);
      const { tenants } = await open(options, true);
      if (!(await tenants.add(id, settings))) throw new CommandError(`tenant ${id} already exists`);
      const added = (await tenants.list()).find((tenant) => tenant.id === id) as Tenant;
      print(tenantView(added), `tenant ${id} added; issue an API key with the same options: key issue ${id}`);
    });

  withStorage(group.command('list'))
    .description('List all tenants, with their number of customers.')
    .action(async (options) => {
      const { tenants } = await open(options);
      const views = (await tenants.listWithCounts()).map(({ tenant, count = unknownCount }) => ({
        ...tenantView(tenant),
        ...count,
      }));
      print(views, table(views.map(cells)) || 'no tenants yet; add one with: tenant add <tenant>');
    });

  withTenantOptions(group.command('set <tenant>'))
    .description('Change settings of a tenant. Options that are not given keep their value.')
    .action(async (name: string, options) => {
      const id = toTenantId(name);
      const isGiven = (option: Option) => options[option.attributeName()] !== (option.negate ? true : undefined);
      if (!tenantOptions.some(isGiven)) throw new UsageError("nothing to set; see 'c2a tenant set --help'");
      const { tenants } = await open(options);
      const current = (await tenants.list()).find((tenant) => tenant.id === id);
      const tenant = await tenants.set(id, tenantSettings(options, current?.jwt));
      if (tenant === undefined) throw new CommandError(`there is no tenant ${id}`);
      print(tenantView(tenant), `tenant ${id} changed`);
    });
}

function withTenantOptions(command: Command): Command {
  for (const option of tenantOptions) command.addOption(option);
  return withStorage(command);
}

/** @param current the tenant's issuer settings; `--jwt-…` options may change only some of them */
function tenantSettings(options: TenantOptions, current?: JwtSettings): TenantSettings {
  const { name, channel, canSavePaymentMethod: canSave } = options;
  checkName(name);
  const jwt = jwtSettings(options, current);
  if (!options.jwt && jwt !== undefined) throw new UsageError('--no-jwt cannot be used with the other --jwt options');
  if (canSave !== undefined && canSave !== 'true' && canSave !== 'false') {
    throw new UsageError('--can-save-payment-method must be true or false');
  }
  return {
    name,
    channels: channel?.map(parseChannel),
    canSavePaymentMethod: canSave === undefined ? undefined : canSave === 'true',
    jwt: options.jwt ? jwt : null,
  };
}

const { countryCode } = createReferenceData();

/** A channel, for all countries or for some: `CARD`, `SEPA:DE,AT`. */
function parseChannel(text: string) {
  const [, channel, list] = /^([A-Z][A-Z0-9_]{0,31})(?::([A-Z]{2}(?:,[A-Z]{2})*))?$/.exec(text) ?? [];
  const countries = list?.split(',');
  if (channel === undefined || countries?.some((country) => countryCode(country) === undefined)) {
    throw new UsageError('--channel must look like CARD or SEPA:DE,AT, with ISO 3166-1 countries');
  }
  return { channel, ...(countries && { countries }) };
}

function tenantView({ id, name, payment, jwt, createdAt }: Tenant) {
  const channels = payment.channels.map(({ channel, countries }) =>
    countries ? `${channel}:${countries.join(',')}` : channel,
  );
  return {
    id,
    ...(name !== undefined && { name }),
    channels,
    canSavePaymentMethod: payment.canSavePaymentMethod,
    ...(jwt && { jwt }),
    createdAt: timestamp(createdAt),
  };
}

/** The count of a tenant for which the storage failed. */
const unknownCount = { customers: null, anonymized: null };

type Listed = ReturnType<typeof tenantView> & (CustomerCount | typeof unknownCount);

const cells = ({ id, name = '', customers, anonymized, ...settings }: Listed) => [
  id,
  name,
  customers === null ? 'customers unknown: the database failed' : `${customers} customers`,
  anonymized === null ? '' : `${anonymized} anonymized`,
  settings.channels.join(' '),
  settings.canSavePaymentMethod ? 'saves payment method' : '',
  settings.jwt ? `bearer tokens of ${settings.jwt.issuer}` : '',
  settings.createdAt,
];
