/**
 * What a write with a source revision leaves for each ExternalId that it frees, for a limited time: a late `store` or
 * `sync` of the ExternalId with a revision that is not higher must not bring the customer back.
 */
export interface Tombstone {
  /** The source revision of the request. */
  readonly revision: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}
