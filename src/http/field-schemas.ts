/** Translates the domain's fields (`domain/field-schema.ts`) into JSON Schema. */
import { type TSchema, Type } from '@sinclair/typebox';
import type { Field, FieldTable } from '../domain/field-schema.ts';
import {
  maxAsciiIdentifierLength,
  maxCursorLength,
  maxEventLimit,
  maxExternalIdLength,
  maxPageLimit,
  maxPhoneNumberLength,
  maxWaitSeconds,
} from '../domain/text-formats.ts';

export type Properties = Record<string, TSchema>;

/** `patch`: the body of an update, where null removes a field; `request`: any other body; `query`; `record`: a response. */
type Use = 'request' | 'patch' | 'query' | 'record';

export const urnPattern = '^cu\\.\\d{2}\\.(0|[1-9]\\d*)$';
export const timestampSchema = Type.String({ format: 'date-time', description: 'ISO 8601, UTC, milliseconds.' });

/** An object with these members and no others. */
export const closedObject = <Members extends Properties>(members: Members, options: object = {}) =>
  Type.Object(members, { additionalProperties: false, ...options });

/** A schema of one `type` that accepts null too. */
function nullable(schema: TSchema): TSchema {
  const { type, enum: values } = schema;
  return Type.Unsafe({ ...schema, type: [type, 'null'], ...(values && { enum: [...values, null] }) });
}

/**
 * The members of an object with these fields. In a body, a field that needs no value accepts null.
 *
 * @param isOptionalGroup whether the fields belong to an optional group. A `patch` may remove such a group, so even its
 *   required fields accept null.
 */
export function membersOf(table: FieldTable, use: Use, isOptionalGroup = false): Properties {
  const isBody = use === 'request' || use === 'patch';
  const properties = Object.entries(table).map(([name, field]): [string, TSchema] => {
    const isRequired = field.required && !(use === 'patch' && isOptionalGroup);
    const schema = isBody && !isRequired ? nullable(fieldSchema(field, use)) : fieldSchema(field, use);
    const isPresent = use !== 'patch' && (field.required || (use === 'record' && hasFallback(field)));
    return [name, isPresent ? schema : Type.Optional(schema)];
  });
  return Object.fromEntries(properties);
}

const hasFallback = (field: Field): boolean => 'fallback' in field || 'always' in field;

export function fieldSchema(field: Field, use: Use): TSchema {
  const description = describe(field, use);
  switch (field.kind) {
    case 'group':
      return closedObject(membersOf(field.fields, use, !field.required), { description });
    case 'flag':
      return Type.Boolean({ description });
    case 'revision':
      return Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });
    case 'choice':
      return Type.String({ enum: field.values, description });
    case 'text':
      return Type.String({ maxLength: field.max, description });
    case 'externalId':
    case 'externalReference':
      return Type.String({ minLength: 1, maxLength: maxExternalIdLength, description });
    case 'customerUrn':
      return Type.String({ pattern: urnPattern, description });
    case 'asciiIdentifier':
      return Type.String({ pattern: '^[\\x21-\\x7e]+$', maxLength: maxAsciiIdentifierLength, description });
    case 'pageLimit':
      return Type.Integer({ minimum: 1, maximum: maxPageLimit, description });
    case 'eventLimit':
      return Type.Integer({ minimum: 1, maximum: maxEventLimit, description });
    case 'waitSeconds':
      return Type.Integer({ minimum: 0, maximum: maxWaitSeconds, description });
    case 'cursor':
      return Type.String({ pattern: '^[A-Za-z0-9_-]+$', maxLength: maxCursorLength, description });
    case 'email':
      return Type.String({ maxLength: 254, description });
    case 'phoneNumber':
      return Type.String({
        ...(use === 'record' ? { pattern: '^\\+\\d{2,15}$' } : { maxLength: maxPhoneNumberLength }),
        description,
      });
    case 'countryCode':
      return Type.String({ pattern: use === 'record' ? '^[A-Z]{2}$' : '^[A-Za-z]{2}$', description });
    case 'languageCode':
      return Type.String({ pattern: use === 'record' ? '^[a-z]{2}$' : '^[A-Za-z]{2}$', description });
  }
}

/** The fallback is only in the text: generators take a field with the keyword `default` for one that callers must send. */
const describe = (field: Field, use: Use): string =>
  use !== 'record' && 'fallback' in field ? `${field.about} Default: ${field.fallback}.` : field.about;
