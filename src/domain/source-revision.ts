/**
 * Source revisions. A tenant's system numbers the changes of each customer, and its queue may deliver them late, twice or
 * out of order: a request with an older revision must not overwrite what a newer one stored. A request without a
 * revision is not fenced, and a record without one fences nobody.
 */

/** Whether a request is older than the record. */
export const isOlder = (given: number | undefined, stored: number | undefined): boolean =>
  given !== undefined && stored !== undefined && given < stored;

/**
 * Whether a request must not bring back what ended at `stored`: the revision of a tombstone, or of the merge that made
 * an ExternalId an alias.
 */
export const isNotNewer = (given: number | undefined, stored: number | undefined): boolean =>
  given !== undefined && stored !== undefined && given <= stored;

/** Whether a request has the revision of the record: it must then have the content of the record too. */
export const isSameRevision = (given: number | undefined, stored: number | undefined): boolean =>
  given !== undefined && given === stored;
