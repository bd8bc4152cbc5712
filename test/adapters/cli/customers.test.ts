/** `customer find`, `customer show` and `customer history`, beside a running server. */
import t, { type Test } from 'tap';
import { deployment } from '../../support/deployment.ts';
import { c2a, run } from '../../support/process.ts';

const jane = {
  externalIdentifier: 'crm-1',
  email: 'Jane.Doe@Example.com',
  phoneNumber: '0170 1234567',
  // A terminal would clear its screen.
  firstName: 'Jane\u001b[2J\u009b\u202e',
  primaryBillingAddress: { city: 'Köln', countryCode: 'DE' },
};

/** A server with one customer. `customer` runs a command about a customer of acme. */
async function started(t: Test) {
  const { serve, command, dataDir } = deployment(t);
  const server = await serve();
  const urn = await server.has(jane);
  return {
    server,
    urn,
    dataDir,
    command,
    /** The exit code, and the value printed by `--json`. */
    async customer(name: string, ...words: string[]) {
      const { code, value } = await command('customer', name, '--tenant', 'acme', ...words);
      return { code, value };
    },
    /** The exit code and output without `--json`. */
    text: (name: string, ...words: string[]) =>
      c2a(['customer', name, '--tenant', 'acme', ...words, '--data-dir', dataDir]),
  };
}

t.test('find and show print the snapshot of a customer, as info returns it', async (t) => {
  const { server, customer, text, urn } = await started(t);
  const { result } = (await server.info({ urn })).body;
  const found = { code: 0, value: result };
  t.same(await customer('find', '--email', 'jane.doe@example.com'), found);
  t.same(await customer('find', '--phone', '+49 170/1234567'), found);
  t.same(await customer('find', '--phone', '0170 1234567', '--country', 'de'), found);
  t.same(await customer('show', '--urn', urn), found);
  t.same(await customer('show', '--external-id', 'crm-1'), found);

  const printed = await text('show', '--urn', urn);
  t.match(printed, { code: 0, stderr: '' });
  t.match(printed.stdout, /^customerUrn +cu\.00\.1\n/);
  t.match(printed.stdout, '\nfirstName                          Jane\\u{1b}[2J\\u{9b}\\u{202e}\n');
  t.match(printed.stdout, /\nprimaryBillingAddress\.city +Köln\n/);
  t.match(printed.stdout, /\noptions\.availableChannels +CARD, SEPA\n/);
  t.equal((await text('find', '--email', 'jane.doe@example.com')).stdout, printed.stdout);
});

t.test('with - find reads the e-mail address or phone number from standard input', async (t) => {
  const { dataDir, urn } = await started(t);
  const piped = (value: string, option: string) =>
    run('bash', [
      '-c',
      `echo '${value}' | "${process.execPath}" src/main.ts customer find ${option} - --tenant acme --json --data-dir "${dataDir}"`,
    ]);
  for (const [value, option] of [
    ['JANE.DOE@example.com', '--email'],
    ['+49 170 1234567', '--phone'],
  ] as const) {
    const { code, stdout } = await piped(value, option);
    t.match([code, JSON.parse(stdout)], [0, { customerUrn: urn }], option);
  }
  t.match(await piped('nobody@example.com', '--email'), { code: 1, stdout: /has this e-mail address/ });
});

t.test('history lists the changes of a customer, also after its erasure', async (t) => {
  const { server, customer, text, urn } = await started(t);
  await server.post('update', { customer: { externalIdentifier: 'crm-1', lastName: 'Doe', email: null } });
  await server.post('update', { customer: { externalIdentifier: 'crm-1', lastName: 'Doe' } });
  const event = { at: /^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/, actor: { keyId: /^\w{12}$/, requestId: /^[\w-]{36}$/ } };
  const stored = { ...event, version: 1, type: 'customer.stored' };
  const updated = { ...event, version: 2, type: 'customer.updated', changedFields: ['email', 'lastName'] };
  const before = await customer('history', '--external-id', 'crm-1');
  t.match(before, { code: 0, value: { changes: [stored, updated], accesses: [] } });
  t.equal(before.value.changes.length, 2);
  t.same(await customer('history', '--urn', urn), before);

  await server.post('delete', { customerUrn: urn }, { 'x-request-id': 'case-7' });
  t.match((await customer('history', '--external-id', 'crm-1')).value, {
    error: /name an erased customer by its Cust/,
  });
  const after = await customer('history', '--urn', urn);
  t.same(after.value.changes.slice(0, 2), before.value.changes);
  t.match(after.value.changes.slice(2), [{ version: 3, type: 'customer.anonymized', actor: { requestId: 'case-7' } }]);
  t.notMatch(JSON.stringify(after.value), /jane|köln|1234567/i, 'names of fields, no values');
  const { stdout } = await text('history', '--urn', urn);
  t.match(stdout, /^\S+Z {2}customer\.stored +version 1 +key \w+ {2}request \S+ +externalIdentifier, email, /);
  t.match(stdout, /\n\S+Z {2}customer\.anonymized {2}version 3 +key \w+ {2}request case-7 +externalIdentifier, /);
  t.equal(stdout.trim().split('\n').length, 3);

  t.match((await customer('show', '--urn', urn)).value, { status: 'Anonymized' });
  t.equal((await customer('find', '--phone', '+49 170 1234567')).code, 1);
});

t.test('history shows who looked for the person by a command, and why', async (t) => {
  const { customer, text, urn, command } = await started(t);
  await customer('find', '--phone', '+49 170 1234567', '--reference', 'TICKET-7');
  await command('subject-export', urn, '--tenant', 'acme', '--reference', 'DSAR-2026-0042');
  const { accesses } = (await customer('history', '--urn', urn)).value;
  const actor = { requestId: /^[\da-f-]{36}$/ };
  t.match(accesses, [
    { operation: 'find', actor: { ...actor, keyId: 'c2a customer find' }, reference: 'TICKET-7' },
    { operation: 'subject-export', actor: { ...actor, keyId: 'c2a subject-export' }, reference: 'DSAR-2026-0042' },
  ]);
  t.match((await text('history', '--urn', urn)).stdout, /\n\S+Z {2}find .*key c2a customer find .* TICKET-7\n/);
  t.match(await command('subject-export', urn, '--tenant', 'acme', '--reference', 'Jane asked'), {
    code: 2,
    value: { error: /^--reference must be at most 64 visible/ },
  });
});

t.test('if there is no such customer, or the value is wrong, the message does not repeat the value', async (t) => {
  const { customer, text, urn } = await started(t);
  const cases: [code: number, error: RegExp, name: string, ...words: string[]][] = [
    [1, /^no customer of acme has this e-mail address$/, 'find', '--email', 'secret@example.com'],
    [1, /^no customer of acme has this phone number$/, 'find', '--phone', '+49 170 7777777'],
    [2, /^--email: Must be an e-mail address/, 'find', '--email', 'secret@'],
    [2, /^--email: .* --country: Is a field of a request by phone/, 'find', '--email', 'secret', '--country', 'DE'],
    [2, /^--phone: Must be a phone number/, 'find', '--phone', 'secret'],
    [2, /^--country: Is required/, 'find', '--phone', '0170 7777777'],
    [1, /^no customer of acme has this CustomerUrn$/, 'show', '--urn', 'cu.00.777'],
    [1, /^no customer of acme has this CustomerUrn$/, 'history', '--urn', 'cu.00.777'],
    [1, /^no customer of acme has this ExternalId; an erasure/, 'show', '--external-id', 'secret'],
    [1, /^no customer of acme has this ExternalId; an erasure/, 'history', '--external-id', 'secret'],
    [2, /^--urn: Must be a CustomerUrn/, 'history', '--urn', 'secret'],
    [2, /^--external-id: Must be at most 128 characters\.$/, 'show', '--external-id', 'secret'.repeat(30)],
  ];
  for (const [code, error, name, ...words] of cases) {
    const answer = await customer(name, ...words);
    t.match(answer, { code, value: { error } }, words.join(' '));
    t.notMatch(JSON.stringify(answer), /secret|7777777/);
  }
  t.match(await text('show', '--urn', 'cu.00.777'), { code: 1, stdout: '', stderr: /^c2a: no customer of acme/ });
  t.match(await text('show', '--tenant', 'globex', '--urn', urn), { code: 1, stderr: /there is no tenant globex/ });
});

t.test("another tenant's customer is not found", async (t) => {
  const { serve, command } = deployment(t);
  const urn = await (await serve()).has(jane);
  await command('tenant', 'add', 'globex');
  for (const words of [
    ['find', '--email', jane.email],
    ['show', '--urn', urn],
    ['history', '--urn', urn],
  ]) {
    t.equal((await command('customer', ...words, '--tenant', 'globex')).code, 1, words.join(' '));
  }
});
