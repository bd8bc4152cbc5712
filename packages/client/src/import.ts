import type { Api } from './api.ts';
import { linesOf, repeating } from './attempts.ts';
import { RefusedError } from './errors.ts';
import { createRowQueue, type ImportSource, type SentRow } from './import-rows.ts';
import type { components } from './openapi.ts';
import type { Refusal } from './outcome.ts';
import type { Retries } from './retries.ts';
import { broken } from './transport.ts';

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
  readonly dryRun?: boolean | undefined;
  /** The rows are all customers: the others are answered with the outcome `extra`, and stay. Default: false. */
  readonly complete?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
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
  let queue = createRowQueue(source, signal);

  /** Sends the rows without an answer, and yields their answers. */
  async function* attempt(retries: Retries): AsyncGenerator<ImportAnswer, void> {
    // Extra customers are found only by a request with all rows.
    if (complete) {
      queue.close();
      queue = createRowQueue(source, signal);
    } else if (queue.isAnswered()) {
      if (await queue.isAtEnd()) return yield summary();
      // All rows were answered: an idle connection that breaks does not count as a failure.
      retries.reset();
    }
    for await (const line of linesOf<Line>(post(api, queue.body(), options), signal)) {
      const answer = answerOf(line);
      if (answer) {
        retries.reset();
        yield answer;
      }
      if ('summary' in line) return;
    }
    broken();
  }

  /** Undefined if the row is to be sent again, or was answered before. */
  function answerOf(line: Line): ImportAnswer | undefined {
    if ('summary' in line) return endOf(line);
    if (line.outcome === 'extra') return isNew(line.customerUrn) ? line : undefined;
    // It may be stored or not, and the import ends.
    if (line.outcome === 'refused' && line.status.messageCode === 'SQL_DATABASE_FAILURE') return undefined;
    const sent = queue.answered(line.line);
    if (!sent || !isNew(sent.line)) return undefined;
    counts[line.outcome] += 1;
    return { ...line, ...sent };
  }

  /** @throws RefusedError if the service has stopped the import; ConnectionError if answers are missing */
  function endOf({ status, summary: { extra } }: End): ImportSummary {
    if (status.messageCode !== 'SUCCESS') {
      const refusal = { ...status, httpStatus: 200, requestId: '' } as Refusal;
      // The API key is no longer valid; else the service cannot go on now.
      throw new RefusedError(refusal, status.messageCode === 'FORBIDDEN' ? undefined : 0);
    }
    if (!queue.isAnswered()) broken();
    return summary(extra);
  }

  const summary = (extra?: number): ImportSummary => ({
    outcome: 'summary',
    ...counts,
    ...(extra !== undefined && { extra }),
  });

  const isNew = (answered: number | string) => !complete || known.size < known.add(answered).size;

  try {
    yield* repeating(api.transport, signal, attempt, () => queue.throwIfFailed());
  } finally {
    queue.close();
  }
}

function post({ http, transport }: Api, body: ReadableStream, { dryRun, complete, signal }: ImportOptions) {
  return http.POST('/import', {
    // Booleans are sent as `true` and `false`.
    params: { query: { dryRun, complete } as object },
    headers: { 'content-type': 'application/x-ndjson' },
    // openapi.json describes NDJSON as a string.
    body: body as unknown as string,
    bodySerializer: (stream: unknown) => stream,
    duplex: 'half',
    parseAs: 'stream',
    fetch: (request) => transport.send(request, signal),
  });
}
