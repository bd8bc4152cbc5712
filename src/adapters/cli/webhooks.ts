import type { Command } from 'commander';
import type { Webhook } from '../../application/ports/webhooks.ts';
import type { WebhookStatus, Webhooks } from '../../application/webhooks.ts';
import { timestamp } from '../../domain/customer.ts';
import { CommandError, type Context, UsageError } from './context.ts';
import { checkText, printable, table, toTenantId, withSettings, withStorage } from './options.ts';

const hourMs = 60 * 60 * 1000;
const maxOverlapHours = 720;

/** The commands of webhooks. HTTP callers cannot manage them. */
export function addWebhookCommands(program: Command, context: Context): void {
  const group = program.command('webhook');
  addAdd(group, context);
  addList(group, context);
  addSet(group, context);
  addRemove(group, context);
  addTest(group, context);
  addRotateSecret(group, context);
  addReplay(group, context);
}

/** Adds the options of a command that checks a URL, or sends to it. */
const withSender = (command: Command): Command => withSettings(withStorage(command), ['C2A_WEBHOOK_NETWORKS']);

function addAdd(group: Command, { open, print }: Context): void {
  const command = group
    .command('add')
    .description("Deliver a tenant's change events, from now on, to a URL. The secret is shown only once.")
    .option('--tenant <tenant>', 'the tenant (required)')
    .option('--url <url>', 'the https URL of the endpoint (required)')
    .option('--description <text>', 'what the endpoint is for');
  withSender(command).action(async ({ tenant, url, description, ...options }) => {
    if (tenant === undefined || url === undefined) throw new UsageError('--tenant and --url are required');
    const id = toTenantId(tenant);
    checkText('--description', description);
    const { webhooks } = await open(options);
    checkUrl(webhooks, url);
    const added = await webhooks.add(id, { url, description });
    if (added === undefined) throw new CommandError(`there is no tenant ${id}`);
    const { webhook, secret } = added;
    print(
      { ...webhookView({ webhook, lag: { events: 0, seconds: 0 } }), secret },
      `${webhook.id}\n${secret}\n(shown once)`,
    );
  });
}

function addList(group: Command, { open, print }: Context): void {
  const command = group
    .command('list')
    .description('List the webhooks of one tenant or of all tenants, with the state of their deliveries.')
    .option('--tenant <tenant>', 'only the webhooks of this tenant');
  withStorage(command).action(async ({ tenant: name, ...options }) => {
    const tenant = name === undefined ? undefined : toTenantId(name);
    const { tenants, webhooks } = await open(options);
    if (tenant !== undefined && !(await tenants.list()).some(({ id }) => id === tenant)) {
      throw new CommandError(`there is no tenant ${tenant}`);
    }
    const views = (await webhooks.list(tenant)).map(webhookView);
    print(views, table(views.map(cells)) || 'no webhooks yet; add one with: webhook add');
  });
}

function addSet(group: Command, { open, print }: Context): void {
  const command = group
    .command('set <webhook-id>')
    .description('Change a webhook. A new URL, or --enable, makes the next attempt due at once.')
    .option('--url <url>', 'the https URL of the endpoint')
    .option('--description <text>', 'what the endpoint is for')
    .option('--enable', 'deliver, from the event on where it stopped')
    .option('--disable', 'deliver nothing until it is enabled');
  withSender(command).action(async (id: string, { url, description, enable, disable, ...options }) => {
    if (enable && disable) throw new UsageError('--enable and --disable cannot be used together');
    if (url === undefined && description === undefined && !enable && !disable) {
      throw new UsageError("nothing to set; see 'c2a webhook set --help'");
    }
    checkText('--description', description);
    const { webhooks } = await open(options);
    if (url !== undefined) checkUrl(webhooks, url);
    const isEnabled = enable ? true : disable ? false : undefined;
    const webhook = known(id, await webhooks.set(id, { url, description, isEnabled }));
    print(webhookView({ webhook }), `webhook ${id} changed`);
  });
}

function addRemove(group: Command, { open, print }: Context): void {
  withStorage(group.command('remove <webhook-id>'))
    .description('Remove a webhook. To stop it for a while, use: webhook set --disable.')
    .action(async (id: string, options) => {
      const { webhooks } = await open(options);
      const webhook = known(id, await webhooks.remove(id));
      print({ id: webhook.id, tenant: webhook.tenant }, `webhook ${id} removed`);
    });
}

function addTest(group: Command, { open, print }: Context): void {
  withSender(group.command('test <webhook-id>'))
    .description('Send an event of the type webhook.test now, and print the answer. Exits with 1 unless it is 2xx.')
    .action(async (id: string, options) => {
      const { webhooks } = await open(options);
      const result = known(id, await webhooks.test(id));
      print(result, result.description, result.outcome === 'success' ? 0 : 1);
    });
}

function addRotateSecret(group: Command, { open, print }: Context): void {
  const command = group
    .command('rotate-secret <webhook-id>')
    .description('Issue a new secret, shown once. The old one still signs deliveries too, for a while.')
    .option('--overlap <hours>', `how long the old secret still signs: 0 to ${maxOverlapHours} hours (default 24)`);
  withStorage(command).action(async (id: string, { overlap = '24', ...options }) => {
    if (!/^\d{1,3}$/.test(overlap) || Number(overlap) > maxOverlapHours) {
      throw new UsageError(`--overlap must be 0 to ${maxOverlapHours} hours`);
    }
    const { webhooks } = await open(options);
    const rotated = known(id, await webhooks.rotateSecret(id, Number(overlap) * hourMs));
    if (rotated === 'TOO_MANY_SECRETS') {
      throw new CommandError('five secrets would sign each delivery: use a shorter --overlap, or wait until one ends');
    }
    const { webhook, secret } = rotated;
    print(
      { ...webhookView({ webhook }), secret },
      `${secret}\n(shown once; the old one signs for another ${overlap} hours)`,
    );
  });
}

function addReplay(group: Command, { open, print }: Context): void {
  const command = group
    .command('replay <webhook-id>')
    .description('Move the cursor of a webhook: deliver events again, or leave some out.')
    .option('--after <position>', 'continue after this position of the feed, or: start, end (required)');
  withStorage(command).action(async (id: string, { after, ...options }) => {
    if (!/^(start|end|\d{1,15})$/.test(after ?? '')) throw new UsageError('--after must be a position, start or end');
    const { webhooks } = await open(options);
    const moved = known(id, await webhooks.replay(id, after === 'start' || after === 'end' ? after : Number(after)));
    if (moved === 'POSITION_AFTER_END') throw new CommandError(`--after ${after} is after the end of the feed`);
    print(webhookView({ webhook: moved }), `webhook ${id} continues after position ${moved.cursor.position}`);
  });
}

function checkUrl(webhooks: Webhooks, url: string): void {
  const refusal = webhooks.refusalOf(url);
  if (refusal !== undefined) throw new UsageError(`--url ${refusal}`);
}

function known<Result>(id: string, result: Result | undefined): Result {
  if (result === undefined) throw new CommandError(`there is no webhook ${printable(id)}; see 'c2a webhook list'`);
  return result;
}

/** A webhook for printing, without its secrets. @param lag absent if it was not looked up */
function webhookView({ webhook, lag }: { readonly webhook: Webhook; readonly lag?: WebhookStatus['lag'] }) {
  const { tenant, id, url, description, createdAt, cursor, failing, lastSuccessAt, disabledReason } = webhook;
  return {
    id,
    tenant,
    url,
    ...(description !== undefined && { description }),
    state: disabledReason !== undefined ? 'disabled' : failing ? 'failing' : 'ok',
    ...(disabledReason !== undefined && { disabledReason }),
    position: cursor.position,
    ...(lag && { lagEvents: lag.events, lagSeconds: lag.seconds }),
    failures: failing?.failures ?? 0,
    ...(failing && {
      firstFailureAt: timestamp(failing.firstFailureAt),
      ...(disabledReason === undefined && { nextAttemptAt: timestamp(failing.nextAttemptAt) }),
      lastError: failing.lastError,
    }),
    ...(lastSuccessAt !== undefined && { lastSuccessAt: timestamp(lastSuccessAt) }),
    createdAt: timestamp(createdAt),
  };
}
type View = ReturnType<typeof webhookView>;

const cells = (view: View): string[] => [
  view.id,
  view.tenant,
  view.url,
  view.description ?? '',
  view.disabledReason === undefined ? view.state : `disabled: ${view.disabledReason}`,
  `at ${view.position}`,
  view.lagEvents === undefined ? 'lag unknown: the database failed' : `${view.lagEvents} events behind`,
  `${view.failures} failures`,
  view.nextAttemptAt === undefined ? '' : `next attempt ${view.nextAttemptAt}`,
  view.lastError ?? '',
  view.lastSuccessAt === undefined ? 'never delivered' : `last delivered ${view.lastSuccessAt}`,
];
