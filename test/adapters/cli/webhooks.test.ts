/** Webhooks, managed by the command line beside a server that is another process on the same folder. */
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { deployment } from '../../support/deployment.ts';
import { c2a } from '../../support/process.ts';
import { newFolder } from '../../support/storage.ts';
import { startConsumer, until } from '../../support/webhooks.ts';

const allowed = ['--webhook-networks', '127.0.0.0/8'];

t.test('from add to remove, beside a running server', async (t) => {
  const consumer = await startConsumer(t);
  const { serve, command, dataDir } = deployment(t);
  const server = await serve(...allowed);
  await server.has({ externalIdentifier: 'before' });

  const words = ['--tenant', 'acme', '--url', consumer.url('/ok'), '--description', 'the warehouse'];
  const { value: added } = await command('webhook', 'add', ...words, ...allowed);
  t.match(added, {
    id: /^wh_\w{12}$/,
    tenant: 'acme',
    url: consumer.url('/ok'),
    description: 'the warehouse',
    state: 'ok',
    position: 1,
    lagEvents: 0,
    secret: /^whsec_[\w+/]{43}=$/,
  });
  const { id, secret } = added;
  await consumer.knows(secret);
  const began = performance.now();
  const customerUrn = await server.has({ externalIdentifier: 'crm-1', email: 'jane@example.com' });
  await consumer.gets('/ok', 1);
  t.ok(performance.now() - began < 2_000, 'about a second after the change');
  t.match(consumer.received, [
    { body: { type: 'customer.stored', data: { customerUrn, version: 1 } }, verifiedBy: [0] },
  ]);
  const listed = async () => (await command('webhook', 'list', '--tenant', 'acme')).value[0];
  await until('the stored cursor', async () => (await listed()).position === 2);
  const { value, stderr } = await command('webhook', 'list');
  t.match(value, [{ id, state: 'ok', lagEvents: 0, lagSeconds: 0, failures: 0, lastSuccessAt: String }]);
  t.notMatch(JSON.stringify(value) + stderr, secret.slice('whsec_'.length));

  const tested = await command('webhook', 'test', id, ...allowed);
  t.match(tested, { code: 0, value: { outcome: 'success', status: 204 } });
  await consumer.gets('/ok', 2);
  t.match(consumer.received[1], {
    id: /^test_/,
    body: { type: 'webhook.test', data: { webhook: id } },
    verifiedBy: [0],
  });
  const refused = await c2a(['webhook', 'test', id, '--data-dir', dataDir]);
  t.match(refused, {
    code: 1,
    stdout: /^the URL must not lead to 127\.0\.0\.1 \(loopback\), unless C2A_WEBHOOK_NETWORKS/,
  });
  // A proxy of the environment would refuse the connection.
  const proxy = { NODE_USE_ENV_PROXY: '1', HTTP_PROXY: 'http://127.0.0.1:1', http_proxy: 'http://127.0.0.1:1' };
  t.match(await c2a(['webhook', 'test', id, '--data-dir', dataDir, ...allowed], proxy), {
    code: 0,
    stdout: 'answered 204\n',
  });

  const rotated = (await command('webhook', 'rotate-secret', id, '--overlap', '2')).value;
  await consumer.knows(secret, rotated.secret);
  const before = consumer.received.length;
  t.match((await command('webhook', 'replay', id, '--after', 'start')).value, { id, position: 0 });
  await consumer.gets('/ok', before + 2);
  t.same(consumer.received.at(-1)?.verifiedBy, [0, 1], 'both signatures');
  t.equal(consumer.received.at(-1)?.id, consumer.received[0]?.id, 'the id of the event');

  await command('webhook', 'set', id, '--url', consumer.url('/status/500'), ...allowed);
  await server.has({ externalIdentifier: 'crm-2' });
  await consumer.gets('/status/500', 1);
  await until('the stored failure', async () => (await listed()).failures >= 1);
  t.match(await listed(), { state: 'failing', lagEvents: 1, lastError: 'answered 500', nextAttemptAt: String });
  const lines = (await c2a(['webhook', 'list', '--data-dir', dataDir])).stdout;
  t.match(
    lines,
    /acme .* failing .* at 2 .* 1 events behind .* \d failures .* next attempt .* answered 500 .* last delivered/,
  );

  t.match((await command('webhook', 'set', id, '--disable')).value, { disabledReason: 'disabled by an operator' });
  await command('webhook', 'set', id, '--url', consumer.url('/ok'), ...allowed);
  const count = consumer.of('/ok').length;
  await delay(1_500);
  t.equal(consumer.of('/ok').length, count, 'nothing is delivered');
  t.match((await command('webhook', 'set', id, '--enable')).value, { state: 'ok', failures: 0 });
  await consumer.gets('/ok', count + 1);

  t.same((await command('webhook', 'remove', id)).value, { id, tenant: 'acme' });
  t.same((await command('webhook', 'list')).value, []);
  t.match((await c2a(['webhook', 'list', '--data-dir', dataDir])).stdout, /^no webhooks yet/);
  const { stdout } = await server.stop();
  t.notMatch(stdout, /whsec_/, 'no secret is logged');
});

t.test('what is refused', async (t) => {
  const { serve, command } = deployment(t);
  const server = await serve();
  const add = (...words: string[]) => command('webhook', 'add', '--tenant', 'acme', '--url', ...words);
  const { value } = await add('https://endpoint.example.com/');
  const cases: [ReturnType<typeof command>, number, RegExp][] = [
    [command('webhook', 'add', '--tenant', 'acme'), 2, /^--tenant and --url are required$/],
    [
      add('http://10.0.0.1/'),
      2,
      /^--url must not lead to 10\.0\.0\.1 \(private\), unless C2A_WEBHOOK_NETWORKS allows it$/,
    ],
    [add('http://endpoint.example.com/', '--environment', 'live'), 2, /^--url must be an https URL/],
    [add('https://me:secret@endpoint.example.com/'), 2, /^--url must not contain a user name or password$/],
    [add('https://endpoint.example.com/', '--webhook-networks', '10.0.0.0/33'), 2, /^C2A_WEBHOOK_NETWORKS/],
    [add('https://endpoint.example.com/', '--description', '\u001b[31m'), 2, /^--description must be at most 100/],
    [command('webhook', 'add', '--tenant', 'nobody', '--url', 'https://example.com'), 1, /^there is no tenant nobody$/],
    [command('webhook', 'list', '--tenant', 'nobody'), 1, /^there is no tenant nobody$/],
    [command('webhook', 'set', value.id), 2, /^nothing to set/],
    [command('webhook', 'set', value.id, '--enable', '--disable'), 2, /cannot be used together$/],
    [command('webhook', 'set', value.id, '--url', 'https://[::1]/'), 2, /^--url must not lead to ::1/],
    [command('webhook', 'rotate-secret', value.id, '--overlap', '2h'), 2, /^--overlap must be 0 to 720 hours$/],
    [command('webhook', 'rotate-secret', value.id, '--overlap', '721'), 2, /^--overlap must be 0 to 720 hours$/],
    [command('webhook', 'replay', value.id), 2, /^--after must be a position, start or end$/],
    [command('webhook', 'replay', value.id, '--after', '-1'), 2, /^--after must be a position, start or end$/],
    [command('webhook', 'replay', value.id, '--after', '9'), 1, /^--after 9 is after the end of the feed$/],
    ...[['set', '--enable'], ['remove'], ['test'], ['rotate-secret'], ['replay', '--after', 'end']].map(
      ([name = '', ...words]): [ReturnType<typeof command>, number, RegExp] => [
        command('webhook', name, 'wh_none', ...words),
        1,
        /^there is no webhook wh_none; see 'c2a webhook list'$/,
      ],
    ),
  ];
  for (const [running, code, error] of cases) t.match(await running, { code, value: { error } }, String(error));
  for (let count = 0; count < 4; count += 1) await command('webhook', 'rotate-secret', value.id);
  t.match(await command('webhook', 'rotate-secret', value.id), {
    code: 1,
    value: { error: /^five secrets would sign/ },
  });
  await server.stop();
});

t.test('an https endpoint with a trusted certificate gets its events', async (t) => {
  const { command, dataDir, beside } = deployment(t, newFolder(t), ['--environment', 'live']);
  const [key, certificate] = [beside('key.pem'), beside('certificate.pem')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate, ...names],
    {
      stdio: 'ignore',
    },
  );
  const consumer = await startConsumer(t, key, certificate);
  await command('tenant', 'add', 'acme');
  const url = `https://localhost:${consumer.port}/ok`;
  const { value } = await command('webhook', 'add', '--tenant', 'acme', '--url', url);
  const test = (...words: string[]) =>
    c2a(['webhook', 'test', value.id, '--data-dir', dataDir, '--environment', 'live', ...words], {
      NODE_EXTRA_CA_CERTS: certificate,
    });
  t.match(
    await test(),
    { code: 1, stdout: /must not lead to (127\.0\.0\.1|::1)/ },
    'localhost is resolved and refused',
  );
  t.match(await test('--webhook-networks', '127.0.0.0/8,::1'), { code: 0, stdout: 'answered 204\n' });
  t.equal(consumer.received.length, 1);
});

t.test('a restore keeps webhooks and secrets, and disables those that are ahead of the feed', async (t) => {
  const consumer = await startConsumer(t);
  const { serve, command, beside } = deployment(t);
  const add = async (path: string) =>
    (await command('webhook', 'add', '--tenant', 'acme', '--url', consumer.url(path), ...allowed)).value;
  const backup = beside('before.db');

  let server = await serve(...allowed);
  await server.has({ externalIdentifier: 'crm-1' });
  const { id, secret } = await add('/ok/first');
  t.equal((await command('backup', backup)).code, 0);
  const { secret: rotated } = (await command('webhook', 'rotate-secret', id, '--overlap', '0')).value;
  await consumer.knows(secret, rotated);
  await server.has({ externalIdentifier: 'crm-2' });
  await consumer.gets('/ok/first', 1);
  const { id: later } = await add('/ok/later');
  await until('the stored cursor', async () => (await command('webhook', 'list')).value[0].position === 2);
  await server.stop();

  t.match(await command('restore', backup), { code: 0, value: { keptKeys: true } });
  server = await serve(...allowed);
  const disabled = { state: 'disabled', disabledReason: 'the feed lacks the event at its cursor' };
  await until('both are disabled', async () =>
    (await command('webhook', 'list')).value.every(({ state }: { state: string }) => state === 'disabled'),
  );
  const { value } = await command('webhook', 'list');
  t.match(value, [
    { id, ...disabled },
    { id: later, ...disabled },
  ]);
  await command('webhook', 'replay', id, '--after', 'end');
  await command('webhook', 'set', id, '--enable');
  await server.has({ externalIdentifier: 'crm-3' });
  await consumer.gets('/ok/first', 2);
  t.match(consumer.of('/ok/first').at(-1), { verifiedBy: [1] }, 'the secret is the rotated one');
});
