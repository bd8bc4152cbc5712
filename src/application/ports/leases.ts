/**
 * Leases: of the processes that share a storage, at most one at a time does some work. A lease is no lock: a process that
 * stands still, or whose clock is wrong, may work on after another has taken over, so the work must bear to run twice.
 * `test/contract/leases.ts` is the contract suite.
 */
export interface Leases {
  /**
   * Takes or keeps a lease. Returns whether the holder has it at `now`. Of several holders that ask at once, one gets it.
   * The holder's own calls renew it, but only once less than half of its duration is left: a renewal is a durable write.
   * A lease with more than `durationMs` left is free: it was taken by a process whose clock was ahead.
   *
   * @param name what the lease is for
   * @param holder identifies the process
   * @param durationMs how long the lease lasts unless it is renewed: a holder that ends is replaced after this time
   * @param now milliseconds since 1970
   */
  acquire(name: string, holder: string, durationMs: number, now: number): Promise<boolean>;
  /** Gives a lease up, so that another holder can take it at once. Does nothing if the holder does not have it. */
  release(name: string, holder: string): Promise<void>;
}

/** A lease as stored. */
export interface Lease {
  readonly holder: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** What {@link Leases.acquire} does with the present lease: it refuses, keeps the lease as it is, or stores a new one. */
export function claim(
  lease: Lease | undefined,
  holder: string,
  durationMs: number,
  now: number,
): 'refuse' | 'keep' | 'take' {
  const leftMs = (lease?.expiresAt ?? now) - now;
  const isFree = leftMs <= 0 || leftMs > durationMs;
  if (isFree) return 'take';
  if (lease?.holder !== holder) return 'refuse';
  return leftMs < durationMs / 2 ? 'take' : 'keep';
}
