import type { Erasure } from '../../../application/ports/customer-repository.ts';
import type { RetainedFields } from '../../../domain/anonymization.ts';
import type { customerStatements } from '../customers/queries.ts';
import type { RecordSeals } from '../customers/record-encryption.ts';
import type { Routine } from '../driver/query.ts';

interface Dependencies {
  readonly run: ReturnType<typeof customerStatements>;
  readonly seals: RecordSeals;
}

/** What the ledger knows of a customer that was erased. */
export interface KnownErasure {
  readonly tenant: string;
  readonly number: number;
  readonly hash: Buffer;
  readonly erasure: Erasure;
  readonly remainder: RetainedFields;
}

export type ErasureLedger = ReturnType<typeof erasureLedger>;

/**
 * Who was erased, kept with the keys, and what of that was applied to the records. Each side adds up the weights of its
 * erasures, in the transaction in which it gets one, so that two sums tell whether both know the same.
 */
export function erasureLedger({ run, seals }: Dependencies) {
  return {
    *has(tenant: string, number: number): Routine<boolean> {
      return (yield* run.findErasure({ tenant, hash: seals.ledgerHash(tenant, number) })).length > 0;
    },

    *find(tenant: string, number: number): Routine<KnownErasure | undefined> {
      const hash = seals.ledgerHash(tenant, number);
      const [entry] = yield* run.findErasure({ tenant, hash });
      return entry && { tenant, number, hash, ...seals.openEntry(hash, entry.sealed) };
    },

    /** Destroys the key of a customer, and enters the erasure where it is not there. */
    *enter(tenant: string, number: number, erasure: Erasure, remainder: RetainedFields): Routine<void> {
      const hash = seals.ledgerHash(tenant, number);
      const entered = yield* run.enterErasure({ tenant, hash, sealed: seals.sealEntry(hash, { erasure, remainder }) });
      if (entered > 0) yield* run.takeSequence({ name: 'erasure', count: weightOf(hash) });
      yield* run.destroyKey({ tenant, number });
    },

    /**
     * Removes what is personal from the record, where that was not done, and from what is kept for its requests.
     * @returns how many records that were
     */
    *apply({ tenant, number, hash, erasure, remainder }: KnownErasure): Routine<number> {
      const sealed = seals.sealRemainder(tenant, number, remainder);
      const rewritten = yield* run.rewrite({ tenant, number, sealed, at: erasure.erasedAt });
      if (rewritten > 0) yield* run.countApplied({ count: weightOf(hash) });
      yield* run.blankAnswers({ tenant, number });
      return rewritten;
    },

    /** Of all entries. */
    *weight(): Routine<number> {
      let weight = 0;
      let last: { tenant: string; hash: Buffer } = { tenant: '', hash: Buffer.alloc(0) };
      for (;;) {
        const page = yield* run.listErasuresAfter(last);
        for (const { hash } of page) weight += weightOf(hash);
        const end = page.at(-1);
        if (end === undefined) return weight;
        last = end;
      }
    },

    /**
     * The weight of the erasures that were entered and neither applied nor are on the list of those to be, less that of those
     * that only the records know. 0: both know the same.
     */
    *difference(): Routine<number> {
      const [entered] = yield* run.sequence({ name: 'erasure' });
      const [applied] = yield* run.applied({});
      let difference = (entered?.last ?? 0) - (applied?.count ?? 0);
      for (const { tenant, number } of yield* run.listPending({})) {
        const [row] = yield* run.findByNumber({ tenant, number });
        // Those stay on the list until the logs are empty.
        if (row === undefined || row.anonymized_at === null) difference -= weightOf(seals.ledgerHash(tenant, number));
      }
      return difference;
    },
  };
}

/**
 * By what an erasure is counted: 24 bits of its own, so that sides with as many erasures, but of others, have other sums. What
 * half a billion add up to is exact in JavaScript.
 * @param hash by which the ledger knows it: it tells nothing without the key, and neither does this
 */
const weightOf = (hash: Buffer): number => 1 + hash.readUIntBE(0, 3);
