import type { CustomerUrn } from '../../domain/identity.ts';
import type { WriteResult } from '../ports/customer-repository.ts';
import { type ImportRequest, namesOf } from './requests.ts';

type SyncRow = ImportRequest & { readonly kind: 'sync' };
type Conflicting = Extract<WriteResult, { readonly conflicts: unknown }>;

/** A row whose unique keys were taken when it was tried last. */
export interface DeferredRow {
  readonly request: SyncRow;
  /** The result of the last attempt. */
  readonly result: Conflicting;
}

/** The maximum number of rows that wait for the end of the file: about 15 MB. */
const maxDeferred = 10_000;

/**
 * Rows that wait for a later row to free their unique keys. A row is taken out once a later row is about the same customer:
 * the later one must not be overwritten.
 */
export class DeferredRows {
  readonly #byLine = new Map<number, DeferredRow>();
  /** The line of the row that is about a customer. */
  readonly #lines = new Map<string, number>();

  get isFull(): boolean {
    return this.#byLine.size >= maxDeferred;
  }

  add(row: DeferredRow): void {
    this.#byLine.set(row.request.line, row);
    for (const name of namesOf(row.request)) this.#lines.set(name, row.request.line);
  }

  /** Takes out the rows that are about the same customer as a later request. */
  takeSuperseded(request: ImportRequest): DeferredRow[] {
    if (this.#byLine.size === 0) return [];
    const lines = new Set(namesOf(request).map((name) => this.#lines.get(name)));
    return [...lines].flatMap((line) => (line === undefined ? [] : this.take(line)));
  }

  takeAll(): DeferredRow[] {
    const rows = [...this.#byLine.values()];
    this.#byLine.clear();
    this.#lines.clear();
    return rows;
  }

  /** Takes out the row of a line; none if it is not there. */
  take(line: number): DeferredRow[] {
    const row = this.#byLine.get(line);
    if (row === undefined) return [];
    this.#byLine.delete(line);
    for (const name of namesOf(row.request)) this.#lines.delete(name);
    return [row];
  }
}

/** A deferred row of a customer that exists. */
export interface OwnedRow extends DeferredRow {
  readonly urn: CustomerUrn;
}

/**
 * The groups of rows whose customers hold only each other's wanted values: each group can be applied as an exchange.
 *
 * @param rows of distinct customers
 */
export function circlesOf(rows: readonly OwnedRow[]): OwnedRow[][] {
  const waiting = withoutOutsiders(rows);
  const neighbours = new Map([...waiting.keys()].map((urn) => [urn, new Set<CustomerUrn>()]));
  for (const row of waiting.values()) {
    for (const holder of holdersOf(row)) {
      neighbours.get(row.urn)?.add(holder);
      neighbours.get(holder)?.add(row.urn);
    }
  }
  const circles: OwnedRow[][] = [];
  for (const start of neighbours.keys()) {
    const reached = new Set([start]);
    for (const urn of reached) for (const next of neighbours.get(urn) ?? []) reached.add(next);
    const circle = [...reached].flatMap((urn) => waiting.get(urn) ?? []);
    for (const { urn } of circle) waiting.delete(urn);
    if (circle.length > 0) circles.push(circle);
  }
  return circles;
}

/** Without the rows that wait for a customer outside of the rows, and the rows that wait for one of these. */
function withoutOutsiders(rows: readonly OwnedRow[]): Map<CustomerUrn, OwnedRow> {
  const waiting = new Map(rows.map((row) => [row.urn, row]));
  for (let size = -1; size !== waiting.size; ) {
    size = waiting.size;
    for (const [urn, row] of waiting) {
      if (!holdersOf(row).every((holder) => waiting.has(holder))) waiting.delete(urn);
    }
  }
  return waiting;
}

const holdersOf = ({ result }: DeferredRow): CustomerUrn[] => result.conflicts.map(({ customerUrn }) => customerUrn);
