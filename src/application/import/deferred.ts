import type { CustomerUrn } from '../../domain/identity.ts';
import type { WriteResult } from '../ports/customer-repository.ts';
import { type NamedRequest, nameIn, namesOf, revisionOf, type SyncRow, type WriteRequest } from './requests.ts';

type Conflicting = Extract<WriteResult, { readonly conflicts: unknown }>;

/** A row whose unique keys were taken when it was tried last. */
export interface DeferredRow extends NamedRequest<SyncRow> {
  /** The customer that the row would change; undefined if it would create one. */
  readonly urn: CustomerUrn | undefined;
  /** The result of the last attempt. */
  readonly result: Conflicting;
}

/** The maximum number of rows that wait for the end of the file: about 15 MB, at most some 80 MB. */
const maxDeferred = 10_000;

/**
 * Rows that wait until other rows free their unique keys. A row is taken out once a later row is about the same customer:
 * the later one must not be overwritten. If both have a source revision, that decides instead.
 */
export class DeferredRows {
  readonly #byLine = new Map<number, DeferredRow>();
  /** The lines of the rows that are about a customer, by its names. */
  readonly #byName = new Lines<string>();
  /** The lines of the rows that wait for a customer. */
  readonly #byHolder = new Lines<CustomerUrn>();

  get size(): number {
    return this.#byLine.size;
  }

  get rows(): readonly DeferredRow[] {
    return [...this.#byLine.values()];
  }

  /** Adds a row, or replaces the row of the same line. */
  add(deferred: DeferredRow): void {
    const { line } = deferred.request;
    this.take(line);
    // A copy, because a text that was trimmed is a slice of the text before, which has up to the length of a line.
    const row = structuredClone(deferred);
    this.#byLine.set(line, row);
    this.#byName.add(namesAbout(row), line);
    this.#byHolder.add(holdersOf(row), line);
  }

  /** Takes out the row of a line; undefined if it is not there. */
  take(line: number): DeferredRow | undefined {
    const row = this.#byLine.get(line);
    if (row === undefined) return undefined;
    this.#byLine.delete(line);
    this.#byName.delete(namesAbout(row), line);
    this.#byHolder.delete(holdersOf(row), line);
    return row;
  }

  /** The rows of lines, as far as they are there; each once. */
  of(lines: Iterable<number>): DeferredRow[] {
    return [...new Set(lines)].map((line) => this.#byLine.get(line)).filter((row) => row !== undefined);
  }

  /** The rows that wait for one of these customers, or are about it. */
  concernedBy(customers: readonly CustomerUrn[]): DeferredRow[] {
    return this.of([...this.#byHolder.of(customers), ...this.#byName.of(customers)]);
  }

  /** The last row that is about a customer. */
  about(urn: CustomerUrn): DeferredRow | undefined {
    return this.of(this.#byName.of([urn]))
      .sort(byLine)
      .at(-1);
  }

  /** The rows at the end of the file, if more than the maximum wait. */
  excess(): DeferredRow[] {
    if (this.size <= maxDeferred) return [];
    return [...this.rows].sort(byLine).slice(maxDeferred);
  }

  /** The rows that a later request supersedes. @param urn the customer that it is about, if it exists */
  supersededBy(request: WriteRequest, urn: CustomerUrn | undefined): DeferredRow[] {
    const isFenced = revisionOf(request) !== undefined;
    const names = urn === undefined ? namesOf(request) : [...namesOf(request), urn];
    return this.of(this.#byName.of(names)).filter((row) => !(isFenced && revisionOf(row.request) !== undefined));
  }
}

/** The customers that hold the values for which a row waits. */
export const holdersOf = ({ result }: Pick<DeferredRow, 'result'>): CustomerUrn[] =>
  result.conflicts.map(({ customerUrn }) => customerUrn);

const byLine = (one: DeferredRow, other: DeferredRow): number => one.request.line - other.request.line;

/** The names of the customer that a row is about: the one that it uses, and the CustomerUrn. */
const namesAbout = ({ request, urn }: DeferredRow): string[] =>
  urn === undefined ? [nameIn(request)] : [nameIn(request), urn];

/** Lines of a file by a key. */
class Lines<Key> {
  readonly #lines = new Map<Key, Set<number>>();

  add(keys: readonly Key[], line: number): void {
    for (const key of keys) this.#lines.set(key, (this.#lines.get(key) ?? new Set()).add(line));
  }

  delete(keys: readonly Key[], line: number): void {
    for (const key of keys) {
      const lines = this.#lines.get(key);
      lines?.delete(line);
      if (lines?.size === 0) this.#lines.delete(key);
    }
  }

  /** The lines of any of the keys. A line may be there for several of them. */
  of(keys: readonly Key[]): number[] {
    return keys.flatMap((key) => [...(this.#lines.get(key) ?? [])]);
  }
}
