import { timestamp } from '../domain/customer.ts';
import type { TenantId } from '../domain/identity.ts';
import { eachTenant } from './each-tenant.ts';
import type { Clock } from './ports/clock.ts';
import type { CustomerRepository } from './ports/customer-repository.ts';
import type { Telemetry } from './ports/telemetry.ts';
import type { TenantDirectory } from './ports/tenant-directory.ts';
import type { SendResult, WebhookSender } from './ports/webhook-sender.ts';
import type { FeedCursor, Webhook, WebhookDirectory, WebhookSecret, WebhookSecrets } from './ports/webhooks.ts';

/** How often a change is tried again because the delivering process, or another command, changed the webhook. */
const maxConflicts = 100;
/** How many secrets may sign deliveries at once: each one makes the header longer. */
const maxSecrets = 5;

/** How far a webhook is behind the feed of its tenant. */
export interface WebhookLag {
  readonly events: number;
  /** Since the first event that is not delivered; 0 if all are. */
  readonly seconds: number;
}

export interface WebhookStatus {
  readonly webhook: Webhook;
  /** Undefined if the storage failed for the tenant. */
  readonly lag: WebhookLag | undefined;
}

/** Settings of a webhook; an absent setting keeps its value. */
export interface WebhookSettings {
  /** A URL for which {@link Webhooks.refusalOf} is undefined. */
  readonly url?: string | undefined;
  readonly description?: string | undefined;
  readonly isEnabled?: boolean | undefined;
}

interface Dependencies {
  readonly webhooks: WebhookDirectory;
  readonly directory: Pick<TenantDirectory, 'findTenant'>;
  readonly repository: Pick<CustomerRepository, 'changes' | 'lastChange'>;
  readonly secrets: WebhookSecrets;
  readonly sender: WebhookSender;
  readonly telemetry: Pick<Telemetry, 'webhooks'>;
  readonly clock: Clock;
}

/** Manages webhooks. `WebhookDelivery` delivers. Every method returns undefined if there is no webhook with this id. */
export class Webhooks {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** See {@link WebhookSender.refusalOf}. */
  refusalOf(url: string): string | undefined {
    return this.#dependencies.sender.refusalOf(url);
  }

  /**
   * Adds a webhook that gets the events from now on. The secret is returned only here. Returns undefined if the tenant
   * does not exist.
   *
   * @param url one for which `refusalOf` is undefined
   */
  async add(
    tenant: TenantId,
    { url, description }: { readonly url: string; readonly description?: string | undefined },
  ): Promise<{ readonly webhook: Webhook; readonly secret: string } | undefined> {
    const { directory, webhooks, secrets, clock } = this.#dependencies;
    if ((await directory.findTenant(tenant)) === undefined) return undefined;
    const [id, secret] = [secrets.newId('wh'), secrets.newSecret()];
    const webhook: Webhook = {
      tenant,
      id,
      url: new URL(url).href,
      ...(description !== undefined && { description }),
      createdAt: clock(),
      sealedSecrets: secrets.seal({ tenant, id }, [{ secret }]),
      cursor: await this.#cursorAt(tenant, await this.#lastPosition(tenant)),
      revision: 1,
    };
    await webhooks.add(webhook);
    return { webhook, secret };
  }

  /** The webhooks of one tenant or of all tenants, with how far they are behind. */
  async list(tenant?: TenantId): Promise<readonly WebhookStatus[]> {
    const all = await this.#dependencies.webhooks.list(tenant);
    const { results } = await eachTenant([...new Set(all.map(({ tenant }) => tenant))], async (tenant) => {
      const lags = new Map<string, WebhookLag>();
      for (const webhook of all.filter((one) => one.tenant === tenant))
        lags.set(webhook.id, await this.#lagOf(webhook));
      return lags;
    });
    return all.map((webhook) => ({ webhook, lag: results.get(webhook.tenant)?.get(webhook.id) }));
  }

  /** Tells the telemetry how far each webhook is behind. Returns the tenants for which the storage failed. */
  async measure(): Promise<readonly TenantId[]> {
    const all = await this.list();
    this.#dependencies.telemetry.webhooks(
      all.flatMap(({ webhook: { id }, lag }) => (lag === undefined ? [] : [{ id, ...lag }])),
      all.filter(({ webhook }) => webhook.disabledReason !== undefined).length,
    );
    return [...new Set(all.filter(({ lag }) => lag === undefined).map(({ webhook }) => webhook.tenant))];
  }

  /** Changes settings. Enabling a webhook, or giving it another URL, makes the next attempt due at once. */
  set(id: string, { url, description, isEnabled }: WebhookSettings): Promise<Webhook | undefined> {
    return this.#change(id, async ({ failing, disabledReason: reason, ...webhook }) => {
      const isFresh = url !== undefined || isEnabled === true;
      const disabledReason =
        isEnabled === false ? (reason ?? 'disabled by an operator') : isEnabled ? undefined : reason;
      return {
        ...webhook,
        ...(url !== undefined && { url: new URL(url).href }),
        ...(description !== undefined && { description }),
        ...(failing && !isFresh && { failing }),
        ...(disabledReason !== undefined && { disabledReason }),
      };
    });
  }

  /** Removes a webhook. An attempt that is in progress still ends. */
  async remove(id: string): Promise<Webhook | undefined> {
    const webhook = await this.#find(id);
    const isRemoved = webhook && (await this.#dependencies.webhooks.remove(webhook.tenant, id));
    return isRemoved ? webhook : undefined;
  }

  /**
   * Adds a new secret, which is returned only here. The ones before it sign deliveries too, for at most another
   * `overlapMs` milliseconds. Returns TOO_MANY_SECRETS if five would sign.
   */
  async rotateSecret(
    id: string,
    overlapMs: number,
  ): Promise<{ readonly webhook: Webhook; readonly secret: string } | 'TOO_MANY_SECRETS' | undefined> {
    const { secrets, clock } = this.#dependencies;
    const secret = secrets.newSecret();
    let isFull = false;
    const webhook = await this.#change(id, async (current) => {
      const end = clock() + overlapMs;
      const replaced = secrets
        .open(current)
        .map(({ secret, expiresAt }): WebhookSecret => ({ secret, expiresAt: Math.min(expiresAt ?? end, end) }))
        .filter(({ expiresAt = end }) => expiresAt > clock());
      isFull = replaced.length >= maxSecrets - 1;
      return isFull ? undefined : { ...current, sealedSecrets: secrets.seal(current, [{ secret }, ...replaced]) };
    });
    if (isFull) return 'TOO_MANY_SECRETS';
    return webhook && { webhook, secret };
  }

  /**
   * Moves the cursor, forwards or back, and makes the next attempt due at once. Returns POSITION_AFTER_END if the feed
   * has no such position.
   *
   * @param after the position after which deliveries continue
   */
  async replay(id: string, after: number | 'start' | 'end'): Promise<Webhook | 'POSITION_AFTER_END' | undefined> {
    let isAfterEnd = false;
    const moved = await this.#change(id, async ({ failing: _, ...webhook }) => {
      const last = await this.#lastPosition(webhook.tenant);
      const position = after === 'start' ? 0 : after === 'end' ? last : after;
      isAfterEnd = position > last;
      return isAfterEnd ? undefined : { ...webhook, cursor: await this.#cursorAt(webhook.tenant, position) };
    });
    return isAfterEnd ? 'POSITION_AFTER_END' : moved;
  }

  /** Sends an event of the type `webhook.test` now, also to a disabled webhook. */
  async test(id: string): Promise<SendResult | undefined> {
    const { sender, secrets, clock } = this.#dependencies;
    const webhook = await this.#find(id);
    if (webhook === undefined) return undefined;
    const now = clock();
    const body = JSON.stringify({ type: 'webhook.test', timestamp: timestamp(now), data: { webhook: id } });
    const message = { id: secrets.newId('test'), timestamp: now, body };
    return sender.send(webhook.url, message, currentSecrets(secrets.open(webhook), now), new AbortController().signal);
  }

  async #find(id: string): Promise<Webhook | undefined> {
    return (await this.#dependencies.webhooks.list()).find((webhook) => webhook.id === id);
  }

  /** @param change returns the webhook to store; undefined to leave it */
  async #change(id: string, change: (webhook: Webhook) => Promise<Webhook | undefined>): Promise<Webhook | undefined> {
    const { webhooks } = this.#dependencies;
    for (let conflicts = 0; conflicts < maxConflicts; conflicts += 1) {
      const current = await this.#find(id);
      const wanted = current && (await change(current));
      if (wanted === undefined) return undefined;
      const stored = await webhooks.update(wanted);
      if (stored !== undefined) return stored;
    }
    throw new Error(`webhook ${id} was not changed: gave up after ${maxConflicts} write conflicts`);
  }

  #lastPosition(tenant: TenantId): Promise<number> {
    return this.#dependencies.repository.lastChange(tenant);
  }

  async #cursorAt(tenant: TenantId, position: number): Promise<FeedCursor> {
    if (position === 0) return { position };
    const [event] = await this.#dependencies.repository.changes(tenant, position - 1, 1);
    return { position, ...(event?.position === position && { eventId: event.id }) };
  }

  async #lagOf({ tenant, cursor: { position } }: Webhook): Promise<WebhookLag> {
    const { repository, clock } = this.#dependencies;
    const [first] = await repository.changes(tenant, position, 1);
    if (first === undefined) return { events: 0, seconds: 0 };
    const events = (await repository.lastChange(tenant)) - position;
    return { events, seconds: Math.max(clock() - first.at, 0) / 1000 };
  }
}

/** The secrets that sign deliveries at `now`. */
export const currentSecrets = (secrets: readonly WebhookSecret[], now: number): string[] =>
  secrets.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now).map(({ secret }) => secret);
