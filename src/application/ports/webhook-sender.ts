/** A message to an endpoint. */
export interface WebhookMessage {
  /** The same in every attempt. */
  readonly id: string;
  /** The time of the attempt, in milliseconds since 1970. */
  readonly timestamp: number;
  /** JSON. */
  readonly body: string;
}

/** What became of an attempt; also its name in `c2a_webhook_deliveries_total`. */
export type SendOutcome =
  /** The endpoint answered 2xx. */
  | 'success'
  /** The endpoint answered another status. Redirects are not followed. */
  | 'refused'
  /** No status within 20 seconds. */
  | 'timeout'
  | 'connection_failed'
  /** Nothing was sent: the URL, or every address of its host, is not allowed. */
  | 'not_allowed'
  /** The attempt was ended by the caller's signal. */
  | 'aborted';

export interface SendResult {
  readonly outcome: SendOutcome;
  /** Absent if the endpoint did not answer. */
  readonly status?: number;
  /** The `Retry-After` header of the answer. */
  readonly retryAfter?: string;
  /** One sentence for operators. Of what the endpoint has sent, it contains only the status. */
  readonly description: string;
}

/** Sends signed messages by HTTP, as the Standard Webhooks specification 1.0.0 says. */
export interface WebhookSender {
  /** Why nothing is ever sent to this URL, as the end of a sentence; undefined if its form is allowed. */
  refusalOf(url: string): string | undefined;
  /**
   * Makes one attempt, of at most 20 seconds, with a signature for each secret. Reads no body. Connects only to addresses
   * that are allowed. Never rejects.
   */
  send(url: string, message: WebhookMessage, secrets: readonly string[], aborted: AbortSignal): Promise<SendResult>;
}
