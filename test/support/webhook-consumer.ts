/**
 * A process that consumes webhooks: `node webhook-consumer.ts [<key file> <certificate file>]`. It prints its port, then
 * one line of JSON for each request that it has read (see `Received`). A line of its input is a list of secrets, with
 * which it verifies. The path of a request says how it is answered; see `answers`.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';

/** A request as the consumer has seen it. */
export interface Received {
  readonly path: string;
  readonly id: string;
  /** The indexes of the secrets for which `Webhook.verify` accepts the request. */
  readonly verifiedBy: readonly number[];
  // biome-ignore lint/suspicious/noExplicitAny: the body, as tests look at it
  readonly body: any;
  readonly headers: Readonly<Record<string, string>>;
  /** The address that the sender has connected to. */
  readonly address: string;
  /** How many requests of this path were in progress, with this one. */
  readonly atOnce: number;
  /** Whether another request of the same customer was in progress. */
  readonly overlaps: boolean;
  /** Whether it is answered with 2xx. */
  readonly accepted: boolean;
}

type Answering = (response: ServerResponse, argument: string) => unknown;

/** The ways to answer, by the first part of the path; the second part is the argument. */
const answers: Readonly<Record<string, Answering>> = {
  ok: (response) => response.writeHead(204).end(),
  status: (response, status) => response.writeHead(Number(status)).end('a body of the endpoint'),
  /** Answers 503 and asks for a later attempt. */
  busy: (response, retryAfter) => response.writeHead(503, { 'retry-after': decodeURIComponent(retryAfter) }).end(),
  redirect: (response) => response.writeHead(307, { location: '/ok' }).end(),
  silent: () => {},
  /** Begins an answer, one byte at a time, that never ends. */
  async trickle({ socket }) {
    for (const byte of `HTTP/1.1 204 No Content\r\nx: ${'x'.repeat(10_000)}`) {
      if (socket === null || socket.destroyed) return;
      socket.write(byte);
      await delay(20);
    }
  },
  /** Succeeds, with a body that never ends. */
  endless(response) {
    response.writeHead(200);
    const chunk = Buffer.alloc(65_536);
    const more = () => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    more();
  },
  reset: ({ socket }) => socket?.resetAndDestroy(),
  close: ({ socket }) => socket?.destroy(),
  garbage: ({ socket }) => socket?.end('SMTP ready\r\n\r\n'),
  upgrade: ({ socket }) => socket?.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
  'huge-head': ({ socket }) => socket?.end(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(1_000_000)}\r\n\r\n`),
  /** Succeeds after up to some milliseconds. */
  async slow(response, milliseconds) {
    await delay(Number(milliseconds) * Math.random());
    response.writeHead(200).end('ok');
  },
};
const accepting = ['ok', 'endless', 'slow'];
/** `flaky/20` refuses 20 percent of the requests, and is slow. */
const isRefused = (kind: string, argument: string): boolean =>
  kind === 'flaky' && Math.random() * 100 < Number(argument);

let secrets: readonly string[] = [];
const inProgress = new Map<string, string[]>();
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? '/';
  const [, kind = '', argument = ''] = path.split('/');
  let text = '';
  for await (const chunk of request) text += chunk;
  const body = JSON.parse(text);
  const headers = request.headers as Record<string, string>;
  const customer = `${path} ${body.data.customerUrn}`;
  const others = inProgress.get(path) ?? [];
  inProgress.set(path, [...others, customer]);
  response.on('close', () => {
    const left = inProgress.get(path) ?? [];
    left.splice(left.indexOf(customer), 1);
  });
  const refused = isRefused(kind, argument);
  const [answering, by] = kind !== 'flaky' ? [kind, argument] : refused ? ['status', '500'] : ['slow', '5'];
  if (!(answering in answers)) throw new Error(`no answer is called ${answering}`);
  say({
    ...{ path, body, headers },
    id: headers['webhook-id'] ?? '',
    verifiedBy: secrets.flatMap((secret, index) => (isSignedWith(secret, text, headers) ? [index] : [])),
    address: request.socket.localAddress ?? '',
    atOnce: others.length + 1,
    overlaps: others.includes(customer),
    accepted: accepting.includes(answering),
  } satisfies Received);
  await answers[answering]?.(response, by);
}

function isSignedWith(secret: string, text: string, headers: Record<string, string>): boolean {
  try {
    new Webhook(secret).verify(text, headers);
    return true;
  } catch {
    return false;
  }
}

const [keyFile, certificateFile] = process.argv.slice(2);
const server =
  keyFile === undefined || certificateFile === undefined
    ? createServer(receive)
    : createTlsServer({ key: readFileSync(keyFile), cert: readFileSync(certificateFile) }, receive);
server.listen(0, '0.0.0.0', () => say((server.address() as AddressInfo).port));
createInterface({ input: process.stdin }).on('line', (line) => {
  secrets = JSON.parse(line);
  say(null);
});
