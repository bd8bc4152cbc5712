/** Customers with recognisable values in every field, and the search for these values in bytes. */
import { customerFields } from '../../src/domain/customer.ts';
import type { Field, FieldTable } from '../../src/domain/field-schema.ts';
import { occurrences } from './bytes.ts';

/** Part of every submitted text. In lower case, so that canonical forms contain it too. */
export const mark = 'zqxmarkq';

/** A customer with a value in every field, made from the field table, so that new fields are covered. */
export const markedCustomer = (index: number) => markedGroup(customerFields, index);

const markedGroup = (table: FieldTable, index: number): Record<string, unknown> =>
  Object.fromEntries(Object.entries(table).map(([name, field]) => [name, markedValue(name, field, index)]));

function markedValue(name: string, field: Field, index: number): unknown {
  switch (field.kind) {
    case 'text':
      return `${mark} ${name} ${index}`.slice(0, field.max);
    case 'choice':
      return field.values.at(-1);
    case 'flag':
      return true;
    case 'email':
      return `${mark}.${index}@example.com`;
    case 'phoneNumber':
      return `+49 170 555${String(index).padStart(5, '0')}`;
    case 'countryCode':
      return 'DE';
    case 'languageCode':
      return 'de';
    case 'group':
      return markedGroup(field.fields, index);
    default:
      return `${mark}-${index}`;
  }
}

/** Parts of personal data, as submitted and in canonical form. */
export const personalMarks = [mark, '+49 170 555', '49170555'];
/** Parts of all submitted values, retained fields included. Two-letter codes are too short to search for. */
export const valueMarks = [...personalMarks, 'Unspecified', 'Blocked', 'Corporate'];
/** The names of some fields too, which occur beside their values. */
export const allMarks = [...valueMarks, 'emailConsent', 'countryCode'];

/** The marks that occur in the bytes, plain or in a common encoding, as `<mark> in <encoding>`. */
export function marksIn(bytes: Buffer | string, marks: readonly string[] = allMarks): string[] {
  const haystack = Buffer.from(bytes as Buffer);
  return marks.flatMap((mark) =>
    Object.entries(encodings(mark))
      .filter(([, wanted]) => wanted.some((one) => occurrences(haystack, one) > 0))
      .map(([encoding]) => `${mark} in ${encoding}`),
  );
}

function encodings(text: string): Record<string, Buffer[]> {
  const utf8 = Buffer.from(text);
  return {
    utf8: [utf8, Buffer.from(text.toUpperCase())],
    utf16: [Buffer.from(text, 'utf16le'), Buffer.from(text, 'utf16le').swap16()],
    hex: [Buffer.from(utf8.toString('hex')), Buffer.from(utf8.toString('hex').toUpperCase())],
    base64: [0, 1, 2].map((offset) => base64At(offset, utf8)),
    numbers: [Buffer.from([...utf8].join())],
    'a URL': [Buffer.from(encodeURIComponent(text))],
  };
}

/** The base64 characters that depend on this text alone, when `offset` bytes (modulo 3) precede it. */
function base64At(offset: number, text: Buffer): Buffer {
  const encoded = Buffer.concat([Buffer.alloc(offset), text])
    .toString('base64')
    .replaceAll('=', '');
  const certain = Math.floor(((offset + text.length) * 8) / 6);
  return Buffer.from(encoded.slice(Math.ceil((offset * 8) / 6), certain));
}
