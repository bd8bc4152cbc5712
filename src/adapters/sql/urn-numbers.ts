import { type CustomerUrn, customerUrn } from '../../domain/identity.ts';
import type { SqlDatabase } from './database.ts';
import type { Program } from './statement.ts';

/** Below 2^53 for every partition, so that the number is exact in JavaScript as in SQL. */
const sequencesPerPartition = 10 ** 13;

/** A URN as one number: partition × 10^13 + sequence. Undefined for one that is beyond what we ever hand out. */
export function toNumber(urn: CustomerUrn): number | undefined {
  const [, partition, sequence] = urn.split('.');
  const number = Number(sequence);
  return number < sequencesPerPartition ? Number(partition) * sequencesPerPartition + number : undefined;
}

export function toUrn(number: number): CustomerUrn {
  const partition = Math.floor(number / sequencesPerPartition);
  return customerUrn(String(partition).padStart(2, '0'), number % sequencesPerPartition);
}

/** No more than twice as many are lost when a process ends. */
const maxTaken = 128;

/**
 * Numbers for new customers, taken from the database's sequence some at a time, so that the sequence is not written with
 * every customer. Twice as many are taken each time: a process that stores little takes few.
 *
 * @param partition two digits
 * @param takeSequence gives the last of `count` numbers that are then ours
 */
export function urnNumbers(
  database: SqlDatabase,
  partition: string,
  takeSequence: (of: { name: string; count: number }) => Program<readonly { last: number }[]>,
) {
  const base = Number(partition) * sequencesPerPartition;
  let taken: number[] = [];
  let count = 1;
  let taking: Promise<void> | undefined;

  function takeMore(): Promise<void> {
    taking ??= database
      .write(() => takeSequence({ name: 'customer', count }))
      .then(([row]) => {
        const { last } = row as { last: number };
        for (let number = last - count + 1; number <= last; number += 1) taken.push(base + number);
        count = Math.min(2 * count, maxTaken);
      })
      .finally(() => {
        taking = undefined;
      });
    return taking;
  }

  /** One that was taken already; undefined where all were handed out. */
  function next(): number | undefined {
    // In good time: who finds none must wait. What fails here fails again for whoever needs it.
    if (taken.length === count >> 2) takeMore().catch(() => undefined);
    return taken.shift();
  }

  return {
    next,
    async take(): Promise<number> {
      for (;;) {
        const number = next();
        if (number !== undefined) return number;
        await takeMore();
      }
    },
    /** Passes over the numbers that were taken. */
    skip(): void {
      taken = [];
    },
  };
}
