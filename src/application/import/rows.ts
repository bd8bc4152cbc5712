import { nextTurn } from '../next-turn.ts';

/** A row of an import, at a line of its file: a value, or the reason why the line has none. */
export type ImportRow =
  | { readonly line: number; readonly value: unknown }
  | { readonly line: number; readonly problem: 'malformed' | 'too long' };

/** The maximum length of a row. */
export const maxRowBytes = 65_536;

/** SQLite stores the most rows a second in transactions of this size. */
const batchSize = 256;
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
 * Gathers rows in batches of 256, the number that one transaction stores best. A smaller batch is yielded if the source
 * makes it wait.
 */
export async function* inBatches(source: AsyncIterable<readonly ImportRow[]>): AsyncGenerator<readonly ImportRow[]> {
  const chunks = source[Symbol.asyncIterator]();
  let rows: readonly ImportRow[] = [];
  try {
    for (;;) {
      const next = chunks.next();
      if (rows.length > 0 && (await Promise.race([next, nextTurn()])) === undefined) {
        yield rows;
        rows = [];
      }
      const { done, value } = await next;
      if (done) break;
      rows = rows.length === 0 ? value : [...rows, ...value];
      for (; rows.length >= batchSize; rows = rows.slice(batchSize)) yield rows.slice(0, batchSize);
    }
    if (rows.length > 0) yield rows;
  } finally {
    await chunks.return?.();
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
