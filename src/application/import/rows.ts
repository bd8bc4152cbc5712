import { nextTurn } from '../next-turn.ts';
import { wholeBatch } from './turns.ts';

/** A row of an import, at a line of its file: a value, or the reason why the line has none. */
export type ImportRow =
  | { readonly line: number; readonly value: unknown }
  | { readonly line: number; readonly problem: 'malformed' | 'too long' };

/** The maximum length of a row. */
export const maxRowBytes = 65_536;

const newline = 0x0a;
const carriageReturn = 0x0d;
/** A byte order mark and the first byte of CRLF do not count. */
const maxUncountedBytes = 4;

/**
 * Reads NDJSON. Yields the rows of each chunk. Lines end with LF or CRLF, and are numbered as an editor numbers them; blank
 * lines are skipped, as is a byte order mark. The memory in use does not depend on the length of the file or of a line.
 *
 * @param maxBytes the maximum length of a line
 */
export async function* readRows(source: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<readonly ImportRow[]> {
  const lines = new LineReader(maxBytes);
  for await (const chunk of source) yield lines.add(chunk);
  yield lines.end();
}

/**
 * Gathers rows in batches of the size that one transaction stores best. If the source makes it wait, it yields a smaller
 * batch, and then an empty one each second.
 */
export async function* inBatches(source: AsyncIterable<readonly ImportRow[]>): AsyncGenerator<readonly ImportRow[]> {
  let rows: readonly ImportRow[] = [];
  for await (const some of withWaits(source)) {
    if (some === undefined) {
      yield rows;
      rows = [];
      continue;
    }
    rows = rows.length === 0 ? some : [...rows, ...some];
    for (; rows.length >= wholeBatch; rows = rows.slice(wholeBatch)) yield rows.slice(0, wholeBatch);
  }
  if (rows.length > 0) yield rows;
}

const pauseMs = 1_000;
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMs).unref());

/** The chunks of a source, and `undefined` if the next one is not there yet: after a turn of the event loop, then each second. */
async function* withWaits<Chunk>(source: AsyncIterable<Chunk>): AsyncGenerator<Chunk | undefined> {
  const chunks = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = chunks.next();
      for (let wait = nextTurn(); (await Promise.race([next, wait])) === undefined; wait = pause()) yield undefined;
      const { done, value } = await next;
      if (done) return;
      yield value;
    }
  } finally {
    // Not awaited, because it takes effect only when the source goes on.
    chunks.return?.();
  }
}

/** Splits chunks into lines. */
class LineReader {
  readonly #maxBytes: number;
  #line = 1;
  /** The beginning of the current line, from earlier chunks. */
  #begun: Buffer[] = [];
  #begunBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The rows that a chunk completes. */
  add(chunk: Buffer): readonly ImportRow[] {
    const rows: ImportRow[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      this.#keep(chunk.subarray(start, end));
      start = end + 1;
      rows.push(...this.#finishLine());
    }
    // Copied, because the rest of the chunk must not stay in memory with it.
    this.#keep(Buffer.from(chunk.subarray(start)));
    return rows;
  }

  /** The row of a last line without a line end. */
  end(): readonly ImportRow[] {
    return this.#finishLine();
  }

  /** Keeps a piece of the current line; of a line that is too long only its length. */
  #keep(piece: Buffer): void {
    this.#begunBytes += piece.length;
    if (this.#begunBytes > this.#maxBytes + maxUncountedBytes) this.#begun = [];
    else if (piece.length > 0) this.#begun.push(piece);
  }

  /** The row of the current line; none if it is blank. */
  #finishLine(): readonly ImportRow[] {
    const [line, length] = [this.#line, this.#begunBytes];
    const bytes = this.#begun.length === 1 ? (this.#begun[0] as Buffer) : Buffer.concat(this.#begun);
    this.#line += 1;
    this.#begun = [];
    this.#begunBytes = 0;
    if (length > bytes.length) return [{ line, problem: 'too long' }];
    const text = line === 1 && isByteOrderMark(bytes) ? bytes.subarray(3) : bytes;
    const content = text.at(-1) === carriageReturn ? text.subarray(0, -1) : text;
    return content.length > this.#maxBytes ? [{ line, problem: 'too long' }] : toRow(line, content);
  }
}

const isByteOrderMark = ([one, two, three]: Buffer): boolean => one === 0xef && two === 0xbb && three === 0xbf;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function toRow(line: number, bytes: Buffer): readonly ImportRow[] {
  try {
    const text = utf8.decode(bytes);
    return text.trim() === '' ? [] : [{ line, value: JSON.parse(text) }];
  } catch {
    return [{ line, problem: 'malformed' }];
  }
}
