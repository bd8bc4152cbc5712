import { timestamp } from '../../domain/customer.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import type { Caller } from '../authentication.ts';
import type { SyncRepository } from '../dry-run.ts';
import { type Refusal, refusal, success } from '../outcome.ts';
import type {
  CustomerReference,
  CustomerRepository,
  StoredCustomer,
  WriteResult,
} from '../ports/customer-repository.ts';
import { DatabaseFailure } from '../ports/database-failure.ts';
import { decideSync } from '../synchronization.ts';
import { erasureCheck, type WriteSettings, writeContext } from '../write-requests.ts';
import {
  answerTo,
  type ExtraAnswer,
  type ImportAnswer,
  type RowAnswer,
  type RowOutcome,
  refusedRow,
} from './answers.ts';
import { circlesOf, type OwnedRow } from './circles.ts';
import { type DeferredRow, DeferredRows } from './deferred.ts';
import { extrasOf } from './extras.ts';
import {
  type ImportRequest,
  type NamedRequest,
  nameIn,
  readRequest,
  type SyncRow,
  type WriteRequest,
} from './requests.ts';
import { type ImportRow, inBatches } from './rows.ts';
import { Turns } from './turns.ts';
import { UrnSet } from './urn-set.ts';
import { named, wavesOf } from './waves.ts';

/** Who imports: the tenant, and the id that change events name as their actor. */
export type Importer = Pick<Caller, 'tenant' | 'keyId'>;

export interface ImportOptions {
  /** Whether the file has everything that the tenant has: then customers that it does not name are reported. */
  readonly complete: boolean;
  /** Identifies the import in the access log and in change events. */
  readonly requestId: string;
  /** The reason to stop the import; undefined to go on. Asked before each batch of rows, each second, and while extras are searched. */
  readonly reasonToStop: () => Promise<Refusal | undefined>;
  /** The number of requests that the process has received; an import gives way to them. Absent: it serves none. */
  readonly requestCount?: () => number;
  /** Called if the database fails; the import then ends. */
  readonly onFailure: (error: DatabaseFailure) => void;
}

interface Dependencies extends WriteSettings {
  /** The stored customers, or a dry run over them. */
  readonly target: SyncRepository;
  readonly repository: Pick<CustomerRepository, 'list'>;
  readonly referenceData: ReferenceData;
}

/** One import. */
export class ImportRun {
  readonly #dependencies: Dependencies;
  readonly #caller: Importer;
  readonly #options: ImportOptions;
  readonly #began: string;
  readonly #turns: Turns;
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

  /** Whether a row could not be read so far as to know its customer: then nobody can tell who is extra. */
  #hasNameless = false;
  /** Why no further rows are carried out. */
  #stopped: Refusal | undefined;
  /** The answers that are not yielded yet. */
  #answers: RowAnswer[] = [];

  constructor(dependencies: Dependencies, caller: Importer, options: ImportOptions) {
    this.#dependencies = dependencies;
    this.#caller = caller;
    this.#options = options;
    this.#turns = new Turns(options.requestCount ?? (() => 0));
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
      const isWhole = this.#stopped === undefined && !this.#hasNameless;
      if (this.#options.complete && isWhole) extra = yield* this.#extras();
    } catch (error) {
      if (!(error instanceof DatabaseFailure)) throw error;
      this.#options.onFailure(error);
      this.#stopped = refusal('SQL_DATABASE_FAILURE');
    }
    const summary = { ...this.#counts, ...(extra !== undefined && { extra }) };
    yield [...this.#takeAnswers(), { summary, status: this.#stopped?.status ?? success }];
  }

  /** Carries out all rows, unless it is stopped. */
  async *#rows(source: AsyncIterable<readonly ImportRow[]>): AsyncGenerator<readonly RowAnswer[], void> {
    for await (const rows of inBatches(source)) {
      if (await this.#mustStop()) break;
      // Nothing is yielded while the import only waits for its client, so that the connection can time out.
      if (rows.length === 0) continue;
      for (let at = 0; at < rows.length; ) {
        const end = at + this.#turns.batchSize;
        await this.#batch(rows.slice(at, end));
        at = end;
        yield this.#takeAnswers();
        await this.#turns.giveWay();
      }
    }
    const deferred = this.#deferred.takeAll();
    // Asked again, because the rows may have ended for the same reason.
    await this.#answerAll((await this.#mustStop()) ? deferred : await this.#retry(deferred));
    yield this.#takeAnswers();
  }

  async #mustStop(): Promise<boolean> {
    this.#stopped ??= await this.#options.reasonToStop();
    return this.#stopped !== undefined;
  }

  #takeAnswers(): readonly RowAnswer[] {
    const answers = this.#answers.sort((one, other) => one.line - other.line);
    this.#answers = [];
    return answers;
  }

  /** Carries out rows, and tries those that conflict again after the others. */
  async #batch(rows: readonly ImportRow[]): Promise<void> {
    const { referenceData } = this.#dependencies;
    const requests: WriteRequest[] = [];
    for (const row of rows) {
      const request = readRequest(row, referenceData);
      if (request?.kind === 'refused') {
        this.#hasNameless ||= request.by === undefined;
        await this.#note(request, refusedRow(request, request.refusal));
      }
      if (request !== undefined && request.kind !== 'refused') requests.push(request);
    }
    const conflicting: number[] = [];
    for (const wave of wavesOf(await named(requests, (by) => this.#find(by)), referenceData)) {
      for (const { request } of wave) await this.#supersede(request);
      for (const row of await this.#tryAll(wave)) {
        this.#deferred.add(row);
        conflicting.push(row.request.line);
      }
    }
    for (const row of await this.#retry(conflicting.flatMap((line) => this.#deferred.take(line)))) {
      if (this.#deferred.isFull) await this.#answerAll([row]);
      else this.#deferred.add(row);
    }
  }

  /** Answers the deferred rows that are about the customer of a later request. */
  async #supersede(request: WriteRequest): Promise<void> {
    if (this.#deferred.isEmpty) return;
    await this.#answerAll(this.#deferred.takeSuperseded(request, await this.#customerOf(request)));
  }

  /** The names of the customer that a request is about now: the one that it uses, and the CustomerUrn. */
  async #customerOf(request: WriteRequest): Promise<string[]> {
    const stored = await this.#find(request.by);
    return [nameIn(request), ...(stored === undefined ? [] : [stored.customer.customerUrn])];
  }

  /** Tries rows again until no more of them succeed. Returns the rows that conflict still. */
  async #retry(rows: readonly DeferredRow[]): Promise<readonly DeferredRow[]> {
    let left = rows;
    for (let before = -1; left.length > 0 && left.length !== before; ) {
      before = left.length;
      const again: DeferredRow[] = [];
      // Backwards in every other pass: a row often waits for the row after it.
      for (const wave of wavesOf([...left].reverse(), this.#dependencies.referenceData)) {
        again.push(...(await this.#tryAll(wave)));
        await this.#turns.giveWay();
      }
      left = await this.#exchange(again);
    }
    return left;
  }

  /** Applies rows whose customers hold each other's values. Returns the other rows. */
  async #exchange(rows: readonly DeferredRow[]): Promise<readonly DeferredRow[]> {
    const owners = await Promise.all(rows.map(({ request }) => this.#find(request.by)));
    const owned = rows.flatMap((row, index): OwnedRow[] => {
      const urn = owners[index]?.customer.customerUrn;
      return urn === undefined ? [] : [{ ...row, urn }];
    });
    const applied = new Set<number>();
    const circles = circlesOf(owned);
    for (const circle of circles) {
      const changes = circle.map(({ request }) => this.#syncOf(request));
      const exchanged = await this.#dependencies.target.exchange(this.#caller.tenant.id, changes);
      if ('failed' in exchanged) {
        circles.push(...circlesOf(circle.filter((_, index) => index !== exchanged.failed)));
        continue;
      }
      for (const [index, { request }] of circle.entries()) {
        applied.add(request.line);
        await this.#note(request, answerTo(request, exchanged.results[index] as WriteResult));
      }
    }
    return rows.filter(({ request }) => !applied.has(request.line));
  }

  /** Tries requests that do not depend on each other. Returns those that conflict. */
  async #tryAll<Row extends NamedRequest>(wave: readonly Row[]): Promise<DeferredRow[]> {
    const settled = await Promise.allSettled(wave.map((row) => this.#try(row)));
    let failure: DatabaseFailure | undefined;
    for (const [index, { request }] of wave.entries()) {
      const one = settled[index] as PromiseSettledResult<DeferredRow | undefined>;
      if (one.status === 'fulfilled') continue;
      if (!(one.reason instanceof DatabaseFailure)) throw one.reason;
      failure ??= one.reason;
      this.#answer(refusedRow(request, refusal('SQL_DATABASE_FAILURE')));
    }
    if (failure !== undefined) throw failure;
    return settled.flatMap((one) => (one as PromiseFulfilledResult<DeferredRow | undefined>).value ?? []);
  }

  /** Carries out and answers a request, unless its unique keys are taken. */
  async #try({ request, names }: NamedRequest): Promise<DeferredRow | undefined> {
    const { id } = this.#caller.tenant;
    const { target } = this.#dependencies;
    if (request.kind === 'delete') {
      const { by, revision } = request;
      const context = {
        ...writeContext(this.#dependencies, this.#caller, this.#options, revision),
        check: erasureCheck(undefined, revision),
      };
      await this.#note(request, answerTo(request, await target.erase(id, by, context)));
      return undefined;
    }
    const { by, decide, context } = this.#syncOf(request);
    const result = await target.sync(id, by, decide, context);
    if ('conflicts' in result) return { request, names, customer: await this.#customerOf(request), result };
    await this.#note(request, answerTo(request, result));
    return undefined;
  }

  #syncOf(request: SyncRow) {
    const { by, content } = request;
    const context = writeContext(this.#dependencies, this.#caller, this.#options, content.sourceRevision);
    return { by, decide: decideSync({ by, content }, undefined, context.now), context };
  }

  /** Answers rows that still conflict. */
  async #answerAll(rows: readonly DeferredRow[]): Promise<void> {
    for (const { request, result } of rows) await this.#note(request, answerTo(request, result));
  }

  /** Answers a row, and notes which customer it names, if that must be known. */
  async #note({ by }: ImportRequest, answer: RowAnswer): Promise<void> {
    if (this.#options.complete) {
      const urn = answer.customerUrn ?? (by && (await this.#find(by))?.customer.customerUrn);
      if (urn !== undefined) this.#named.add(urn);
    }
    this.#answer(answer);
  }

  #answer(answer: RowAnswer): void {
    this.#counts[answer.outcome] += 1;
    this.#answers.push(answer);
  }

  async #find(by: CustomerReference): Promise<StoredCustomer | undefined> {
    return this.#dependencies.target.find(this.#caller.tenant.id, by);
  }

  /** Reports the customers that no row named, and returns their number. */
  async *#extras(): AsyncGenerator<readonly ExtraAnswer[], number> {
    let extra = 0;
    const pages = extrasOf(this.#dependencies.repository, this.#caller.tenant.id, this.#named, this.#began);
    for await (const page of pages) {
      extra += page.length;
      yield page;
      if (await this.#mustStop()) break;
      await this.#turns.giveWay();
    }
    return extra;
  }
}
