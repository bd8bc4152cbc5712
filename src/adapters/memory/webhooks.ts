import type { Webhook, WebhookDirectory } from '../../application/ports/webhooks.ts';
import type { TenantId } from '../../domain/identity.ts';

/** Webhooks in memory, for tests and embedding. */
export function createMemoryWebhooks(): WebhookDirectory {
  const webhooks = new Map<string, Webhook>();
  const keyOf = (tenant: TenantId, id: string) => JSON.stringify([tenant, id]);
  return {
    async add(webhook) {
      webhooks.set(keyOf(webhook.tenant, webhook.id), webhook);
    },
    async find(tenant, id) {
      return webhooks.get(keyOf(tenant, id));
    },
    async list(tenant) {
      return [...webhooks.values()]
        .filter((webhook) => tenant === undefined || webhook.tenant === tenant)
        .sort(
          (one, other) =>
            compare(one.tenant, other.tenant) || one.createdAt - other.createdAt || compare(one.id, other.id),
        );
    },
    async listDue(now) {
      return [...webhooks.values()].filter(
        ({ disabledReason, failing }) => disabledReason === undefined && (failing?.nextAttemptAt ?? now) <= now,
      );
    },
    async update(webhook) {
      const { tenant, id, revision } = webhook;
      const present = webhooks.get(keyOf(tenant, id));
      if (present?.revision !== revision) return undefined;
      const stored = { ...webhook, createdAt: present.createdAt, revision: revision + 1 };
      webhooks.set(keyOf(tenant, id), stored);
      return stored;
    },
    async remove(tenant, id) {
      return webhooks.delete(keyOf(tenant, id));
    },
  };
}

const compare = (one: string, other: string): number => (one < other ? -1 : Number(one > other));
