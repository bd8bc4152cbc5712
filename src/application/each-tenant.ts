import type { TenantId } from '../domain/identity.ts';
import { unlessDatabaseFailure } from './ports/database-failure.ts';

/** How many tenants are worked on at once. */
const lanes = 4;
/** How long the work may keep the event loop to itself: a storage that answers synchronously never yields to it. */
const maxTurnMs = 1;

/** The results of work for each of several tenants. */
export interface TenantResults<Result> {
  /** In the order in which the tenants were given, as in `unseen`. */
  readonly results: ReadonlyMap<TenantId, Result>;
  /** The tenants for which the storage failed, or for which the work was not begun. */
  readonly unseen: readonly TenantId[];
}

/**
 * Runs `work` for each tenant. A tenant for which it throws `DatabaseFailure` does not affect the others: the data of
 * one tenant may be damaged, or on a database node that is away. Any other error is rethrown.
 *
 * @param isOver no work is begun once this returns true: a node that does not answer costs each of its tenants a timeout
 */
export async function eachTenant<Result>(
  tenants: readonly TenantId[],
  work: (tenant: TenantId) => Promise<Result>,
  isOver: () => boolean = () => false,
): Promise<TenantResults<Result>> {
  const done = new Map<TenantId, Result>();
  const waiting = tenants.values();
  let turnBegan = performance.now();
  let turn: Promise<void> | undefined;
  /** Lets the event loop turn. All lanes wait for the same turn: separate callbacks could all run in one turn. */
  function sharedTurn(): Promise<void> {
    turn ??= new Promise((resolve) =>
      setImmediate(() => {
        turnBegan = performance.now();
        turn = undefined;
        resolve();
      }),
    );
    return turn;
  }
  async function lane(): Promise<void> {
    for (const tenant of waiting) {
      if (performance.now() - turnBegan >= maxTurnMs) await sharedTurn();
      if (isOver()) return;
      try {
        done.set(tenant, await work(tenant));
      } catch (error) {
        unlessDatabaseFailure(error);
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane));
  return {
    results: new Map(
      tenants.filter((tenant) => done.has(tenant)).map((tenant) => [tenant, done.get(tenant) as Result]),
    ),
    unseen: tenants.filter((tenant) => !done.has(tenant)),
  };
}
