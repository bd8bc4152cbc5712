/** Arbitrary requests and records, derived from the field tables, so that new fields are covered too. */
import fc from 'fast-check';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { applyChange, type CustomerContent, customerFields, storeFields } from '../../src/domain/customer.ts';
import { type Field, type FieldTable, type Patch, readPatch } from '../../src/domain/field-schema.ts';
import { maxEventLimit, maxPageLimit, maxWaitSeconds } from '../../src/domain/text-formats.ts';
import type { Violation } from '../../src/domain/violations.ts';

export const referenceData = createReferenceData();

/** Parses input by a field table; violations as `field: code`. */
export function read<Table extends FieldTable>(table: Table, input: unknown) {
  const found: Violation[] = [];
  const patch = readPatch(table, input, '', referenceData, found);
  return { patch, found, violations: found.map(({ field, code }) => `${field}: ${code}`) };
}

/** Text with combining, wide and invisible characters, of at most `max` code points after normalisation. */
const texts = (max: number) =>
  fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: Math.min(max, 20) })
    .filter((text) => text.trim() !== '' && [...text.normalize('NFC')].length <= max);

const emails = fc
  .tuple(fc.stringMatching(/^[A-Za-z0-9äÖ+_-]{1,20}$/), fc.constantFrom('example.com', 'EXAMPLE.org', 'bücher.example'))
  .map((parts) => parts.join('@'));

/** Written with a country code: a national number is possible in some countries only. */
export const phoneNumbers = fc
  .tuple(fc.constantFrom('+49 170 ', '+49-170-', '(+49) (0)170.', '+49170'), fc.nat({ max: 9_999_999 }))
  .map(([prefix, number]) => prefix + String(number).padStart(7, '1'));

function arbitraryOf(field: Field, nullable: boolean): fc.Arbitrary<unknown> {
  switch (field.kind) {
    case 'text':
      return texts(field.max);
    case 'revision':
      return fc.maxSafeNat();
    case 'choice':
      return fc.constantFrom(...field.values);
    case 'flag':
      return fc.boolean();
    case 'externalId':
    case 'externalReference':
      return texts(100).filter((text) => !/\p{Cc}/u.test(text) && !/^\s*(?:cu\.|anonymized-)/.test(text));
    case 'asciiIdentifier':
      return fc.stringMatching(/^[!-~]{1,64}$/);
    case 'customerUrn':
      return fc.nat().map((sequence) => `cu.00.${sequence}`);
    case 'pageLimit':
      return fc.integer({ min: 1, max: maxPageLimit }).map(String);
    case 'eventLimit':
      return fc.integer({ min: 1, max: maxEventLimit }).map(String);
    case 'waitSeconds':
      return fc.integer({ min: 0, max: maxWaitSeconds }).map(String);
    case 'cursor':
      return fc.stringMatching(/^[\w-]{1,128}$/);
    case 'email':
      return emails;
    case 'phoneNumber':
      return phoneNumbers;
    case 'countryCode':
      return fc.constantFrom('DE', 'de', 'FR', 'Tr', 'US');
    case 'languageCode':
      return fc.constantFrom('de', 'EN', 'tr');
    case 'group':
      return membersOf(field.fields, nullable);
  }
}

function membersOf(table: FieldTable, nullable: boolean): fc.Arbitrary<Record<string, unknown>> {
  const names = Object.keys(table);
  const members = names.map((name) => {
    const value = arbitraryOf(table[name] as Field, nullable);
    return [name, nullable ? fc.option(value) : value] as const;
  });
  const requiredKeys = nullable ? [] : names.filter((name) => table[name]?.required);
  return fc.record(Object.fromEntries(members), { requiredKeys });
}

/** The body of a store in which every field rule is kept. */
export const storeBodies = membersOf(storeFields, false).map((body) => {
  const customer = body.customer as Record<string, unknown>;
  const lacksCompany = customer.legalType === 'Corporate' && customer.corporationInfo === undefined;
  return lacksCompany ? { ...body, customer: { ...customer, corporationInfo: { companyName: 'ACME' } } } : body;
});

/** Any change: fields left out, given or null, at every level. It may break a rule of the merged record. */
export const changes = membersOf(
  { customer: { ...storeFields.customer }, claimedRegion: storeFields.claimedRegion },
  true,
)
  .filter((body) => body.customer !== null)
  .map((body) => read(storeFields, body).patch as Patch<typeof storeFields>);

/** A record as a store makes it. */
export const records: fc.Arbitrary<CustomerContent> = storeBodies
  .map((body) => applyChange(undefined, read(storeFields, body).patch, referenceData))
  .filter((parsed) => parsed.ok)
  .map((parsed) => (parsed as { value: CustomerContent }).value);

/** Any string that holds the mark, in every field that can hold a string; choices and flags at any value. */
export function markedRecords(mark: string): fc.Arbitrary<Record<string, unknown>> {
  const marked = (field: Field): fc.Arbitrary<unknown> => {
    if (field.kind === 'group') return fc.record(Object.fromEntries(entries(field.fields)));
    if (field.kind === 'flag') return fc.boolean();
    if (field.kind === 'choice') return fc.constantFrom(...field.values);
    if (field.kind === 'countryCode' || field.kind === 'languageCode') return arbitraryOf(field, false);
    return fc.string().map((text) => `${text}${mark}`);
  };
  const entries = (table: FieldTable) => Object.entries(table).map(([name, field]) => [name, marked(field)] as const);
  const optional = Object.entries(customerFields).filter(([, field]) => !('fallback' in field || 'always' in field));
  const certain = Object.keys(customerFields).filter((name) => !optional.some(([other]) => other === name));
  return fc.record(Object.fromEntries(entries(customerFields)), { requiredKeys: certain });
}
