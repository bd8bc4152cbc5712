/** What holds for every command: help, errors, exit codes, and how options are read. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import type { Context } from '../../../src/adapters/cli/context.ts';
import { createProgram, leaves, nameOf } from '../../../src/adapters/cli/program.ts';
import { addServeCommand } from '../../../src/process/serve.ts';
import { c2a, run } from '../../support/process.ts';

t.test('a reader that closes the pipe early is no error', async (t) => {
  const program = `"${process.execPath}" src/main.ts`;
  const { code, stderr } = await run('bash', ['-c', `set -o pipefail; ${program} --help | (exec 0<&-; sleep 1)`]);
  t.equal(code, 0);
  t.notMatch(stderr, 'EPIPE');
});

t.test('a wrong command line exits with 2 and says why', async (t) => {
  const at = ['--data-dir', t.testdir()];
  const pem = join(t.testdir(), 'ec.pem');
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(pem, publicKey.export({ type: 'spki', format: 'pem' }));
  const weak = join(dirname(pem), 'rsa.pem');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
  writeFileSync(weak, rsa.publicKey.export({ type: 'spki', format: 'pem' }));
  const withJwt = ['tenant', 'add', 'acme', '--jwt-issuer', 'i', '--jwt-audience', 'a'];
  const cases: [string[], string][] = [
    [['tenant', 'eat'], "unknown command 'eat'; see 'c2a --help'"],
    [['tenant', 'add', ...at], "missing required argument 'tenant'"],
    [['tenant', 'add', 'acme', 'globex', ...at], 'too many arguments'],
    [['serve', 'extra', ...at], 'too many arguments'],
    [['tenant', 'set', 'acme', ...at], 'nothing to set'],
    [['tenant', 'add', 'acme', '--channel', 'SEPA:XX', ...at], 'ISO 3166-1 countries'],
    [['tenant', 'add', 'acme', '--name', 'red \u001b[31m', ...at], 'without control characters'],
    [['key', 'issue', 'acme', '--expires', '0d', ...at], '--expires must be greater than zero'],
    [[...withJwt, '--jwt-public-key-file', weak, ...at], 'less than 2048 bits'],
    [['tenant', 'add', 'Not A Tenant', ...at], '1 to 63 of a-z'],
    [['tenant', 'add', 'acme', '--chanel', 'CARD', ...at], "unknown option '--chanel' (Did you mean --channel?)"],
    [['tenant', 'add', 'acme', '--channel', 'card!', ...at], '--channel must look like CARD or SEPA:DE,AT'],
    [['tenant', 'add', 'acme', '--can-save-payment-method', 'maybe', ...at], 'must be true or false'],
    [['tenant', 'add', 'acme', '--jwt-issuer', 'i', ...at], '--jwt-issuer and --jwt-audience are both needed'],
    [[...withJwt, '--jwks-uri', 'http://i/jwks', ...at], '--jwks-uri must be an https URL'],
    [[...withJwt, '--jwt-algorithm', 'HS256', ...at], '--jwt-algorithm must be one of RS256'],
    [[...withJwt, '--jwks-uri', 'https://i', '--no-jwt', ...at], '--no-jwt cannot be used with'],
    [[...withJwt, '--jwt-public-key-file', pem, ...at], 'contains a key that does not fit RS256'],
    [['key', 'issue', 'acme', '--role', 'admin', ...at], '--role must be full or read'],
    [['key', 'revoke', ...at], "missing required argument 'key-id'"],
    [['key', 'issue', 'acme', '--tenant', 'globex', ...at], 'expected one tenant'],
    [['tenant', 'lis', ...at], 'Did you mean list?'],
    [['key', 'issue', 'acme', '--name', '--json', ...at], "option '--name' needs a value"],
    [['tenant', 'list', '--data-dir', '-h'], "option '--data-dir' needs a value"],
    [['tenant', 'list', '--data-dir'], "option '--data-dir <value>' argument missing"],
    [['verify-receipt', pem, '--public-key', 'abc'], '--public-key must be 43'],
    [['customer', 'find', '--tenant', 'acme', ...at], 'expected either --email or --phone'],
    [['customer', 'find', '--tenant', 'acme', '--email', 'a@b', '--phone', '1', ...at], 'expected either --email or'],
    [['customer', 'find', '--email', 'jane@example.com', ...at], '--tenant is required'],
    [['customer', 'show', '--tenant', 'acme', ...at], 'expected either --urn or --external-id'],
    [['customer', 'history', '--urn', 'cu.00.1', '--external-id', 'crm-1', ...at], 'expected either --urn or'],
    [['customer', 'history', '--tenant', 'Not A Tenant', '--urn', 'cu.00.1', ...at], '1 to 63 of a-z'],
    [['export', ...at], '--tenant is required'],
    [['export', '--tenant', 'acme', '--force', ...at], '--force needs --output'],
    [['export', '--tenant', 'acme', '--limit', '0', ...at], '--limit: Must be a whole number from 1 to 10000'],
    [['export', '--tenant', 'acme', '--after', 'crm-1', ...at], '--after: Must be a CustomerUrn such as cu.00.482'],
  ];
  for (const [words, message] of cases) {
    const { code, stdout, stderr } = await c2a(words);
    t.equal(code, 2, words.join(' '));
    t.equal(stdout, words.includes('--json') ? `${JSON.stringify({ error: message })}\n` : '');
    t.match(stderr, message);
  }
});

t.test('a value may begin with a dash', async (t) => {
  const dataDir = join(t.testdir(), 'data');
  const { code, stdout } = await c2a(['tenant', 'add', 'acme', '--name', '-Acme', '--json', '--data-dir', dataDir]);
  t.equal(code, 0);
  t.match(JSON.parse(stdout), { id: 'acme', name: '-Acme' });
  // A public key in base64url may begin with any of its characters.
  for (const key of ['-'.repeat(43), '--no-such-option']) {
    t.match(await c2a(['verify-receipt', '/nowhere', '--public-key', key]), {
      stderr: key.length === 43 ? '<file>: /nowhere does not exist' : '--public-key must be 43',
    });
  }
});

t.test('with --json an error is one JSON value, and a line on standard error', async (t) => {
  const { code, stdout, stderr } = await c2a(['tenant', 'list', '--json'], { C2A_PORT: 'x', C2A_PARTITION: '7' });
  const problems = [
    'C2A_PORT (--port) must be 0 to 65535 (0: any free port)',
    'C2A_PARTITION (--partition) must be two digits',
  ];
  t.equal(code, 2);
  t.same(JSON.parse(stdout), { error: problems.join('; ') });
  t.equal(stderr, problems.map((problem) => `c2a: ${problem}\n`).join(''));
});

t.test('commands cannot open memory storage', async (t) => {
  const { code, stdout, stderr } = await c2a(['tenant', 'add', 'acme'], { C2A_STORAGE: 'memory' });
  t.same({ code, stdout }, { code: 1, stdout: '' });
  t.match(stderr, 'memory storage is per process; commands cannot open it');
});

const commands = [
  'serve',
  ...['tenant add', 'tenant list', 'tenant set'],
  ...['key issue', 'key list', 'key rotate', 'key revoke'],
  ...['webhook add', 'webhook list', 'webhook set', 'webhook remove', 'webhook test'],
  ...['webhook rotate-secret', 'webhook replay'],
  ...['customer find', 'customer show', 'customer history'],
  ...['erasure-receipt', 'verify-receipt', 'subject-export', 'audit verify'],
  ...['import', 'export'],
  ...['backup', 'backup-keys', 'compact', 'restore', 'restore-keys', 'move', 'schema citus', 'keys rotate-master'],
  ...['health', 'licenses', 'version'],
];

t.test('--help lists all commands, and explains each', async (t) => {
  const { stdout, code } = await c2a(['--help']);
  t.equal(code, 0);
  for (const words of [[], ['-h'], ['help'], ['tenant', '--help'], ['key']])
    t.same(await c2a(words), { code: 0, stdout, stderr: '' }, words.join(' '));
  for (const name of commands) t.match(stdout, `\n  ${name}`);
  t.match((await c2a(['key', 'issue', '--help'])).stdout, /^Usage: c2a key issue /);

  const all = leaves(createProgram({} as Context, addServeCommand));
  t.same(all.map(nameOf), commands);
  for (const command of all) {
    const help = command.helpInformation();
    t.match(help, `Usage: c2a ${nameOf(command)}`);
    t.match(help, '--json');
    t.ok(command.description().endsWith('.'), `${nameOf(command)} has a description`);
  }
});

t.test('a data folder that cannot exist is a plain error', async (t) => {
  for (const words of [
    ['tenant', 'list', '--data-dir', '/dev/null/data'],
    ['tenant', 'add', 'acme', '--data-dir', '/proc/nowhere'],
  ]) {
    const { code, stderr } = await c2a(words);
    t.equal(code, 1);
    t.match(stderr, /c2a: .*\/(dev\/null|proc\/nowhere)/);
  }
});
