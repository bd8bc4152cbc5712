/** Fields of records. A record's TypeScript type, JSON schema, parser, merge and stored content derive from its field table. */
import type { ReferenceData } from './reference-data.ts';
import { type Fail, formats, withinLength } from './text-formats.ts';
import {
  accepted,
  onePerField,
  type Parsed,
  refused,
  requiredViolation,
  type Violation,
  violation,
} from './violations.ts';

export type Field = {
  /** One sentence for the published documentation. */
  readonly about: string;
  readonly required?: true;
} & (
  | { readonly kind: 'text' /** In characters (code points), after trimming. */; readonly max: number }
  | { readonly kind: FormatKind }
  | { readonly kind: 'choice'; readonly values: readonly string[]; readonly fallback?: string }
  | { readonly kind: 'flag'; readonly fallback: false }
  | { readonly kind: 'revision' }
  // `always`: present even if the caller omits it, because every member has a fallback.
  | { readonly kind: 'group'; readonly fields: FieldTable; readonly always?: true }
);
type FieldOf<Kind> = Extract<Field, { readonly kind: Kind }>;
type FormatKind = keyof typeof formats;
export interface FieldTable {
  readonly [name: string]: Field;
}

export const text = (max: number, about: string) => ({ kind: 'text', max, about }) as const;
export const format = <const Kind extends FormatKind>(kind: Kind, about: string) => ({ kind, about }) as const;
export const choice = <const Value extends string>(values: readonly Value[], about: string) =>
  ({ kind: 'choice', values, about }) as const;
export const flag = (about: string) => ({ kind: 'flag', fallback: false, about }) as const;
/** A whole number from 0 to 2^53−1. */
export const revision = (about: string) => ({ kind: 'revision', about }) as const;
export const group = <const Table extends FieldTable>(fields: Table, about: string) =>
  ({ kind: 'group', fields, about }) as const;
export const required = <const F extends Field>(field: F) => ({ ...field, required: true }) as const;

type Value<F extends Field> = F extends { readonly fields: infer Table extends FieldTable }
  ? Values<Table>
  : F extends { readonly values: readonly (infer Choice)[] }
    ? Choice
    : F extends { readonly kind: 'flag' }
      ? boolean
      : F extends { readonly kind: 'revision' }
        ? number
        : string;
type Certain = { readonly required: true } | { readonly fallback: unknown } | { readonly always: true };
/** The canonical record. Required fields and fields with a fallback are always present. */
export type Values<Table extends FieldTable> = {
  readonly [Name in keyof Table as Table[Name] extends Certain ? Name : never]: Value<Table[Name]>;
} & {
  readonly [Name in keyof Table as Table[Name] extends Certain ? never : Name]?: Value<Table[Name]>;
};
/** A merge patch (RFC 7396): an absent field stays, null removes, groups merge. */
export type Patch<Table extends FieldTable> = {
  readonly [Name in keyof Table]?:
    | (Table[Name] extends { readonly fields: infer Inner extends FieldTable } ? Patch<Inner> : Value<Table[Name]>)
    | null;
};

export const isObject = (input: unknown): input is Readonly<Record<string, unknown>> =>
  typeof input === 'object' && input !== null && !Array.isArray(input);

/** How many unknown properties of one object are reported; limits the size of the response. */
const maxUnknownReported = 100;

/**
 * Parses an object into a canonical patch. Reports violations in the order of the field table, then unknown properties
 * in the order of the input. Strings are trimmed and normalized to NFC; an empty string is the same as null. A member
 * that breaks a rule is undefined in the patch. A phone number becomes the dialled digits, because its other rules
 * depend on the country (see `customer.ts`).
 *
 * @param violations the list to which new violations are appended
 */
export function readPatch<Table extends FieldTable>(
  table: Table,
  input: unknown,
  path: string,
  referenceData: ReferenceData,
  violations: Violation[],
): Patch<Table> {
  const patch: Record<string, unknown> = {};
  if (!isObject(input)) {
    violations.push(violation(path, 'invalid_type', mustBeObject));
    return patch as Patch<Table>;
  }
  for (const name in table) {
    const given = input[name];
    if (given === undefined || !Object.hasOwn(input, name)) continue;
    patch[name] = readValue(table[name] as Field, given, join(path, name), referenceData, violations);
  }
  const unknown = Object.keys(input).filter((name) => !Object.hasOwn(table, name));
  for (const name of unknown.slice(0, maxUnknownReported)) violations.push(unknownField(path, name));
  return patch as Patch<Table>;
}

/** Parses a complete object: like {@link readPatch}, but every required field must have a value. */
export function readObject<Table extends FieldTable>(
  table: Table,
  input: unknown,
  referenceData: ReferenceData,
): Parsed<Values<Table>> {
  const violations: Violation[] = [];
  const record = merge(table, {}, readPatch(table, input, '', referenceData, violations));
  violations.push(...missingFields(table, record, ''));
  return violations.length > 0 ? refused(onePerField(violations)) : accepted(record as Values<Table>);
}

function readValue(
  field: Field,
  given: unknown,
  at: string,
  referenceData: ReferenceData,
  violations: Violation[],
): unknown {
  const fail: Fail = (code, message) => {
    violations.push(violation(at, code, message));
  };
  const value = typeof given === 'string' ? trimmed(given) : given;
  if (value === null || value === '') return null;
  if (field.kind === 'group') {
    return isObject(value)
      ? readPatch(field.fields, value, at, referenceData, violations)
      : fail('invalid_type', mustBeObject);
  }
  if (field.kind === 'flag') return typeof value === 'boolean' ? value : fail('invalid_type', 'Must be true or false.');
  if (field.kind === 'revision') return readRevision(value, fail);
  if (typeof value !== 'string') return fail('invalid_type', 'Must be a string.');
  const text = canonicalText(value, fail);
  return text === undefined ? undefined : readText(field, text, fail, referenceData);
}

function readRevision(value: unknown, fail: Fail): number | undefined {
  if (typeof value !== 'number') return fail('invalid_type', 'Must be a number.');
  if (!Number.isSafeInteger(value) || value < 0) {
    return fail('invalid_value', 'Must be a whole number from 0 to 9007199254740991.');
  }
  // Never −0.
  return value + 0;
}

/** Without leading and trailing white space. `String.trim` keeps U+0085, which Unicode counts as white space. */
function trimmed(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && isWhiteSpace(text[start] as string)) start += 1;
  while (start < end && isWhiteSpace(text[end - 1] as string)) end -= 1;
  return text.slice(start, end);
}
const isWhiteSpace = (unit: string): boolean => /[\s\u0085]/.test(unit);

/** No valid value is longer than this, in any Unicode normalization form. */
const maxTrimmedLength = 1024;

function canonicalText(text: string, fail: Fail): string | undefined {
  // Checked first, because the time of normalizing grows with the square of the length.
  if (text.length > maxTrimmedLength) return fail('too_long', 'Is longer than any field allows.');
  if (!text.isWellFormed()) return fail('invalid_format', 'Must be well-formed Unicode.');
  return text.normalize('NFC');
}

function readText(
  field: FieldOf<'text' | 'choice' | FormatKind>,
  text: string,
  fail: Fail,
  referenceData: ReferenceData,
): string | undefined {
  if (field.required && !isVisible.test(text)) return fail('invalid_format', 'Must contain a visible character.');
  if (field.kind === 'text') return withinLength(text, field.max, fail);
  if (field.kind !== 'choice') return formats[field.kind](text, fail, referenceData);
  return field.values.includes(text) ? text : fail('invalid_value', `Must be one of ${field.values.join(', ')}.`);
}

/** Contains a character other than white space and characters that nothing is drawn for. */
const isVisible = /[^\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}\u2800\ufff9-\ufffc]/u;

const mustBeObject = 'Must be an object.';

/** A property name may be personal data, so the violation repeats the name only if it has the form of a field name. */
function unknownField(path: string, name: string): Violation {
  return /^[A-Za-z_][\w-]{0,63}$/.test(name)
    ? violation(join(path, name), 'unknown_field', 'Is not a field of this request.')
    : violation(path === '' ? 'body' : path, 'unknown_field', 'Has a property that is not a field of this request.');
}

type Loose = Readonly<Record<string, unknown>>;

/**
 * Applies a merge patch (RFC 7396) to a record: an absent field stays, null removes, groups merge. A field without a
 * value takes its fallback; a group that becomes empty is removed. The result has the order of the field table, so
 * equal records have equal JSON.
 */
export function merge<Table extends FieldTable>(
  table: Table,
  record: Partial<Values<Table>>,
  patch: Patch<Table>,
): Partial<Values<Table>> {
  const merged: Record<string, unknown> = {};
  for (const name in table) {
    const field = table[name] as Field;
    const [current, change] = [(record as Loose)[name], (patch as Loose)[name]];
    const value = field.kind === 'group' ? mergeGroup(field, current, change) : mergeScalar(field, current, change);
    if (value !== undefined) merged[name] = value;
  }
  return merged as Partial<Values<Table>>;
}

function mergeGroup(field: FieldOf<'group'>, current: unknown, change: unknown): unknown {
  const kept = change === null ? undefined : (current as Loose | undefined);
  if (kept === undefined && !change && !field.always) return undefined;
  const group = merge(field.fields, (kept ?? {}) as Partial<Values<FieldTable>>, (change ?? {}) as Patch<FieldTable>);
  // A group without values is itself no value. It stays if it is required or one of its members broke a rule: its
  // missing members are then reported too.
  const isReported = field.required || Object.values(change ?? {}).includes(undefined);
  return Object.keys(group).length > 0 || isReported ? group : undefined;
}

function mergeScalar(field: Field, current: unknown, change: unknown): unknown {
  const value = change === undefined ? current : (change ?? undefined);
  return value ?? ('fallback' in field ? field.fallback : undefined);
}

/** A violation for every required field without a value, including the fields of groups. */
export function missingFields(table: FieldTable, record: Loose, path: string): Violation[] {
  const violations: Violation[] = [];
  for (const name in table) {
    const field = table[name] as Field;
    const value = record[name];
    if (value === undefined) {
      if (field.required) violations.push(requiredViolation(join(path, name)));
    } else if (field.kind === 'group') {
      violations.push(...missingFields(field.fields, value as Loose, join(path, name)));
    }
  }
  return violations;
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);
