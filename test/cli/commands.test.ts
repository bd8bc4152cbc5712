import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { c2a, run } from '../support/process.ts';

const json = async (...words: string[]) => {
  const { code, stdout, stderr } = await c2a([...words, '--json']);
  return { code, stderr, value: JSON.parse(stdout) };
};

t.test('whoever reads no more of what is printed is no failure', async (t) => {
  const program = `"${process.execPath}" src/main.ts`;
  const { code, stderr } = await run('bash', ['-c', `set -o pipefail; ${program} --help | (exec 0<&-; sleep 1)`]);
  t.equal(code, 0);
  t.notMatch(stderr, 'EPIPE');
});

t.test('a tenant is made once, changed and listed', async (t) => {
  const at = ['--data-dir', t.testdir()];
  const made = await json('tenant', 'add', 'acme', '--name', 'Acme GmbH', '--channel', 'CARD', ...at);
  t.match(made.value, { id: 'acme', name: 'Acme GmbH', channels: ['CARD'], canSavePaymentMethod: false });
  t.equal(made.code, 0);

  t.match(await json('key', 'list', 'nobody', ...at), { code: 1, value: { error: 'there is no tenant nobody' } });
  const again = await json('tenant', 'add', 'acme', ...at);
  t.same(again.value, { error: 'tenant acme exists already' });
  t.equal(again.code, 1);

  const options = ['--channel', 'SEPA:DE,AT', '--can-save-payment-method', 'true'];
  const changed = await json('tenant', 'set', 'acme', ...options, ...at);
  t.match(changed.value, { name: 'Acme GmbH', channels: ['SEPA:DE,AT'], canSavePaymentMethod: true });
  t.same((await json('tenant', 'list', ...at)).value, [changed.value]);
  t.equal((await json('tenant', 'set', 'nobody', '--name', 'x', ...at)).code, 1);
});

t.test('a key is shown once, listed without itself, and revoked', async (t) => {
  const at = ['--data-dir', t.testdir()];
  await json('tenant', 'add', 'acme', ...at);
  const { value: issued } = await json('key', 'issue', 'acme', '--name', 'checkout', '--role', 'read', ...at);
  t.match(issued.key, /^sk_dev_[0-9A-Za-z]{38}$/);
  t.match(issued, { tenant: 'acme', name: 'checkout', role: 'read', environment: 'sandbox' });

  const listed = await c2a(['key', 'list', 'acme', '--json', ...at]);
  const { key, ...kept } = issued;
  t.same(JSON.parse(listed.stdout), [kept]);
  t.notMatch(listed.stdout, key.slice(12));

  const { value: revoked } = await json('key', 'revoke', issued.id, ...at);
  t.type(revoked.revokedAt, 'string');
  t.same((await json('key', 'revoke', issued.id, ...at)).value, revoked, 'a second time changes nothing');
  t.equal((await json('key', 'revoke', 'nothing', ...at)).code, 1);
  t.equal((await json('key', 'issue', 'nobody', ...at)).code, 1);
});

t.test('keys of the live environment are marked as such', async (t) => {
  const at = ['--data-dir', t.testdir(), '--environment', 'live'];
  await json('tenant', 'add', 'acme', ...at);
  t.match((await json('key', 'issue', '--tenant', 'acme', ...at)).value.key, /^sk_live_/);
});

t.test('tables are for people', async (t) => {
  const at = ['--data-dir', t.testdir()];
  t.match(await c2a(['tenant', 'list', ...at]), { code: 1, stderr: /there is no data in/ });
  await c2a(['tenant', 'add', 'acme', '--channel', 'CARD', ...at]);
  const { stdout } = await c2a(['key', 'issue', 'acme', ...at]);
  t.match(stdout, /^sk_dev_\w{38}\n\(key \w{12} of the sandbox environment, shown once\)\n$/);
  t.match((await c2a(['tenant', 'list', ...at])).stdout, /^acme +CARD/);
  t.match((await c2a(['key', 'list', ...at])).stdout, /acme +sk_dev_\w{4}… +full +sandbox/);
});

t.test('a command line that makes no sense ends with 2 and says why', async (t) => {
  const at = ['--data-dir', t.testdir()];
  const pem = join(t.testdir(), 'ec.pem');
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(pem, publicKey.export({ type: 'spki', format: 'pem' }));
  const weak = join(dirname(pem), 'rsa.pem');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
  writeFileSync(weak, rsa.publicKey.export({ type: 'spki', format: 'pem' }));
  const withJwt = ['tenant', 'add', 'acme', '--jwt-issuer', 'i', '--jwt-audience', 'a'];
  const cases: [string[], string][] = [
    [['tenant', 'eat'], 'no such command'],
    [['tenant', 'add', ...at], 'expected one tenant'],
    [['tenant', 'add', 'acme', 'globex', ...at], 'too many arguments'],
    [['serve', 'extra', ...at], 'too many arguments'],
    [['tenant', 'set', 'acme', ...at], 'nothing to set'],
    [['tenant', 'add', 'acme', '--channel', 'SEPA:XX', ...at], 'countries of ISO 3166-1'],
    [['tenant', 'add', 'acme', '--name', 'red \u001b[31m', ...at], 'without control characters'],
    [['key', 'issue', 'acme', '--expires', '0d', ...at], '--expires must be longer'],
    [[...withJwt, '--jwt-public-key-file', weak, ...at], 'less than 2048 bits'],
    [['tenant', 'add', 'Not A Tenant', ...at], '1 to 63 of a-z'],
    [['tenant', 'add', 'acme', '--chanel', 'CARD', ...at], "Unknown option '--chanel'"],
    [['tenant', 'add', 'acme', '--channel', 'card!', ...at], '--channel must look like CARD or SEPA:DE,AT'],
    [['tenant', 'add', 'acme', '--can-save-payment-method', 'maybe', ...at], 'must be true or false'],
    [['tenant', 'add', 'acme', '--jwt-issuer', 'i', ...at], '--jwt-issuer and --jwt-audience are both needed'],
    [[...withJwt, '--jwks-uri', 'http://i/jwks', ...at], '--jwks-uri must be an https URL'],
    [[...withJwt, '--jwt-algorithm', 'HS256', ...at], '--jwt-algorithm must be one of RS256'],
    [[...withJwt, '--jwks-uri', 'https://i', '--no-jwt', ...at], '--no-jwt goes without'],
    [[...withJwt, '--jwt-public-key-file', pem, ...at], 'holds a key that does not fit RS256'],
    [['key', 'issue', 'acme', '--role', 'admin', ...at], '--role must be full or read'],
    [['key', 'revoke', ...at], 'expected the id of a key'],
    [['key', 'issue', 'acme', '--tenant', 'globex', ...at], 'expected one tenant'],
    [['verify-receipt', pem, '--public-key', 'abc'], '--public-key must be 43'],
  ];
  for (const [words, message] of cases) {
    const { code, stdout, stderr } = await c2a(words);
    t.equal(code, 2, words.join(' '));
    t.equal(stdout, '');
    t.match(stderr, message);
  }
});

t.test('what is kept in memory is out of reach for commands', async (t) => {
  const { code, stdout, stderr } = await c2a(['tenant', 'add', 'acme'], { C2A_STORAGE: 'memory' });
  t.same({ code, stdout }, { code: 1, stdout: '' });
  t.match(stderr, 'ends with its process');
});

t.test('every command explains itself', async (t) => {
  const { stdout, code } = await c2a(['--help']);
  t.equal(code, 0);
  for (const words of [['-h'], ['help'], ['tenant', '--help'], ['key']])
    t.same(await c2a(words), { code: 0, stdout, stderr: '' });
  for (const name of ['serve', 'tenant add', 'tenant list', 'tenant set', 'key issue', 'key list', 'key revoke']) {
    t.match(stdout, `\n  ${name}`);
    const { stdout: manual } = await c2a([...name.split(' '), '--help']);
    t.match(manual, `usage: c2a ${name}`);
    t.match(manual, '--json');
  }
});

t.test('a data folder that cannot be one is a plain error', async (t) => {
  for (const words of [
    ['tenant', 'list', '--data-dir', '/dev/null/data'],
    ['tenant', 'add', 'acme', '--data-dir', '/proc/nowhere'],
  ]) {
    const { code, stderr } = await c2a(words);
    t.equal(code, 1);
    t.match(stderr, /c2a: .*\/(dev\/null|proc\/nowhere)/);
  }
});
