import type { Checkpoint, Checkpoints } from '../../application/ports/checkpoints.ts';

/** Checkpoints in memory. */
export function createMemoryCheckpoints(): Checkpoints {
  const stored = new Map<string, Checkpoint[]>();
  const of = (tenant: string) => stored.get(tenant) ?? [];
  return {
    async add(tenant, checkpoint) {
      const present = of(tenant);
      if (present.some(({ sequence }) => sequence === checkpoint.sequence)) return false;
      stored.set(
        tenant,
        [...present, checkpoint].sort((one, other) => one.sequence - other.sequence),
      );
      return true;
    },
    async last(tenant) {
      return of(tenant).at(-1);
    },
    async list(tenant, after, limit) {
      return of(tenant)
        .filter(({ sequence }) => sequence > after)
        .slice(0, limit);
    },
  };
}
