import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import type { TenantId } from '../../../domain/identity.ts';
import type { SqlDatabase } from '../driver/database.ts';
import type { Routine } from '../driver/query.ts';
import type { customerStatements } from './queries.ts';
import type { RecordSeals } from './record-encryption.ts';
import { sequencesPerPartition } from './urn-numbers.ts';

/** A number that nobody has. */
export interface Reservation {
  readonly number: number;
  /** The data key that is stored for it, wrapped; undefined where keys are stored with their customers. */
  readonly wrapped?: Buffer;
}

type Statements = Pick<
  ReturnType<typeof customerStatements>,
  'takeSequence' | 'insertKey' | 'destroyKey' | 'findByNumber' | 'findNumberIn'
>;

interface Dependencies {
  readonly database: SqlDatabase;
  readonly seals: RecordSeals;
  readonly run: Statements;
  /** Two digits. */
  readonly partition: string;
}

/** For how many tenants something is kept ready. */
const maxTenants = 500;
/** How many are reserved at once for one that stores much. */
const maxReserved = 128;

interface Stock {
  readonly ready: Reservation[];
  /** How many are reserved the next time. */
  count: number;
  reserving?: Promise<void>;
}

/**
 * What a new customer needs before it can be stored: a number, and where the database has keys stored ahead (`Dialect`), a
 * data key. They are reserved some at a time, so that neither the sequence nor the store of keys is written, and synced,
 * with every customer. Twice as many are reserved each time: who stores little reserves few.
 *
 * What was reserved when a process ends is lost: gaps between numbers (docs/decisions/0003-urns.md), and keys under which
 * nothing is stored. No key outlives a store that failed: what was sealed under it may lie in a log.
 */
export function reservations({ database, seals, run, partition }: Dependencies) {
  const { keysAhead, keysApart } = database.dialect;
  const base = Number(partition) * sequencesPerPartition;
  const stocks = new Map<string, Stock>();
  let discarded: { readonly tenant: TenantId; readonly number: number }[] = [];

  /** A key is of one tenant, a number by itself is for any. */
  function stockOf(tenant: TenantId): Stock {
    const owner = keysAhead ? tenant : 'all';
    const found = stocks.get(owner);
    if (found !== undefined) return found;
    if (stocks.size >= maxTenants) forgetOldest();
    const made: Stock = { ready: [], count: 1 };
    stocks.set(owner, made);
    return made;
  }

  /** What is being reserved is waited for, and may be over the limit. */
  function forgetOldest(): void {
    for (const [owner, stock] of stocks) {
      if (stock.reserving !== undefined) continue;
      stocks.delete(owner);
      putAside(owner as TenantId, stock);
      return;
    }
  }

  /** What is ready will not be used by anybody; its keys are destroyed with the next reservation. */
  function putAside(tenant: TenantId, { ready }: Stock): void {
    const unused = ready.splice(0);
    if (keysAhead) discarded.push(...unused.map(({ number }) => ({ tenant, number })));
  }

  /** Of a store that failed it is not certain that it did: a key whose number has a record stays. */
  function* destroyKeys(places: typeof discarded): Routine<void> {
    for (const place of places) {
      if ((yield* run.findByNumber(place)).length === 0) yield* run.destroyKey(place);
    }
  }

  function* reserve(tenant: TenantId, count: number, now: number): Routine<Reservation[]> {
    for (;;) {
      const [row] = yield* run.takeSequence({ name: 'customer', count });
      const sequence = (row as { last: number }).last;
      if (sequence >= sequencesPerPartition) throw new DatabaseFailure(new Error('the partition has no URNs left'));
      const last = base + sequence;
      const first = last - count + 1;
      const numbers = Array.from({ length: count }, (_, index) => first + index);
      if (!keysAhead) return numbers.map((number) => ({ number }));
      // Keys that were put back come with a sequence that may have yet to come to numbers which records have.
      const [taken] = yield* run.findNumberIn({ tenant, first, last });
      if (taken !== undefined) continue;
      const reserved: Reservation[] = [];
      for (const number of numbers) {
        const wrapped = seals.newKey(tenant, number);
        // Nor is a key of somebody else's used, whoever made it.
        if ((yield* run.insertKey({ tenant, number, wrapped, created_at: now })) > 0)
          reserved.push({ number, wrapped });
      }
      if (reserved.length > 0) return reserved;
    }
  }

  function reserveMore(tenant: TenantId, stock: Stock, now: number): Promise<void> {
    if (stock.reserving !== undefined) return stock.reserving;
    const { count } = stock;
    const places = discarded;
    discarded = [];
    stock.reserving = database
      .write(function* () {
        yield* destroyKeys(places);
        return yield* reserve(tenant, count, now);
      })
      .then((reserved) => {
        stock.ready.push(...reserved);
        stock.count = Math.min(2 * count, maxReserved);
      })
      .catch((error) => {
        discarded.push(...places);
        throw error;
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
    /** Gives back what certainly sealed nothing that may lie anywhere. */
    giveBack(tenant: TenantId, reservation: Reservation): void {
      stockOf(tenant).ready.unshift(reservation);
    },
    /**
     * Destroys the key of what was used in vain. Nobody waits for that: where the database is held up, whoever hears of a failure
     * has waited long enough. Where it fails too, the next reservation does it first, or fails with it.
     *
     * @param mayBeStored whether a server may still store it, out of our sight: then the key must stay
     */
    discard(tenant: TenantId, { number }: Reservation, mayBeStored: boolean): void {
      // Where a key is stored with its customer, neither is there.
      if (mayBeStored || (!keysAhead && !keysApart)) return;
      const place = { tenant, number };
      database.write(() => destroyKeys([place])).catch(() => discarded.push(place));
    },
    /** Passes over everything that is ready for a tenant. */
    passOver(tenant: TenantId): void {
      putAside(tenant, stockOf(tenant));
    },
  };
}
