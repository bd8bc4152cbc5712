/** One attempt of a delivery, over TCP to a consumer in another process. */
import { execFileSync } from 'node:child_process';
import type { LookupAddress } from 'node:dns';
import { join } from 'node:path';
import t from 'tap';
import { createWebhookSender } from '../../../src/adapters/webhooks/sender.ts';
import { startConsumer } from '../../support/webhooks.ts';

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const other = `whsec_${Buffer.alloc(32, 8).toString('base64')}`;
const goesOn = new AbortController().signal;
const message = () => ({
  id: 'event-1',
  timestamp: Date.now(),
  body: JSON.stringify({ type: 'customer.updated', data: { customerUrn: 'cu.00.1', name: 'Zoë 🦊' } }),
});

const senderOf = (options: Partial<Parameters<typeof createWebhookSender>[0]> = {}) =>
  createWebhookSender({ networks: '127.0.0.0/8', environment: 'sandbox', timeoutMs: 400, ...options });

/** A look-up that answers these addresses, one list after the other, and counts how often it was asked. */
function lookingUp(...answers: readonly (readonly string[])[]) {
  const asked: string[] = [];
  return {
    asked,
    lookup(name: string, _: object, answer: (error: null, addresses: LookupAddress[]) => void) {
      asked.push(name);
      const addresses = answers[Math.min(asked.length, answers.length) - 1] ?? [];
      answer(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    },
  };
}

t.test('every answer, and every fault of a connection', async (t) => {
  const consumer = await startConsumer(t);
  const sender = senderOf();
  const closed = { outcome: 'connection_failed', description: /^connection failed: [A-Z_]+$/ };
  const late = { outcome: 'timeout', description: 'no answer within 0.4 s' };
  const expected: Record<string, object> = {
    '/ok': { outcome: 'success', status: 204, description: 'answered 204' },
    '/status/200': { outcome: 'success', status: 200 },
    '/status/299': { outcome: 'success', status: 299 },
    '/status/400': { outcome: 'refused', status: 400, description: 'answered 400' },
    '/status/410': { outcome: 'refused', status: 410 },
    '/status/500': { outcome: 'refused', status: 500 },
    '/busy/7': { outcome: 'refused', status: 503, retryAfter: '7' },
    '/redirect': { outcome: 'refused', status: 307, description: 'answered 307 (redirects are not followed)' },
    '/endless': { outcome: 'success', status: 200 },
    '/silent': late,
    '/trickle': late,
    '/reset': closed,
    '/close': closed,
    '/garbage': closed,
    '/huge-head': closed,
    '/upgrade': { outcome: 'connection_failed' },
  };
  for (const [path, result] of Object.entries(expected)) {
    t.match(await sender.send(consumer.url(path), message(), [secret], goesOn), result, path);
  }
  t.same(
    consumer.received.map(({ path }) => path),
    Object.keys(expected),
    'each got one request',
  );
  const nobody = await sender.send('http://127.0.0.1:1/', message(), [secret], goesOn);
  t.same(nobody, { outcome: 'connection_failed', description: 'connection failed: ECONNREFUSED' });
});

t.test('a request is as the specification says, with a signature for each secret', async (t) => {
  const consumer = await startConsumer(t);
  await consumer.knows(secret, other, `whsec_${Buffer.alloc(32, 9).toString('base64')}`);
  const sent = message();
  await senderOf().send(consumer.url('/ok'), sent, [secret, other], goesOn);
  await senderOf().send(consumer.url('/ok'), sent, [other], goesOn);
  await consumer.gets('/ok', 2);
  const [both, one] = consumer.received;
  t.match(both, {
    id: 'event-1',
    verifiedBy: [0, 1],
    body: JSON.parse(sent.body),
    headers: {
      'content-type': 'application/json',
      'user-agent': 'c2a-customers',
      'webhook-timestamp': `${Math.floor(sent.timestamp / 1000)}`,
      'webhook-signature': /^v1,[\w+/=]{44} v1,[\w+/=]{44}$/,
    },
  });
  t.same(one?.verifiedBy, [1]);
});

t.test('an attempt ends when the caller wants it', async (t) => {
  const consumer = await startConsumer(t);
  const stopping = new AbortController();
  const sending = senderOf({ timeoutMs: 60_000 }).send(consumer.url('/silent'), message(), [secret], stopping.signal);
  await consumer.gets('/silent', 1);
  stopping.abort();
  t.match(await sending, { outcome: 'aborted' });
  t.match(await senderOf().send(consumer.url('/ok'), message(), [secret], stopping.signal), { outcome: 'aborted' });
  t.equal(consumer.of('/ok').length, 0);
});

t.test('URLs that are refused', async (t) => {
  const live = senderOf({ networks: 'off', environment: 'live' });
  const sandbox = senderOf({ networks: 'off' });
  const refused: [string, RegExp][] = [
    ['', /must be a URL/],
    ['example.com', /must be a URL/],
    [`https://example.com/${'x'.repeat(2_048)}`, /at most 2048 characters/],
    ['ftp://example.com', /must be an https URL/],
    ['file:///etc/passwd', /must be an https URL/],
    ['http://example.com', /http only in the sandbox/],
    ['https://user:password@example.com', /must not contain a user name or password/],
    ['https://user@example.com', /must not contain a user name or password/],
    ...[
      '127.0.0.1',
      '127.1',
      '2130706433',
      '0x7f.0.0.1',
      '0177.0.0.1',
      '127.0.0.1.',
      '[::1]',
      '[::ffff:127.0.0.1]',
    ].map((host): [string, RegExp] => [
      `https://${host}/`,
      /must not lead to .* unless C2A_WEBHOOK_NETWORKS allows it/,
    ]),
    ['https://169.254.169.254/latest', /metadata/],
    ['https://[fd00:ec2::254]/latest', /must not lead to fd00:ec2::254/],
  ];
  for (const [url, refusal] of refused) {
    t.match(live.refusalOf(url), refusal, url);
    t.match(await live.send(url, message(), [secret], goesOn), { outcome: 'not_allowed', description: refusal }, url);
  }
  t.equal(live.refusalOf('https://example.com:8443/hooks?a=b'), undefined);
  t.equal(live.refusalOf('https://8.8.8.8/'), undefined);
  t.equal(sandbox.refusalOf('http://example.com/'), undefined);
  t.equal(senderOf({ environment: 'live' }).refusalOf('https://127.0.0.1/'), undefined, 'the operator allows it');
});

t.test('a host name is checked by the addresses that it has at each connection', async (t) => {
  const consumer = await startConsumer(t);
  const url = consumer.url('/ok', 'endpoint.example.com');

  const rebinding = lookingUp(['192.0.2.1', '2606:4700::1'], ['127.0.0.1']);
  const strict = senderOf({ networks: '192.0.2.1', lookup: rebinding.lookup });
  t.not((await strict.send(url, message(), [secret], goesOn)).outcome, 'success', 'nobody is there');
  t.equal(rebinding.asked.length, 1, 'one look-up for a connection: the checked addresses are those it uses');
  t.match(await strict.send(url, message(), [secret], goesOn), {
    outcome: 'not_allowed',
    description: /must not lead to 127\.0\.0\.1 \(loopback\)/,
  });

  const mixed = lookingUp(['127.0.0.1', '10.0.0.1', '::1', '127.0.0.2']);
  const partly = senderOf({ networks: '127.0.0.2', lookup: mixed.lookup });
  t.match(await partly.send(url, message(), [secret], goesOn), { outcome: 'success' });
  await consumer.gets('/ok', 1);
  t.same(
    consumer.received.map(({ address }) => address),
    ['127.0.0.2'],
    'only the address that is allowed',
  );

  const asked: string[] = [];
  const slow = senderOf({
    lookup(name, _, answer) {
      asked.push(name);
      setImmediate(answer, null, [{ address: '127.0.0.1', family: 4 }]);
    },
  });
  const sendTwice = () => Promise.all([1, 2].map(() => slow.send(url, message(), [secret], goesOn)));
  t.match(await sendTwice(), [{ outcome: 'success' }, { outcome: 'success' }]);
  t.equal(asked.length, 1, 'attempts at the same time share a look-up');
  await sendTwice();
  t.equal(asked.length, 2, 'and later ones do not');

  const none = senderOf({ lookup: lookingUp([]).lookup });
  t.match(await none.send(url, message(), [secret], goesOn), { outcome: 'not_allowed' });
  t.match(await senderOf().send('http://name.invalid/', message(), [secret], goesOn), {
    outcome: /connection_failed|timeout/,
  });
  t.match(await senderOf({ networks: 'off' }).send(consumer.url('/ok', 'localhost'), message(), [secret], goesOn), {
    outcome: 'not_allowed',
  });
});

t.test('a certificate that is not trusted is refused, without its text', async (t) => {
  const [key, certificate] = [join(t.testdir({}), 'key.pem'), join(t.testdir({}), 'certificate.pem')];
  const made = [
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    key,
    '-out',
    certificate,
    '-subj',
    '/CN=secret-name',
  ];
  execFileSync('openssl', ['req', ...made], { stdio: 'ignore' });
  const consumer = await startConsumer(t, key, certificate);
  const result = await senderOf().send(`https://127.0.0.1:${consumer.port}/ok`, message(), [secret], goesOn);
  t.match(result, { outcome: 'connection_failed', description: 'connection failed: DEPTH_ZERO_SELF_SIGNED_CERT' });
  t.equal(consumer.received.length, 0);
});
