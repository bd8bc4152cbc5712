import type { Leases } from '../../application/ports/leases.ts';

/** Leases in memory, which one process has to itself. */
export function createMemoryLeases(): Leases {
  const leases = new Map<string, { readonly holder: string; readonly expiresAt: number }>();
  return {
    async acquire(name, holder, durationMs, now) {
      const lease = leases.get(name);
      const leftMs = (lease?.expiresAt ?? now) - now;
      const isTaken = leftMs > 0 && leftMs <= durationMs;
      if (isTaken && lease?.holder !== holder) return false;
      if (!isTaken || leftMs < durationMs / 2) leases.set(name, { holder, expiresAt: now + durationMs });
      return true;
    },
    async release(name, holder) {
      if (leases.get(name)?.holder === holder) leases.delete(name);
    },
  };
}
