import { claim, type Leases } from '../../application/ports/leases.ts';
import { compileQuery, compileWrite, type Routine } from './driver/query.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

export function leaseQueries({ builder }: Dialect) {
  return {
    find: compileQuery((at: { name: string }) =>
      builder.selectFrom('leases').select(['holder', 'expires_at']).where('name', '=', at.name),
    ),
    /** Returns 0 if there is a lease of that name. */
    insert: compileWrite(({ name, holder, expires_at }: Tables['leases']) =>
      builder
        .insertInto('leases')
        .values({ name, holder, expires_at })
        .onConflict((on) => on.doNothing()),
    ),
    /** Returns 0 if another holder has the lease. */
    take: compileWrite((to: Tables['leases'] & { now: number }) =>
      builder
        .updateTable('leases')
        .set({ holder: to.holder, expires_at: to.expires_at })
        .where('name', '=', to.name)
        .where((is) =>
          is.or([
            is('holder', '=', to.holder),
            is('expires_at', '<=', to.now),
            // Later than any lease that is taken now: it was taken while a clock was ahead.
            is('expires_at', '>', to.expires_at),
          ]),
        ),
    ),
    remove: compileWrite((of: { name: string; holder: string }) =>
      builder.deleteFrom('leases').where('name', '=', of.name).where('holder', '=', of.holder),
    ),
  };
}

/** Leases in SQL. Processes compete with conditional writes; those that cannot win only read. */
export function createSqlLeases({ dialect, read, write }: SqlDatabase): Leases {
  const run = leaseQueries(dialect);
  return {
    async acquire(name, holder, durationMs, now) {
      const [lease] = await read(() => run.find({ name }));
      const present = lease && { holder: lease.holder, expiresAt: lease.expires_at };
      const claimed = claim(present, holder, durationMs, now);
      if (claimed !== 'take') return claimed === 'keep';
      const taken = { name, holder, expires_at: now + durationMs };
      return write(function* (): Routine<boolean> {
        return (yield* run.take({ ...taken, now })) > 0 || (yield* run.insert(taken)) > 0;
      });
    },
    async release(name, holder) {
      await write(() => run.remove({ name, holder }));
    },
  };
}
