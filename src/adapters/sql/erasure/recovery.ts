import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import { unknownRetainedFields } from '../../../domain/anonymization.ts';
import type { TenantId } from '../../../domain/identity.ts';
import { type customerStatements, pendingAtOnce, type Row } from '../customers/queries.ts';
import type { ReadableRow, RecordSeals } from '../customers/record-encryption.ts';
import { sequencesPerPartition, toNumber, toUrn } from '../customers/urn-numbers.ts';
import type { SqlDatabase } from '../driver/database.ts';
import type { Routine } from '../driver/query.ts';
import { copyMark, type Tables, weighedMark } from '../schema/tables.ts';
import type { ErasureLedger, KnownErasure } from './erasure-log.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly run: ReturnType<typeof customerStatements>;
  readonly seals: RecordSeals;
  readonly ledger: ErasureLedger;
  /** Two digits. */
  readonly partition: string;
  /** Rewrites the record of a customer whose key was destroyed. */
  completeErasure(tenant: TenantId, number: number): Routine<unknown>;
}

type Place = Pick<Tables['customers'], 'tenant' | 'number'>;
type EntryPlace = Pick<Tables['erasures'], 'tenant' | 'hash'>;
type ErasedCustomer = Pick<Tables['customers'], 'tenant' | 'number' | 'sealed' | 'anonymized_at'>;
/** What of a page is to be mended, and where the next one begins. */
interface Page<Due, Place> {
  readonly due: readonly Due[];
  readonly end: Place | undefined;
}

/** Where a copy of the keys is taken into use, so many numbers are passed over at least, and at most. */
const leastPassedOver = 10_000_000;
const mostPassedOver = 10 ** 12;
/** And for each millisecond of the copy's age more than any deployment stores in one. */
const passedOverAMillisecond = 10;

/** How many customers are mended at once. */
const mendedAtOnce = 4;

/** How often the difference is looked at, as long as it is another each time. */
const maxLooks = 50;

/** Who asked for an erasure is not known any more where its entry was lost with the keys that were in use then. */
const lostAsker = { keyId: 'unknown', requestId: 'unknown' } as const;

/**
 * Holds the ledger of erasures, which lives with the keys, against the records. Each has a backup of its own, so either may
 * come back older than the other. Other processes may erase meanwhile: whatever is found is done by itself, in a short
 * transaction, and does nothing where it was done.
 */
export function reconciliation({ database, run, seals, ledger, partition, completeErasure }: Dependencies) {
  const base = Number(partition) * sequencesPerPartition;

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

  /** Reads page by page what is to be done, and does it. @returns the sum of what `mend` gives */
  async function throughAll<Due, Place>(
    first: Place,
    read: (after: Place) => Routine<Page<Due, Place>>,
    mend: (due: Due) => Promise<number>,
  ): Promise<number> {
    let sum = 0;
    let after: Place | undefined = first;
    while (after !== undefined) {
      const from: Place = after;
      const { due, end }: Page<Due, Place> = await database.read(() => read(from));
      for (const count of await someAtOnce(due, mend)) sum += count;
      after = end;
    }
    return sum;
  }

  function* recordsToEnter(after: Place): Routine<Page<ErasedCustomer, Place>> {
    const page = yield* run.listErasedAfter(after);
    const due: ErasedCustomer[] = [];
    for (const row of page) {
      const isEntered = yield* ledger.has(row.tenant, row.number);
      if (!isEntered || (yield* run.findKey(row)).length > 0) due.push(row);
    }
    return { due, end: page.at(-1) };
  }

  /** Enters again, from the records, what an older copy of the keys does not know, and destroys what it has brought back. */
  const renewLedger = () =>
    throughAll({ tenant: '', number: 0 }, recordsToEnter, async ({ tenant, number, sealed, anonymized_at }) => {
      const remainder = seals.remainderIfSound(tenant, { number, sealed }) ?? unknownRetainedFields;
      const erasure = { urn: toUrn(number), erasedAt: anonymized_at as number, ...lostAsker };
      await database.write(() => ledger.enter(tenant, number, erasure, remainder));
      return 1;
    });

  function* entriesToApply(after: EntryPlace): Routine<Page<KnownErasure, EntryPlace>> {
    const page = yield* run.listErasuresAfter(after);
    const due: KnownErasure[] = [];
    for (const { tenant, hash, sealed } of page) {
      const entry = seals.entryIfSound(hash, sealed);
      // One that is damaged stands in the way of no start; whoever touches its record hears of it.
      if (entry === undefined) continue;
      const { erasure, remainder } = entry;
      const place = { tenant, number: toNumber(erasure.urn) as number };
      const [row] = yield* run.findByNumber(place);
      const isApplied = row === undefined || row.anonymized_at !== null;
      if (!isApplied || (yield* run.findKey(place)).length > 0) due.push({ ...place, hash, erasure, remainder });
    }
    return { due, end: page.at(-1) };
  }

  /** Erases again what an older copy of the records has brought back. @returns how many */
  const applyLedger = () =>
    throughAll({ tenant: '', hash: Buffer.alloc(0) }, entriesToApply, (known) =>
      database.write(function* () {
        yield* run.destroyKey(known);
        return yield* ledger.apply(known);
      }),
    );

  /** Brings the sums to the same, where both sides are: the ledger may know of records that an older copy does not have at all. */
  function* settle(left: number): Routine<void> {
    // Another process may have done it.
    if ((yield* ledger.difference()) !== left) return;
    if (left > 0) yield* run.countApplied({ count: left });
    else yield* run.takeSequence({ name: 'erasure', count: -left });
  }

  /** Makes the sums what they are by weight. */
  function* weigh(): Routine<void> {
    const [mark] = yield* run.sequence({ name: weighedMark });
    if (mark?.last !== 0) return;
    const [entered] = yield* run.sequence({ name: 'erasure' });
    yield* run.takeSequence({ name: 'erasure', count: (yield* ledger.weight()) - (entered?.last ?? 0) });
    yield* run.countApplied({ count: yield* ledger.difference() });
    yield* run.takeSequence({ name: weighedMark, count: 1 });
  }

  /** Brings erasures that were begun, by whichever process, to their end. */
  async function finishBegun(): Promise<void> {
    while ((await finishSome()) === pendingAtOnce);
  }

  /** @returns how many are off the list */
  async function finishSome(): Promise<number> {
    const { begun, undone } = await database.read(function* () {
      const begun = yield* run.somePending({});
      const undone: Place[] = [];
      for (const place of begun) {
        const [row] = yield* run.findByNumber(place);
        if (row !== undefined && row.anonymized_at === null) undone.push(place);
      }
      return { begun, undone };
    });
    if (begun.length === 0) return 0;
    // One that cannot be completed is not in the way of the others.
    const failures = new Map<Place, unknown>();
    await someAtOnce(undone, (place) =>
      database
        .write(() => completeErasure(place.tenant as TenantId, place.number))
        .catch((error) => failures.set(place, error)),
    );
    // They are on the list until nothing of them is left in a log.
    const areEmptied = [await database.checkpoint('keys'), await database.checkpoint('data')];
    if (areEmptied.includes(false)) return 0;
    const finished = begun.filter((place) => !failures.has(place));
    await database.write(function* () {
      for (const { tenant, number, key_digest, expires_at } of finished) {
        // Whoever asked for it may not have been answered; and a request that raced it may have been kept after it.
        if (key_digest !== null) yield* run.keepErasure({ tenant, number, key_digest, expires_at: Number(expires_at) });
        yield* run.blankAnswers({ tenant, number });
      }
    });
    // By itself: of one transaction over both files, or databases, the half of the keys may be all that is stored.
    await database.write(function* () {
      for (const place of finished) yield* run.deletePending(place);
    });
    for (const error of failures.values()) throw error;
    return finished.length;
  }

  /** Sees to it that no number is handed out again which a record has: keys may be older than the records. */
  async function raiseSequence(): Promise<void> {
    const range = { first: base, last: base + sequencesPerPartition - 1 };
    const found = await database.read(() => run.highestNumbers(range));
    const highest = found.reduce((most, { highest }) => Math.max(most, highest ?? 0), 0);
    function* missing(): Routine<number> {
      const [row] = yield* run.sequence({ name: 'customer' });
      return highest - base - (row?.last ?? 0);
    }
    if ((await database.read(missing)) <= 0) return;
    await database.exclusive(function* () {
      const count = yield* missing();
      if (count > 0) yield* run.takeSequence({ name: 'customer', count });
    });
  }

  /** Whether a record belongs to these keys: it can be read, or was erased. */
  function* isOurs(tenant: TenantId, row: Row): Routine<boolean> {
    if (row.anonymized_at !== null) return seals.remainderIfSound(tenant, row) !== undefined;
    if (row.wrapped === null) return yield* ledger.has(tenant, row.number);
    return seals.recordIfSound(tenant, row as ReadableRow) !== undefined;
  }

  return {
    /** Whether the keys are a copy that was not taken into use yet. */
    isCopy: async (): Promise<boolean> => (await database.read(() => run.sequence({ name: copyMark }))).length > 0,

    /**
     * Where the keys are a copy that is taken into use, passes over numbers for URNs: after the copy was made others may
     * have been handed out, of which nobody here knows where the records are a copy as well. The older it is the more, so
     * that a copy which is taken into use a second time does not come to the numbers of the first.
     * @param now milliseconds since 1970 @returns how many; 0: they are none, or another process was first
     */
    takeUpCopy: (now: number): Promise<number> =>
      database.exclusive(function* () {
        const [mark] = yield* run.sequence({ name: copyMark });
        if (mark === undefined) return 0;
        yield* run.forgetSequence({ name: copyMark });
        // At first the mark had no time.
        const age = mark.last <= 1 ? 0 : Math.max(0, now - mark.last);
        const count = Math.min(leastPassedOver + passedOverAMillisecond * age, mostPassedOver);
        yield* run.takeSequence({ name: 'customer', count });
        return count;
      }),

    /**
     * Completes what a crash has left half done, and erases again what a restored copy has brought back. To be awaited before
     * the first request. @returns how many records were erased again
     * @param isRestored whether a copy was just put in place: then everything is held against everything, whatever the sums say
     */
    async reconcile(isRestored = false): Promise<number> {
      let again = 0;
      // One that is under way elsewhere, or cannot be completed now, is no reason not to start: its key is gone.
      if (!isRestored) await finishBegun().catch(unlessRefused);
      const isWeighed = (await database.read(() => run.sequence({ name: weighedMark })))[0]?.last === 1;
      if (isRestored || !isWeighed || (await lastingDifference()) !== 0) {
        await renewLedger();
        again = await applyLedger();
        const left = await lastingDifference();
        if (left !== 0) await database.exclusive(() => settle(left));
      }
      if (!isWeighed) await database.exclusive(weigh);
      if (isRestored) await finishBegun().catch(unlessRefused);
      // What is damaged stands in the way of no start.
      await raiseSequence().catch(unlessRefused);
      // A crash may have left what was destroyed in the logs.
      await database.checkpoint('keys');
      await database.checkpoint('data');
      return again;
    },

    finishBegun,

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

/** Calls for each, a few at a time: others want connections too. */
async function someAtOnce<Item, Result>(
  items: readonly Item[],
  call: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let at = 0; at < items.length; at += mendedAtOnce) {
    results.push(...(await Promise.all(items.slice(at, at + mendedAtOnce).map(call))));
  }
  return results;
}

/** What the database refuses, or has damaged, is left for later. */
function unlessRefused(error: unknown): void {
  if (!(error instanceof DatabaseFailure)) throw error;
}
