import type { TenantId } from '../../domain/identity.ts';
import type { customerStatements } from './customer-statements.ts';
import type { SqlDatabase } from './database.ts';
import type { RecordSeals } from './record-seals.ts';
import type { Program } from './statement.ts';
import { sequencesPerPartition } from './urn-numbers.ts';

/** A number that nobody has, and the data key that is stored for it. */
export interface Reservation {
  readonly number: number;
  /** The data key, wrapped. */
  readonly wrapped: Buffer;
}

interface Needs {
  readonly database: SqlDatabase;
  readonly seals: RecordSeals;
  readonly run: Pick<ReturnType<typeof customerStatements>, 'takeSequence' | 'insertKeys'>;
  /** Two digits. */
  readonly partition: string;
}

/** For how many tenants something is kept ready. */
const maxTenants = 500;
/** How many are reserved at once for one that stores much. */
const maxReserved = 256;

interface Stock {
  readonly ready: Reservation[];
  /** How many are reserved the next time. */
  count: number;
  reserving?: Promise<void>;
}

/**
 * What a new customer needs before it can be stored: a number, and a data key that is stored durably. Both are reserved some
 * at a time, for a tenant each, so that neither the sequence nor the store of keys is written, and synced, with every
 * customer. Twice as many are reserved each time: who stores little reserves few.
 *
 * What is reserved when a process ends is lost: a gap between numbers (docs/decisions/0003-urns.md), and a key that never
 * sealed anything.
 */
export function reservations({ database, seals, run, partition }: Needs) {
  const base = Number(partition) * sequencesPerPartition;
  const stocks = new Map<TenantId, Stock>();

  function stockOf(tenant: TenantId): Stock {
    let stock = stocks.get(tenant);
    if (stock === undefined) {
      const [longestUnused] = stocks.keys();
      if (stocks.size >= maxTenants) stocks.delete(longestUnused as TenantId);
      stock = { ready: [], count: 1 };
      stocks.set(tenant, stock);
    }
    return stock;
  }

  function* reserve(tenant: TenantId, count: number, now: number): Program<Reservation[]> {
    for (;;) {
      const [row] = yield* run.takeSequence({ name: 'customer', count });
      const { last } = row as { last: number };
      const reserved = Array.from({ length: count }, (_, index): Reservation => {
        const number = base + last - count + 1 + index;
        return { number, wrapped: seals.newKey(tenant, number) };
      });
      // Keys that were put back may be of numbers that the sequence has still to come to.
      if ((yield* run.insertKeys(tenant, reserved, now)) === count) return reserved;
    }
  }

  function reserveMore(tenant: TenantId, stock: Stock, now: number): Promise<void> {
    const { count } = stock;
    if (stocks.get(tenant) === stock) {
      stocks.delete(tenant);
      stocks.set(tenant, stock);
    }
    stock.reserving ??= database
      .writeEach(() => reserve(tenant, count, now))
      .then((reserved) => {
        stock.ready.push(...reserved);
        stock.count = Math.min(2 * count, maxReserved);
      })
      .finally(() => {
        delete stock.reserving;
      });
    return stock.reserving;
  }

  function nextOf(tenant: TenantId, stock: Stock, now: number): Reservation | undefined {
    // In good time: who finds none must wait. What fails here fails again for whoever needs it.
    if (stock.ready.length < stock.count >> 1) reserveMore(tenant, stock, now).catch(() => undefined);
    return stock.ready.shift();
  }

  return {
    /** One that is ready; undefined where there is none. @param now milliseconds since 1970 */
    next: (tenant: TenantId, now: number): Reservation | undefined => nextOf(tenant, stockOf(tenant), now),
    /** One that is ready, or will be. */
    async take(tenant: TenantId, now: number): Promise<Reservation> {
      // Its own, whatever becomes of it meanwhile: of many tenants at once each must come to its turn.
      const stock = stockOf(tenant);
      for (;;) {
        const reservation = nextOf(tenant, stock, now);
        if (reservation !== undefined) return reservation;
        await reserveMore(tenant, stock, now);
      }
    },
    /** Gives back what was certainly not used. */
    giveBack(tenant: TenantId, reservation: Reservation): void {
      stockOf(tenant).ready.unshift(reservation);
    },
    /** Passes over everything that is ready for a tenant. */
    passOver(tenant: TenantId): void {
      stockOf(tenant).ready.length = 0;
    },
  };
}
