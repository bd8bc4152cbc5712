import type { SendOutcome } from './webhook-sender.ts';

/** Counters and timings for operators. No method receives a tenant or personal data. */
export interface Telemetry {
  /** One answered request. `route` is the route pattern, `code` the messageCode or HTTP status. */
  request(route: string, code: string, seconds: number): void;
  /** One transaction: how many writes shared it, and its duration. */
  commit(writes: number, seconds: number): void;
  /** One read from the database. */
  read(seconds: number): void;
  /** An idle database connection was lost. */
  connectionLost(): void;
  /** One attempt to deliver an event to a webhook. */
  webhookDelivery(webhook: string, outcome: SendOutcome): void;
  /** How far all webhooks are behind, and how many are disabled. Valid for a minute: another process may measure next. */
  webhooks(lags: readonly WebhookLagSample[], disabled: number): void;
  /** One run of a background job. */
  job(name: string, succeeded: boolean): void;
  /** Log lines that could not be written. */
  logLost(lines: number): void;
  /** One look-up of an API key, and whether it hit the cache. */
  keyLookup(cached: boolean): void;
  /** The reason for a failed authentication, which the caller does not learn. */
  notAuthenticated(reason: AuthenticationFailure): void;
}

/** How far a webhook is behind; see `WebhookLag`. */
export interface WebhookLagSample {
  readonly id: string;
  readonly events: number;
  readonly seconds: number;
}

/** `unreadable_key`: the API key is mistyped or belongs to the other environment. */
export type AuthenticationFailure =
  | 'no_credentials'
  | 'unreadable_key'
  | 'not_a_key_of_the_tenant'
  | 'revoked_key'
  | 'expired_key'
  | 'bearer_token';
