import type { Place } from '../customers/queries.ts';
import { compileQuery, compileWrite } from '../driver/query.ts';
import type { Dialect } from '../schema/database.ts';
import type { Tables } from '../schema/tables.ts';
import { pageSize } from './erasure-log.ts';

type Of = { readonly tenant: string };
type PositionRow = Tables['erasure_positions'];

/** Queries for the applied positions of the erasure log, and for the rows of erased customers. */
export const appliedQueries = (dialect: Dialect) => ({ ...positionQueries(dialect), ...keptEntryQueries(dialect) });

function positionQueries({ builder }: Dialect) {
  return {
    findPosition: compileQuery((of: Of) =>
      builder.selectFrom('erasure_positions').select(['sequence', 'chain']).where('tenant', '=', of.tenant),
    ),
    /** Returns 0 if the tenant already has a position. */
    insertPosition: compileWrite(({ tenant, sequence, chain }: PositionRow) =>
      builder
        .insertInto('erasure_positions')
        .values({ tenant, sequence, chain })
        .onConflict((on) => on.doNothing()),
    ),
    /** Compare-and-set: returns 0 if the position is not the expected one. */
    movePosition: compileWrite((to: PositionRow & { fromSequence: number; fromChain: Buffer }) =>
      builder
        .updateTable('erasure_positions')
        .set({ sequence: to.sequence, chain: to.chain })
        .where('tenant', '=', to.tenant)
        .where('sequence', '=', to.fromSequence)
        .where('chain', '=', to.fromChain),
    ),
  };
}

function keptEntryQueries({ builder, isPostgres }: Dialect) {
  const rowAt = (at: Place) =>
    builder.selectFrom('customers').where('tenant', '=', at.tenant).where('number', '=', at.number);
  return {
    /** The highest erasure sequence in the rows of a tenant; reads one index entry. */
    highest: compileQuery((of: Of) =>
      builder
        .selectFrom('customers')
        .select((row) => row.fn.max('erasure').as('highest'))
        .where('tenant', '=', of.tenant)
        .where('erasure', 'is not', null),
    ),
    /** A page of anonymized rows, ordered by the sequence of their entries. */
    rowsAfter: compileQuery((last: Place & { erasure: number }) =>
      builder
        .selectFrom('customers')
        .select(['number', 'sealed', 'erasure'])
        .where('tenant', '=', last.tenant)
        .where('erasure', '>=', last.erasure)
        .where((is) => is.or([is('erasure', '>', last.erasure), is('number', '>', last.number)]))
        .orderBy('erasure')
        .orderBy('number')
        .limit(pageSize),
    ),
    findErasure: compileQuery((at: Place) => rowAt(at).select(['erasure', 'sealed'])),
    /** The version of a customer, locked until the transaction ends. Absent on SQLite, whose transaction is the lock. */
    lockVersion: isPostgres ? compileQuery((at: Place) => rowAt(at).select('version').forUpdate()) : undefined,
  };
}
