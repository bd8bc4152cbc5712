import type { WriteResult } from '../ports/customer-repository.ts';
import { type NamedRequest, revisionOf, type SyncRow, type WriteRequest } from './requests.ts';

type Conflicting = Extract<WriteResult, { readonly conflicts: unknown }>;

/** A row whose unique keys were taken when it was tried last. */
export interface DeferredRow extends NamedRequest<SyncRow> {
  /** The names of the customer that the row is about: see `takeSuperseded`. */
  readonly customer: readonly string[];
  /** The result of the last attempt. */
  readonly result: Conflicting;
}

/** The maximum number of rows that wait for the end of the file: about 15 MB, at most some 80 MB. */
const maxDeferred = 10_000;

/**
 * Rows that wait for a later row to free their unique keys. A row is taken out once a later row is about the same customer:
 * the later one must not be overwritten. If both have a source revision, that decides instead.
 */
export class DeferredRows {
  readonly #byLine = new Map<number, DeferredRow>();
  /** The lines of the rows that are about a customer. */
  readonly #lines = new Map<string, Set<number>>();

  get isEmpty(): boolean {
    return this.#byLine.size === 0;
  }

  get isFull(): boolean {
    return this.#byLine.size >= maxDeferred;
  }

  add(deferred: DeferredRow): void {
    // A copy, because a text that was trimmed is a slice of the text before, which has up to the length of a line.
    const row = structuredClone(deferred);
    const { line } = row.request;
    this.#byLine.set(line, row);
    for (const name of row.customer) this.#lines.set(name, (this.#lines.get(name) ?? new Set()).add(line));
  }

  /** Takes out the rows that a later request supersedes. @param customer the names of the customer that it is about */
  takeSuperseded(request: WriteRequest, customer: readonly string[]): DeferredRow[] {
    const lines = new Set(customer.flatMap((name) => [...(this.#lines.get(name) ?? [])]));
    const isFenced = revisionOf(request) !== undefined;
    return [...lines]
      .map((line) => this.#byLine.get(line) as DeferredRow)
      .filter((row) => !(isFenced && revisionOf(row.request) !== undefined))
      .flatMap(({ request: { line } }) => this.take(line));
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
    for (const name of row.customer) {
      const lines = this.#lines.get(name);
      lines?.delete(line);
      if (lines?.size === 0) this.#lines.delete(name);
    }
    return [row];
  }
}
