/** The schemas of request bodies. Like all request schemas they are only documentation; see `operation-schemas.ts`. */
import { type TSchema, Type } from '@sinclair/typebox';
import { type Field, type FieldTable, required } from '../domain/field-schema.ts';
import { closedObject, membersOf, type Properties } from './field-schemas.ts';
import { ndjsonType } from './streaming.ts';

/** Examples by name, under the keyword that @fastify/swagger reads. */
export const examples = (values: Record<string, unknown>) => ({
  'x-examples': Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }])),
});

/** The schema of a request body, with its example. */
export const bodySchema = (members: Properties, sample: object): TSchema => closedObject(members, examples({ sample }));

/** The schema of a body of NDJSON. @param lines the lines of the example */
export const linesBodySchema = (lines: readonly object[]) => ({
  content: {
    [ndjsonType]: {
      schema: Type.String(examples({ sample: lines.map((line) => `${JSON.stringify(line)}\n`).join('') })),
    },
  },
});

/**
 * The schema of a request body with the fields of `table`, but exactly one of `identifiers`: one closed object for each
 * identifier. (One object with a `oneOf` of `required` lists would let callers of generated clients send `{}`.)
 */
export function identifiedBodySchema(
  operationId: string,
  table: FieldTable,
  identifiers: FieldTable,
  sample: object,
): TSchema {
  const others = Object.fromEntries(Object.entries(table).filter(([name]) => !(name in identifiers)));
  const forms = Object.entries(identifiers).map(([name, field]) => [name, { [name]: field, ...others }]);
  return alternativesSchema(operationId, Object.fromEntries(forms), sample);
}

/**
 * The schema of a request body that has one of several forms: one closed object for each.
 *
 * @param forms the fields of each form, by the name of the one that is required
 */
export function alternativesSchema(
  operationId: string,
  forms: Readonly<Record<string, FieldTable>>,
  sample: object,
): TSchema {
  const alternatives = Object.entries(forms).map(([name, fields]): [string, Properties] => [
    name,
    membersOf({ ...fields, [name]: required(fields[name] as Field) }, 'request'),
  ]);
  return oneOfSchema(operationId, Object.fromEntries(alternatives), sample);
}

/** Like {@link alternativesSchema}, with the members of each form as schemas. */
export function oneOfSchema(operationId: string, forms: Readonly<Record<string, Properties>>, sample: object): TSchema {
  const alternatives = Object.entries(forms).map(([name, members]) =>
    // Generators name a type after its title.
    closedObject(members, { title: `${operationId} by ${name}` }),
  );
  return Type.Unsafe({ oneOf: alternatives, ...examples({ sample }) });
}
