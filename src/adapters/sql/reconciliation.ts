import { setTimeout as delay } from 'node:timers/promises';
import { unknownRemainder } from '../../domain/deletion.ts';
import type { TenantId } from '../../domain/identity.ts';
import type { customerStatements, Row } from './customer-statements.ts';
import type { SqlDatabase } from './database.ts';
import type { ErasureLedger } from './erasure-ledger.ts';
import type { ReadableRow, RecordSeals } from './record-seals.ts';
import type { Program } from './statement.ts';
import { copyMark } from './tables.ts';
import { toNumber, toUrn } from './urn-numbers.ts';

interface Needs {
  readonly database: SqlDatabase;
  readonly run: ReturnType<typeof customerStatements>;
  readonly seals: RecordSeals;
  readonly ledger: ErasureLedger;
  /** Rewrites the record of a customer whose key was destroyed. */
  completeErasure(tenant: TenantId, number: number): Program<unknown>;
}

/** Where a copy of the keys is taken into use, so many numbers are passed over at least, and at most. */
const leastPassedOver = 10_000_000;
const mostPassedOver = 10 ** 12;
/** And for each millisecond of the copy's age more than any deployment stores in one. */
const passedOverAMillisecond = 10;

/** How often the difference is looked at, as long as it is another each time. */
const maxLooks = 50;

/** Who asked for an erasure is not known any more where its entry was lost with the keys that were in use then. */
const lostAsker = { keyId: 'unknown', requestId: 'unknown' } as const;

/**
 * Holds the ledger of erasures, which lives with the keys, against the records. Each has a backup of its own, so either may
 * come back older than the other.
 */
export function reconciliation({ database, run, seals, ledger, completeErasure }: Needs) {
  /**
   * The difference between both, where it lasts. Of what another process is erasing one side may be seen before the other; as
   * each erasure has a weight of its own, what is seen twice is there.
   */
  async function lastingDifference(): Promise<number> {
    let before: number | undefined;
    for (let look = 1; ; look += 1) {
      const found = await database.read(ledger.difference);
      if (found === 0 || found === before || look === maxLooks) return found;
      before = found;
      await delay(20);
    }
  }

  /** Erases again what an older copy of the records has brought back. @returns how many */
  function* applyLedger(): Program<number> {
    let again = 0;
    let last: { tenant: string; hash: Buffer } = { tenant: '', hash: Buffer.alloc(0) };
    for (;;) {
      const page = yield* run.listErasuresAfter(last);
      for (const { tenant, hash, sealed } of page) {
        const { erasure, remainder } = seals.openEntry(hash, sealed);
        const number = toNumber(erasure.urn) as number;
        yield* run.destroyKey({ tenant, number });
        again += yield* ledger.apply({ tenant, number, hash, erasure, remainder });
      }
      const end = page.at(-1);
      if (end === undefined) return again;
      last = end;
    }
  }

  /** Enters again, from the records, what an older copy of the keys does not know, and destroys what it has brought back. */
  function* renewLedger(): Program<void> {
    let last = { tenant: '', number: 0 };
    for (;;) {
      const page = yield* run.listErasedAfter(last);
      for (const { tenant, number, sealed, anonymized_at } of page) {
        const remainder = seals.remainderIfSound(tenant, { number, sealed }) ?? unknownRemainder;
        const erasure = { urn: toUrn(number), erasedAt: anonymized_at as number, ...lostAsker };
        yield* ledger.enter(tenant, number, erasure, remainder);
      }
      const end = page.at(-1);
      if (end === undefined) return;
      last = end;
    }
  }

  /** Brings both sides to the same. @returns how many records were erased again */
  function* applyBoth(): Program<number> {
    yield* renewLedger();
    return yield* applyLedger();
  }

  /** Brings the sums to the same, where both sides are: the ledger may know of records that an older copy does not have at all. */
  function* settle(left: number): Program<void> {
    // Another process may have done it.
    if ((yield* ledger.difference()) !== left) return;
    if (left > 0) yield* run.countApplied({ count: left });
    else yield* run.takeSequence({ name: 'erasure', count: -left });
  }

  /** Whether a record belongs to these keys: it can be read, or was erased. */
  function* isOurs(tenant: TenantId, row: Row): Program<boolean> {
    if (row.anonymized_at !== null) return seals.remainderIfSound(tenant, row) !== undefined;
    if (row.wrapped === null) return yield* ledger.has(tenant, row.number);
    return seals.recordIfSound(tenant, row as ReadableRow) !== undefined;
  }

  return {
    /**
     * Where the keys are a copy that is taken into use, passes over numbers for URNs: after the copy was made others may
     * have been handed out, of which nobody here knows where the records are a copy as well. The older it is the more, so
     * that a copy which is taken into use a second time does not come to the numbers of the first.
     * @param now milliseconds since 1970 @returns how many; 0: they are none
     */
    async takeUpCopy(now: number): Promise<number> {
      const [mark] = await database.read(() => run.sequence({ name: copyMark }));
      if (mark === undefined) return 0;
      const age = Math.max(0, now - mark.last);
      const count = Math.min(leastPassedOver + passedOverAMillisecond * age, mostPassedOver);
      return database.exclusive(function* () {
        if ((yield* run.forgetSequence({ name: copyMark })) === 0) return 0;
        yield* run.takeSequence({ name: 'customer', count });
        return count;
      });
    },

    /**
     * Completes what a crash has left half done, and erases again what a restored copy has brought back. To be awaited before
     * the first request. @returns how many records were erased again
     * @param isRestored whether a copy was just put in place: then everything is held against everything, whatever the sums say
     */
    async reconcile(isRestored = false): Promise<number> {
      const isDue = isRestored || (await lastingDifference()) !== 0;
      const again = isDue ? await database.exclusive(applyBoth) : 0;
      for (const { tenant, number } of await database.read(() => run.listPending({}))) {
        await database.write(() => completeErasure(tenant as TenantId, number));
      }
      const left = isDue ? await lastingDifference() : 0;
      if (left !== 0) await database.exclusive(() => settle(left));
      // A crash may have left what was destroyed in the logs.
      await database.scrub('keys');
      await database.scrub('data');
      return again;
    },

    /** How many records cannot be opened, though nobody erased them: those of a copy that does not belong to these keys. */
    countUnreadable: (): Promise<number> =>
      database.read(function* () {
        let unreadable = 0;
        let last = { tenant: '', number: 0 };
        for (;;) {
          const page = yield* run.listAfter(last);
          for (const row of page) if (!(yield* isOurs(row.tenant as TenantId, row))) unreadable += 1;
          const end = page.at(-1);
          if (end === undefined) return unreadable;
          last = end;
        }
      }),
  };
}
