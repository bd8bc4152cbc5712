/** `import` of a CSV file with planted faults: exactly these are refused, each with its line and all its problems. */
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { deployment } from '../../../support/deployment.ts';

const rows = 5_000;

/** A fault: what it changes in a row, and how the row is then refused. The row before holds the values of a conflict. */
interface Fault {
  change(cells: Cells, before: Cells): Cells;
  readonly code: string;
  readonly errors?: readonly string[];
  readonly conflicts?: readonly string[];
}

interface Cells {
  readonly id: string;
  readonly email: string;
  readonly phone: string;
  readonly name: string;
  readonly street: string;
  readonly consent: string;
  readonly revision: string;
}

const email = 'customer.email USER_WITH_SAME_EMAIL_EXISTS';
const phone = 'customer.phoneNumber USER_WITH_SAME_PHONE_NUMBER_EXISTS';
const sameEmail = 'USER_WITH_SAME_EMAIL_EXISTS';

const faults: readonly Fault[] = [
  {
    change: (cells, before) => ({ ...cells, email: before.email.toUpperCase() }),
    code: sameEmail,
    conflicts: [email],
  },
  {
    change: (cells, before) => ({ ...cells, phone: before.phone.replace(/^0(\d{3})/, '+49 ($1) ') }),
    code: 'USER_WITH_SAME_PHONE_NUMBER_EXISTS',
    conflicts: [phone],
  },
  {
    change: (cells, before) => ({
      ...cells,
      email: before.email.replace('user', 'uSer'),
      phone: before.phone.replace(/^0(\d{3})/, '0049$1/'),
    }),
    code: sameEmail,
    conflicts: [email, phone],
  },
  {
    change: (cells) => ({
      ...cells,
      email: 'nope',
      phone: 'call me',
      name: 'x'.repeat(129),
      consent: 'maybe',
      revision: '-1',
    }),
    code: 'INVALID_REQUEST',
    errors: [
      'customer.email invalid_format',
      'customer.phoneNumber invalid_format',
      'customer.firstName too_long',
      'customer.privacy.emailConsent invalid_type',
      'sourceRevision invalid_type',
    ],
  },
  {
    change: (cells) => ({ ...cells, id: '' }),
    code: 'INVALID_REQUEST',
    errors: ['customer.externalIdentifier required'],
  },
  { change: (cells) => ({ ...cells, revision: '1;2' }), code: 'BAD_REQUEST' },
  { change: (cells) => ({ ...cells, name: '5" pipe' }), code: 'BAD_REQUEST' },
  { change: (cells) => ({ ...cells, name: `"${'y\r\n'.repeat(30_000)}"` }), code: 'PAYLOAD_TOO_LARGE' },
];

const header =
  'externalIdentifier;email;phoneNumber;firstName;primaryBillingAddress.street;privacy.emailConsent;sourceRevision';

const cellsOf = (index: number): Cells => ({
  id: `crm-${index}`,
  email: `user${index}@example.com`,
  phone: `0170${1_000_000 + index}`,
  name: 'Jö',
  street: `"Weg ${index}${index % 3 === 0 ? '\r\nHof ""A""' : ''}"`,
  consent: 'yes',
  revision: '1',
});

/** The file, and how its rows must be refused. */
function planted() {
  let text = `\ufeff${header}\r\n`;
  let line = 2;
  const refused: object[] = [];
  for (let index = 0; index < rows; index += 1) {
    const fault = index % 100 === 50 ? faults[((index - 50) / 100) % faults.length] : undefined;
    const cells = cellsOf(index);
    const row = Object.values(fault?.change(cells, cellsOf(index - 1)) ?? cells).join(';');
    if (fault !== undefined) {
      const { code, errors, conflicts } = fault;
      const holder = `crm-${index - 1}`;
      const of = conflicts?.map((conflict) => `${conflict} ${holder}`);
      refused.push({ line, code, ...(errors && { errors }), ...(of && { conflicts: of }) });
    }
    const end = index % 1_000 === 7 ? '\r\n\r\n;;;;;;\r\n' : '\r\n';
    text += row + end;
    line += (row + end).split('\n').length - 1;
  }
  return { text, refused };
}

t.test('exactly the planted faults are refused', async (t) => {
  const { beside, command } = deployment(t);
  const { text, refused } = planted();
  writeFileSync(beside('a.csv'), text);
  const [report, exported] = [beside('report.ndjson'), beside('export.ndjson')];
  const defaults = [
    'primaryBillingAddress.countryCode=DE',
    'claimedRegion.countryCode=DE',
    'claimedRegion.languageCode=de',
  ];
  const given = defaults.flatMap((one) => ['--default', one]);
  await command('tenant', 'add', 'acme');
  const { code, value } = await command('import', beside('a.csv'), '--tenant', 'acme', '--report', report, ...given);
  t.match({ code, value }, { code: 1, value: { created: rows - refused.length, refused: refused.length } });

  await command('export', '--tenant', 'acme', '--output', exported);
  const ids = new Map(
    linesOf(exported).map(({ customerUrn, externalIdentifier }) => [customerUrn, externalIdentifier]),
  );
  const seen = linesOf(report).map(({ line, status: { messageCode, errors, conflicts } }) => ({
    line,
    code: messageCode,
    ...(errors && { errors: errors.map((one: Named) => `${one.field} ${one.code}`) }),
    ...(conflicts && {
      conflicts: conflicts.map((one: Named) => `${one.field} ${one.messageCode} ${ids.get(one.customerUrn)}`),
    }),
  }));
  t.equal(refused.length, 50);
  t.strictSame(
    seen.sort((one, other) => one.line - other.line),
    refused,
  );
});

type Named = Readonly<Record<'field' | 'code' | 'messageCode' | 'customerUrn', string>>;

// biome-ignore lint/suspicious/noExplicitAny: the assertions say what it must be.
const linesOf = (file: string): any[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
