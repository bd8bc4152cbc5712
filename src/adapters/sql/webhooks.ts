import type { Webhook, WebhookDirectory } from '../../application/ports/webhooks.ts';
import type { TenantId } from '../../domain/identity.ts';
import { compileQuery, compileWrite } from './driver/query.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

type Row = Tables['webhooks'];

/** Webhooks in SQL. */
export function createSqlWebhooks({ dialect, read, write }: SqlDatabase): WebhookDirectory {
  const run = webhookQueries(dialect);
  return {
    async add(webhook) {
      await write(() => run.insert(toRow(webhook)));
    },
    find: async (tenant, id) => (await read(() => run.find({ tenant, id }))).map(toWebhook)[0],
    list: async (tenant) =>
      (await read(() => (tenant === undefined ? run.list({}) : run.listOf({ tenant })))).map(toWebhook),
    listDue: async (now) => (await read(() => run.listDue({ now }))).map(toWebhook),
    async update(webhook) {
      const next = { ...webhook, revision: webhook.revision + 1 };
      const changed = await write(() => run.update({ ...toRow(next), before: webhook.revision }));
      return changed > 0 ? next : undefined;
    },
    remove: async (tenant, id) => (await write(() => run.remove({ tenant, id }))) > 0,
  };
}

/** What an update replaces. */
const changing = [
  ...(['url', 'description', 'sealed_secrets', 'position', 'event_id', 'first_failure_at', 'failures'] as const),
  ...(['next_attempt_at', 'last_error', 'last_success_at', 'disabled_reason', 'revision'] as const),
];

export function webhookQueries({ builder, isPostgres, isCitus }: Dialect) {
  const webhooks = builder.selectFrom('webhooks').selectAll();
  const values = <Name extends keyof Row>(row: Row, names: readonly Name[]) =>
    Object.fromEntries(names.map((name) => [name, row[name]])) as Pick<Row, Name>;
  return {
    insert: compileWrite((row: Row) =>
      builder.insertInto('webhooks').values(values(row, ['tenant', 'id', 'created_at', ...changing])),
    ),
    find: compileQuery((of: { tenant: string; id: string }) =>
      webhooks.where('tenant', '=', of.tenant).where('id', '=', of.id),
    ),
    list: compileQuery((_: object) => webhooks.orderBy('tenant').orderBy('created_at').orderBy('id')),
    listOf: compileQuery((of: { tenant: string }) =>
      webhooks.where('tenant', '=', of.tenant).orderBy('created_at').orderBy('id'),
    ),
    listDue: compileQuery((at: { now: number }) => {
      const ready = webhooks
        .where('disabled_reason', 'is', null)
        .where((is) => is.or([is('next_attempt_at', 'is', null), is('next_attempt_at', '<=', at.now)]));
      // On Citus the events are on other nodes.
      if (isCitus) return ready;
      return ready.where((is) => {
        const feed = is.selectFrom('feeds').select('last').whereRef('feeds.tenant', '=', 'webhooks.tenant');
        const isElsewhere = is.exists(feed.whereRef('feeds.last', '!=', 'webhooks.position'));
        const events = is.selectFrom('changes').select('changes.id').whereRef('changes.tenant', '=', 'webhooks.tenant');
        // PostgreSQL: an event gets its position when it is read.
        return isPostgres ? is.or([isElsewhere, is.exists(events.where('changes.position', 'is', null))]) : isElsewhere;
      });
    }),
    /** Returns 0 if the revision is not `before`. */
    update: compileWrite((row: Row & { before: number }) =>
      builder
        .updateTable('webhooks')
        .set(values(row, changing))
        .where('tenant', '=', row.tenant)
        .where('id', '=', row.id)
        .where('revision', '=', row.before),
    ),
    remove: compileWrite((of: { tenant: string; id: string }) =>
      builder.deleteFrom('webhooks').where('tenant', '=', of.tenant).where('id', '=', of.id),
    ),
  };
}

const toRow = ({ failing, ...webhook }: Webhook): Row => ({
  tenant: webhook.tenant,
  id: webhook.id,
  url: webhook.url,
  description: webhook.description ?? null,
  created_at: webhook.createdAt,
  sealed_secrets: webhook.sealedSecrets,
  position: webhook.cursor.position,
  event_id: webhook.cursor.eventId ?? null,
  first_failure_at: failing?.firstFailureAt ?? null,
  failures: failing?.failures ?? 0,
  next_attempt_at: failing?.nextAttemptAt ?? null,
  last_error: failing?.lastError ?? null,
  last_success_at: webhook.lastSuccessAt ?? null,
  disabled_reason: webhook.disabledReason ?? null,
  revision: webhook.revision,
});

const toWebhook = (row: Row): Webhook => ({
  tenant: row.tenant as TenantId,
  id: row.id,
  url: row.url,
  ...(row.description !== null && { description: row.description }),
  createdAt: row.created_at,
  sealedSecrets: row.sealed_secrets,
  cursor: { position: row.position, ...(row.event_id !== null && { eventId: row.event_id }) },
  ...(row.first_failure_at !== null && {
    failing: {
      firstFailureAt: row.first_failure_at,
      failures: row.failures,
      nextAttemptAt: row.next_attempt_at ?? row.first_failure_at,
      lastError: row.last_error ?? '',
    },
  }),
  ...(row.last_success_at !== null && { lastSuccessAt: row.last_success_at }),
  ...(row.disabled_reason !== null && { disabledReason: row.disabled_reason }),
  revision: row.revision,
});
