/** Customers whose every value can be told from anything else, and the search for such values in bytes. */
import { customerFields } from '../../src/domain/customer.ts';
import type { Field, FieldTable } from '../../src/domain/field-schema.ts';
import { occurrences } from './bytes.ts';

/** Part of every text that is submitted. In lower case, so that a canonical form holds it too. */
export const mark = 'zqxmarkq';

/** A customer with a value in every field there is, made from the table of fields: a field that is added is marked too. */
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

/** What names a person, as it was submitted and in its canonical form. */
export const personalMarks = [mark, '+49 170 555', '49170555'];
/** Everything else that was submitted, what outlives deletion included; codes of two letters are too short to look for. */
export const allMarks = [...personalMarks, 'Unspecified', 'Blocked', 'emailConsent', 'Corporate', 'countryCode'];

/** Every mark that bytes hold, in plain or in an encoding that hides it from the eye alone. */
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

/** The characters of base64 that depend on this text alone, where so many bytes modulo 3 precede it. */
function base64At(offset: number, text: Buffer): Buffer {
  const encoded = Buffer.concat([Buffer.alloc(offset), text])
    .toString('base64')
    .replaceAll('=', '');
  const certain = Math.floor(((offset + text.length) * 8) / 6);
  return Buffer.from(encoded.slice(Math.ceil((offset * 8) / 6), certain));
}
