import type { components } from './openapi.ts';

/** The body of a `sync`, an erasure, or a record of an export. */
export type ImportRow = components['schemas']['ImportRow'];
type Rows = Iterable<ImportRow> | AsyncIterable<ImportRow>;
/** Rows that can be read again: an array, or a function that returns them. */
export type RepeatableRows = readonly ImportRow[] | (() => Rows);
/** Rows that may be read only once too: a generator, a stream of objects… */
export type ImportSource = Rows | RepeatableRows;

/**
 * More are not sent before some are answered, so that memory does not grow with the rows. The service keeps up to 10,000 rows
 * unanswered that wait for others, so this must be more.
 */
const maxUnanswered = 20_000;

/** A row, and its number, from 1. */
export interface SentRow {
  readonly line: number;
  readonly row: ImportRow;
}

/** The rows that an import sends: taken from their source one by one, and kept until they are answered. */
export interface RowQueue {
  /** Throws what the source has thrown, if it has. */
  throwIfFailed(): void;
  /** Whether all rows are answered. Waits for the next row, if all so far are. */
  isDone(): Promise<boolean>;
  /** The body of a new request: the rows without an answer, then those that follow. */
  body(): ReadableStream<Uint8Array>;
  /** Notes the answer to a line of the last request. Returns its row; undefined if it has none, or was answered. */
  answered(line: number): SentRow | undefined;
  /** Ends the source. */
  close(): void;
}

export function createRowQueue(source: ImportSource): RowQueue {
  const rows = iterate(source);
  /** By their number. */
  const unanswered = new Map<number, SentRow>();
  /** By their line in the last request. */
  let sent = new Map<number, SentRow>();
  let taken = 0;
  let next: Promise<IteratorResult<ImportRow>> | undefined;
  let failure: { readonly error: unknown } | undefined;
  let onAnswer = (): void => {};

  /** The next row. It stays the next one until it is taken. */
  function peek(): Promise<IteratorResult<ImportRow>> {
    next ??= rows.next().catch((error) => {
      failure = { error };
      throw error;
    });
    return next;
  }

  /** The next row; undefined after the last one, or if a later request has begun meanwhile, which takes it then. */
  async function take(isLastRequest: () => boolean): Promise<SentRow | undefined> {
    while (unanswered.size >= maxUnanswered) {
      await new Promise<void>((resolve) => {
        onAnswer = resolve;
      });
    }
    const { done, value: row } = await peek();
    if (done || !isLastRequest()) return undefined;
    next = undefined;
    taken += 1;
    const one = { line: taken, row };
    unanswered.set(taken, one);
    return one;
  }

  return {
    throwIfFailed() {
      if (failure) throw failure.error;
    },
    isDone: async () => unanswered.size === 0 && !!(await peek()).done,
    body() {
      const again = [...unanswered.values()].values();
      const request = new Map<number, SentRow>();
      sent = request;
      const encoder = new TextEncoder();
      let line = 0;
      const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
        const one = again.next().value ?? (await take(() => request === sent));
        if (!one) return controller.close();
        line += 1;
        request.set(line, one);
        controller.enqueue(encoder.encode(`${JSON.stringify(one.row)}\n`));
      };
      return new ReadableStream({ pull }, { highWaterMark: 0 });
    },
    answered(line) {
      const one = sent.get(line);
      sent.delete(line);
      if (one) unanswered.delete(one.line);
      onAnswer();
      return one;
    },
    close() {
      // Not awaited: a generator ends only after the row that it is asked for.
      rows.return(undefined).catch(() => {});
    },
  };
}

/** Calls the function of a source only when the first row is wanted. */
async function* iterate(source: ImportSource): AsyncGenerator<ImportRow> {
  yield* typeof source === 'function' ? source() : source;
}
