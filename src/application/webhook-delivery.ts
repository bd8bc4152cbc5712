import { timestamp } from '../domain/customer.ts';
import { nextAttempt, parseRetryAfter } from '../domain/webhooks.ts';
import { showEvent } from './change-event-view.ts';
import { Limit } from './limit.ts';
import type { FeedEvent } from './ports/change-events.ts';
import type { Clock } from './ports/clock.ts';
import type { CustomerRepository } from './ports/customer-repository.ts';
import { unlessDatabaseFailure } from './ports/database-failure.ts';
import type { Leases } from './ports/leases.ts';
import type { Telemetry } from './ports/telemetry.ts';
import type { SendResult, WebhookMessage, WebhookSender } from './ports/webhook-sender.ts';
import type { FeedCursor, Webhook, WebhookDirectory, WebhookSecrets } from './ports/webhooks.ts';
import { currentSecrets } from './webhooks.ts';

/** How many events are read, and delivered, before the next ones. After a failure: one. */
const batchSize = 100;
/** How many events, of different customers, are delivered to an endpoint at once. */
const lanes = 8;
/** How many attempts all endpoints share: each one costs the event loop a handshake, which requests wait for. */
const maxAttempts = 32;
/** How often the cursor is stored within a batch: then commands are seen, and a crash repeats fewer deliveries. */
const saveEveryMs = 1_000;
/**
 * How long another process waits for an endpoint whose process has died. A renewal leaves at least half of it, which is
 * longer than an attempt.
 */
const leaseMs = 60_000;
/** How long a shutdown waits for attempts in progress. The events of those that it ends are delivered again. */
const shutdownGraceMs = 1_000;
/** The status of an endpoint that wants no more events. */
const gone = 410;
/** The statuses whose `Retry-After` is respected. */
const busy: readonly (number | undefined)[] = [429, 503];

interface Dependencies {
  readonly webhooks: WebhookDirectory;
  readonly repository: Pick<CustomerRepository, 'changes'>;
  readonly leases: Leases;
  readonly secrets: Pick<WebhookSecrets, 'open'>;
  readonly sender: Pick<WebhookSender, 'send'>;
  readonly telemetry: Pick<Telemetry, 'webhookDelivery'>;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  /** Identifies this process. */
  readonly holder: string;
  /** Called when a webhook is disabled, with a message for the log. */
  readonly warn: (message: string) => void;
}

/** One event of a batch. */
interface Delivery {
  readonly event: FeedEvent;
  isDone: boolean;
}

/** A batch of a webhook in progress. */
interface Batch {
  /** As last stored. */
  webhook: Webhook;
  readonly secrets: readonly string[];
  readonly deliveries: readonly Delivery[];
  savedAt: number;
  /** No attempt begins after this. */
  isOver: boolean;
  /** The failure of the earliest event that failed. */
  failure?: { readonly position: number; readonly result: SendResult };
}

/**
 * Delivers the change events of each tenant to its webhooks: at least once, and to each endpoint in the order of the
 * versions of each customer (docs/decisions/0045-webhooks.md). Endpoints do not wait for each other. One process at a
 * time delivers to an endpoint.
 */
export class WebhookDelivery {
  readonly #dependencies: Dependencies;
  /** The work for each webhook, by id. It never rejects. */
  readonly #working = new Map<string, Promise<void>>();
  readonly #leases = new Set<string>();
  readonly #aborting = new AbortController();
  readonly #attempts = new Limit(maxAttempts);
  #isStopping = false;
  #failures: unknown[] = [];

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Begins to deliver whatever is due, and does not wait for it. A job calls it every second. Throws an error of the
   * work that an earlier call began.
   */
  async run(): Promise<void> {
    const { webhooks, clock } = this.#dependencies;
    for (const webhook of await webhooks.listDue(clock())) {
      const { id } = webhook;
      if (this.#isStopping || this.#working.has(id)) continue;
      const work = this.#deliverAll(webhook)
        .catch((error) => {
          this.#failures.push(error);
        })
        .finally(() => this.#working.delete(id));
      this.#working.set(id, work);
    }
    const [failure] = this.#failures.splice(0);
    if (failure !== undefined) throw failure;
  }

  /** Begins no more attempts, waits a second for those in progress, and lets other processes take over. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const timer = setTimeout(() => this.#aborting.abort(), shutdownGraceMs);
    await Promise.all(this.#working.values());
    clearTimeout(timer);
    const { leases, holder } = this.#dependencies;
    // A lease that cannot be released ends by itself.
    for (const name of this.#leases) await leases.release(name, holder).catch(unlessDatabaseFailure);
    this.#leases.clear();
    const [failure] = this.#failures.splice(0);
    if (failure !== undefined) throw failure;
  }

  /** Delivers batches until there are no more events, an attempt fails, or another process has the lease. */
  async #deliverAll(found: Webhook): Promise<void> {
    let webhook: Webhook | undefined = found;
    while (webhook !== undefined && !this.#isStopping && this.#isDue(webhook)) {
      const events = await this.#eventsFor(webhook);
      if (events?.length === 0 || !(await this.#hasLease(webhook))) return;
      // Another process may have delivered until a moment ago.
      const current: Webhook | undefined = await this.#dependencies.webhooks.find(webhook.tenant, webhook.id);
      if (current?.revision !== webhook.revision) webhook = current;
      else if (events === undefined) webhook = await this.#disable(webhook, 'the feed lacks the event at its cursor');
      else webhook = await this.#deliverBatch(webhook, events);
    }
  }

  #isDue({ disabledReason, failing }: Webhook): boolean {
    return (
      disabledReason === undefined && (failing === undefined || failing.nextAttemptAt <= this.#dependencies.clock())
    );
  }

  /** The next events; undefined if the event at the cursor is another one, as after a restore from a backup. */
  async #eventsFor({ tenant, cursor, failing }: Webhook): Promise<readonly FeedEvent[] | undefined> {
    const { repository } = this.#dependencies;
    const limit = failing === undefined ? batchSize : 1;
    if (cursor.eventId === undefined) return repository.changes(tenant, cursor.position, limit);
    const [last, ...events] = await repository.changes(tenant, cursor.position - 1, limit + 1);
    return last?.id === cursor.eventId ? events : undefined;
  }

  async #hasLease({ id }: Webhook): Promise<boolean> {
    const { leases, holder, clock } = this.#dependencies;
    const name = `webhook ${id}`;
    this.#leases.add(name);
    return leases.acquire(name, holder, leaseMs, clock());
  }

  /** @returns the webhook as it is afterwards, if there may be more to deliver */
  async #deliverBatch(webhook: Webhook, events: readonly FeedEvent[]): Promise<Webhook | undefined> {
    const now = this.#dependencies.clock();
    const secrets = this.#secretsOf(webhook, now);
    if (secrets === undefined) return this.#disable(webhook, 'its secrets cannot be decrypted');
    const batch: Batch = {
      webhook,
      secrets,
      deliveries: events.map((event) => ({ event, isDone: false })),
      savedAt: now,
      isOver: false,
    };
    await this.#deliverAtOnce(batch);
    return this.#saveEnd(batch);
  }

  /** The secrets that sign now; undefined if they are damaged, or of another deployment. */
  #secretsOf(webhook: Webhook, now: number): readonly string[] | undefined {
    try {
      return currentSecrets(this.#dependencies.secrets.open(webhook), now);
    } catch {
      return undefined;
    }
  }

  /** Delivers the events of a batch side by side, those of one customer one after the other. */
  async #deliverAtOnce(batch: Batch): Promise<void> {
    const waiting = batch.deliveries.values();
    /** The last delivery of each customer that was taken. */
    const last = new Map<string, Promise<void>>();
    const lane = async () => {
      for (const delivery of waiting) {
        const { customerUrn } = delivery.event;
        const turn = (last.get(customerUrn) ?? Promise.resolve()).then(() =>
          this.#attempts.run(() => this.#deliver(batch, delivery)),
        );
        last.set(customerUrn, turn);
        await turn;
      }
    };
    const endingAll = () => {
      batch.isOver = true;
    };
    const all = Array.from({ length: lanes }, lane);
    for (const one of all) one.catch(endingAll);
    // All of them, before another batch may begin.
    await Promise.allSettled(all);
    await Promise.all(all);
  }

  /** Makes an attempt to deliver one event, unless the batch is over. */
  async #deliver(batch: Batch, delivery: Delivery): Promise<void> {
    const { sender, telemetry, clock } = this.#dependencies;
    if (!batch.isOver && (this.#isStopping || !(await this.#hasLease(batch.webhook)))) batch.isOver = true;
    if (batch.isOver) return;
    const { webhook, secrets } = batch;
    const result = await sender.send(webhook.url, messageOf(delivery.event, clock()), secrets, this.#aborting.signal);
    if (result.outcome === 'aborted') return;
    telemetry.webhookDelivery(webhook.id, result.outcome);
    if (result.outcome === 'success') {
      delivery.isDone = true;
      if (clock() - batch.savedAt >= saveEveryMs) await this.#saveWithin(batch);
      return;
    }
    batch.isOver = true;
    const { position } = delivery.event;
    if (position < (batch.failure?.position ?? Infinity)) batch.failure = { position, result };
  }

  /** Stores the progress of a batch that goes on, unless a command has changed the webhook. */
  async #saveWithin(batch: Batch): Promise<void> {
    const { webhooks, clock } = this.#dependencies;
    batch.savedAt = clock();
    const { failing: _, ...webhook } = batch.webhook;
    const stored = await webhooks.update({ ...webhook, cursor: cursorOf(batch), lastSuccessAt: clock() });
    if (stored === undefined) batch.isOver = true;
    else batch.webhook = stored;
  }

  /**
   * Stores how a batch ended. If a command has changed the webhook meanwhile, the command counts, and the events are
   * delivered again. @returns the webhook as stored, if there may be more to deliver
   */
  async #saveEnd(batch: Batch): Promise<Webhook | undefined> {
    const { webhooks, clock } = this.#dependencies;
    const { failing, ...webhook } = batch.webhook;
    const cursor = cursorOf(batch);
    const hasMoved = cursor.position !== webhook.cursor.position;
    const wasDelivered = batch.deliveries.some(({ isDone }) => isDone);
    const next = { ...webhook, cursor, ...(wasDelivered && { lastSuccessAt: clock() }) };
    if (batch.failure !== undefined)
      return this.#saveFailure(next, hasMoved ? undefined : failing, batch.failure.result);
    if (!hasMoved) return undefined;
    return (await webhooks.update(next)) ?? webhooks.find(webhook.tenant, webhook.id);
  }

  async #saveFailure(
    webhook: Webhook,
    failing: Webhook['failing'],
    { status, retryAfter, description: lastError }: SendResult,
  ): Promise<Webhook | undefined> {
    const { webhooks, clock, random } = this.#dependencies;
    const now = clock();
    const { firstFailureAt = now, failures: before = 0 } = failing ?? {};
    const failures = before + 1;
    const failed = (nextAttemptAt: number) => ({
      ...webhook,
      failing: { firstFailureAt, failures, nextAttemptAt, lastError },
    });
    if (status === gone) return this.#disable(failed(now), 'the endpoint answered 410 (Gone)');
    const retryAfterMs = busy.includes(status) ? parseRetryAfter(retryAfter ?? '', now) : undefined;
    const next = nextAttempt({ firstFailureAt, failures }, now, retryAfterMs, random());
    if (next === undefined) return this.#disable(failed(now), `it failed for ten days; the last attempt: ${lastError}`);
    return (await webhooks.update(failed(next))) ?? webhooks.find(webhook.tenant, webhook.id);
  }

  async #disable(webhook: Webhook, disabledReason: string): Promise<Webhook | undefined> {
    const { webhooks, warn } = this.#dependencies;
    const disabled = await webhooks.update({ ...webhook, disabledReason });
    if (disabled === undefined) return webhooks.find(webhook.tenant, webhook.id);
    warn(`webhook ${webhook.id} was disabled: ${disabledReason}`);
    return undefined;
  }
}

/** The cursor before the first event of a batch that is not delivered. */
function cursorOf({ webhook, deliveries }: Batch): FeedCursor {
  const firstOpen = deliveries.findIndex(({ isDone }) => !isDone);
  const last = deliveries.at(firstOpen === -1 ? -1 : firstOpen - 1);
  if (firstOpen === 0 || last === undefined) return webhook.cursor;
  return { position: last.event.position, eventId: last.event.id };
}

function messageOf(event: FeedEvent, now: number): WebhookMessage {
  const data = showEvent(event);
  return {
    id: event.id,
    timestamp: now,
    body: JSON.stringify({ type: event.type, timestamp: timestamp(event.at), data }),
  };
}
