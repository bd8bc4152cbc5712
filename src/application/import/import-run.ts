import { timestamp } from '../../domain/customer.ts';
import type { CustomerUrn, TenantId } from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import { type Refusal, refusal, success } from '../outcome.ts';
import type { CustomerRepository, SyncRepository, WriteResult } from '../ports/customer-repository.ts';
import { DatabaseFailure } from '../ports/database-failure.ts';
import type { WriteSettings } from '../write-requests.ts';
import { AnswerBuffer, answerTo, type ExtraAnswer, type ImportAnswer, type RowAnswer, refusedRow } from './answers.ts';
import { cyclesOf } from './cycles.ts';
import { type DeferredRow, DeferredRows } from './deferred.ts';
import { extrasOf } from './extras.ts';
import { type ImportRequest, type NamedRequest, readRequest, type WriteRequest } from './requests.ts';
import { type Importer, RowWriter } from './row-writer.ts';
import { type ImportRow, inBatches } from './rows.ts';
import type { Turns } from './turns.ts';
import { UrnSet } from './urn-set.ts';
import { named, wavesOf } from './waves.ts';

export interface ImportOptions {
  /** Whether the file has everything that the tenant has: then customers that it does not name are reported. */
  readonly complete: boolean;
  /** Identifies the import in the access log and in change events. */
  readonly requestId: string;
  /** The reason to stop the import; undefined to go on. Asked before each batch of rows, and each second. */
  readonly reasonToStop: () => Promise<Refusal | undefined>;
  /** Called if the database fails; the import then ends. */
  readonly onFailure: (error: DatabaseFailure) => void;
}

interface Dependencies extends WriteSettings {
  /** The stored customers, or a dry run over them. */
  readonly target: SyncRepository;
  readonly repository: Pick<CustomerRepository, 'list'>;
  readonly referenceData: ReferenceData;
  readonly turns: Turns;
}

/** One import. */
export class ImportRun {
  readonly #dependencies: Dependencies;
  readonly #writer: RowWriter;
  readonly #tenant: TenantId;
  readonly #options: ImportOptions;
  readonly #began: string;
  readonly #turns: Turns;
  readonly #deferred = new DeferredRows();
  readonly #named = new UrnSet();
  readonly #answers = new AnswerBuffer();

  /** Whether a row could not be read so far as to know its customer: then nobody can tell who is extra. */
  #hasUnnamedRow = false;
  /** Why no further rows are carried out. */
  #stopped: Refusal | undefined;

  constructor(dependencies: Dependencies, importer: Importer, options: ImportOptions) {
    this.#dependencies = dependencies;
    this.#writer = new RowWriter(dependencies, importer, options);
    this.#tenant = importer.tenant.id;
    this.#options = options;
    this.#turns = dependencies.turns;
    this.#began = timestamp(dependencies.clock());
  }

  /**
   * Carries out the rows, and yields their answers in the order of the rows, once they are durable. A row whose unique keys
   * are taken waits for the rows after it, and is answered when they are free, or at the end. The last answer is an
   * `ImportEnd`, also if the import is stopped, or the database fails: then not every row is answered.
   */
  async *run(source: AsyncIterable<readonly ImportRow[]>): AsyncGenerator<readonly ImportAnswer[]> {
    let extra: number | undefined;
    try {
      yield* this.#rows(source);
      const isWhole = this.#stopped === undefined && !this.#hasUnnamedRow;
      if (this.#options.complete && isWhole) extra = yield* this.#extras();
    } catch (error) {
      if (!(error instanceof DatabaseFailure)) throw error;
      this.#options.onFailure(error);
      this.#stopped = refusal('SQL_DATABASE_FAILURE');
    }
    const summary = { ...this.#answers.counts, ...(extra !== undefined && { extra }) };
    yield [...this.#answers.take(), { summary, status: this.#stopped?.status ?? success }];
  }

  /** Carries out all rows, unless it is stopped. */
  async *#rows(source: AsyncIterable<readonly ImportRow[]>): AsyncGenerator<readonly RowAnswer[], void> {
    for await (const rows of inBatches(source)) {
      if (await this.#mustStop()) break;
      // Nothing is yielded while the import only waits for its client, so that the connection can time out.
      if (rows.length === 0) continue;
      for (let at = 0; at < rows.length; ) {
        const end = at + this.#turns.batchSize;
        yield* this.#batch(rows.slice(at, end));
        at = end;
      }
    }
    // Asked again, because the rows may have ended for the same reason.
    if (!(await this.#mustStop())) yield* this.#retry(this.#deferred.rows);
    await this.#answerDeferred(this.#deferred.rows);
    yield this.#answers.take();
  }

  async #mustStop(): Promise<boolean> {
    this.#stopped ??= await this.#options.reasonToStop();
    return this.#stopped !== undefined;
  }

  /** Carries out rows, and tries those that conflict, or wait for these, again after the others. */
  async *#batch(rows: readonly ImportRow[]): AsyncGenerator<readonly RowAnswer[], void> {
    const changed = yield* this.#inTurns([() => this.#tryInOrder(rows)]);
    const deferred = this.#deferred.of(rows.map(({ line }) => line));
    yield* this.#retry([...new Set([...this.#deferred.concernedBy(changed), ...deferred])]);
    await this.#answerDeferred(this.#deferred.excess());
  }

  /** Does one work in each turn, and yields the answers, unless it must stop. Returns the customers that were changed. */
  async *#inTurns(works: Iterable<() => Promise<void>>): AsyncGenerator<readonly RowAnswer[], CustomerUrn[]> {
    const changed: CustomerUrn[] = [];
    for (const work of works) {
      if (await this.#mustStop()) return [];
      await this.#turns.take(work);
      const answers = this.#answers.take();
      changed.push(...changedBy(answers));
      yield answers;
    }
    return changed;
  }

  async #tryInOrder(rows: readonly ImportRow[]): Promise<void> {
    const { referenceData } = this.#dependencies;
    const requests: WriteRequest[] = [];
    for (const row of rows) {
      const request = readRequest(row, referenceData);
      if (request?.kind === 'refused') {
        this.#hasUnnamedRow ||= request.by === undefined;
        await this.#note(request, refusedRow(request, request.refusal));
      }
      if (request !== undefined && request.kind !== 'refused') requests.push(request);
    }
    for (const wave of wavesOf(await named(requests, (by) => this.#writer.find(by)), referenceData)) {
      await this.#supersede(wave.map(({ request }) => request));
      await this.#tryAll(wave);
    }
  }

  /** Answers the deferred rows that are about the customers of later requests. */
  async #supersede(requests: readonly WriteRequest[]): Promise<void> {
    if (this.#deferred.size === 0) return;
    const customers = await Promise.all(requests.map(({ by }) => this.#writer.find(by)));
    for (const [index, request] of requests.entries()) {
      const urn = customers[index]?.customer.customerUrn;
      await this.#answerDeferred(this.#deferred.supersededBy(request, urn));
    }
  }

  /**
   * Tries deferred rows again, then those whose customer, or one that they wait for, was changed thereby, and so on. What is
   * left and can only be applied together is then exchanged.
   */
  async *#retry(rows: readonly DeferredRow[]): AsyncGenerator<readonly RowAnswer[], void> {
    const tried = new Set<number>();
    for (let next = rows; next.length > 0; ) {
      for (const { request } of next) tried.add(request.line);
      next = this.#deferred.concernedBy(yield* this.#inTurns(this.#attempts(next)));
      if (next.length > 0) continue;
      // Only an attempt shows for whom a row waits: no other row can be new in a cycle.
      const left = this.#deferred.of(tried);
      tried.clear();
      next = this.#deferred.concernedBy(yield* this.#inTurns(this.#exchanges(left)));
    }
  }

  /** Attempts at deferred rows, as many at once as a turn has room for. */
  *#attempts(rows: readonly DeferredRow[]): Generator<() => Promise<void>> {
    // Backwards: a row often waits for the row after it.
    for (let end = rows.length; end > 0; ) {
      const start = Math.max(0, end - this.#turns.batchSize);
      const some = rows.slice(start, end).reverse();
      yield async () => {
        for (const wave of wavesOf(some, this.#dependencies.referenceData)) await this.#tryAll(wave);
      };
      end = start;
    }
  }

  /** Exchanges of rows whose customers hold each other's values, as many at once as a turn has room for. */
  *#exchanges(rows: readonly DeferredRow[]): Generator<() => Promise<void>> {
    let cycles: DeferredRow[][] = [];
    for (const cycle of cyclesOf(rows, (urn) => this.#deferred.about(urn))) {
      if (cycles.flat().length >= this.#turns.batchSize) {
        yield this.#exchanging(cycles);
        cycles = [];
      }
      cycles.push(cycle);
    }
    if (cycles.length > 0) yield this.#exchanging(cycles);
  }

  /** Cycles have no customer in common, so that their exchanges can share a commit. */
  #exchanging(cycles: readonly DeferredRow[][]): () => Promise<void> {
    return () => allEnded(cycles.map((cycle) => this.#exchange(cycle)));
  }

  /** Applies the rows of a cycle or, if one of them fails, of the cycles among the others. */
  async #exchange(cycle: readonly DeferredRow[]): Promise<void> {
    const exchanged = await this.#writer.exchange(cycle.map(({ request }) => request));
    if ('failed' in exchanged) {
      const others = cycle.filter((_, index) => index !== exchanged.failed);
      const byUrn = new Map(others.map((row) => [row.urn, row]));
      const cycles = cyclesOf(others, (urn) => byUrn.get(urn));
      return allEnded(cycles.map((other) => this.#exchange(other)));
    }
    for (const [index, { request }] of cycle.entries()) {
      await this.#finish(request, exchanged.results[index] as WriteResult);
    }
  }

  /** Tries requests that do not depend on each other. */
  async #tryAll(wave: readonly NamedRequest[]): Promise<void> {
    await allEnded(
      wave.map((row) =>
        this.#try(row).catch((error) => {
          if (error instanceof DatabaseFailure) {
            this.#answers.add(refusedRow(row.request, refusal('SQL_DATABASE_FAILURE')));
          }
          throw error;
        }),
      ),
    );
  }

  /** Carries out a request, and answers or, if its unique keys are taken, defers it. */
  async #try({ request, names }: NamedRequest): Promise<void> {
    const result = await this.#writer.write(request);
    if (request.kind === 'delete' || !('conflicts' in result)) return this.#finish(request, result);
    const stored = await this.#writer.find(request.by);
    this.#deferred.add({ request, names, urn: stored?.customer.customerUrn, result });
  }

  /** Answers rows that still conflict. */
  async #answerDeferred(rows: readonly DeferredRow[]): Promise<void> {
    for (const { request, result } of rows) await this.#finish(request, result);
  }

  async #finish(request: WriteRequest, result: WriteResult): Promise<void> {
    this.#deferred.take(request.line);
    await this.#note(request, answerTo(request, result));
  }

  /** Answers a row, and notes which customer it names, if that must be known. */
  async #note({ by }: ImportRequest, answer: RowAnswer): Promise<void> {
    if (this.#options.complete) {
      const urn = answer.customerUrn ?? (by && (await this.#writer.find(by))?.customer.customerUrn);
      if (urn !== undefined) this.#named.add(urn);
    }
    this.#answers.add(answer);
  }

  /** Reports the customers that no row named, and returns their number. */
  async *#extras(): AsyncGenerator<readonly ExtraAnswer[], number> {
    let extra = 0;
    const pages = extrasOf(this.#dependencies.repository, this.#tenant, this.#named, this.#began);
    for (;;) {
      const { value: page } = await this.#turns.take(() => pages.next());
      if (page === undefined) return extra;
      extra += page.length;
      yield page;
      if (await this.#mustStop()) return extra;
    }
  }
}

/** The customers that may have freed values. */
const changedBy = (answers: readonly RowAnswer[]): CustomerUrn[] =>
  answers.flatMap(({ outcome, customerUrn }) =>
    customerUrn !== undefined && (outcome === 'updated' || outcome === 'erased') ? [customerUrn] : [],
  );

/**
 * Waits for the end of all works, so that none of them answers afterwards. Then throws an error of theirs, if any; not a
 * failure of the database if there is another one.
 */
async function allEnded(works: readonly Promise<void>[]): Promise<void> {
  const errors = (await Promise.allSettled(works)).flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  if (errors.length > 0) throw errors.find((error) => !(error instanceof DatabaseFailure)) ?? errors[0];
}
