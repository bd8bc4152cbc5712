import type { TenantId } from '../../domain/identity.ts';

/** A position in the feed of a tenant: after an event, which the id identifies, or before the first one. */
export interface FeedCursor {
  /** The position of the last event before the cursor; 0 if there is none. */
  readonly position: number;
  /** The id of that event. A feed in which the position has another id was restored from a backup. */
  readonly eventId?: string;
}

/** An endpoint to which the change events of a tenant are delivered. Times are milliseconds since 1970. */
export interface Webhook {
  readonly tenant: TenantId;
  /** Unique in the deployment; may appear in logs and metrics. */
  readonly id: string;
  readonly url: string;
  readonly description?: string;
  readonly createdAt: number;
  /** See {@link WebhookSecrets}. */
  readonly sealedSecrets: Uint8Array;
  /** All events before it are delivered. */
  readonly cursor: FeedCursor;
  /** Present while the event after the cursor fails. */
  readonly failing?: {
    readonly firstFailureAt: number;
    /** Attempts that failed, in a row. */
    readonly failures: number;
    readonly nextAttemptAt: number;
    /** What the last attempt failed with, without anything that the endpoint has sent but its status. */
    readonly lastError: string;
  };
  readonly lastSuccessAt?: number;
  /** Why nothing is delivered. Absent if the webhook is enabled. */
  readonly disabledReason?: string;
  /** 1 after `add`; grows by one with each `update`. */
  readonly revision: number;
}

/**
 * The webhooks of all tenants, with the state of their deliveries. An update states the revision that it was made from,
 * so commands and the delivering process never overwrite each other. `test/contract/webhooks.ts` is the contract suite.
 */
export interface WebhookDirectory {
  /** Adds a webhook with a new id and the revision 1. */
  add(webhook: Webhook): Promise<void>;
  /** Undefined if there is no such webhook. */
  find(tenant: TenantId, id: string): Promise<Webhook | undefined>;
  /** The webhooks of one tenant, or of all tenants, including disabled ones; ordered by tenant, then oldest first. */
  list(tenant?: TenantId): Promise<readonly Webhook[]>;
  /**
   * The webhooks of all tenants that are enabled, do not wait for a later attempt, and whose cursor is not at the end of
   * the feed: there are events after it, or the feed was restored from a backup. May include webhooks at the end, if the
   * storage cannot tell by one cheap query. Called every second by every process.
   */
  listDue(now: number): Promise<readonly Webhook[]>;
  /**
   * Replaces everything but `tenant`, `id` and `createdAt`. The stored revision is then one higher. Returns the webhook
   * as stored; undefined, without a change, if the stored revision is not that of `webhook`, or it does not exist.
   */
  update(webhook: Webhook): Promise<Webhook | undefined>;
  /** Returns false if there is no such webhook. */
  remove(tenant: TenantId, id: string): Promise<boolean>;
}

/** A secret with which deliveries are signed. */
export interface WebhookSecret {
  /** `whsec_` and the base64 of 32 random bytes. */
  readonly secret: string;
  /** When deliveries are no longer signed with it; absent for the current secret. */
  readonly expiresAt?: number;
}

/** Makes ids and secrets, and seals the secrets for storage. Stores nothing. */
export interface WebhookSecrets {
  /** A new id of a webhook or of a test message, which may appear in logs. */
  newId(kind: 'wh' | 'test'): string;
  newSecret(): string;
  /** Encrypts secrets, bound to a webhook. */
  seal(of: Pick<Webhook, 'tenant' | 'id'>, secrets: readonly WebhookSecret[]): Uint8Array;
  /** The sealed secrets, newest first. Throws if they were sealed for another webhook or in another deployment. */
  open(webhook: Pick<Webhook, 'tenant' | 'id' | 'sealedSecrets'>): readonly WebhookSecret[];
}
