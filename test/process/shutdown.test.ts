/** Shutdown of `serve`: requests in flight are answered, within the time limit. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import t, { type Test } from 'tap';
import type { Credentials } from '../../src/process/demo.ts';
import { storing } from '../support/client.ts';
import { c2a, type Serving, serving } from '../support/process.ts';
import { dial, rawRequests, within } from '../support/sockets.ts';

async function started(test: Test, words: readonly string[] = []) {
  const dataDir = test.testdir({});
  const server = await serving(['--json', '--data-dir', dataDir, '--max-event-loop-delay-ms', '0', ...words]);
  test.teardown(() => server.child.kill('SIGKILL'));
  const { credentials } = JSON.parse(server.greeting) as { credentials: Credentials };
  return { ...server, dataDir, credentials, port: Number(new URL(server.url).port) };
}

/** A store request whose head was received; the server waits for the body. */
async function begun({ credentials, port }: { credentials: Credentials; port: number }) {
  const body = JSON.stringify(storing({ externalIdentifier: 'in-flight' }));
  const line = await dial(port);
  const { post } = rawRequests({ credentials });
  line.send(post(`Content-Length: ${body.length}\r\nExpect: 100-continue\r\n`, '', 'store'));
  while (!line.received().startsWith('HTTP/1.1 100')) await delay(5);
  return { ...line, body };
}

/** Waits until the server accepts no new connection. */
async function refusesConnections(port: number): Promise<void> {
  for (let turn = 0; turn < 200; turn += 1) {
    const line = await dial(port);
    const refused = !line.isOpen();
    line.socket.destroy();
    if (refused) return;
    await delay(10);
  }
  throw new Error('the server still accepts connections');
}

const exit = async ({ stop }: Pick<Serving, 'stop'>, signal: NodeJS.Signals) => within('the exit', stop(signal), 8_000);

for (const signals of [
  ['SIGTERM'],
  ['SIGINT'],
  ['SIGTERM', 'SIGTERM'],
  ['SIGINT', 'SIGINT'],
  ['SIGTERM', 'SIGINT'],
] as const) {
  t.test(`on ${signals.join(' and ')} requests in flight are answered, and the exit code is 0`, async (t) => {
    const server = await started(t);
    const request = await begun(server);
    const { get } = rawRequests(server);
    const [silent, slow] = [await dial(server.port), await dial(server.port)];
    slow.send(get().slice(0, 40));
    const ended = once(server.child, 'exit');
    for (const signal of signals) server.child.kill(signal);
    await refusesConnections(server.port);
    t.same([await silent.toEnd(), await slow.toEnd()], [[], []], 'connections without a whole request are closed');
    request.send(request.body + get());
    const [answer, next] = await request.toEnd();
    t.equal(answer?.outcome, '200 SUCCESS');
    if (next) t.match(next, { outcome: '503 SERVICE_UNAVAILABLE', headers: { 'retry-after': '1' } });
    const [code] = await within('the exit', ended);
    t.equal(code, 0);
    t.notMatch((await server.stop()).stderr, '"fatal"');

    const [key] = JSON.parse((await c2a(['key', 'list', '--json', '--data-dir', server.dataDir])).stdout);
    t.ok(key.requests >= 1, 'the use of the API key was stored');
    t.notOk(existsSync(join(server.dataDir, 'customers.db-wal')), 'the database was closed');
  });
}

t.test('an incomplete body is cut off after half the shutdown timeout, and the exit code is 0', async (t) => {
  const server = await started(t, ['--shutdown-timeout-ms', '2000']);
  const request = await begun(server);
  const since = Date.now();
  const { code, stderr } = await exit(server, 'SIGTERM');
  t.equal(code, 0);
  t.ok(Date.now() - since >= 1_000, 'not before');
  t.notMatch(stderr, '"level":"fatal"');
  t.same(await request.toEnd(), [], 'without an answer');
  const again = await serving(['--data-dir', server.dataDir]);
  t.equal((await again.stop()).code, 0, 'it starts again');
});

t.test('requests that outlast the shutdown timeout are abandoned, and the exit code is 1', async (t) => {
  const server = await started(t, ['--shutdown-timeout-ms', '500']);
  // A store waits for the lock of another process for longer than that.
  const other = new Database(join(server.dataDir, 'customers.db'));
  t.teardown(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  const request = await begun(server);
  request.send(request.body);
  await delay(100);
  const { code, stderr } = await exit(server, 'SIGTERM');
  t.equal(code, 1);
  t.match(stderr, '"level":"fatal"');
  t.match(stderr, 'requests did not finish in time');
  t.same(await request.toEnd(), [], 'without an answer');
});

t.test('a signal right after the start ends it with exit code 0', async (t) => {
  t.equal((await exit(await started(t), 'SIGTERM')).code, 0);
});

t.test('idle keep-alive connections do not delay the shutdown', async (t) => {
  const server = await started(t);
  const { get } = rawRequests(server);
  const lines = await Promise.all(Array.from({ length: 20 }, () => dial(server.port)));
  for (const line of lines) {
    line.send(get());
    t.match(await line.answers(), [{ status: 404 }]);
  }
  const since = Date.now();
  t.equal((await exit(server, 'SIGTERM')).code, 0);
  t.ok(Date.now() - since < 3_000, `${Date.now() - since} ms`);
  for (const line of lines) await line.toEnd();
});

t.test('--check-config validates the configuration, and does nothing else', async (t) => {
  const dataDir = join(t.testdir({}), 'new');
  const check = (...words: string[]) => c2a(['serve', '--check-config', '--data-dir', dataDir, ...words]);
  const good = await check();
  t.match(good, { code: 0, stdout: 'the configuration is valid\n', stderr: '' });
  const json = await check('--json', '--partition', '07');
  t.match(JSON.parse(json.stdout), { partition: '07', dataDir, shutdownTimeoutMs: 10_000 });
  const bad = await check('--shutdown-timeout-ms', '5', '--rate-limit', '0');
  t.match(bad, { code: 2, stdout: '', stderr: /C2A_RATE_LIMIT .*\n.*C2A_SHUTDOWN_TIMEOUT_MS/ });
  t.notOk(existsSync(dataDir), 'no folder was created');
});
