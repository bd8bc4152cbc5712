import type { Leases } from '../../application/ports/leases.ts';

/** Leases in memory, which one process has to itself. */
export function createMemoryLeases(): Leases {
  const leases = new Map<string, { readonly holder: string; readonly expiresAt: number }>();
  return {
    async acquire(name, holder, durationMs, now) {
      const lease = leases.get(name);
      const isFree = lease === undefined || lease.expiresAt <= now;
      const isHeld = lease?.holder === holder;
      if (!isFree && !isHeld) return false;
      if (isFree || lease.expiresAt - now < durationMs / 2) leases.set(name, { holder, expiresAt: now + durationMs });
      return true;
    },
    async release(name, holder) {
      if (leases.get(name)?.holder === holder) leases.delete(name);
    },
  };
}
