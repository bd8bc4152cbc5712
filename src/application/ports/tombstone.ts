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

/**
 * What an erasure leaves for an alias. A message that the merge fences off must not bring the customer back either.
 *
 * @param mergedAt the source revision of the merge; see `Alias`
 */
export function forAlias<Fence extends { readonly tombstone?: Tombstone | undefined }>(
  fence: Fence,
  mergedAt: number | undefined,
): Fence {
  const { tombstone } = fence;
  if (tombstone === undefined || mergedAt === undefined || mergedAt <= tombstone.revision) return fence;
  return { ...fence, tombstone: { ...tombstone, revision: mergedAt } };
}
