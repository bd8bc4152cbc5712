/** The `serve` command: its greeting, and what it does with its configuration. */
import { exec } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { client, overHttp, storing } from '../support/client.ts';
import { c2a, serving } from '../support/process.ts';

const shell = promisify(exec);

t.test('the first start in the sandbox prints curl commands that work', async (t) => {
  const server = await serving(['--data-dir', join(t.testdir(), 'new')]);
  t.match(server.greeting, /\n {2}sk_dev_\w{38}\n/);
  const curls = server.greeting.match(/^curl .*$/gm) ?? [];
  t.equal(curls.length, 3);
  const answers = [];
  for (const curl of curls) answers.push(JSON.parse((await shell(curl)).stdout));
  t.match(answers[0].result, { customerUrn: /^cu\.00\.\d+$/, externalIdentifier: 'crm-9981273' });
  t.match(answers[1].result, { email: 'jane.doe@example.com', options: { availableChannels: ['CARD', 'SEPA'] } });
  t.same(answers[2], { status: { messageCode: 'SUCCESS' } });
  t.equal((await server.stop()).code, 0);
});

t.test('a later start adds nothing and prints no key', async (t) => {
  const at = ['--data-dir', t.testdir()];
  t.equal((await (await serving(at)).stop('SIGINT')).code, 0);
  const again = await serving(at);
  t.notMatch(again.greeting, 'sk_dev_');
  await again.stop();
  t.equal(JSON.parse((await c2a(['key', 'list', '--json', ...at])).stdout).length, 1);
});

t.test('the live environment adds nothing, and prints the commands to run', async (t) => {
  const at = ['--data-dir', t.testdir()];
  const server = await serving([...at, '--environment', 'live']);
  t.match(server.greeting, 'npm run -s c2a -- tenant add <tenant>');
  t.match(server.greeting, 'npm run -s c2a -- key issue <tenant>');
  await server.stop();
  t.same(JSON.parse((await c2a(['tenant', 'list', '--json', ...at])).stdout), []);
});

t.test('commands take effect on a running server', async (t) => {
  const at = ['--data-dir', t.testdir()];
  const server = await serving(at);
  await c2a(['tenant', 'add', 'late', ...at]);
  const { key, id } = JSON.parse((await c2a(['key', 'issue', 'late', '--json', ...at])).stdout);
  const { info } = client(overHttp(server.url), { 'x-tn': 'late', 'x-api-key': key });
  const ask = () => info({ exId: 'x' });
  t.equal((await ask()).status, 404);
  await c2a(['key', 'revoke', id, ...at]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.equal((await ask()).status, 401);
  await server.stop();
});

t.test('acknowledged writes survive SIGKILL', async (t) => {
  const at = ['--data-dir', t.testdir()];
  const server = await serving([...at, '--json']);
  const { credentials } = JSON.parse(server.greeting);
  const { post } = client(overHttp(server.url), credentials);
  const stored = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const { result } = await post('store', storing({ externalIdentifier: `crm-${index}` }));
      return result.customerUrn;
    }),
  );
  await server.stop('SIGKILL');
  const again = await serving(at);
  const { info } = client(overHttp(again.url), credentials);
  for (const [index, urn] of stored.entries()) {
    t.match((await info({ exId: `crm-${index}` })).result, { customerUrn: urn });
  }
  await again.stop();
});

t.test('all configuration errors are reported at once, by variable', async (t) => {
  const wrong = { C2A_PORT: '99999', C2A_PARTITION: '7', C2A_ENVIRONMENT: 'staging', C2A_LOG_LEVEL: 'loud' };
  const { code, stdout, stderr } = await c2a(['serve'], wrong);
  t.equal(code, 2);
  t.equal(stdout, '');
  t.equal(stderr.trim().split('\n').length, 4);
  for (const variable of Object.keys(wrong)) t.match(stderr, `${variable} (--`);
  t.match(stderr, 'must be one of sandbox, live');
});

t.test('a host name is resolved to one address to listen on', async (t) => {
  const server = await serving(['--storage', 'memory', '--host', 'localhost']);
  t.match(server.url, /^http:\/\/(127\.0\.0\.1|\[::1\]):/);
  const { code, stderr, stdout } = await server.stop();
  t.equal(code, 0);
  t.match(stdout + stderr, 'received a stop signal');
});

t.test('a port in use is a plain error', async (t) => {
  const server = await serving(['--storage', 'memory']);
  const { code, stderr } = await c2a(['serve', '--storage', 'memory', '--port', new URL(server.url).port]);
  t.equal(code, 1);
  t.match(stderr, /c2a: .*another process listens on/);
  await server.stop();
});
