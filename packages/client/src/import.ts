import type { Api } from './api.ts';
import { RefusedError } from './errors.ts';
import { createRowQueue, type ImportSource, type SentRow } from './import-rows.ts';
import type { components } from './openapi.ts';
import type { Refusal } from './outcome.ts';
import type { Retries } from './retries.ts';
import { broken, linesOf, resuming } from './streams.ts';

type Line = components['schemas']['ImportAnswer'];
type End = Extract<Line, { readonly summary: unknown }>;
type Extra = Extract<Line, { readonly outcome: 'extra' }>;
type Refused = Extract<Line, { readonly outcome: 'refused' }>;
type Done = Exclude<Line, End | Extra | Refused>;

/** The number of rows with each outcome. `extra` is absent unless the rows were `complete`, and all could be read. */
export type ImportSummary = Readonly<End['summary']> & { readonly outcome: 'summary' };

/** What became of a row (of one that is `refused`, `status` says why), a customer that no row names, or the last answer. */
export type ImportAnswer = (Readonly<Done> & SentRow) | (Readonly<Refused> & SentRow) | Readonly<Extra> | ImportSummary;

export interface ImportOptions {
  /** Gives the same answers and stores nothing. Default: false. */
  readonly dryRun?: boolean;
  /** The rows are all customers: the others are answered with the outcome `extra`, and stay. Default: false. */
  readonly complete?: boolean;
  readonly signal?: AbortSignal;
}

/** See `Client.import`. */
export async function* importRows(
  api: Api,
  source: ImportSource,
  options: ImportOptions,
): AsyncGenerator<ImportAnswer, void> {
  const { complete, signal } = options;
  if (complete && typeof source !== 'function' && !Array.isArray(source)) {
    throw new TypeError('complete rows must be an array or a function');
  }
  const counts = { created: 0, updated: 0, unchanged: 0, stale: 0, erased: 0, refused: 0 };
  /** Of complete rows, the lines and customers that were answered: each attempt answers them again. */
  const known = new Set<number | string>();
  let queue = createRowQueue(source);

  /** Sends the rows without an answer, and yields their answers. */
  async function* attempt(retries: Retries): AsyncGenerator<ImportAnswer, void> {
    queue.throwIfFailed();
    // Extra customers are found only by a request with all rows.
    if (complete) {
      queue.close();
      queue = createRowQueue(source);
    } else if (await queue.isDone()) return yield { outcome: 'summary', ...counts };
    const lines = linesOf<Line>(post(api, queue.body(), options));
    for await (const line of lines) {
      if ('summary' in line) {
        throwIfStopped(line);
        return yield { outcome: 'summary', ...counts, ...('extra' in line.summary && { extra: line.summary.extra }) };
      }
      const answer = answerOf(line);
      if (!answer) continue;
      retries.reset();
      yield answer;
    }
    broken();
  }

  /** Undefined if the row is to be sent again, or was answered before. */
  function answerOf(line: Exclude<Line, End>): ImportAnswer | undefined {
    if (line.outcome === 'extra') return isNew(line.customerUrn) ? line : undefined;
    // It may be stored or not, and the import ends.
    if (line.outcome === 'refused' && line.status.messageCode === 'SQL_DATABASE_FAILURE') return undefined;
    const sent = queue.answered(line.line);
    if (!sent || !isNew(sent.line)) return undefined;
    counts[line.outcome] += 1;
    return { ...line, ...sent };
  }

  const isNew = (answered: number | string) => !complete || known.size < known.add(answered).size;

  try {
    yield* resuming(api.transport, signal, attempt);
  } finally {
    queue.close();
  }
}

/** The service ends an import early if the API key is no longer valid, or if it cannot go on now. */
function throwIfStopped({ status }: End): void {
  if (status.messageCode === 'SUCCESS') return;
  const refusal = { ...status, httpStatus: 200, requestId: '' } as Refusal;
  throw new RefusedError(refusal, status.messageCode === 'FORBIDDEN' ? undefined : 0);
}

function post({ http, transport }: Api, body: ReadableStream, { dryRun, complete, signal }: ImportOptions) {
  return http.POST('/import', {
    params: { query: { ...(dryRun && { dryRun: 'true' }), ...(complete && { complete: 'true' }) } },
    headers: { 'content-type': 'application/x-ndjson' },
    // The description says that NDJSON is a text.
    body: body as unknown as string,
    bodySerializer: (stream: unknown) => stream,
    duplex: 'half',
    parseAs: 'stream',
    fetch: (request) => transport.exchange(request),
    signal: signal ?? null,
  });
}
