/**
 * How a field is described, read and merged. A record is a table of fields; its TypeScript type, its JSON schema
 * (`http/schemas.ts`), the parser, the merge and the columns' content all derive from that one table.
 */
import { canonicalEmail, isReservedExternalId, parseCustomerUrn } from './identity.ts';
import type { ReferenceData } from './reference-data.ts';
import type { Violation, ViolationCode } from './violations.ts';

interface Described {
  /** One sentence for the published documentation. */
  readonly about: string;
  readonly required?: true;
}
interface TextField extends Described {
  readonly kind: 'text';
  /** In characters (code points), after trimming. */
  readonly max: number;
}
interface FormatField extends Described {
  readonly kind: FormatKind;
}
/** `externalId` is one to be stored; `externalReference` names a stored one, and merely finds nothing where reserved. */
type FormatKind =
  | 'externalId'
  | 'externalReference'
  | 'customerUrn'
  | 'email'
  | 'phoneNumber'
  | 'countryCode'
  | 'languageCode';
interface ChoiceField<Value extends string = string> extends Described {
  readonly kind: 'choice';
  readonly values: readonly Value[];
  readonly fallback?: Value;
}
interface FlagField extends Described {
  readonly kind: 'flag';
  readonly fallback: false;
}
interface GroupField<Table extends FieldTable = FieldTable> extends Described {
  readonly kind: 'group';
  readonly fields: Table;
  /** Present even where the caller says nothing: its members all have a fallback. */
  readonly always?: true;
}
export type Field = TextField | FormatField | ChoiceField | FlagField | GroupField;
export interface FieldTable {
  readonly [name: string]: Field;
}

export const text = (max: number, about: string) => ({ kind: 'text', max, about }) as const;
export const format = <const Kind extends FormatKind>(kind: Kind, about: string) => ({ kind, about }) as const;
export const choice = <const Value extends string>(values: readonly Value[], about: string) =>
  ({ kind: 'choice', values, about }) as const;
export const flag = (about: string) => ({ kind: 'flag', fallback: false, about }) as const;
export const group = <const Table extends FieldTable>(fields: Table, about: string) =>
  ({ kind: 'group', fields, about }) as const;
export const required = <const F extends Field>(field: F) => ({ ...field, required: true }) as const;

type Value<F extends Field> =
  F extends GroupField<infer Table>
    ? Values<Table>
    : F extends ChoiceField<infer Choice>
      ? Choice
      : F extends FlagField
        ? boolean
        : string;
type Certain = { readonly required: true } | { readonly fallback: unknown } | { readonly always: true };
/** The canonical record: what is required or has a fallback is there, the rest is left out where it has no value. */
export type Values<Table extends FieldTable> = {
  readonly [Name in keyof Table as Table[Name] extends Certain ? Name : never]: Value<Table[Name]>;
} & {
  readonly [Name in keyof Table as Table[Name] extends Certain ? never : Name]?: Value<Table[Name]>;
};
/** A change to a record (RFC 7396): absent leaves alone, null removes, groups merge. */
export type Patch<Table extends FieldTable> = {
  readonly [Name in keyof Table]?:
    | (Table[Name] extends GroupField<infer Inner> ? Patch<Inner> : Value<Table[Name]>)
    | null;
};

export const isObject = (input: unknown): input is Readonly<Record<string, unknown>> =>
  typeof input === 'object' && input !== null && !Array.isArray(input);

/** At most so many unknown properties are listed for one object, so that an answer cannot dwarf its request. */
const maxUnknownListed = 100;

/**
 * Reads an object by its table into a canonical patch. Every problem is reported, in the table's order, then
 * unknown properties in theirs. Strings are put in NFC and trimmed; one that is empty then counts as absent.
 * A phone number is only checked for its characters: what it means depends on the country (see `customer.ts`).
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
    const at = join(path, name);
    const value = given === null ? null : read(table[name] as Field, given, at, referenceData, violations);
    if (value !== undefined) patch[name] = value;
  }
  const unknown = Object.keys(input).filter((name) => !Object.hasOwn(table, name));
  for (const name of unknown.slice(0, maxUnknownListed)) violations.push(unknownField(path, name));
  return patch as Patch<Table>;
}

function read(
  field: Field,
  given: unknown,
  at: string,
  referenceData: ReferenceData,
  violations: Violation[],
): unknown {
  const fail = (code: ViolationCode, message: string): undefined => {
    violations.push(violation(at, code, message));
  };
  if (field.kind === 'group') {
    return isObject(given)
      ? readPatch(field.fields, given, at, referenceData, violations)
      : fail('invalid_type', mustBeObject);
  }
  if (field.kind === 'flag') {
    return typeof given === 'boolean' ? given : fail('invalid_type', 'Must be true or false.');
  }
  if (typeof given !== 'string') return fail('invalid_type', 'Must be a string.');
  const trimmed = given.trim();
  if (trimmed === '') return undefined;
  // Before anything looks at it: normalising takes time that grows with the square of the length.
  if (trimmed.length > maxTrimmedLength) return fail('too_long', 'Is far too long.');
  if (!trimmed.isWellFormed()) return fail('invalid_format', 'Must be well-formed Unicode.');
  // Composing can leave white space at an end.
  const value = trimmed.normalize('NFC').trim();
  switch (field.kind) {
    case 'text':
      return longerThan(value, field.max) ? tooLong(fail, field.max) : value;
    case 'choice':
      return field.values.includes(value) ? value : fail('invalid_value', `Must be one of ${field.values.join(', ')}.`);
    case 'externalId':
    case 'externalReference':
      if (longerThan(value, maxExternalIdLength)) return tooLong(fail, maxExternalIdLength);
      if (hasControlCharacter.test(value)) return fail('invalid_format', 'Must not hold control characters.');
      return field.kind === 'externalId' && isReservedExternalId(value)
        ? fail('reserved', 'Must not begin with "cu." or "anonymized-": those are ours.')
        : value;
    case 'customerUrn':
      return parseCustomerUrn(value) ?? fail('invalid_format', 'Must be a CustomerUrn such as cu.00.482.');
    case 'email':
      return canonicalEmail(value, referenceData) === undefined
        ? fail('invalid_format', 'Must be an e-mail address (RFC 5321) of at most 254 bytes.')
        : value;
    case 'phoneNumber':
      return phoneCharacters.test(value)
        ? value
        : fail('invalid_format', 'Must be a phone number: digits, with "+", spaces, dots, dashes and brackets.');
    case 'countryCode':
      return referenceData.countryCode(value) ?? fail('invalid_value', 'Must be an ISO 3166-1 alpha-2 country code.');
    case 'languageCode':
      return referenceData.languageCode(value) ?? fail('invalid_value', 'Must be an ISO 639-1 language code.');
  }
}

/** No field needs more, in any way to write it. */
const maxTrimmedLength = 1024;
const mustBeObject = 'Must be an object.';
export const maxExternalIdLength = 128;
const hasControlCharacter = /\p{Cc}/u;
/** What people write numbers with. E.164 has at most 15 digits; 40 leaves room for their punctuation. */
const phoneCharacters = /^(?=.{1,40}$)[([]?\+?[\d .()[\]-]+$/;

/** Counts code points, as JSON Schema's `maxLength` does, but only where UTF-16 units leave it open. */
function longerThan(value: string, max: number): boolean {
  return value.length > max && (value.length > 2 * max || [...value].length > max);
}

const tooLong = (fail: (code: ViolationCode, message: string) => undefined, max: number): undefined =>
  fail('too_long', `Must be at most ${max} characters.`);

/** A property's name may be personal data too, so only one that looks like a field's name is repeated. */
function unknownField(path: string, name: string): Violation {
  return /^[A-Za-z_][\w-]{0,63}$/.test(name)
    ? violation(join(path, name), 'unknown_field', 'Is not a field of this request.')
    : violation(path === '' ? 'body' : path, 'unknown_field', 'Holds a property that is not a field of this request.');
}

/**
 * Applies a patch to a record by RFC 7396: what is absent stays, null removes, groups merge. A field that has a
 * fallback and no value takes its fallback; a group that is left empty goes. The result has the table's order, so
 * equal records have equal JSON.
 */
export function merge<Table extends FieldTable>(
  table: Table,
  record: Partial<Values<Table>>,
  patch: Patch<Table>,
): Partial<Values<Table>> {
  const merged: Record<string, unknown> = {};
  for (const name in table) {
    const value = mergedValue(table[name] as Field, (record as Loose)[name], (patch as Loose)[name]);
    if (value !== undefined) merged[name] = value;
  }
  return merged as Partial<Values<Table>>;
}

type Loose = Readonly<Record<string, unknown>>;

function mergedValue(field: Field, current: unknown, change: unknown): unknown {
  if (field.kind === 'group') {
    const kept = change === null ? undefined : (current as Loose | undefined);
    if (kept === undefined && !change && !field.always) return undefined;
    const group = merge(field.fields, (kept ?? {}) as Partial<Values<FieldTable>>, (change ?? {}) as Patch<FieldTable>);
    // A group sent as {} where there is none stays, so that its missing members are reported. One whose members are
    // all null removes what is not there, so that applying a change twice is applying it once.
    const sentEmpty = kept === undefined && isObject(change) && Object.keys(change).length === 0;
    return Object.keys(group).length > 0 || sentEmpty ? group : undefined;
  }
  const value = change === undefined ? current : (change ?? undefined);
  return value ?? ('fallback' in field ? field.fallback : undefined);
}

/** A problem for every required field that has no value, groups included. */
export function missingFields(table: FieldTable, record: Loose, path: string): Violation[] {
  const violations: Violation[] = [];
  for (const name in table) {
    const field = table[name] as Field;
    const value = record[name];
    if (value === undefined) {
      if (field.required) violations.push(isRequired(join(path, name)));
    } else if (field.kind === 'group') {
      violations.push(...missingFields(field.fields, value as Loose, join(path, name)));
    }
  }
  return violations;
}

export const violation = (field: string, code: ViolationCode, message: string): Violation => ({ field, code, message });
export const isRequired = (field: string): Violation => violation(field, 'required', 'Is required.');

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);
