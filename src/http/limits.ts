/** What the server bears: sizes, times, rates, and what it does beyond them. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import rateLimit from '@fastify/rate-limit';
import underPressure from '@fastify/under-pressure';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type RefusalCode, refusal } from '../application/outcome.ts';
import { httpStatus, mediaType, wrapped } from './envelope.ts';

/** See the settings of the same names in `config.ts`. */
export interface Limits {
  readonly bodyLimit: number;
  readonly headerLimit: number;
  readonly maxConnections: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly maxEventLoopDelayMs: number;
  /** `off`, or requests a minute for each API key. */
  readonly rateLimit: string;
}

const minuteMs = 60_000;

/** The limits that Node and Fastify keep for us. */
export const serverLimits = (limits: Limits) => ({
  bodyLimit: limits.bodyLimit,
  requestTimeout: limits.requestTimeoutMs,
  keepAliveTimeout: limits.keepAliveTimeoutMs,
  http: {
    maxHeaderSize: limits.headerLimit,
    headersTimeout: limits.headersTimeoutMs,
    // How often Node looks for connections that are overdue.
    connectionsCheckingInterval: 1000,
    // Node would answer 400 without our envelope; see `refuseUnderPressure`.
    requireHostHeader: false,
    // A second `Authorization` would be dropped: joined to the first it is no credential.
    joinDuplicateHeaders: true,
  },
  clientErrorHandler,
});

/** 503 before the process drowns, and while it shuts down. To be registered before any other hook. */
export async function refuseUnderPressure(app: FastifyInstance, limits: Limits): Promise<void> {
  app.server.maxConnections = limits.maxConnections;
  // `Expect` is answered like any other header that we do not know, not with a bare 417.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  // Node would close without an answer: on CONNECT, and where a caller has said all it has to say and only listens.
  app.server.on('connect', (_, socket: Socket) => {
    // Node has let go of this socket: whoever hangs up or stays silent on it is ours to bear.
    socket.on('error', () => socket.destroy());
    socket.setTimeout(detachedTimeoutMs, () => socket.destroy());
    clientErrorHandler(new Error('no proxy'), socket);
  });
  Object.assign(app.server, { httpAllowHalfOpen: true });

  let closing = false;
  const sockets = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  app.addHook('preClose', (done) => {
    closing = true;
    // Node itself waits for those that have not sent a whole head yet, or nothing at all.
    for (const socket of sockets) if (!pendingAnswer(socket)) socket.destroy();
    done();
  });
  app.addHook('onRequest', (request, reply, done) => {
    if (closing) {
      reply.header('connection', 'close');
      done(failure(503, 'shutting down'));
    } else if (!namesItsHost(request.raw)) {
      done(failure(400, 'RFC 9112 section 3.2: a request must have one Host'));
    } else {
      done();
    }
  });
  await app.register(underPressure, {
    maxEventLoopDelay: limits.maxEventLoopDelayMs,
    pressureHandler: () => {
      throw failure(503, 'under pressure');
    },
  });
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
    hook: 'preParsing',
    keyGenerator: (request: FastifyRequest) => request.caller.keyId,
    // draft-ietf-httpapi-ratelimit-headers
    enableDraftSpec: true,
  });
}

/** How long a caller may keep a connection that is already refused. */
const detachedTimeoutMs = 1_000;

const failure = (statusCode: number, message: string) => Object.assign(new Error(message), { statusCode });

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
function clientErrorHandler(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code: RefusalCode = error.code === 'HPE_HEADER_OVERFLOW' ? 'PAYLOAD_TOO_LARGE' : 'BAD_REQUEST';
  const body = JSON.stringify(wrapped(refusal(code)));
  const head = [
    `HTTP/1.1 ${httpStatus[code]} ${code}`,
    `content-type: ${mediaType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${randomUUID()}`,
    'connection: close',
  ];
  afterAnswers(socket, () => {
    if (socket.writable) socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
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
