import t from 'tap';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { exactlyOneReference, parseReference } from '../../src/application/customer-reference.ts';
import { violation } from '../../src/domain/violations.ts';

const referenceData = createReferenceData();

t.test('a text names a customer by CustomerUrn or ExternalId', async (t) => {
  const cases: [text: string, reference: object | undefined][] = [
    ['cu.00.482', { urn: 'cu.00.482' }],
    [' cu.00.482\n', { urn: 'cu.00.482' }],
    ['anonymized-cu.00.482', { urn: 'cu.00.482' }],
    ['crm-1', { externalId: 'crm-1' }],
    ['  crm 1 ', { externalId: 'crm 1' }],
    ['e\u0301', { externalId: '\u00e9' }],
    ['CU.00.482', { externalId: 'CU.00.482' }],
    ['anonymized-crm-1', { externalId: 'anonymized-crm-1' }],
    ['x'.repeat(128), { externalId: 'x'.repeat(128) }],
    ['cu.00.0482', undefined],
    ['cu.x', undefined],
    ['', undefined],
    [' ', undefined],
    ['a\u0000b', undefined],
    ['x'.repeat(129), undefined],
  ];
  for (const [text, reference] of cases) t.strictSame(parseReference(text, referenceData), reference, text);
});

t.test('exactly one reference is accepted', async (t) => {
  const read = (given: object, violations = [violation('other', 'required', 'Is required.')]) => {
    const reference = exactlyOneReference(given, violations);
    return { reference, violations: violations.map(({ field, code }) => `${field}: ${code}`) };
  };
  const earlier = 'other: required';
  t.strictSame(read({ customerUuid: 'cu.00.1' }), { reference: { urn: 'cu.00.1' }, violations: [earlier] });
  t.strictSame(read({ externalIdentifier: 'crm-1', customerUrn: null }), {
    reference: { externalId: 'crm-1' },
    violations: [earlier],
  });
  for (const given of [{}, { customerUuid: null }, { customerUuid: 'cu.00.1', customerUrn: 'cu.00.1' }]) {
    const violations = [earlier, 'customerUuid: exactly_one'];
    t.strictSame(read(given), { reference: undefined, violations }, JSON.stringify(given));
  }
  // A field that was sent and refused has the value undefined.
  const refused = () => [violation('customerUrn', 'invalid_format', 'Must be a CustomerUrn.')];
  t.strictSame(read({ customerUrn: undefined }, refused()), {
    reference: undefined,
    violations: ['customerUrn: invalid_format'],
  });
  t.strictSame(read({ externalIdentifier: 'crm-1', customerUrn: undefined }, refused()), {
    reference: undefined,
    violations: ['customerUrn: invalid_format', 'customerUuid: exactly_one'],
  });
});
