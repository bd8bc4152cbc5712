/** What the server bears: sizes, times, rates, and what it does beyond them. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type RefusalCode, refusal } from '../application/outcome.ts';
import type { RefusedConnection } from './access-log.ts';
import { httpStatus, mediaType, wrapped } from './envelope.ts';
import { requestIdOf } from './request-id.ts';

/** See the settings of the same names in `config.ts`. */
export interface Limits {
  readonly bodyLimit: number;
  readonly headerLimit: number;
  readonly maxConnections: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly maxEventLoopDelayMs: number;
  readonly shutdownTimeoutMs: number;
  /** `off`, or requests a minute for each API key. */
  readonly rateLimit: string;
}

const minuteMs = 60_000;

/** The limits that Node and Fastify keep for us. @param onRefused hears of connections that are refused without a request */
export const serverLimits = (limits: Limits, onRefused: (refused: RefusedConnection) => void) => ({
  requestTimeout: limits.requestTimeoutMs,
  // Nothing sent and nothing read for so long: who does not read must not keep what was written for it.
  connectionTimeout: limits.requestTimeoutMs + idleGraceMs,
  keepAliveTimeout: limits.keepAliveTimeoutMs,
  http: {
    maxHeaderSize: limits.headerLimit,
    headersTimeout: limits.headersTimeoutMs,
    // How often Node looks for connections that are overdue.
    connectionsCheckingInterval: 1000,
    // Node would answer 400 without our envelope; see `admission`.
    requireHostHeader: false,
    // A second `Authorization` would be dropped: joined to the first it is no credential.
    joinDuplicateHeaders: true,
  },
  clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) => refuseConnection(error, socket, onRefused),
});

interface Admission {
  /** Why a request is not let in: 503 before the process drowns, and while it shuts down. To be asked first of all. */
  admit(request: FastifyRequest, reply: FastifyReply): Error | undefined;
  /**
   * Where a body is refused: keeps the connection if all of it has come (Fastify would close it), else lets in nothing that
   * comes behind it, as that would not be answered (RFC 9112 section 9.6).
   */
  refuseBody(request: FastifyRequest, reply: FastifyReply): void;
  /** To be told when the answer has left. */
  release(request: FastifyRequest): void;
}

/** Bears what connections do, and decides who is let in. @param onRefused hears of connections that are refused without a request */
export function admission(
  app: FastifyInstance,
  limits: Limits,
  onRefused: (refused: RefusedConnection) => void,
): Admission {
  app.server.maxConnections = limits.maxConnections;
  // `Expect` is answered like any other header that we do not know, not with a bare 417.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  // Node would close without an answer: on CONNECT, and where a caller has said all it has to say and only listens.
  app.server.on('connect', (_, socket: Socket) => {
    // Node has let go of this socket: whoever hangs up or stays silent on it is ours to bear.
    socket.on('error', () => socket.destroy());
    socket.setTimeout(detachedTimeoutMs, () => socket.destroy());
    refuseConnection(new Error('no proxy'), socket, onRefused);
  });
  Object.assign(app.server, { httpAllowHalfOpen: true });

  let closing = false;
  const sockets = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  app.addHook('preClose', async () => {
    closing = true;
    // Who is answered now is told not to come back by this connection; who comes before it hears of that gets 503.
    for (const socket of sockets) {
      const pending = pendingAnswer(socket);
      if (pending) pending.shouldKeepAlive = false;
    }
    if (sockets.size > 0) await delay(closingGraceMs);
    for (const socket of sockets) if (!pendingAnswer(socket)) socket.destroy();
    // Node itself would wait for ever for the rest of a body.
    setTimeout(() => {
      for (const socket of sockets) if (pendingAnswer(socket)?.req.complete === false) socket.destroy();
    }, limits.shutdownTimeoutMs / 2).unref();
  });
  const pressure = watchPressure(limits.maxEventLoopDelayMs);
  app.addHook('onClose', async () => pressure.end());

  return {
    admit(request, reply) {
      const { raw } = request;
      const { socket } = raw;
      const answers = answersOf(socket);
      answers.outstanding += 1;
      // An answer would only be one more that is not read.
      const isUnread = answers.outstanding > 2 * maxOutstanding || socket.writableLength > maxUnreadBytes;
      if (isUnread) socket.destroy();
      if (isUnread || answers.outstanding > maxOutstanding || closing || answers.isClosing) {
        reply.header('connection', 'close');
        return failure(503, closing ? 'shutting down' : 'too many requests under way on one connection');
      }
      if (!namesItsHost(raw)) return failure(400, 'RFC 9112 section 3.2: a request must have one Host');
      const isShed = pressure.isHigh() && !request.routeOptions.config.forOperators;
      return isShed ? failure(503, 'under pressure') : undefined;
    },
    refuseBody({ raw }, reply) {
      if (raw.complete && !closing) reply.removeHeader('connection');
      else answersOf(raw.socket).isClosing = true;
    },
    release({ raw }) {
      answersOf(raw.socket).outstanding -= 1;
    },
  };
}

/**
 * Whether the event loop is late by more than `maxDelayMs` (0: however late it is), or memory for JavaScript nearly used up.
 * (`@fastify/under-pressure`, which does the same, asks the system for memory that is of no interest here; without a file
 * descriptor left that fails, and ends the process.)
 */
function watchPressure(maxDelayMs: number) {
  const maxHeapBytes = maxHeapUse * getHeapStatistics().heap_size_limit;
  const delays = monitorEventLoopDelay({ resolution: pressureResolutionMs });
  delays.enable();
  let isHigh = false;
  const timer = setInterval(() => {
    // Not a number: it was so late that nothing was measured.
    const isOnTime = maxDelayMs === 0 || delays.mean / 1e6 - pressureResolutionMs <= maxDelayMs;
    delays.reset();
    isHigh = !isOnTime || getHeapStatistics().used_heap_size > maxHeapBytes;
  }, pressureIntervalMs).unref();
  return {
    isHigh: () => isHigh,
    end() {
      clearInterval(timer);
      delays.disable();
    },
  };
}

/**
 * 429 beyond the rate of a key; after authentication, so that nobody can use up another's. Counts together what is
 * registered within `app`.
 */
export async function limitRate(app: FastifyInstance, { rateLimit: limit }: Limits): Promise<void> {
  if (limit === 'off') return;
  await app.register(rateLimit, {
    max: Number(limit),
    timeWindow: minuteMs,
    // Of hooks of a kind those of the route, as this one, come last.
    hook: 'onRequest',
    keyGenerator: (request: FastifyRequest) => request.caller.keyId,
    // draft-ietf-httpapi-ratelimit-headers
    enableDraftSpec: true,
  });
}

/** How many requests of one connection may be under way (pipelining, RFC 9112 section 9.3.2). */
const maxOutstanding = 100;
/** What comes too slowly is told so first. */
const idleGraceMs = 5_000;
/** How much may be written for a connection that is not read. */
const maxUnreadBytes = 1024 * 1024;
const pressureResolutionMs = 10;
const pressureIntervalMs = 1_000;
/** How much of the memory for JavaScript may be in use, beyond which nothing more is taken. */
const maxHeapUse = 0.9;
/** How long connections are kept open when the service ends, so that whoever is about to ask gets an answer. */
const closingGraceMs = 250;

const outstandingAnswers = Symbol('outstanding answers');
interface Answers {
  /** How many the connection waits for. */
  outstanding: number;
  /** Whether it is closed behind one of them. */
  isClosing: boolean;
}
/** On the socket itself: a look-up for each request would cost more. */
function answersOf(socket: Socket & { [outstandingAnswers]?: Answers }): Answers {
  socket[outstandingAnswers] ??= { outstanding: 0, isClosing: false };
  return socket[outstandingAnswers];
}

/** How long a caller may keep a connection that is already refused. */
const detachedTimeoutMs = 1_000;

/** Why a request is refused, as a status (`codeOf` in `server.ts`) and for the log. */
export const failure = (statusCode: number, message: string) => Object.assign(new Error(message), { statusCode });

/** Exactly one Host; before HTTP/1.1 none will do. Node's `headers` keep the first of several. */
function namesItsHost({ rawHeaders, httpVersion }: IncomingMessage): boolean {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.length === 4 && rawHeaders[at]?.toLowerCase() === 'host') hosts += 1;
  }
  return hosts === 1 || (hosts === 0 && httpVersion === '1.0');
}

/**
 * What is no HTTP, or comes too slowly, has neither request nor reply: the answer is written by hand, and the socket
 * closed. Fastify's own handler would log the bytes.
 */
function refuseConnection(
  error: NodeJS.ErrnoException,
  socket: Socket,
  onRefused: (refused: RefusedConnection) => void,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code: RefusalCode = error.code === 'HPE_HEADER_OVERFLOW' ? 'PAYLOAD_TOO_LARGE' : 'BAD_REQUEST';
  const requestId = requestIdOf(pendingAnswer(socket)?.req);
  const body = JSON.stringify(wrapped(refusal(code)));
  const head = [
    `HTTP/1.1 ${httpStatus[code]} ${code}`,
    `content-type: ${mediaType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    'connection: close',
  ];
  afterAnswers(socket, () => {
    if (socket.writable) socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
    onRefused({ requestId, status: httpStatus[code], code, cause: error.code, ip: socket.remoteAddress });
  });
}

/** Requests that came whole on the same connection are answered first: to them, ours would say something false. */
function afterAnswers(socket: Socket, refuse: () => void): void {
  const pending = pendingAnswer(socket);
  if (!pending?.req.complete) {
    refuse();
    return;
  }
  // Where the caller has said all it has to say, Node would close behind the last of them.
  socket.removeAllListeners('end');
  pending.once('close', () => afterAnswers(socket, refuse));
}

/** The answer that is next to leave by this socket; none where no request has come. */
const pendingAnswer = (socket: Socket): ServerResponse | null | undefined =>
  (socket as Socket & { readonly _httpMessage?: ServerResponse | null })._httpMessage;
