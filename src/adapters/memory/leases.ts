import { claim, type Lease, type Leases } from '../../application/ports/leases.ts';

/** Leases in memory, which one process has to itself. */
export function createMemoryLeases(): Leases {
  const leases = new Map<string, Lease>();
  return {
    async acquire(name, holder, durationMs, now) {
      const claimed = claim(leases.get(name), holder, durationMs, now);
      if (claimed === 'take') leases.set(name, { holder, expiresAt: now + durationMs });
      return claimed !== 'refuse';
    },
    async release(name, holder) {
      if (leases.get(name)?.holder === holder) leases.delete(name);
    },
  };
}
