/** Translates the domain's fields (`domain/field-schema.ts`) into JSON Schema. */
import { type TSchema, Type } from '@sinclair/typebox';
import { type Field, type FieldTable, maxCaseNumberLength, maxExternalIdLength } from '../domain/field-schema.ts';

export type Properties = Record<string, TSchema>;

/** `patch`: the body of an update, where null removes a field; `request`: any other request; `record`: a response. */
type Use = 'request' | 'patch' | 'record';

export const urnPattern = '^cu\\.\\d{2}\\.(0|[1-9]\\d*)$';
export const timestampSchema = Type.String({ format: 'date-time', description: 'ISO 8601, UTC, milliseconds.' });

/** An object with these members and no others. */
export const closedObject = <Members extends Properties>(members: Members, options: object = {}) =>
  Type.Object(members, { additionalProperties: false, ...options });

/**
 * The members of an object with these fields.
 *
 * @param isOptionalGroup whether the fields belong to an optional group. A `patch` may remove such a group, so even its
 *   required fields accept null.
 */
export function membersOf(table: FieldTable, use: Use, isOptionalGroup = false): Properties {
  const properties = Object.entries(table).map(([name, field]): [string, TSchema] => {
    const schema = fieldSchema(field, use);
    if (use === 'patch') {
      return [name, Type.Optional(field.required && !isOptionalGroup ? schema : Type.Union([schema, Type.Null()]))];
    }
    const isPresent = field.required || (use === 'record' && ('fallback' in field || 'always' in field));
    return [name, isPresent ? schema : Type.Optional(schema)];
  });
  return Object.fromEntries(properties);
}

export function fieldSchema(field: Field, use: Use): TSchema {
  const description = field.about;
  switch (field.kind) {
    case 'group':
      return closedObject(membersOf(field.fields, use, !field.required), { description });
    case 'flag':
      return Type.Boolean({ description, ...fallback(field, use) });
    case 'choice':
      return Type.String({ enum: field.values, description, ...fallback(field, use) });
    case 'text':
      return Type.String({ maxLength: field.max, description });
    case 'externalId':
    case 'externalReference':
      return Type.String({ minLength: 1, maxLength: maxExternalIdLength, description });
    case 'customerUrn':
      return Type.String({ pattern: urnPattern, description });
    case 'caseNumber':
      return Type.String({ pattern: '^[\\x21-\\x7e]+$', maxLength: maxCaseNumberLength, description });
    case 'email':
      return Type.String({ maxLength: 254, description });
    case 'phoneNumber':
      return Type.String({ ...(use === 'record' ? { pattern: '^\\+\\d{2,15}$' } : { maxLength: 40 }), description });
    case 'countryCode':
      return Type.String({ pattern: use === 'record' ? '^[A-Z]{2}$' : '^[A-Za-z]{2}$', description });
    case 'languageCode':
      return Type.String({ pattern: use === 'record' ? '^[a-z]{2}$' : '^[A-Za-z]{2}$', description });
  }
}

const fallback = (field: { readonly fallback?: unknown }, use: Use) =>
  use === 'request' && field.fallback !== undefined ? { default: field.fallback } : {};
