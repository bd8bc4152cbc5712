/** CSV (RFC 4180) as rows of an import. */
import { Parser } from 'csv-parse';
import { type ImportRow, maxRowBytes } from '../../../application/import/rows.ts';
import { CommandError, UsageError } from '../context.ts';
import { bodyOf, type ColumnMap, columnsOf } from './fields.ts';

/** A record of the file: its first line, its cells and its text. */
interface CsvRecord {
  readonly line: number;
  readonly cells: readonly string[];
  readonly text: string;
}

/** A record as the parser returns it. */
interface Parsed {
  readonly record: readonly string[];
  readonly raw: string;
}

export const delimiters = [',', ';', '\t'] as const;
export type Delimiter = (typeof delimiters)[number];

/** A quote that is not closed reads the rest of the file into one record: the import ends before that fills the memory. */
const maxOpenBytes = 1024 * 1024;

/**
 * Reads CSV in UTF-8. The first record names the columns. Blank records are skipped.
 *
 * @param delimiter undefined to detect it in the first line
 * @returns the rows of each chunk. The iteration throws CommandError if a record does not end within 1 MiB
 * @throws UsageError if the first record cannot be read, or names a column that is no field
 */
export async function readCsv(
  chunks: AsyncIterable<Buffer>,
  delimiter: Delimiter | undefined,
  map: ColumnMap,
): Promise<AsyncGenerator<readonly ImportRow[]>> {
  const records = recordsOf(chunks, delimiter);
  let first: readonly CsvRecord[] = [];
  while (first.length === 0) {
    const { done, value } = await records.next();
    if (done) throw new UsageError('the file is empty: its first row must name the columns');
    first = value;
  }
  const [header, ...others] = first as [CsvRecord, ...CsvRecord[]];
  if (header.cells.length === 0 || !isWellFormed(header))
    throw new UsageError('the first row is not CSV in UTF-8: it must name the columns');
  const columns = columnsOf(header.cells, map);
  const toRow = (record: CsvRecord): ImportRow => {
    const { line, cells, text } = record;
    if (Buffer.byteLength(text) > maxRowBytes) return { line, problem: 'too long' };
    if (cells.length !== columns.length || !isWellFormed(record)) return { line, problem: 'malformed' };
    return { line, value: bodyOf(cells, columns) };
  };
  async function* rows(): AsyncGenerator<readonly ImportRow[]> {
    yield others.map(toRow);
    for await (const some of records) yield some.map(toRow);
  }
  return rows();
}

/** The records of each chunk, except for blank ones. */
async function* recordsOf(
  chunks: AsyncIterable<Buffer>,
  delimiter: Delimiter | undefined,
): AsyncGenerator<readonly CsvRecord[]> {
  const chunked = chunks[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  for (let isAtEnd = false; !isAtEnd && !head.includes('\n') && head.length < maxRowBytes; ) {
    const { done = false, value = head.subarray(0, 0) } = await chunked.next();
    head = Buffer.concat([head, value]);
    isAtEnd = done;
  }
  const reader = new CsvReader(delimiter ?? detected(head));
  yield await reader.read(head);
  for await (const chunk of { [Symbol.asyncIterator]: () => chunked }) yield await reader.read(chunk);
  yield await reader.end();
}

/** The delimiter that is most frequent in the first line, outside of quotes. */
function detected(head: Buffer): Delimiter {
  const [line = ''] = head
    .toString('utf8')
    .replace(/"[^"]*"/g, '')
    .split(/[\r\n]/, 1);
  const counts = delimiters.map((delimiter) => line.split(delimiter).length);
  return delimiters[counts.indexOf(Math.max(...counts))] as Delimiter;
}

/** Splits chunks into records, and numbers their lines. */
class CsvReader {
  readonly #parser: Parser;
  #records: CsvRecord[] = [];
  /** The line where the next record begins. */
  #line = 1;
  /** The number of bytes since the last record. */
  #openBytes = 0;

  constructor(delimiter: Delimiter) {
    this.#parser = new Parser({
      bom: true,
      delimiter,
      record_delimiter: ['\r\n', '\n', '\r'],
      // A record with a fault is returned too: the parser's own way of skipping it does not tell where it ends.
      relax_quotes: true,
      relax_column_count: true,
      raw: true,
      // Its type leaves out that a record has this form with `raw`.
      on_record: (record) => this.#take(record as unknown as Parsed),
    });
    // The calls of `write` and `end` report it.
    this.#parser.on('error', () => {});
  }

  /** The records that end in a chunk. */
  async read(chunk: Buffer): Promise<readonly CsvRecord[]> {
    this.#openBytes += chunk.length;
    await new Promise<void>((resolve, reject) => {
      this.#parser.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
    if (this.#openBytes > maxOpenBytes) {
      throw new CommandError(`line ${this.#line}: the row does not end within 1 MiB; close its quotes`);
    }
    return this.#taken();
  }

  /** The last records. If the file ends between quotes, the last one has no cells. */
  async end(): Promise<readonly CsvRecord[]> {
    await new Promise<void>((resolve, reject) => {
      this.#parser.end((error?: (Error & { readonly code?: string }) | null) => {
        if (error && error.code !== 'CSV_QUOTE_NOT_CLOSED') return reject(error);
        if (error) this.#records.push({ line: this.#line, cells: [], text: '' });
        resolve();
      });
    });
    return this.#taken();
  }

  #taken(): readonly CsvRecord[] {
    const records = this.#records;
    this.#records = [];
    return records;
  }

  #take({ record: cells, raw: text }: Parsed): null {
    if (cells.some((cell) => cell.trim() !== '')) this.#records.push({ line: this.#line, cells, text });
    this.#line += text.match(/\r\n?|\n/g)?.length ?? 0;
    this.#openBytes = 0;
    // The parser passes nothing on.
    return null;
  }
}

/** Whether a record is UTF-8, and has quotes only around cells, and doubled within them. */
const isWellFormed = ({ cells, text }: CsvRecord): boolean =>
  !text.includes('\ufffd') &&
  cells.every((cell) => !cell.includes('"') || text.includes(`"${cell.replaceAll('"', '""')}"`));
