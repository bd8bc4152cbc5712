/** Imports that are stopped in the middle: by a revoked key, a database failure, a shutdown or a kill. */
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import pino from 'pino';
import t, { type Test } from 'tap';
import type { Credentials } from '../../src/process/demo.ts';
import { client, overHttp } from '../support/client.ts';
import { beginImport, rowsOf } from '../support/imports.ts';
import { serving } from '../support/process.ts';
import { startService } from '../support/service.ts';
import { portOf, within } from '../support/sockets.ts';

const stoppedBy = (messageCode: string) => ({ summary: {}, status: { messageCode } });

t.test('a revoked key stops its import, with a last line', async (t) => {
  const service = await startService(t, { storage: 'sqlite', dataDir: t.testdir({}) });
  const port = await portOf(service);
  const second = await service.key('acme', 'full');
  const one = beginImport(t, port, { headers: { ...second.credentials } });
  one.send(rowsOf(0, 10));
  await one.answered(10);
  await service.services.apiKeys.revoke(second.id);
  service.clock.now += 1_000;
  const since = Date.now();
  // The body goes on, or pauses: it does not end.
  const { lines, isComplete, last } = await one.ended(4_000);
  t.ok(Date.now() - since < 2_000, `${Date.now() - since} ms`);
  t.ok(isComplete);
  t.match(last, { ...stoppedBy('FORBIDDEN'), summary: { created: 10 } });
  t.equal(lines.length, 11);
  t.equal((await service.export()).body.length, 11);
  t.equal((await service.import(rowsOf(0, 1))).status, 200);

  const third = await service.key('acme', 'full');
  const busy = beginImport(t, port, { headers: { ...third.credentials } });
  let sent = 0;
  const sending = setInterval(() => {
    busy.send(rowsOf(1_000 + sent, 1_010 + sent));
    sent += 10;
  }, 5);
  await busy.answered(20);
  await service.services.apiKeys.revoke(third.id);
  service.clock.now += 1_000;
  const ended = await busy.ended(4_000);
  clearInterval(sending);
  t.ok(ended.isComplete);
  t.match(ended.last, stoppedBy('FORBIDDEN'));
  t.equal((await service.export()).body.length, 10 + ended.lines.length);
});

t.test('a database failure in the middle: what was answered is stored, nothing half', async (t) => {
  const dataDir = t.testdir({});
  const stream = new PassThrough();
  const logger = pino({ level: 'info' }, stream);
  const service = await startService(t, { storage: 'sqlite', dataDir, logger });
  const port = await portOf(service);
  const outside = new Database(join(dataDir, 'customers.db'));
  t.teardown(() => outside.close());
  const one = beginImport(t, port, { headers: { ...service.credentials, 'x-request-id': 'failing' } });
  one.send(rowsOf(0, 10, () => ({ email: 'secret-mark@example.com' })));
  // One is stored, nine wait for its e-mail address.
  await one.answered(1);
  outside.exec('ALTER TABLE customers RENAME TO elsewhere');
  one.send(rowsOf(10, 20, (index) => ({ email: `secret-mark-${index}@example.com`, firstName: 'secret-mark' })));
  const { lines, isComplete, last } = await one.ended(5_000);
  t.ok(isComplete);
  t.match(last, { ...stoppedBy('SQL_DATABASE_FAILURE'), summary: { created: 1 } });
  outside.exec('ALTER TABLE elsewhere RENAME TO customers');
  const created = lines.filter(({ outcome }) => outcome === 'created').length;
  t.equal(outside.prepare('SELECT count(*) FROM customers').pluck().get(), created);
  t.equal(outside.prepare('SELECT count(*) FROM changes').pluck().get(), created);
  t.match((await service.import(rowsOf(0, 20, (index) => ({ email: `${index}@example.com` })))).body.at(-1), {
    summary: { created: 19, updated: 1 },
  });
  const logged = ((stream.read() ?? '') as Buffer).toString();
  t.notMatch(logged, /secret-mark|example\.com|crm-\d/);
  const access = logged
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .filter(({ requestId }) => requestId === 'failing');
  t.match(access, [
    { level: 50, msg: 'request failed', route: /import$/, err: {} },
    { level: 30, msg: 'request', status: 200, code: 'SQL_DATABASE_FAILURE', tenant: 'acme', route: /import$/ },
  ]);
});

t.test('one line of the access log, one count, and the request id; nothing personal', async (t) => {
  const stream = new PassThrough();
  const service = await startService(t, { logger: pino({ level: 'info' }, stream) });
  const rows = [
    rowsOf(0, 2, () => ({ email: 'secret-mark@example.com' })),
    rowsOf(2, 3, () => ({ email: 'secret-mark', 'secret-field': 1 })),
    'secret-mark\n',
  ].join('');
  const { headers } = await service.import(rows, {}, { 'x-request-id': 'mine' });
  t.equal(headers['x-request-id'], 'mine');
  const logged = ((stream.read() ?? '') as Buffer).toString();
  t.notMatch(logged, /secret/);
  const lines = logged.split('\n').filter((line) => line.includes('"mine"'));
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0] as string), { status: 200, code: 'SUCCESS', tenant: 'acme', route: /import$/ });
  t.match(await service.services.metrics.render(), /_total\{[^}]*route="[^"]*\/import"[^}]*code="SUCCESS"[^}]*\} 1\n/);
});

async function startProcess(test: Test, dataDir: string, known?: Credentials) {
  const server = await serving(['--json', '--data-dir', dataDir, '--max-event-loop-delay-ms', '0']);
  test.teardown(() => server.child.kill('SIGKILL'));
  const credentials = known ?? (JSON.parse(server.greeting).credentials as Credentials);
  const port = Number(new URL(server.url).port);
  const { export: all } = client(overHttp(server.url), { ...credentials });
  return { ...server, credentials, port, all };
}

t.test('a shutdown stops imports, busy or waiting, with a last line', async (t) => {
  const { port, credentials, stop } = await startProcess(t, t.testdir({}));
  const [busy, waiting] = [0, 1].map(() => beginImport(t, port, { headers: { ...credentials } }));
  waiting?.send(rowsOf(0, 1));
  await waiting?.answered(1);
  let sent = 0;
  const sending = setInterval(() => {
    busy?.send(rowsOf(1_000 + sent, 1_050 + sent));
    sent += 50;
  }, 5);
  await busy?.answered(100);
  const since = Date.now();
  const stopped = stop('SIGTERM');
  for (const one of [busy, waiting]) {
    const ended = await one?.ended(6_000);
    t.ok(ended?.isComplete);
    t.match(ended?.last, stoppedBy('SERVICE_UNAVAILABLE'));
  }
  clearInterval(sending);
  t.equal((await within('the exit', stopped, 10_000)).code, 0);
  t.ok(Date.now() - since < 8_000, `${Date.now() - since} ms`);
});

t.test('kill -9 in the middle, and the file is sent again: the same final state', async (t) => {
  const dataDir = t.testdir({});
  const mail = (index: number) => ({ email: `${index}@example.com` });
  const swapped = (index: number) => ({ email: `${index ^ 1}@example.com` });
  const file = rowsOf(0, 1_000, mail) + rowsOf(0, 1_000, swapped);
  let server = await startProcess(t, dataDir);
  for (let round = 0; round < 4; round += 1) {
    const one = beginImport(t, server.port, { headers: { ...server.credentials } });
    one.end(file);
    await one.answered(1 + round * 500);
    await delay(Math.random() * 50);
    await server.stop('SIGKILL');
    const { lines } = await one.ended(5_000);
    const next = await startProcess(t, dataDir, server.credentials);
    const stored = new Set((await next.all()).body.map(({ customerUrn }: { customerUrn: string }) => customerUrn));
    t.ok(
      lines.every(({ customerUrn }) => customerUrn === undefined || stored.has(customerUrn)),
      `${lines.length} answers`,
    );
    server = next;
  }
  const last = beginImport(t, server.port, { headers: { ...server.credentials } });
  last.end(file);
  t.match((await last.ended()).last, { summary: { refused: 0, stale: 0 }, status: { messageCode: 'SUCCESS' } });
  const { body } = await server.all();
  t.equal(body.length, 1_001);
  t.ok(
    body.slice(0, -1).every(({ externalIdentifier, email }: Record<string, string>) => {
      const index = Number(externalIdentifier?.slice(4));
      return email === swapped(index).email;
    }),
  );
  await server.stop();
});
