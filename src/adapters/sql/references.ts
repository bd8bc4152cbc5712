import type {
  BindResult,
  NewReference,
  ReferenceRepository,
  StoredReference,
} from '../../application/ports/references.ts';
import type { ReferenceKind, ReferenceState } from '../../domain/references.ts';
import type { CustomerQueries } from './customers/queries.ts';
import { isAnonymizedRow, isReadableRow } from './customers/record-encryption.ts';
import { toNumber, toUrn } from './customers/urns.ts';
import { compileQuery, compileSingle, compileWrite, type Routine } from './driver/query.ts';
import type { ErasureLog } from './erasure/erasure-log.ts';
import type { Dialect, SqlDatabase } from './schema/database.ts';
import type { Tables } from './schema/tables.ts';

type Row = Tables['flow_references'];
type At = Pick<Row, 'tenant' | 'kind' | 'reference'>;
type Of = Pick<Row, 'tenant' | 'number'>;

/** The customer that a URN names after all merges. */
interface Holder {
  readonly number: number;
  readonly isErased: boolean;
}

interface Dependencies {
  readonly dialect: Dialect;
  readonly queries: Pick<CustomerQueries, 'findByNumber'>;
  readonly log: Pick<ErasureLog, 'find' | 'endOf'>;
  /** Called for every customer whose references change, so that caches can drop its summary. */
  readonly changed: (tenant: string, number: number) => void;
}

/**
 * The references of customers. A merge moves them, in the transaction that anonymizes the merged customer and after it
 * has locked that customer's row. A bind locks the row too, so it comes before the merge and is moved, or it finds the
 * merge and follows it.
 */
export class FlowReferences {
  readonly #run: ReturnType<typeof referenceQueries>;
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#run = referenceQueries(dependencies.dialect);
    this.#dependencies = dependencies;
  }

  /** See `ReferenceRepository.bind`. */
  *bind(tenant: string, wanted: NewReference, now: number): Routine<BindResult> {
    const { changed, log } = this.#dependencies;
    const { kind, reference, state } = wanted;
    const holder = yield* this.#lockHolder(tenant, toNumber(wanted.customerUrn));
    if (holder === undefined) return { code: 'CUSTOMER_NOT_FOUND' };
    const { number } = holder;
    const at = { tenant, kind, reference };
    let [row] = yield* this.#run.lock(at);
    if (row === undefined) {
      if (holder.isErased) return { code: 'CUSTOMER_ANONYMIZED' };
      changed(tenant, number);
      const inserted = { ...at, number, state, created_at: now, updated_at: now };
      if ((yield* this.#run.insert(inserted)) > 0) return { code: 'SUCCESS', stored: toReference(inserted) };
      // Another process has bound it meanwhile.
      [row] = yield* this.#run.lock(at);
    }
    const present = row as Row;
    if (present.number !== number && (yield* log.endOf(tenant, present.number)).number !== number) {
      return { code: 'REFERENCE_OF_ANOTHER_CUSTOMER' };
    }
    const stored = { ...present, number };
    if (present.state === state) return { code: 'SUCCESS', stored: toReference(stored) };
    changed(tenant, number);
    yield* this.#run.setState({ ...at, state, updated_at: now });
    return { code: 'SUCCESS', stored: toReference({ ...stored, state, updated_at: now }) };
  }

  /** See `ReferenceRepository.list`. */
  *list(tenant: string, number: number | undefined): Routine<readonly StoredReference[] | undefined> {
    const { queries, log } = this.#dependencies;
    const [row] = number === undefined ? [] : yield* queries.findByNumber({ tenant, number });
    if (row === undefined) return undefined;
    const holder = isReadableRow(row) ? row.number : (yield* log.endOf(tenant, row.number)).number;
    return (yield* this.#run.listOf({ tenant, number: holder })).map(toReference);
  }

  /** Moves the references of a customer that was merged to the one that stays. */
  *move(tenant: string, from: number, to: number): Routine<void> {
    this.#dependencies.changed(tenant, to);
    yield* this.#run.move({ tenant, number: from, to });
  }

  /**
   * The customer that a number names after all merges. If it is not erased, it is neither erased nor merged until the
   * transaction ends. Undefined if the records have no such customer.
   */
  *#lockHolder(tenant: string, named: number | undefined): Routine<Holder | undefined> {
    const { queries, log } = this.#dependencies;
    let isLocked = false;
    for (let number = named; number !== undefined; ) {
      const [row] = yield* queries.findByNumber({ tenant, number });
      if (row === undefined) return undefined;
      if (isReadableRow(row)) {
        if (isLocked || this.#run.lockCustomer === undefined) return { number, isErased: false };
        yield* this.#run.lockCustomer({ tenant, number });
        // Read again: it may have been erased or merged while this waited for the lock.
        isLocked = true;
        continue;
      }
      const entry = yield* log.find(tenant, number);
      if (entry?.into === undefined) return { number, isErased: entry !== undefined || isAnonymizedRow(row) };
      number = entry.into;
      isLocked = false;
    }
    return undefined;
  }
}

/** References in SQL. @param find see `ReferenceRepository.find` */
export const createSqlReferences = (
  { read, write }: SqlDatabase,
  references: FlowReferences,
  find: ReferenceRepository['find'],
): ReferenceRepository => ({
  bind: (tenant, reference, now) => write(() => references.bind(tenant, reference, now)),
  list: (tenant, urn) => read(() => references.list(tenant, toNumber(urn))),
  find,
});

export function referenceQueries({ builder, isPostgres }: Dialect) {
  return {
    /** A reference, locked until the transaction ends. SQLite has one writer at a time. */
    lock: compileSingle((at: At) => {
      const found = builder
        .selectFrom('flow_references')
        .selectAll()
        .where('tenant', '=', at.tenant)
        .where('kind', '=', at.kind)
        .where('reference', '=', at.reference);
      return isPostgres ? found.forUpdate() : found;
    }),
    /** Keeps a customer from being changed until the transaction ends, and lets others bind references to it. */
    lockCustomer: isPostgres
      ? compileSingle((at: Of) =>
          builder
            .selectFrom('customers')
            .select('number')
            .where('tenant', '=', at.tenant)
            .where('number', '=', at.number)
            .forShare(),
        )
      : undefined,
    /** Returns 0 if the tenant has the reference. */
    insert: compileWrite(({ tenant, kind, reference, number, state, created_at, updated_at }: Row) =>
      builder
        .insertInto('flow_references')
        .values({ tenant, kind, reference, number, state, created_at, updated_at })
        .onConflict((on) => on.doNothing()),
    ),
    setState: compileWrite((row: At & Pick<Row, 'state' | 'updated_at'>) =>
      builder
        .updateTable('flow_references')
        .set({ state: row.state, updated_at: row.updated_at })
        .where('tenant', '=', row.tenant)
        .where('kind', '=', row.kind)
        .where('reference', '=', row.reference),
    ),
    move: compileWrite((from: Of & { to: number }) =>
      builder
        .updateTable('flow_references')
        .set({ number: from.to })
        .where('tenant', '=', from.tenant)
        .where('number', '=', from.number),
    ),
    listOf: compileQuery((of: Of) =>
      builder
        .selectFrom('flow_references')
        .selectAll()
        .where('tenant', '=', of.tenant)
        .where('number', '=', of.number)
        .orderBy('kind')
        .orderBy('reference'),
    ),
  };
}

const toReference = ({ kind, reference, number, state, created_at, updated_at }: Row): StoredReference => ({
  customerUrn: toUrn(number),
  kind: kind as ReferenceKind,
  reference,
  state: state as ReferenceState,
  createdAt: created_at,
  updatedAt: updated_at,
});
