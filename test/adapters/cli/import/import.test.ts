/** `import`, beside a running server or without one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { deployment } from '../../../support/deployment.ts';
import { c2a, start } from '../../../support/process.ts';

const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
const region = ['--default', 'claimedRegion.countryCode=DE', '--default', 'claimedRegion.languageCode=de'];
const none = { created: 0, updated: 0, unchanged: 0, stale: 0, erased: 0, refused: 0 };
const main = join(import.meta.dirname, '../../../../src/main.ts');
const success = { messageCode: 'SUCCESS' };

/** A deployment with the tenant acme. */
async function prepared(t: Test, made = deployment(t)) {
  const { beside, dataDir, command } = made;
  await command('tenant', 'add', 'acme');
  let reports = 0;
  const words = (name: string, more: readonly string[]) => ['import', beside(name), '--tenant', 'acme', ...more];
  return {
    ...made,
    at: ['--data-dir', dataDir],
    write: (name: string, content: string | Buffer) => writeFileSync(beside(name), content),
    /** The exit code, the summary and the lines of the report. */
    async imports(name: string, ...more: string[]) {
      reports += 1;
      const report = beside(`report-${reports}.ndjson`);
      const { code, value, stderr } = await command(...words(name, more), '--report', report);
      return { code, value, stderr, lines: linesOf(report) };
    },
    /** The result of a command that must fail before it imports. */
    fails: (name: string, ...more: string[]) => c2a([...words(name, more), '--data-dir', dataDir]),
    async customers() {
      const output = beside(`export-${reports}.ndjson`);
      await command('export', '--tenant', 'acme', '--output', output, '--force');
      return linesOf(output).slice(0, -1);
    },
  };
}

// biome-ignore lint/suspicious/noExplicitAny: assertions say what it must be.
const linesOf = (file: string): any[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

const ndjson = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const row = (id: string, customer: object = {}) => ({
  customer: { externalIdentifier: id, ...customer },
  claimedRegion,
});

t.test('NDJSON with the rows of a sync, of a delete and of an export, beside a server', async (t) => {
  const made = deployment(t);
  const server = await made.serve();
  const { imports, write, command } = await prepared(t, made);
  write('a.ndjson', ndjson([row('crm-1', { email: 'jane@example.com' }), { ...row('crm-2'), sourceRevision: 7 }]));
  t.match(await imports('a.ndjson'), {
    code: 0,
    value: { ...none, created: 2, codes: {}, status: success },
    lines: [],
  });
  const found = await server.info({ exId: 'crm-1' });
  t.match(found, { status: 200, result: { email: 'jane@example.com' } });
  const { value: history } = await command('customer', 'history', '--tenant', 'acme', '--external-id', 'crm-1');
  t.match(history.changes, [{ actor: { keyId: 'c2a import', requestId: /^[\da-f-]{36}$/ } }]);

  const { text } = await server.export();
  write('b.ndjson', `${text}${ndjson([{ delete: { externalIdentifier: 'crm-2', sourceRevision: 6 } }, row('crm-3')])}`);
  t.match(await imports('b.ndjson'), { code: 0, value: { ...none, unchanged: 2, stale: 1, created: 1 } });
  write('c.ndjson', ndjson([{ delete: { externalIdentifier: 'crm-2', sourceRevision: 7 } }]));
  t.match(await imports('c.ndjson'), { code: 0, value: { ...none, erased: 1 } });
});

t.test('CSV: BOM, CRLF, quoted line breaks, blank rows, types and the columns of --map', async (t) => {
  const { imports, write, customers, beside } = await prepared(t);
  const columns =
    'Nr;E-Mail;"Note";primaryBillingAddress.street;privacy.emailConsent;privacy.smsConsent;sourceRevision;postal';
  const map = { Nr: 'externalIdentifier', 'E-Mail': 'email', Note: null, postal: 'primaryBillingAddress.postalCode' };
  write('map.json', JSON.stringify(map));
  const rows = [
    columns,
    'crm-1;jane@example.com;"a ""note""";"Weg 1\r\nHof; links";YES;0;7;01067',
    '',
    '   ',
    ';;;;;;;',
    'crm-2;; ;;True;no;;',
    'crm-3;nobody;;;perhaps;;7.5;',
    'crm-4;a@example.com;;""',
    'crm-5;say "hi";;;;;;',
    'crm-6;"b@example.com"x;;;;;;',
    'crm-7;"c@example.com";;"";"";"";"12";',
  ];
  write('a.csv', `\ufeff${rows.join('\r\n')}`);
  const address = ['--default', 'primaryBillingAddress.countryCode=AT'];
  const { code, value, lines } = await imports('a.csv', '--map', beside('map.json'), ...region, ...address);
  t.match({ code, value }, { code: 1, value: { ...none, created: 3, refused: 4, status: success } });
  t.strictSame(value.codes, { INVALID_REQUEST: 1, BAD_REQUEST: 3 });
  t.match(lines, [
    {
      line: 8,
      outcome: 'refused',
      status: {
        errors: [
          { field: 'customer.email' },
          { field: 'customer.privacy.emailConsent', code: 'invalid_type' },
          { field: 'sourceRevision', code: 'invalid_type' },
        ],
      },
    },
    { line: 9, status: { messageCode: 'BAD_REQUEST' } },
    { line: 10, status: { messageCode: 'BAD_REQUEST' } },
    { line: 11, status: { messageCode: 'BAD_REQUEST' } },
  ]);
  t.notMatch(JSON.stringify(lines), /nobody|perhaps|say|example\.com/, 'no submitted value');
  t.match(await customers(), [
    {
      externalIdentifier: 'crm-1',
      email: 'jane@example.com',
      primaryBillingAddress: { street: 'Weg 1\r\nHof; links', postalCode: '01067', countryCode: 'AT' },
      privacy: { emailConsent: true, smsConsent: false },
      claimedRegion,
      sourceRevision: 7,
    },
    { externalIdentifier: 'crm-2', privacy: { emailConsent: true, smsConsent: false } },
    { externalIdentifier: 'crm-7', email: 'c@example.com', sourceRevision: 12 },
  ]);
});

t.test('CSV: the delimiter is detected, or given', async (t) => {
  const { imports, write } = await prepared(t);
  write('a.csv', 'externalIdentifier,"firstName"\ncrm-1,a;b;c\n');
  write('b.tsv', 'externalIdentifier\tfirstName\ncrm-2\ta\n');
  write('c.csv', 'externalIdentifier\ncrm-3\n');
  write('d.CSV', 'externalIdentifier;firstName\rcrm-4;a,b,c\r');
  write('e.txt', 'externalIdentifier\tfirstName\r\ncrm-5\ta\r\n');
  for (const name of ['a.csv', 'b.tsv', 'c.csv', 'd.CSV']) {
    t.match(await imports(name, ...region), { code: 0, value: { ...none, created: 1 } }, name);
  }
  const given = ['--format', 'csv', '--delimiter', 'tab'];
  t.match(await imports('e.txt', ...given, ...region), { code: 0, value: { ...none, created: 1 } });
  t.match(await imports('e.txt', ...region), { code: 1, value: { codes: { BAD_REQUEST: 2 } } }, 'NDJSON by its name');
});

t.test('CSV: a quote that is not closed, bytes that are not UTF-8, and a row that is too long', async (t) => {
  const { imports, write, customers } = await prepared(t);
  const bad = Buffer.from([0xfc]);
  const long = `"${'x\n'.repeat(33_000)}"`;
  const head = Buffer.from('externalIdentifier,firstName\ncrm-1,M');
  const text = `ller\ncrm-2,${long}\ncrm-3,a\ncrm-4,"b\ncrm-5,c\n`;
  write('a.csv', Buffer.concat([head, bad, Buffer.from(text)]));
  const { code, value, lines } = await imports('a.csv', ...region);
  t.match({ code, value }, { code: 1, value: { ...none, created: 1, refused: 3 } });
  t.match(lines, [
    { line: 2, status: { messageCode: 'BAD_REQUEST' } },
    { line: 3, status: { messageCode: 'PAYLOAD_TOO_LARGE' } },
    { line: 33_005, status: { messageCode: 'BAD_REQUEST' } },
  ]);
  t.match(await customers(), [{ externalIdentifier: 'crm-3' }]);

  write('b.csv', `externalIdentifier,firstName\ncrm-6,a\ncrm-7,"b\n${'crm-8,c\n'.repeat(300_000)}`);
  const ended = await imports('b.csv', ...region);
  const stopped = 'line 3: the row does not end within 1 MiB; close its quotes';
  t.match(ended, { code: 1, stderr: `c2a: ${stopped}\n`, value: { ...none, created: 1, stopped } });
});

t.test('--default fills what a row lacks, in NDJSON too', async (t) => {
  const { imports, write, customers } = await prepared(t);
  const rows = [
    { customer: { externalIdentifier: 'crm-1', privacy: { emailConsent: false } } },
    { customer: { externalIdentifier: 'crm-2', privacy: null, status: ' ' }, claimedRegion: { countryCode: 'AT' } },
    { externalIdentifier: 'crm-3', status: 'Inactive', claimedRegion },
    { customer: { externalIdentifier: 'crm-4', privacy: 7 } },
    { delete: { externalIdentifier: 'crm-9' } },
    { next: null },
  ];
  write('a.ndjson', `${ndjson(rows)}7\n`);
  const defaults = [
    ...region,
    '--default',
    'privacy.emailConsent=1',
    '--default',
    'status=Churned',
    '--default',
    'sourceRevision=5',
  ];
  const { value, lines } = await imports('a.ndjson', ...defaults);
  t.match(value, { ...none, created: 3, unchanged: 1, refused: 2 });
  t.match(lines, [{ line: 4, status: { errors: [{ field: 'customer.privacy' }] } }, { line: 7 }]);
  t.match(await customers(), [
    { privacy: { emailConsent: false }, status: 'Churned', claimedRegion, sourceRevision: 5 },
    { privacy: { emailConsent: true }, status: 'Churned', claimedRegion: { countryCode: 'AT', languageCode: 'de' } },
    { privacy: { emailConsent: true }, status: 'Inactive' },
  ]);
});

t.test('a wrong option or header is an error before anything is imported', async (t) => {
  const { fails, write, beside, customers, at } = await prepared(t);
  write('a.csv', 'externalIdentifier,E-Mail\u009b\ncrm-1,a@example.com\n');
  write('twice.csv', 'externalIdentifier,Nr\ncrm-1,2\n');
  write('empty.csv', '\n');
  write('open.csv', '"externalIdentifier\ncrm-1\n');
  write('latin.csv', Buffer.from('externalIdentifier,Stra\xdfe\n', 'latin1'));
  write('a.ndjson', ndjson([row('crm-1')]));
  const map = (name: string, content: unknown) => {
    write(name, typeof content === 'string' ? content : JSON.stringify(content));
    return ['--map', beside(name)];
  };
  const cases: [code: number, error: RegExp, ...words: string[]][] = [
    [2, /the column "E-Mail\\\\u\{9b\}" is not a field; name its field with --map/, 'a.csv'],
    [
      2,
      /the columns "externalIdentifier" and "Nr" are the same field/,
      'twice.csv',
      ...map('1', { Nr: 'externalIdentifier' }),
    ],
    [2, /its first row must name the columns/, 'empty.csv'],
    [2, /the first row is not CSV in UTF-8/, 'latin.csv'],
    [2, /the first row is not CSV in UTF-8/, 'open.csv'],
    [2, /--map: mail is not a field/, 'a.csv', ...map('2', { 'E-Mail': 'mail' })],
    [2, /--map: primaryBillingAddress is not a field/, 'a.csv', ...map('3', { x: 'primaryBillingAddress' })],
    [2, /--map: the field of column "x" must be a text or null/, 'a.csv', ...map('4', { x: 7 })],
    [2, /--map: \S+ must contain an object/, 'a.csv', ...map('5', [])],
    [2, /--map: \S+ is not JSON/, 'a.csv', ...map('6', '{')],
    [1, /--map: \S+ does not exist/, 'a.csv', '--map', beside('none')],
    [2, /--default: mail is not a field/, 'a.csv', '--default', 'mail=a@example.com'],
    [2, /--default must look like/, 'a.csv', '--default', 'email='],
    [
      2,
      /--default claimedRegion.countryCode: Must be an ISO/,
      'a.csv',
      '--default',
      'claimedRegion.countryCode=Germany',
    ],
    [2, /--default privacy.smsConsent: Must be true or false/, 'a.csv', '--default', 'privacy.smsConsent=often'],
    [2, /--format must be ndjson or csv/, 'a.csv', '--format', 'xml'],
    [2, /--delimiter must be "," or ";" or tab/, 'a.csv', '--delimiter', '|'],
    [2, /--delimiter is for CSV/, 'a.ndjson', '--delimiter', ','],
    [2, /--map is for CSV/, 'a.ndjson', ...map('7', {})],
    [1, /there is no tenant globex/, 'a.ndjson', '--tenant', 'globex'],
    [1, /none.ndjson does not exist/, 'none.ndjson'],
    [1, /data is a folder; name a file/, 'data'],
    [1, /a.ndjson already exists; choose another name/, 'a.ndjson', '--report', beside('a.ndjson')],
  ];
  for (const [code, error, name, ...words] of cases) {
    const answer = await fails(name as string, ...words);
    t.match(answer, { code, stdout: '', stderr: error }, [name, ...words].join(' '));
    t.notMatch(answer.stderr, /Germany|often|a@example/);
  }
  const piped = start(process.execPath, [main, 'import', '-', '--tenant', 'acme', '--report', beside('a.csv'), ...at]);
  t.same(await once(piped, 'close'), [1, null], 'standard input that stays open does not keep the process alive');
  t.match(await c2a(['import', beside('a.ndjson')]), { code: 2, stderr: /--tenant is required/ });
  t.same(await customers(), []);
});

t.test('a dry run of a complete file is the drift report, and stores nothing', async (t) => {
  const { imports, write, customers } = await prepared(t);
  write('a.ndjson', ndjson([row('crm-1'), row('crm-2'), row('crm-3')]));
  await imports('a.ndjson');
  const before = await customers();
  write('b.ndjson', ndjson([row('crm-1'), row('crm-2', { firstName: 'Jo' }), row('crm-4')]));
  const { code, value, lines } = await imports('b.ndjson', '--dry-run', '--complete');
  t.match(
    { code, value },
    { code: 0, value: { ...none, dryRun: true, tenant: 'acme', unchanged: 1, updated: 1, created: 1, extra: 1 } },
  );
  t.match(lines, [
    { line: 2, outcome: 'updated', changedFields: ['firstName'] },
    { line: 3, outcome: 'created' },
    { outcome: 'extra', externalIdentifier: 'crm-3', customerUrn: /^cu\.00\.\d+$/ },
  ]);
  t.same(await customers(), before);
});

t.test('without --json the summary is a table, and the report is for this user only', async (t) => {
  const { write, beside, at } = await prepared(t);
  write('a.ndjson', ndjson([row('crm-1', { email: 'a@example.com' }), row('crm-2', { email: 'A@Example.com' })]));
  const report = beside('report');
  const answer = await c2a(['import', beside('a.ndjson'), '--tenant', 'acme', '--report', report, ...at]);
  t.match(answer, { code: 1, stderr: '' });
  t.equal(
    answer.stdout,
    `${beside('a.ndjson')}: imported into acme
created                        1
updated                        0
unchanged                      0
stale                          0
erased                         0
refused                        1
  USER_WITH_SAME_EMAIL_EXISTS  1
`,
  );
  t.equal(statSync(report).mode & 0o777, 0o600);
  t.match(linesOf(report), [{ line: 2, status: { conflicts: [{ customerUrn: /^cu/ }] } }]);
});

t.test('customers that exchange their e-mail addresses in one file', async (t) => {
  const { imports, write, customers } = await prepared(t);
  const many = Array.from({ length: 600 }, (_, index) => `crm-${index},${index}@example.com`);
  write('a.csv', `externalIdentifier,email\n${many.join('\n')}`);
  await imports('a.csv', ...region);
  const swapped = many.map((line) => line.replace(/,0@/, ',new@').replace(/,599@/, ',0@').replace(/,new@/, ',599@'));
  write('b.csv', `externalIdentifier,email\n${swapped.join('\n')}`);
  t.match(await imports('b.csv', ...region), { code: 0, value: { ...none, unchanged: 598, updated: 2 } });
  const stored = await customers();
  t.match([stored[0], stored[599]], [{ email: '599@example.com' }, { email: '0@example.com' }]);
});

t.test('standard input; without a terminal a line every 5 seconds; SIGTERM ends it with the summary', async (t) => {
  const { at, customers } = await prepared(t);
  const child = start(process.execPath, [main, 'import', '-', '--tenant', 'acme', '--json', '--complete', ...at]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  // The last line is cut off: it must not be refused.
  child.stdin.write(`${ndjson([row('crm-1'), row('crm-2')])}{"customer":`);
  while (!stderr.includes('\n')) await once(child.stderr, 'data');
  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  t.equal(code, 1);
  t.match(stderr, /^c2a: 2 rows {2}0 rows\/s {2}0 refused\nc2a: stopped by SIGTERM\n$/);
  const stopped = {
    ...none,
    created: 2,
    stopped: 'stopped by SIGTERM',
    status: { messageCode: 'SERVICE_UNAVAILABLE' },
  };
  t.match(JSON.parse(stdout), { file: '-', extra: undefined, ...stopped });
  t.equal((await customers()).length, 2);
});

t.test('killed in the middle and repeated: the same final state', async (t) => {
  const { imports, write, customers, beside, at } = await prepared(t);
  const rows = Array.from({ length: 20_000 }, (_, index) => `crm-${index},${index}@example.com,${index % 2}`);
  write('a.csv', `externalIdentifier,email,privacy.emailConsent\n${rows.join('\n')}\n`);
  const child = spawn(process.execPath, [main, 'import', beside('a.csv'), '--tenant', 'acme', ...region, ...at]);
  const closed = once(child, 'close');
  let stored = 0;
  while (stored === 0) stored = (await customers()).length;
  child.kill('SIGKILL');
  await closed;
  const { code, value } = await imports('a.csv', ...region);
  t.equal(code, 0);
  t.ok(value.unchanged >= stored && value.created > 0, `${stored} were seen, ${value.unchanged} unchanged`);
  t.equal(value.created + value.unchanged, 20_000);
  const after = await customers();
  t.equal(after.length, 20_000);
  t.equal(new Set(after.map(({ externalIdentifier }) => externalIdentifier)).size, 20_000);
  t.ok(after.every(({ externalIdentifier, email }) => email === `${externalIdentifier.slice(4)}@example.com`));
});
