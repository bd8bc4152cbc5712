import { isAnonymized } from '../../domain/anonymization.ts';
import { timestamp } from '../../domain/customer.ts';
import type { CustomerUrn } from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import type { Caller } from '../authentication.ts';
import type { SyncRepository } from '../dry-run.ts';
import { nextTurn } from '../next-turn.ts';
import { type Refusal, refusal, success } from '../outcome.ts';
import type { CustomerRepository, WriteResult } from '../ports/customer-repository.ts';
import { DatabaseFailure } from '../ports/database-failure.ts';
import { decideSync } from '../synchronization.ts';
import { erasureCheck, type WriteSettings, writeContext } from '../write-requests.ts';
import {
  answerTo,
  type ExtraAnswer,
  type ImportAnswer,
  type ImportEnd,
  type RowAnswer,
  type RowOutcome,
  refusedRow,
} from './answers.ts';
import { circlesOf, type DeferredRow, DeferredRows, type OwnedRow } from './deferred.ts';
import { type ImportRequest, readRequest, tracesOf } from './requests.ts';
import { type ImportRow, inBatches } from './rows.ts';
import { UrnSet } from './urn-set.ts';

/** Who imports: the tenant, and the id that change events name as their actor. */
export type Importer = Pick<Caller, 'tenant' | 'keyId'>;

export interface ImportOptions {
  /** Whether the file has everything that the tenant has: then customers that it does not name are reported. */
  readonly complete: boolean;
  /** Identifies the import in the access log and in change events. */
  readonly requestId: string;
  /** The reason to stop the import; undefined to go on. Asked after each batch of rows, and while extras are searched. */
  readonly reasonToStop: () => Promise<Refusal | undefined>;
  /** Called if the database fails; the import then ends. */
  readonly onFailure: (error: DatabaseFailure) => void;
}

interface Dependencies extends WriteSettings {
  /** The stored customers, or a dry run over them. */
  readonly target: SyncRepository;
  readonly repository: Pick<CustomerRepository, 'list'>;
  readonly referenceData: ReferenceData;
}

/** How many customers are read at once, in the search for those that a complete file does not name. */
const pageSize = 200;

/** One import. */
export class ImportRun {
  readonly #dependencies: Dependencies;
  readonly #caller: Importer;
  readonly #options: ImportOptions;
  readonly #began: string;
  readonly #deferred = new DeferredRows();
  readonly #named = new UrnSet();
  readonly #counts: Record<RowOutcome, number> = {
    created: 0,
    updated: 0,
    unchanged: 0,
    stale: 0,
    erased: 0,
    refused: 0,
  };

  /** Why no further rows are carried out. */
  #stopped: Refusal | undefined;

  constructor(dependencies: Dependencies, caller: Importer, options: ImportOptions) {
    this.#dependencies = dependencies;
    this.#caller = caller;
    this.#options = options;
    this.#began = timestamp(dependencies.clock());
  }

  /**
   * Carries out the rows, and yields their answers in the order of the rows, once they are durable. A row whose unique keys
   * are taken waits for the rows after it, and is answered when they are free, or at the end. The last answer is an
   * `ImportEnd`.
   */
  async *run(source: AsyncIterable<readonly ImportRow[]>): AsyncGenerator<readonly ImportAnswer[]> {
    for await (const rows of inBatches(source)) {
      yield await this.#batch(rows);
      if (await this.#mustStop()) break;
      // Other requests take their turn.
      await nextTurn();
    }
    // Asked again, because the rows may have ended for the same reason.
    if (await this.#mustStop()) yield await this.#answerAll(this.#deferred.takeAll());
    else {
      const { answers, left } = await this.#retry(this.#deferred.takeAll());
      yield [...answers, ...(await this.#answerAll(left))];
    }
    const extra = this.#options.complete && this.#stopped === undefined ? yield* this.#extras() : undefined;
    yield [this.#end(this.#stopped?.status ?? success, extra)];
  }

  async #mustStop(): Promise<boolean> {
    this.#stopped ??= await this.#options.reasonToStop();
    return this.#stopped !== undefined;
  }

  /** Carries out rows, and tries those that conflict again after the others. Returns the answers of all but the deferred. */
  async #batch(rows: readonly ImportRow[]): Promise<RowAnswer[]> {
    const { referenceData } = this.#dependencies;
    const requests = rows.map((row) => readRequest(row, referenceData)).filter((request) => request !== undefined);
    const answers: RowAnswer[] = [];
    const conflicting: number[] = [];
    for (const wave of wavesOf(requests, referenceData)) {
      const superseded = wave.flatMap((request) => this.#deferred.takeSuperseded(request));
      answers.push(...(await this.#answerAll(superseded)));
      for (const tried of await this.#tryAll(wave)) {
        if ('answer' in tried) answers.push(tried.answer);
        else {
          this.#deferred.add(tried);
          conflicting.push(tried.request.line);
        }
      }
    }
    const retried = await this.#retry(conflicting.flatMap((line) => this.#deferred.take(line)));
    answers.push(...retried.answers);
    for (const row of retried.left) {
      if (this.#deferred.isFull) answers.push(...(await this.#answerAll([row])));
      else this.#deferred.add(row);
    }
    return answers.sort((one, other) => one.line - other.line);
  }

  /** Tries rows again until no more of them succeed. Returns the answers, and the rows that conflict still. */
  async #retry(rows: readonly DeferredRow[]): Promise<{ answers: RowAnswer[]; left: readonly DeferredRow[] }> {
    const { referenceData } = this.#dependencies;
    const answers: RowAnswer[] = [];
    let left = rows;
    for (let before = -1; left.length > 0 && left.length !== before; ) {
      before = left.length;
      const again: DeferredRow[] = [];
      // Backwards in each second pass: a row often waits for the row after it.
      for (const wave of wavesOf(left.map(({ request }) => request).reverse(), referenceData)) {
        for (const tried of await this.#tryAll(wave)) {
          if ('answer' in tried) answers.push(tried.answer);
          else again.push(tried);
        }
      }
      const exchanged = await this.#exchange(again);
      answers.push(...exchanged.answers);
      left = exchanged.left;
    }
    return { answers, left };
  }

  /** Applies rows whose customers hold each other's values. Returns the answers, and the other rows. */
  async #exchange(rows: readonly DeferredRow[]): Promise<{ answers: RowAnswer[]; left: DeferredRow[] }> {
    const { target } = this.#dependencies;
    const { id } = this.#caller.tenant;
    const answers: RowAnswer[] = [];
    const owned: OwnedRow[] = [];
    for (const row of rows) {
      const stored = await target.find(id, row.request.by);
      if (stored !== undefined) owned.push({ ...row, urn: stored.customer.customerUrn });
    }
    const applied = new Set<number>();
    for (const circle of circlesOf(owned)) {
      const changes = circle.map(({ request }) => this.#syncOf(request));
      const exchanged = await target.exchange(id, changes);
      if (!('results' in exchanged)) continue;
      for (const [index, { request }] of circle.entries()) {
        applied.add(request.line);
        answers.push(await this.#note(request, answerTo(request, exchanged.results[index] as WriteResult)));
      }
    }
    return { answers, left: rows.filter(({ request }) => !applied.has(request.line)) };
  }

  /** Tries requests that do not depend on each other. */
  async #tryAll(wave: readonly ImportRequest[]): Promise<({ readonly answer: RowAnswer } | DeferredRow)[]> {
    const settled = await Promise.allSettled(wave.map((request) => this.#try(request)));
    return settled.map((one, index) => {
      if (one.status === 'fulfilled') return one.value;
      if (!(one.reason instanceof DatabaseFailure)) throw one.reason;
      this.#stopped ??= refusal('SQL_DATABASE_FAILURE');
      this.#options.onFailure(one.reason);
      return { answer: this.#count(refusedRow(wave[index] as ImportRequest, this.#stopped)) };
    });
  }

  async #try(request: ImportRequest): Promise<{ readonly answer: RowAnswer } | DeferredRow> {
    if (request.kind === 'refused') {
      return { answer: await this.#note(request, refusedRow(request, request.refusal)) };
    }
    const { id } = this.#caller.tenant;
    const { target } = this.#dependencies;
    if (request.kind === 'delete') {
      const { by, revision } = request;
      const context = {
        ...writeContext(this.#dependencies, this.#caller, this.#options, revision),
        check: erasureCheck(undefined, revision),
      };
      return { answer: await this.#note(request, answerTo(request, await target.erase(id, by, context))) };
    }
    const { by, decide, context } = this.#syncOf(request);
    const result = await target.sync(id, by, decide, context);
    if ('conflicts' in result) return { request, result };
    return { answer: await this.#note(request, answerTo(request, result)) };
  }

  #syncOf(request: ImportRequest & { readonly kind: 'sync' }) {
    const { by, content } = request;
    const context = writeContext(this.#dependencies, this.#caller, this.#options, content.sourceRevision);
    return { by, decide: decideSync({ by, content }, undefined, context.now), context };
  }

  /** The final answers to rows that still conflict. */
  #answerAll(rows: readonly DeferredRow[]): Promise<RowAnswer[]> {
    return Promise.all(rows.map(({ request, result }) => this.#note(request, answerTo(request, result))));
  }

  /** Counts an answer, and notes which customer the row names, if it must be known. */
  async #note(request: ImportRequest, answer: RowAnswer): Promise<RowAnswer> {
    if (this.#options.complete) {
      const urn = answer.customerUrn ?? (await this.#urnOf(request));
      if (urn !== undefined) this.#named.add(urn);
    }
    return this.#count(answer);
  }

  #count(answer: RowAnswer): RowAnswer {
    this.#counts[answer.outcome] += 1;
    return answer;
  }

  async #urnOf({ by }: ImportRequest): Promise<CustomerUrn | undefined> {
    const stored = by && (await this.#dependencies.target.find(this.#caller.tenant.id, by));
    return stored?.customer.customerUrn;
  }

  /** The customers that no row named. Those that were stored since the import began may not be in the file yet. */
  async *#extras(): AsyncGenerator<readonly ExtraAnswer[], number> {
    const { repository } = this.#dependencies;
    let extra = 0;
    for (let last: CustomerUrn | undefined; ; ) {
      const page = await repository.list(this.#caller.tenant.id, last, pageSize);
      const unnamed = page
        .map(({ customer }) => customer)
        .filter((customer) => !isAnonymized(customer) && customer.createdAt < this.#began)
        .filter(({ customerUrn }) => !this.#named.has(customerUrn));
      extra += unnamed.length;
      yield unnamed.map(({ customerUrn, externalIdentifier }) => ({
        outcome: 'extra',
        customerUrn,
        externalIdentifier,
      }));
      last = page.at(-1)?.customer.customerUrn;
      if (last === undefined || (await this.#mustStop())) return extra;
      await nextTurn();
    }
  }

  #end(status: ImportEnd['status'], extra?: number): ImportEnd {
    return { summary: { ...this.#counts, ...(extra !== undefined && { extra }) }, status };
  }
}

/**
 * Splits requests into groups that are carried out one after the other, in their order. Within a group no two requests are
 * about the same customer or have a unique value in common.
 */
function* wavesOf<Request extends ImportRequest>(
  requests: readonly Request[],
  referenceData: ReferenceData,
): Generator<readonly Request[]> {
  let wave: Request[] = [];
  const traces = new Set<string>();
  for (const request of requests) {
    const own = tracesOf(request, referenceData);
    if (own.some((trace) => traces.has(trace))) {
      yield wave;
      wave = [];
      traces.clear();
    }
    wave.push(request);
    for (const trace of own) traces.add(trace);
  }
  if (wave.length > 0) yield wave;
}
