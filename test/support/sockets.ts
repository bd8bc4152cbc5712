/** HTTP by hand: bytes over a socket, and what came back, read strictly. Every wait is bounded. */
import { type AddressInfo, connect, type Socket } from 'node:net';
import { httpStatus, mediaType } from '../../src/http/envelope.ts';
import { base, type Service } from './service.ts';

/** Longer than any answer takes, shorter than the patience of a test. */
const patienceMs = 5_000;

export interface WireAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Status and message code, e.g. `400 BAD_REQUEST`; an answer without an envelope has no code. */
  readonly outcome: string;
}

/** Listens on a free port of this machine, once. */
export async function portOf({ app }: Pick<Service, 'app'>): Promise<number> {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 });
  return (app.server.address() as AddressInfo).port;
}

/** `promise`, or an error that says what was waited for. */
export async function within<Value>(what: string, promise: Promise<Value>, ms = patienceMs): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export type Line = Awaited<ReturnType<typeof dial>>;

/** A connection, and all that was answered on it. */
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
  // A server that closes while we still send resets the connection: an end like any other.
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
    /** All that came, as it came. */
    received: () => bytes,
    isOpen: () => open,
    /** The first so many answers, waiting for them; fewer where the server closes first. */
    async answers(count = 1, ms?: number): Promise<readonly WireAnswer[]> {
      await until(`${count} answers`, () => !open || readAnswers(bytes).length >= count, ms);
      return readAnswers(bytes);
    },
    /** Everything until the server closes. */
    async toEnd(ms?: number): Promise<readonly WireAnswer[]> {
      await until('the end of the connection', () => !open, ms);
      socket.destroy();
      return readAnswers(bytes);
    },
    /** Says that nothing more will be sent, and goes on listening. */
    end: () => socket.end(),
    /** Goes away without a word. */
    drop: () => socket.resetAndDestroy(),
  };
}

/** A caller's requests as bytes: `headers` are whole lines, each with its CRLF. */
export function rawRequests({ credentials }: Pick<Service, 'credentials'>) {
  const named = Object.entries(credentials).map(([name, value]) => `${name}: ${value}\r\n`);
  const shared = `Host: x\r\n${named.join('')}`;
  return {
    /** Of a customer who is not there. */
    get: (headers = '') => `GET ${base}/info?exId=nobody HTTP/1.1\r\n${shared}${headers}\r\n`,
    /** To `validate` unless it says otherwise; how long the body is, `headers` must say. */
    post: (headers: string, body: string, route = 'validate') =>
      `POST ${base}/${route} HTTP/1.1\r\n${shared}Content-Type: application/json\r\n${headers}\r\n${body}`,
  };
}

/** The answers to bytes after which nothing more is sent. */
export async function exchangeAll(port: number, bytes: string | Uint8Array): Promise<readonly WireAnswer[]> {
  const line = await dial(port);
  line.send(bytes);
  line.end();
  return line.toEnd();
}

/** Reads complete answers from the start of what came; throws where it is no HTTP. Interim answers are left out. */
function readAnswers(bytes: string): WireAnswer[] {
  const answers: WireAnswer[] = [];
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
    answers.push({ status, headers, text, outcome: outcomeOf(status, text) });
  }
  return answers;
}

function splitHeader(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}

function outcomeOf(status: number, text: string): string {
  const code = text.startsWith('{') ? JSON.parse(text).status?.messageCode : undefined;
  return [status, code].join(' ').trim();
}

/** Everything in which an answer of the API departs from the envelope; which code it has is not looked at. */
export function envelopeFaults({ status, headers, text, outcome }: WireAnswer): string[] {
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
