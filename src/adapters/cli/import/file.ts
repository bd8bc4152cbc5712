/** The file of `c2a import`. */
import { accessSync, constants, createReadStream, statSync } from 'node:fs';
import { extname } from 'node:path';
import type { Readable } from 'node:stream';
import { type ImportRow, maxRowBytes, readRows } from '../../../application/import/rows.ts';
import { CommandError, UsageError } from '../context.ts';
import { type Delimiter, delimiters, readCsv } from './csv.ts';
import { type ColumnMap, type Default, readColumnMap, withDefaults } from './fields.ts';

/** How to read the file. */
export interface Reading {
  readonly format: 'ndjson' | 'csv';
  /** Undefined to detect it. */
  readonly delimiter: Delimiter | undefined;
  readonly map: ColumnMap;
  readonly defaults: readonly Default[];
}

interface ReadingOptions {
  readonly format?: string;
  readonly delimiter?: string;
  readonly map?: string;
  readonly default?: readonly Default[];
}

/** @throws UsageError if an option is wrong */
export function readingOf(file: string, options: ReadingOptions): Reading {
  const { format = isCsvName(file) ? 'csv' : 'ndjson', map } = options;
  if (format !== 'ndjson' && format !== 'csv') throw new UsageError('--format must be ndjson or csv');
  if (format === 'ndjson' && (options.delimiter ?? map) !== undefined) {
    throw new UsageError(
      `--${map === undefined ? 'delimiter' : 'map'} is for CSV; add --format csv if the file is CSV`,
    );
  }
  return {
    format,
    delimiter: options.delimiter === undefined ? undefined : toDelimiter(options.delimiter),
    map: map === undefined ? new Map() : readColumnMap(map),
    defaults: options.default ?? [],
  };
}

const isCsvName = (file: string): boolean => ['.csv', '.tsv'].includes(extname(file).toLowerCase());

function toDelimiter(text: string): Delimiter {
  const delimiter = delimiters.find((one) => one === text || (one === '\t' && text === 'tab'));
  if (delimiter === undefined) throw new UsageError('--delimiter must be "," or ";" or tab');
  return delimiter;
}

/** An open file, or standard input. */
export interface ImportFile {
  /** The rows of each chunk. */
  readonly rows: AsyncIterable<readonly ImportRow[]>;
  /** Undefined if it is not known, as with a pipe. */
  readonly bytes: number | undefined;
  readonly bytesRead: () => number;
  /** Ends the rows: at once, if they wait for more to read. They then end with an error. */
  close(): void;
}

/** Opens a file and reads the names of its columns, if it has them. @param file `-` is standard input */
export async function openImportFile(file: string, reading: Reading): Promise<ImportFile> {
  const bytes = file === '-' ? undefined : sizeOf(file);
  const stream: Readable = file === '-' ? process.stdin : createReadStream(file);
  let bytesRead = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      bytesRead += chunk.length;
      yield chunk;
    }
  }
  const close = () => stream.destroy();
  try {
    return { rows: await rowsOf(counted(), reading), bytes, bytesRead: () => bytesRead, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Undefined if it is not known. Throws if the path does not lead to something that can be read. */
function sizeOf(file: string): number | undefined {
  accessSync(file, constants.R_OK);
  const stat = statSync(file);
  if (stat.isDirectory()) throw new CommandError(`${file} is a folder; name a file`);
  return stat.isFile() ? stat.size : undefined;
}

async function rowsOf(chunks: AsyncIterable<Buffer>, { format, delimiter, map, defaults }: Reading) {
  const rows = format === 'csv' ? await readCsv(chunks, delimiter, map) : readRows(chunks, maxRowBytes);
  return defaults.length === 0 ? rows : filled(rows, defaults);
}

async function* filled(rows: AsyncIterable<readonly ImportRow[]>, defaults: readonly Default[]) {
  for await (const some of rows) {
    yield some.map((row) => ('value' in row ? { ...row, value: withDefaults(row.value, defaults) } : row));
  }
}
