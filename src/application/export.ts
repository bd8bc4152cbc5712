import { isAnonymized } from '../domain/anonymization.ts';
import type { Customer } from '../domain/customer.ts';
import { choice, format, readObject } from '../domain/field-schema.ts';
import type { CustomerUrn, TenantId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { accepted, type Parsed } from '../domain/violations.ts';
import { nextTurn } from './next-turn.ts';
import { completed, invalid, type Outcome } from './outcome.ts';
import type { CustomerRepository } from './ports/customer-repository.ts';

/** The query of `export`. */
export const exportFields = {
  after: format('customerUrn', 'Opaque: the `next` of an earlier export, which this one continues.'),
  limit: format('pageLimit', 'How many customers to export at most, 1 to 10000. Absent: all.'),
  includeAnonymized: {
    ...choice(['true', 'false'], 'Whether anonymized customers are exported too.'),
    fallback: 'false',
  },
} as const;

/** Which customers to export. */
interface Selection {
  /** Only those after this URN, which need not exist. */
  readonly after: CustomerUrn | undefined;
  /** At most so many; may be infinite. */
  readonly limit: number;
  readonly includeAnonymized: boolean;
}

/** Reads the members of {@link exportFields}, all of which are text. Other members are ignored. */
export function readSelection(
  { after, limit, includeAnonymized }: Readonly<Record<string, unknown>>,
  referenceData: ReferenceData,
): Parsed<Selection> {
  const given = readObject(exportFields, { after, limit, includeAnonymized }, referenceData);
  if (!given.ok) return given;
  const { value } = given;
  return accepted({
    after: value.after as CustomerUrn | undefined,
    limit: value.limit === undefined ? Number.POSITIVE_INFINITY : Number(value.limit),
    includeAnonymized: value.includeAnonymized === 'true',
  });
}

/** Some customers of an export, in the order of their URNs; may be empty. */
export interface ExportPage {
  readonly customers: readonly Customer[];
  /** On the last page only: the `after` of the export that continues this one; null if no more customers exist. */
  readonly next?: CustomerUrn | null;
}

interface Dependencies {
  readonly repository: Pick<CustomerRepository, 'list'>;
  readonly referenceData: ReferenceData;
}

/** How many records are read at once: on SQLite in less than a millisecond, in which no other request is served. */
const pageSize = 25;

/** Exports a tenant's customers. */
export class CustomerExport {
  readonly #dependencies: Dependencies;
  #lastTurn: Promise<void> = Promise.resolve();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * For the API: the pages of an export. Refusals: INVALID_REQUEST.
   *
   * @param query as sent
   */
  begin(tenant: TenantId, query: Readonly<Record<string, unknown>>): Outcome<AsyncGenerator<ExportPage, void>> {
    const selection = readSelection(query, this.#dependencies.referenceData);
    return selection.ok ? completed(this.pages(tenant, selection.value)) : invalid(selection.violations);
  }

  /**
   * The selected customers of a tenant, read page by page while the result is iterated. Not a snapshot: each page shows its
   * customers as they are when it is read. The iteration throws `DatabaseFailure` if the storage fails.
   */
  async *pages(tenant: TenantId, { after, limit, includeAnonymized }: Selection): AsyncGenerator<ExportPage, void> {
    let left = limit;
    let lastRead = after;
    let lastExported = after;
    for (;;) {
      await this.#nextTurn();
      const page = await this.#dependencies.repository.list(tenant, lastRead, pageSize);
      // Filtered here and not by the storage, which would read all of many anonymized customers at once.
      const wanted = page.map(({ customer }) => customer).filter((one) => includeAnonymized || !isAnonymized(one));
      const customers = wanted.slice(0, left);
      left -= customers.length;
      lastRead = page.at(-1)?.customer.customerUrn;
      lastExported = customers.at(-1)?.customerUrn ?? lastExported;
      // Only a further customer shows that the limit has ended the export.
      const isCut = wanted.length > customers.length;
      const isLast = isCut || page.length < pageSize;
      yield { customers, ...(isLast && { next: (isCut && lastExported) || null }) };
      if (isLast) return;
    }
  }

  /** In each turn of the event loop one page is read, for all exports together, so that requests wait for one page only. */
  #nextTurn(): Promise<void> {
    this.#lastTurn = this.#lastTurn.then(nextTurn);
    return this.#lastTurn;
  }
}

/** A page as NDJSON: a line for each customer; the last page ends with the line `{"next":…}`. */
export function exportText({ customers, next }: ExportPage): string {
  const lines: readonly object[] = next === undefined ? customers : [...customers, { next }];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}
