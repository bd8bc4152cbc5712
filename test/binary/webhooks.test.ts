/** The binary delivers to an https endpoint: it loads Node's https module when it is first used. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { installed } from '../support/binary.ts';
import { c2a } from '../support/process.ts';
import { startConsumer } from '../support/webhooks.ts';

t.test('a test event reaches an https endpoint with a trusted certificate', async (t) => {
  const { home, program, handOver } = await installed(t);
  const [key, certificate] = [join(home, 'key.pem'), join(home, 'certificate.pem')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const made = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate, ...names];
  execFileSync('openssl', ['req', ...made], { stdio: 'ignore' });
  const consumer = await startConsumer(t, key, certificate);
  handOver(home);
  const at = ['--data-dir', join(home, 'data'), '--environment', 'live'];
  const [file, ...words] = program;
  const trusting = [file, ...words.slice(0, -1), `NODE_EXTRA_CA_CERTS=${certificate}`, ...words.slice(-1)] as const;
  const command = async (...words: string[]) =>
    JSON.parse((await c2a([...words, '--json', ...at], {}, trusting)).stdout);
  await command('tenant', 'add', 'acme');
  const url = `https://localhost:${consumer.port}/ok`;
  const { id, secret } = await command('webhook', 'add', '--tenant', 'acme', '--url', url);
  await consumer.knows(secret);
  const result = await command('webhook', 'test', id, '--webhook-networks', '127.0.0.0/8,::1');
  t.match(result, { outcome: 'success', status: 204 });
  await consumer.gets('/ok', 1);
  t.same(consumer.received[0]?.verifiedBy, [0]);
});
