import { randomUUID } from 'node:crypto';
import { text as readAll } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { History } from '../../application/look-up.ts';
import { isCompleted, type Outcome } from '../../application/outcome.ts';
import type { Actor } from '../../application/ports/actor.ts';
import { CommandError, type Context, UsageError } from './context.ts';
import { printable, table, toTenantId, withStorage } from './options.ts';
import { nameErasedByUrn } from './privacy-reports.ts';

/** `customer find`, `customer show` and `customer history`. */
export function addCustomerCommands(program: Command, context: Context): void {
  const group = program.command('customer');
  addFind(group, context);
  addShow(group, context);
  addHistory(group, context);
}

const visible = 'which other users of the machine see in the list of processes; - reads it from standard input';

function addFind(group: Command, { open, print }: Context): void {
  const command = withTenant(group.command('find'))
    .description('Print the customer with an e-mail address or a phone number, in any spelling.')
    .option('--email <address>', `the e-mail address, ${visible}`)
    .option('--phone <number>', `the phone number, ${visible}`)
    .option('--country <code>', 'the country of a phone number that is written without "+", e.g. DE')
    .option('--reference <case>', 'why: your case number, kept in the history of the customer');
  withStorage(command).action(async (options) => {
    const { email, phone, country, reference } = options;
    checkOnlyOne('--email', email, '--phone', phone);
    const { tenant, services } = await openTenant(open, options);
    const contact = {
      email: await readPrivately(email),
      phoneNumber: await readPrivately(phone),
      countryCode: country,
    };
    const missing = `no customer of ${tenant.id} has this ${email === undefined ? 'phone number' : 'e-mail address'}`;
    const caller = { tenant, keyId: 'c2a customer find' };
    const outcome = await services.lookUp.find(caller, { ...contact, reference }, randomUUID());
    const snapshot = resultOf(outcome, missing);
    print(snapshot, table(rowsOf(snapshot)));
  });
}

function addShow(group: Command, { open, print }: Context): void {
  withStorage(withCustomer(group.command('show')))
    .description('Print the record of a customer, with its payment options. An erased customer has only its URN.')
    .action(async (options) => {
      const { tenant, query, missing, services } = await openCustomer(open, options);
      const snapshot = resultOf(await services.customers.info({ tenant }, query), missing);
      print(snapshot, table(rowsOf(snapshot)));
    });
}

function addHistory(group: Command, { open, print }: Context): void {
  withStorage(withCustomer(group.command('history')))
    .description(
      'List the changes of a customer: when, the names of the changed fields, and by which API key and request; and who ' +
        'looked at it by find or subject-export. Both stay after an erasure.',
    )
    .action(async (options) => {
      const { tenant, query, missing, services } = await openCustomer(open, options);
      const history = resultOf(await services.lookUp.history({ tenant }, query), missing);
      print(history, table(rowsOfHistory(history)));
    });
}

const withTenant = (command: Command): Command =>
  command.option('--tenant <tenant>', "the customer's tenant; required");

const withCustomer = (command: Command): Command =>
  withTenant(command)
    .option('--urn <urn>', 'the CustomerUrn')
    .option('--external-id <id>', "the tenant's own identifier of the customer");

type Options = Parameters<Context['open']>[0];

/** Opens the storage. Also returns the customer that the options name, and the message if there is none. */
async function openCustomer(open: Context['open'], options: Options) {
  const { urn, externalId: exId } = options;
  checkOnlyOne('--urn', urn, '--external-id', exId);
  const { tenant, services } = await openTenant(open, options);
  const missing =
    urn === undefined
      ? `no customer of ${tenant.id} has this ExternalId; ${nameErasedByUrn}`
      : `no customer of ${tenant.id} has this CustomerUrn`;
  return { services, tenant, query: { urn, exId }, missing };
}

function checkOnlyOne(name: string, value: unknown, otherName: string, other: unknown): void {
  if (!value === !other) throw new UsageError(`expected either ${name} or ${otherName}`);
}

/** Opens the storage. Throws CommandError if the tenant does not exist. */
export async function openTenant(open: Context['open'], options: Options) {
  if (options.tenant === undefined) throw new UsageError('--tenant is required');
  const id = toTenantId(String(options.tenant));
  const services = await open(options);
  const tenant = (await services.tenants.list()).find((one) => one.id === id);
  if (tenant === undefined) throw new CommandError(`there is no tenant ${id}`);
  return { tenant, services };
}

/** The value of an option that contains personal data; `-` stands for the content of the standard input. */
const readPrivately = async (text: string | undefined): Promise<string | undefined> =>
  text === '-' ? readAll(process.stdin) : text;

/** The option of each field that can break a rule. */
const optionOf: Readonly<Record<string, string>> = {
  email: '--email',
  phoneNumber: '--phone',
  countryCode: '--country',
  urn: '--urn',
  exId: '--external-id',
  reference: '--reference',
};

/** The result. Throws UsageError for a violation, and CommandError with the message `missing` if there is no customer. */
function resultOf<Result>(outcome: Outcome<Result>, missing: string): Result {
  if (isCompleted(outcome)) return outcome.result;
  const { errors } = outcome.status;
  if (errors === undefined) throw new CommandError(missing);
  throw new UsageError(errors.map(({ field, message }) => `${optionOf[field]}: ${message}`).join(' '));
}

/** The members of a record as rows of a table; those of a group have its name before theirs. */
const rowsOf = (record: object, path = ''): string[][] =>
  Object.entries(record).flatMap(([name, value]) =>
    typeof value === 'object' && !Array.isArray(value)
      ? rowsOf(value, `${path}${name}.`)
      : [[path + name, printable([value].flat().join(', '))]],
  );

/** Changes and accesses, in the order of their times. */
const rowsOfHistory = ({ changes, accesses }: History): string[][] =>
  [
    ...changes.map(({ at, type, version, actor, changedFields, mergedInto }) => ({
      at,
      cells: [
        mergedInto === undefined ? type : `${type} into ${mergedInto}`,
        `version ${version}`,
        ...actorCells(actor),
        changedFields.join(', '),
      ],
    })),
    ...accesses.map(({ at, operation, actor, reference = '' }) => ({
      at,
      cells: [operation, '', ...actorCells(actor), reference],
    })),
  ]
    .sort((one, other) => (one.at < other.at ? -1 : Number(one.at > other.at)))
    .map(({ at, cells }) => [at, ...cells]);

const actorCells = ({ keyId, requestId }: Actor): string[] => [`key ${keyId}`, `request ${requestId}`];
