/** Streamed responses over sockets: what `GET /export` does with slow readers, disconnects, failures and shutdown. */
import { once } from 'node:events';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import pino from 'pino';
import t, { type Test } from 'tap';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';
import type { Config } from '../../src/config.ts';
import { base } from '../support/client.ts';
import { startService } from '../support/service.ts';
import { dial, portOf, rawRequests, within } from '../support/sockets.ts';
import { byExternalId, content, noon, tenantId } from '../support/storage.ts';

const acme = tenantId('acme');
const pageSize = 25;

type List = CustomerRepository['list'];
interface Options {
  readonly customers: number;
  /** Whether all customers are anonymized. */
  readonly isErased?: boolean;
  readonly config?: Partial<Config>;
  /** Runs before each page is read. @param page 1 for the first page */
  readonly beforePage?: (page: number) => void | Promise<void>;
}

/** A service with customers of some 4 KB each; it counts the pages that an export reads, and collects the log. */
async function startExporting(test: Test, { customers, isErased, config = {}, beforePage = () => {} }: Options) {
  const repository = new MemoryCustomers(createReferenceData());
  const street = 'ß'.repeat(128);
  const address = { street, street2: street, city: street, postalCode: street, state: street, countryCode: 'DE' };
  const info = { companyName: street, taxNumber: street, taxOffice: street, registrationNumber: street };
  const names = { firstName: street, lastName: street };
  for (let index = 0; index < customers; index += 1) {
    const fields = { ...names, primaryBillingAddress: address, corporationInfo: info };
    const context = { keyId: 'key', requestId: 'request', now: noon };
    await repository.store(acme, content(`crm-${index}`, fields), context);
    if (isErased) await repository.erase(acme, byExternalId(`crm-${index}`), context);
  }
  const counted = { pages: 0 };
  const list: List = async (...request) => {
    counted.pages += 1;
    await beforePage(counted.pages);
    return MemoryCustomers.prototype.list.apply(repository, request);
  };
  const stream = new PassThrough();
  const service = await startService(test, {
    repository: Object.assign(repository, { list }),
    config,
    logger: pino({ level: 'info' }, stream),
  });
  const port = await portOf(service);
  const logged = (): Record<string, unknown>[] =>
    ((stream.read() ?? '') as Buffer)
      .toString()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
      .filter(({ msg }) => !/listening/.test(msg));
  logged();

  /** Begins an export, of which nothing is read yet. */
  async function begin(headers = service.credentials): Promise<IncomingMessage> {
    const request = httpGet({
      port,
      path: `${base}/export`,
      headers: { connection: 'keep-alive', ...headers },
      agent: false,
    });
    test.teardown(() => request.destroy());
    const [response] = await within('the response', once(request, 'response'), 15_000);
    // A broken connection; the tests look at `complete`.
    response.on('error', () => {});
    return response;
  }
  /** Resolves when the log has its next line, or lines. */
  async function nextLog() {
    for (let lines = logged(); ; lines = logged()) {
      if (lines.length > 0) return lines;
      await delay(5);
    }
  }
  return {
    ...service,
    port,
    counted,
    begin,
    nextLog: (ms?: number) => within('a line of the log', nextLog(), ms),
    logged,
  };
}

/** Reads a response to its end. */
async function readAll(response: IncomingMessage): Promise<{ lines: string[]; isComplete: boolean }> {
  const chunks: Buffer[] = [];
  response.on('data', (chunk) => chunks.push(chunk));
  await within('the end', new Promise((resolve) => response.once('close', resolve)), 20_000);
  return { lines: Buffer.concat(chunks).toString().split('\n'), isComplete: response.complete };
}

/** Waits until the number of pages has not changed for a while. */
async function settled(counted: { readonly pages: number }): Promise<number> {
  for (let last = -1; last !== counted.pages; await delay(150)) last = counted.pages;
  return counted.pages;
}

const end = ['{"next":null}', ''];

t.test('an export is sent in chunks; afterwards the connection serves other requests', async (t) => {
  const service = await startExporting(t, { customers: 250 });
  const response = await service.begin();
  t.match(response.headers, { 'content-type': 'application/x-ndjson', 'transfer-encoding': 'chunked' });
  const { lines, isComplete } = await readAll(response);
  t.ok(isComplete);
  t.equal(lines.length, 252);
  t.same(lines.slice(-2), end);
  t.match(await service.nextLog(), [{ level: 30, route: `${base}/export`, status: 200, code: 'SUCCESS' }]);

  const line = await dial(service.port);
  const { get } = rawRequests(service);
  const exporting = get().replace('/info?exId=nobody', '/export');
  line.send(exporting + get() + exporting);
  line.end();
  while (line.isOpen()) await delay(5);
  const heads = line.received().match(/HTTP\/1\.1 \d+|\{"next":null\}/g);
  t.same(heads, ['HTTP/1.1 200', '{"next":null}', 'HTTP/1.1 404', 'HTTP/1.1 200', '{"next":null}'], 'pipelined');
});

t.test('an HTTP/1.0 client gets the same, ended by the end of the connection', async (t) => {
  const service = await startExporting(t, { customers: 150 });
  const line = await dial(service.port);
  const { get } = rawRequests(service);
  line.send(get().replace('/info?exId=nobody HTTP/1.1', '/export HTTP/1.0'));
  await within(
    'the end',
    (async () => {
      while (line.isOpen()) await delay(5);
    })(),
  );
  const [head = '', body = ''] = line.received().split('\r\n\r\n');
  t.notMatch(head, /transfer-encoding/i);
  t.same(body.split('\n').slice(-2), end);
  t.equal(body.split('\n').length, 152);
});

t.test('a client that does not read stops the reading of the storage; one that reads on gets everything', async (t) => {
  // 40 MB: more than the buffers of a connection.
  const service = await startExporting(t, { customers: 10_000 });
  const response = await service.begin();
  const pages = await settled(service.counted);
  t.ok(pages < 360, `${pages} of 401 pages were read`);
  t.equal((await service.info({ exId: 'crm-1' })).status, 200, 'other requests are served');
  const { lines, isComplete } = await readAll(response);
  t.ok(isComplete);
  t.equal(lines.length, 10_002);
  t.same(lines.slice(-2), end);
});

t.test('other requests are served while an export is sent', async (t) => {
  const service = await startExporting(t, { customers: 5_000 });
  const exported = service.begin().then(readAll);
  let answered = 0;
  for (let isOver = false; !isOver; ) {
    await service.info({ exId: 'crm-1' });
    isOver = service.counted.pages > 50;
    if (service.counted.pages > 0 && !isOver) answered += 1;
  }
  t.ok(answered > 5, `${answered} requests were answered meanwhile`);
  t.equal((await exported).lines.length, 5_002);
});

t.test('the disconnect of the client ends the export', async (t) => {
  const service = await startExporting(t, { customers: 10_000 });
  const response = await service.begin();
  await once(response, 'readable');
  response.destroy();
  t.match(await service.nextLog(), [{ level: 30, route: `${base}/export`, status: 200, incomplete: true }]);
  const pages = await settled(service.counted);
  t.ok(pages < 360, `${pages} of 401 pages were read`);
  t.same(service.logged(), [], 'nothing else is logged');
});

t.test('the reset of a connection ends an export that has nothing to send yet', async (t) => {
  const service = await startExporting(t, { customers: 20_000, isErased: true });
  const line = await dial(service.port);
  line.send(rawRequests(service).get().replace('/info?exId=nobody', '/export'));
  while (service.counted.pages === 0) await delay(0);
  line.drop();
  t.match(await service.nextLog(), [{ incomplete: true }]);
  const pages = await settled(service.counted);
  t.ok(pages < 400, `${pages} of 801 pages were read`);
});

t.test('a storage that fails in the middle breaks the connection, and is logged once', async (t) => {
  const beforePage = (page: number) => {
    if (page === 3) throw new DatabaseFailure(new Error('disk I/O error'));
  };
  const service = await startExporting(t, { customers: 500, beforePage });
  const { lines, isComplete } = await readAll(await service.begin());
  t.notOk(isComplete);
  t.equal(lines.length, 2 * pageSize + 1, 'the pages before the failure');
  t.notMatch(lines.join(), 'next');
  const logged = await service.nextLog();
  while (logged.length < 2) logged.push(...(await service.nextLog()));
  t.match(logged, [
    { level: 50, msg: 'request failed', route: `${base}/export`, err: { message: /disk I\/O error/ } },
    { level: 30, msg: 'request', status: 200, code: 'SQL_DATABASE_FAILURE', incomplete: true },
  ]);
  await delay(50);
  t.same(service.logged(), []);
});

t.test('a storage that fails before the first byte gets the usual 500', async (t) => {
  const beforePage = () => {
    throw new DatabaseFailure(new Error('disk I/O error'));
  };
  const service = await startExporting(t, { customers: 1, beforePage });
  t.equal((await service.export()).outcome, '500 SQL_DATABASE_FAILURE');
  const line = await dial(service.port);
  line.send(rawRequests(service).get().replace('/info?exId=nobody', '/export'));
  t.match(await line.answers(), [{ outcome: '500 SQL_DATABASE_FAILURE', headers: { connection: 'keep-alive' } }]);
  line.drop();
  t.match(service.logged(), [{ level: 50 }, { status: 500 }, { level: 50 }, { status: 500 }]);
});

t.test('a revoked key ends its export, and no other', async (t) => {
  let atPage = (_page: number): void | Promise<void> => {};
  const service = await startExporting(t, { customers: 1_000, beforePage: (page) => atPage(page) });
  const { services } = service;
  const second = await service.key('acme', 'read');
  atPage = async (page) => {
    if (page === 3) await services.apiKeys.revoke(second.id);
  };
  const { lines, isComplete } = await readAll(await service.begin(second.credentials));
  t.notOk(isComplete);
  t.equal(lines.length, 2 * pageSize + 1);
  t.match(await service.nextLog(), [{ level: 30, keyId: second.id, status: 200, code: undefined, incomplete: true }]);
  t.equal((await readAll(await service.begin())).lines.length, 1_002);

  const third = await service.key('acme', 'read');
  service.counted.pages = 0;
  atPage = async (page) => {
    if (page === 1) await services.apiKeys.revoke(third.id);
  };
  t.match(await third.export(), { status: 401, text: '' }, 'before the first byte');
});

t.test('the check of a key does not count as its use', async (t) => {
  const service = await startExporting(t, { customers: 1_000 });
  await readAll(await service.begin());
  await service.services.authentication.recordUse();
  t.match(await service.services.apiKeys.list(), [{ requests: 1 }]);
});

t.test('at shutdown an export may end, and its connection is closed after it', async (t) => {
  const service = await startExporting(t, { customers: 5_000, config: { shutdownTimeoutMs: 8_000 } });
  const line = await dial(service.port);
  line.send(rawRequests(service).get().replace('/info?exId=nobody', '/export'));
  while (line.received() === '') await delay(1);
  line.socket.pause();
  await settled(service.counted);
  const since = Date.now();
  const closing = service.app.close();
  await delay(400);
  line.socket.resume();
  await within('the close', closing);
  t.ok(Date.now() - since < 3_000, `${Date.now() - since} ms`);
  while (line.isOpen()) await delay(5);
  t.match(line.received().slice(-30), /\{"next":null\}\n\r\n0\r\n\r\n$/);
});

t.test('at shutdown an export that is not read is cut after half the timeout', async (t) => {
  const service = await startExporting(t, { customers: 10_000, config: { shutdownTimeoutMs: 1_000 } });
  const response = await service.begin();
  await settled(service.counted);
  await within('the close', service.app.close(), 3_000);
  t.notOk(response.complete);
});

t.test('a connection is closed if its client reads nothing, not if it reads slowly or waits for data', async (t) => {
  const config = { requestTimeoutMs: 1_000 };
  const waiting = await startExporting(t, { customers: 50, isErased: true, config, beforePage: () => delay(3_000) });
  const waited = waiting.begin().then(readAll);
  const service = await startExporting(t, { customers: 20_000, config });
  const [stalled, slow] = [await service.begin(), await service.begin()];
  const since = Date.now();
  let isStalledOpen = true;
  const reading = (async () => {
    while (isStalledOpen) {
      slow.read(64 * 1024);
      await delay(100);
    }
  })();
  t.match(await service.nextLog(15_000), [{ status: 200, incomplete: true }]);
  t.ok(Date.now() - since > 5_500, `after ${Date.now() - since} ms`);
  isStalledOpen = false;
  await reading;
  t.ok((await readAll(slow)).isComplete, 'the other export ends');
  t.notOk((await readAll(stalled)).isComplete);
  t.same(await waited, { lines: end, isComplete: true }, 'after 9 seconds without data');
});
