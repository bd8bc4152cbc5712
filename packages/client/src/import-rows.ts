import type { components } from './openapi.ts';
import { bounded, sleep } from './waiting.ts';

/** The body of a `sync`, an erasure, or a record of an export. */
export type ImportRow = components['schemas']['ImportRow'];
type Rows = Iterable<ImportRow> | AsyncIterable<ImportRow>;
/** Rows that can be read again: an array, or a function that returns them, new ones for each call. */
export type RepeatableRows = readonly ImportRow[] | (() => Rows);
/** Rows that may be read only once too: a generator, a stream of objects… */
export type ImportSource = Rows | RepeatableRows;

/**
 * More are not sent before some are answered, so that memory does not grow with the rows. The service keeps up to 10,000 rows
 * unanswered that wait for others, so this must be more.
 */
const maxUnanswered = 20_000;
/** Rows that are available without waiting share a chunk of about this many characters: each chunk costs time and memory. */
const chunkLength = 65_536;
/** How often to look for answers when no more rows may be sent. */
const pollMs = 10;
/** How long to wait for more rows before a smaller chunk is sent. */
const lingerMs = 1;

/** A row, and its number, from 1. */
export interface SentRow {
  readonly line: number;
  readonly row: ImportRow;
}

type NextRow = { readonly row: ImportRow; readonly text: string } | undefined;
type PendingRow = SentRow & NonNullable<NextRow>;

/** The rows that an import sends: taken from their source one by one, and kept until they are answered. */
export interface RowQueue {
  /** Throws what the source has thrown, or a row that cannot be sent, if it has. */
  throwIfFailed(): void;
  /** Whether all rows that were sent are answered. */
  isAnswered(): boolean;
  /** Whether no row follows. Waits for the next one. */
  isAtEnd(): Promise<boolean>;
  /** The body of a new request: the rows without an answer, then those that follow. */
  body(): ReadableStream<Uint8Array>;
  /** Notes the answer to a line of the last request. Returns its row; undefined if it has none, or was answered. */
  answered(line: number): SentRow | undefined;
  /** Ends the source. */
  close(): void;
}

export function createRowQueue(source: ImportSource, signal: AbortSignal | undefined): RowQueue {
  const rows = iterate(source);
  /** By their number. */
  const unanswered = new Map<number, PendingRow>();
  /** By their line in the last request. */
  let sent = new Map<number, PendingRow>();
  let taken = 0;
  let next: Promise<NextRow> | undefined;
  let failure: { readonly error: unknown } | undefined;

  async function read(): Promise<NextRow> {
    try {
      const { done, value: row } = await rows.next();
      return done ? undefined : { row, text: `${JSON.stringify(row)}\n` };
    } catch (error) {
      failure = { error };
      throw error;
    }
  }

  /** The next row. It stays the next one until it is taken. */
  function peek(): Promise<NextRow> {
    next ??= read();
    return next;
  }

  /**
   * The next row; undefined after the last one, or if a later request has begun meanwhile, which takes it then.
   *
   * @param due undefined is also returned once this is fulfilled
   */
  async function take(
    isLastRequest: () => boolean,
    due: Promise<undefined> | undefined,
  ): Promise<PendingRow | undefined> {
    while (unanswered.size >= maxUnanswered && isLastRequest()) {
      if (due) return undefined;
      await sleep(pollMs, signal);
    }
    const found = await (due ? Promise.race([peek(), due]) : peek());
    if (!found || !isLastRequest()) return undefined;
    next = undefined;
    taken += 1;
    const pending = { line: taken, ...found };
    unanswered.set(taken, pending);
    return pending;
  }

  return {
    throwIfFailed() {
      if (failure) throw failure.error;
    },
    isAnswered: () => unanswered.size === 0,
    isAtEnd: async () => !(await bounded(peek(), signal)),
    body() {
      const request = new Map<number, PendingRow>();
      sent = request;
      return chunksOf([...unanswered.values()], request, (due) => take(() => request === sent, due));
    },
    answered(line) {
      const pending = sent.get(line);
      sent.delete(line);
      if (!pending) return undefined;
      unanswered.delete(pending.line);
      return { line: pending.line, row: pending.row };
    },
    close() {
      sent = new Map();
      // Not awaited: a generator ends only after the row that it is asked for.
      rows.return(undefined).catch(() => {});
    },
  };
}

/**
 * The body of a request, in chunks.
 *
 * @param again the rows to send first
 * @param sent gets each row, by its line
 * @param take the row after those; undefined if there is none, or none when `due` is fulfilled
 */
function chunksOf(
  again: readonly PendingRow[],
  sent: Map<number, PendingRow>,
  take: (due: Promise<undefined> | undefined) => Promise<PendingRow | undefined>,
): ReadableStream<Uint8Array> {
  const first = again.values();
  const encoder = new TextEncoder();
  let line = 1;
  return new ReadableStream<Uint8Array>(
    {
      // A blank line is no row: so a request without rows has a body too.
      start: (controller) => controller.enqueue(encoder.encode('\n')),
      async pull(controller) {
        let chunk = '';
        let due: Promise<undefined> | undefined;
        while (chunk.length < chunkLength) {
          const pending = first.next().value ?? (await take(due));
          if (!pending) break;
          line += 1;
          sent.set(line, pending);
          chunk += pending.text;
          due ??= sleep(lingerMs, undefined) as Promise<undefined>;
        }
        if (chunk) controller.enqueue(encoder.encode(chunk));
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** The rows that source functions have returned: returned twice, they would be read to their end already. */
const used = new WeakSet<Rows>();

/** Calls the function of a source only when the first row is wanted. */
async function* iterate(source: ImportSource): AsyncGenerator<ImportRow> {
  if (typeof source !== 'function') return yield* source;
  const rows = source();
  if (used.has(rows)) throw new TypeError('the function must return new rows');
  used.add(rows);
  yield* rows;
}
