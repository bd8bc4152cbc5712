/** The fields that `c2a import` can set from a column or an option. */
import { isCanonicalRecord } from '../../../application/import/requests.ts';
import { syncFields } from '../../../domain/customer.ts';
import { type Field, type FieldTable, isObject, readPatch } from '../../../domain/field-schema.ts';
import type { Violation } from '../../../domain/violations.ts';
import { createReferenceData } from '../../reference-data.ts';
import { UsageError } from '../context.ts';
import { printable, readText } from '../options.ts';

/** A field of the body of a sync: the names that lead to it, and its kind. */
export interface Target {
  readonly names: readonly string[];
  readonly kind: Field['kind'];
}

type Row = Record<string, unknown>;

/** The fields by path. The fields of the customer itself have no `customer.` before them: `email`, `claimedRegion.countryCode`. */
const targets: ReadonlyMap<string, Target> = new Map(
  targetsIn(syncFields).map((target) => [target.names.filter((name) => name !== 'customer').join('.'), target]),
);

function targetsIn(table: FieldTable, before: readonly string[] = []): Target[] {
  return Object.entries(table).flatMap(([name, field]) => {
    const names = [...before, name];
    return field.kind === 'group' ? targetsIn(field.fields, names) : [{ names, kind: field.kind }];
  });
}

function targetOf(path: string, option: string): Target {
  const target = targets.get(path);
  if (target !== undefined) return target;
  throw new UsageError(
    `${option}: ${printable(path)} is not a field; a field is named like email or claimedRegion.countryCode`,
  );
}

/** From the name of a column to its field; null if the column is ignored. */
export type ColumnMap = ReadonlyMap<string, Target | null>;

/** Reads the file of `--map`: a JSON object from column names to paths of fields, or null. */
export function readColumnMap(file: string): ColumnMap {
  const text = readText(file, '--map');
  let map: unknown;
  try {
    map = JSON.parse(text);
  } catch {
    throw new UsageError(`--map: ${file} is not JSON`);
  }
  if (!isObject(map)) throw new UsageError(`--map: ${file} must contain an object from column names to fields`);
  return new Map(
    Object.entries(map).map(([column, path]) => {
      if (path !== null && typeof path !== 'string') {
        throw new UsageError(`--map: the field of column ${shown(column)} must be a text or null`);
      }
      return [column, path === null ? null : targetOf(path, '--map')];
    }),
  );
}

/**
 * The field of each column; null if it is ignored. A column that is not in the map is the field of its name.
 *
 * @param header the names of the columns
 */
export function columnsOf(header: readonly string[], map: ColumnMap): (Target | null)[] {
  const used = new Map<Target, string>();
  return header.map((cell) => {
    const name = cell.trim();
    const target = map.has(name) ? map.get(name) : targets.get(name);
    if (target === undefined) {
      throw new UsageError(`the column ${shown(name)} is not a field; name its field with --map, or null to ignore it`);
    }
    if (target === null) return null;
    const other = used.get(target);
    if (other !== undefined) throw new UsageError(`the columns ${shown(other)} and ${shown(name)} are the same field`);
    used.set(target, name);
    return target;
  });
}

const shown = (name: string): string => JSON.stringify(printable(name));

/** A field and its value where a row has none. */
export interface Default {
  readonly target: Target;
  readonly value: unknown;
}

/** Reads the value of a `--default` option, `path=value`. */
export function readDefault(option: string): Default {
  const [path = '', ...rest] = option.split('=');
  const text = rest.join('=').trim();
  if (text === '') throw new UsageError('--default must look like claimedRegion.countryCode=DE');
  const target = targetOf(path.trim(), '--default');
  const value = toValue(target, text);
  const row: Row = {};
  set(row, target.names, value);
  const violations: Violation[] = [];
  readPatch(syncFields, row, '', createReferenceData(), violations);
  const [broken] = violations;
  if (broken !== undefined) throw new UsageError(`--default ${path.trim()}: ${broken.message}`);
  return { target, value };
}

/** What a text is as the value of a field. A text that does not fit stays one, so that the row is refused for it. */
function toValue({ kind }: Target, text: string): unknown {
  const trimmed = text.trim();
  if (kind === 'revision') return /^\d{1,16}$/.test(trimmed) ? Number(trimmed) : text;
  if (kind === 'flag') return flags.get(trimmed.toLowerCase()) ?? text;
  return text;
}

const flags: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['false', false],
  ['0', false],
  ['no', false],
]);

/** The body of a sync from the cells of a row. A blank cell is no value. */
export function bodyOf(cells: readonly string[], columns: readonly (Target | null)[]): Row {
  const row: Row = { customer: {} };
  for (const [index, target] of columns.entries()) {
    const cell = cells[index] as string;
    if (target !== null && cell.trim() !== '') set(row, target.names, toValue(target, cell));
  }
  return row;
}

/** Gives a row of an import the values that it lacks. A row that erases, or that has no customer, stays as it is. */
export function withDefaults(row: unknown, defaults: readonly Default[]): unknown {
  if (!isObject(row) || 'delete' in row) return row;
  const isRecord: boolean = isCanonicalRecord(row);
  if (!isRecord && !isObject(row.customer)) return row;
  const filled = structuredClone(row) as Row;
  for (const { target, value } of defaults) {
    // A record, as an export has it, has the fields of the customer itself.
    const names = isRecord ? target.names.filter((name) => name !== 'customer') : target.names;
    if (isAbsent(filled, names)) set(filled, names, value);
  }
  return filled;
}

/** Whether a field has no value. False if its place is taken by a value of another type, for which the row is refused. */
function isAbsent(row: Row, names: readonly string[]): boolean {
  let value: unknown = row;
  for (const name of names) {
    if (isEmpty(value)) return true;
    if (!isObject(value)) return false;
    value = Object.hasOwn(value, name) ? value[name] : undefined;
  }
  return isEmpty(value);
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || (typeof value === 'string' && value.trim() === '');

function set(row: Row, [name, ...inner]: readonly string[], value: unknown): void {
  if (name === undefined) return;
  if (inner.length === 0) row[name] = value;
  else {
    if (!isObject(row[name])) row[name] = {};
    set(row[name] as Row, inner, value);
  }
}
