import { DatabaseFailure } from '../../../application/ports/database-failure.ts';
import { type CustomerUrn, customerUrn } from '../../../domain/identity.ts';
import { compileQuery, compileSingle, type Routine } from '../driver/query.ts';
import type { Dialect, SqlDatabase } from '../schema/database.ts';

/** Keeps the number of every URN below 2^53, in each of 100 partitions, so that it is exact in JavaScript as in SQL. */
const sequencesPerPartition = 10 ** 13;

/** A URN as one number: partition × 10^13 + sequence. Undefined for a sequence that is too large to be issued. */
export function toNumber(urn: CustomerUrn): number | undefined {
  const [, partition, sequence] = urn.split('.');
  const number = Number(sequence);
  return number < sequencesPerPartition ? Number(partition) * sequencesPerPartition + number : undefined;
}

/** Less than the number of every URN. */
export const beforeAll = -1;

/** The highest number of a URN that is not after this one, whose sequence may be too large to be issued. */
export const lastNumberUpTo = (urn: CustomerUrn): number =>
  toNumber(urn) ?? (Number(urn.split('.')[1]) + 1) * sequencesPerPartition - 1;

/** The URN of a number that {@link toNumber} returned. */
export function toUrn(number: number): CustomerUrn {
  const partition = Math.floor(number / sequencesPerPartition);
  return customerUrn(String(partition).padStart(2, '0'), number % sequencesPerPartition);
}

export type Range = { readonly first: number; readonly last: number };

export function sequenceQueries({ builder }: Dialect) {
  return {
    /** Takes `count` sequences; returns the last of them. */
    take: compileQuery((of: { count: number }) =>
      builder
        .updateTable('sequences')
        .set((set) => ({ last: set('last', '+', of.count) }))
        .where('name', '=', 'customer')
        .returning('last'),
    ),
    last: compileQuery((_: object) => builder.selectFrom('sequences').select('last').where('name', '=', 'customer')),
    /** The number of one of the tenant's records within a range, ends included. */
    findIn: compileSingle((range: Range & { tenant: string }) =>
      builder
        .selectFrom('customers')
        .select('number')
        .where('tenant', '=', range.tenant)
        .where('number', '>=', range.first)
        .where('number', '<=', range.last)
        .limit(1),
    ),
    /** The highest number of the tenant's records within a range, ends included. */
    findHighest: compileQuery((range: Range & { tenant: string }) =>
      builder
        .selectFrom('customers')
        .select((customers) => customers.fn.max('number').as('highest'))
        .where('tenant', '=', range.tenant)
        .where('number', '>=', range.first)
        .where('number', '<=', range.last),
    ),
  };
}

/** How many numbers are skipped, at least, if numbers may have been taken that this process does not know of. */
export const leastSkipped = 10_000_000;

/** The sequence of CustomerUrns of one partition. A number that was taken is never issued again. */
export class UrnSequence {
  readonly #database: SqlDatabase;
  readonly #run: ReturnType<typeof sequenceQueries>;
  readonly #base: number;
  /** The tenants for which the sequence was raised. */
  readonly #raised = new Set<string>();
  /** Whether the sequence may be behind the records of a tenant that could not be looked at; see `settle`. */
  isDoubtful = false;

  /** @param partition two digits */
  constructor(database: SqlDatabase, partition: string) {
    this.#database = database;
    this.#run = sequenceQueries(database.dialect);
    this.#base = Number(partition) * sequencesPerPartition;
  }

  /** Takes `count` consecutive numbers. Throws if the partition has none left. */
  *take(count: number): Routine<Range> {
    const [row] = yield* this.#run.take({ count });
    if (row === undefined) throw new DatabaseFailure(new Error('the sequence of URNs is missing'));
    const sequence = Number(row.last);
    if (sequence >= sequencesPerPartition) throw new DatabaseFailure(new Error('the partition has no URNs left'));
    const last = this.#base + sequence;
    return { first: last - count + 1, last };
  }

  /** Takes `count` consecutive numbers that no record of the tenant has. */
  *takeFree(tenant: string, count: number): Routine<Range> {
    for (;;) {
      const range = yield* this.take(count);
      if ((yield* this.#run.findIn({ tenant, ...range })).length === 0) return range;
    }
  }

  /** Skips numbers, so that none is issued twice. */
  *skip(count: number): Routine<void> {
    yield* this.#run.take({ count });
  }

  /**
   * Raises the sequence to the highest number of the tenant's records: restored keys may be older than the records.
   */
  async raise(tenant: string): Promise<void> {
    const run = this.#run;
    const first = this.#base;
    const range = { tenant, first, last: first + sequencesPerPartition - 1 };
    function* missing(): Routine<number> {
      const [found] = yield* run.findHighest(range);
      const highest = Number(found?.highest ?? first) - first;
      const [row] = yield* run.last({});
      return highest - Number(row?.last ?? 0);
    }
    if ((await this.#database.read(missing)) > 0) {
      await this.#database.exclusive(function* () {
        const count = yield* missing();
        if (count > 0) yield* run.take({ count });
      });
    }
    this.#raised.add(tenant);
  }

  /** Whether the sequence has been raised for the tenant since this process started. */
  isRaised(tenant: string): boolean {
    return this.#raised.has(tenant);
  }

  /** Skips numbers, so that no two tenants get the same URN. To be called before numbers are taken, if `isDoubtful`. */
  async settle(): Promise<void> {
    await this.#database.write(() => this.skip(leastSkipped));
    this.isDoubtful = false;
  }

  /** Like `raise`, but does nothing if the sequence has been raised for the tenant since this process started. */
  async raiseOnce(tenant: string): Promise<void> {
    if (!this.#raised.has(tenant)) await this.raise(tenant);
  }
}
