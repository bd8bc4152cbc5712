/** The raw-socket client: sends bytes and parses the answers strictly. Every wait is bounded. */
import { type AddressInfo, connect, type Socket } from 'node:net';
import { httpStatus, mediaType } from '../../src/http/envelope.ts';
import { type Answer, base, toAnswer } from './client.ts';
import type { Service } from './service.ts';

/** Longer than any answer takes, shorter than the timeout of a test file. */
const timeoutMs = 5_000;

/** The port of a service. The first call makes the service listen on a free port. */
export async function portOf({ app }: Pick<Service, 'app'>): Promise<number> {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 });
  return (app.server.address() as AddressInfo).port;
}

/** The value of `promise`; rejects after `ms` milliseconds with an error that names `what`. */
export async function within<Value>(what: string, promise: Promise<Value>, ms = timeoutMs): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export type Line = Awaited<ReturnType<typeof dial>>;

/** A connection, and the bytes that it has received. */
export async function dial(port: number) {
  const socket: Socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let bytes = '';
  let open = true;
  let wake = () => {};
  socket.setEncoding('latin1');
  socket.on('data', (chunk) => {
    bytes += chunk;
    wake();
  });
  // If the server closes while the test still sends, the socket is reset. That counts as a close.
  socket.on('error', () => {});
  for (const event of ['end', 'close'] as const) {
    socket.on(event, () => {
      open = false;
      wake();
    });
  }
  await within('a connection', new Promise<void>((resolve) => socket.once('connect', resolve).once('close', resolve)));

  async function until(what: string, reached: () => boolean, ms?: number): Promise<void> {
    const wait = async () => {
      while (!reached()) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    await within(`${what}; so far: ${JSON.stringify(bytes.slice(0, 300))}`, wait(), ms);
  }

  return {
    socket,
    send: (text: string | Uint8Array) => socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text),
    /** The bytes so far, as latin1. */
    received: () => bytes,
    isOpen: () => open,
    /** Waits for `count` answers; returns fewer if the server closes first. */
    async answers(count = 1, ms?: number): Promise<readonly Answer[]> {
      await until(`${count} answers`, () => !open || readAnswers(bytes).length >= count, ms);
      return readAnswers(bytes);
    },
    /** Waits until the server closes, and returns all answers. */
    async toEnd(ms?: number): Promise<readonly Answer[]> {
      await until('the end of the connection', () => !open, ms);
      socket.destroy();
      return readAnswers(bytes);
    },
    /** Closes the sending half. */
    end: () => socket.end(),
    /** Resets the connection. */
    drop: () => socket.resetAndDestroy(),
  };
}

/** The requests of a caller as bytes. `headers` are whole lines, each with its CRLF. */
export function rawRequests({ credentials }: Pick<Service, 'credentials'>) {
  const named = Object.entries(credentials).map(([name, value]) => `${name}: ${value}\r\n`);
  const shared = `Host: x\r\n${named.join('')}`;
  return {
    /** `info` of an unknown customer. */
    get: (headers = '') => `GET ${base}/info?exId=nobody HTTP/1.1\r\n${shared}${headers}\r\n`,
    /** A POST to `validate` by default; `headers` must declare the length of the body. */
    post: (headers: string, body: string, route = 'validate') =>
      `POST ${base}/${route} HTTP/1.1\r\n${shared}Content-Type: application/json\r\n${headers}\r\n${body}`,
  };
}

/** Sends bytes, closes the sending half, and returns the answers. */
export async function exchangeAll(port: number, bytes: string | Uint8Array): Promise<readonly Answer[]> {
  const line = await dial(port);
  line.send(bytes);
  line.end();
  return line.toEnd();
}

/** Parses the complete answers; throws on malformed HTTP. Interim answers (1xx) are left out. */
function readAnswers(bytes: string): Answer[] {
  const answers: Answer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const headEnd = bytes.indexOf('\r\n\r\n', at);
    if (headEnd < 0) break;
    const [statusLine = '', ...lines] = bytes.slice(at, headEnd).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
    if (!status) throw new Error(`no status line: ${JSON.stringify(statusLine)}`);
    at = headEnd + 4;
    if (status < 200) continue;
    const headers = Object.fromEntries(lines.map(splitHeader));
    const length = Number(headers['content-length']);
    if (!Number.isInteger(length)) throw new Error(`no content-length: ${lines.join(', ')}`);
    if (bytes.length < at + length) break;
    const text = Buffer.from(bytes.slice(at, at + length), 'latin1').toString();
    at += length;
    answers.push(toAnswer(status, headers, text));
  }
  return answers;
}

function splitHeader(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}

/** All violations of the envelope's rules in an answer; any known code is accepted. */
export function envelopeFaults({ status, headers, text, outcome }: Answer): string[] {
  const faults = headers['x-request-id'] ? [] : ['no x-request-id'];
  if (status === 401) {
    if (text !== '' || headers['content-type'] !== undefined) faults.push('401 with a body');
    if (headers['www-authenticate'] === undefined) faults.push('401 without a challenge');
    return faults;
  }
  if (headers['content-type'] !== mediaType) faults.push(`media type ${headers['content-type']}`);
  const code = outcome.slice(4) as keyof typeof httpStatus;
  if (httpStatus[code] !== status) faults.push(`status ${status} with code ${code}`);
  return faults;
}
