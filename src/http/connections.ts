/** Connections: their limits, pipelining, malformed HTTP, and shutdown. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type RefusalCode, refusal } from '../application/outcome.ts';
import { type AccessLog, requestIdOf } from './access-log.ts';
import { httpStatus, mediaType, RequestRefused, wrapped } from './envelope.ts';
import type { Limits } from './overload.ts';

/** Maximum requests in flight on one connection (pipelining, RFC 9112 section 9.3.2). */
const maxInFlight = 100;
/** Maximum bytes buffered for a client that does not read its responses. */
const maxUnreadBytes = 1024 * 1024;
/** Added to the request timeout for idle connections: a slow request gets its 400 before the connection closes. */
const idleGraceMs = 5_000;
/** How long idle connections stay open at shutdown, so that a request already sent gets a response. */
const closingGraceMs = 250;
/** How long a client may keep a refused connection open. */
const refusedTimeoutMs = 1_000;
/** How long a client may go on sending a body that was refused. */
const discardTimeoutMs = 5_000;

interface Connection {
  /** Responses in the order of their requests; finished ones are removed from the front. */
  readonly responses: ServerResponse[];
  /** The connection will be closed after one of these responses. */
  isClosing: boolean;
}

/** All connections of one server. */
export class Connections {
  readonly #open = new Map<Socket, Connection>();
  readonly #onRefused: AccessLog['refused'];
  /** The requests whose client waits for 100 Continue before it sends the body, with their responses. */
  readonly #awaitingContinue = new WeakMap<IncomingMessage, ServerResponse>();
  /** The requests whose body may take any time to arrive. */
  readonly #unhurried = new WeakSet<IncomingMessage>();
  #requestCount = 0;
  #isShuttingDown = false;

  constructor(onRefused: AccessLog['refused']) {
    this.#onRefused = onRefused;
  }

  /** The number of requests received. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /** The options that make Node and Fastify enforce the limits. */
  serverOptions(limits: Limits) {
    return {
      requestTimeout: limits.requestTimeoutMs,
      // Also closes connections whose client does not read, because their responses stay in memory.
      connectionTimeout: limits.requestTimeoutMs + idleGraceMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      // Node and Fastify would answer 503 without the envelope; see `refusalOf`.
      return503OnClosing: false,
      forceCloseConnections: 'idle' as const,
      http: {
        maxHeaderSize: limits.headerLimit,
        headersTimeout: limits.headersTimeoutMs,
        connectionsCheckingInterval: 1000,
        // Node would answer 400 without the envelope; see `refusalOf`.
        requireHostHeader: false,
        // Else Node would drop a second `Authorization` header. The two headers joined are not a valid credential.
        joinDuplicateHeaders: true,
      },
      clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) => this.#refuse(error, socket),
    };
  }

  /** Tracks the connections of a server until they are closed. */
  attach(app: FastifyInstance, limits: Limits): void {
    const { server } = app;
    server.maxConnections = limits.maxConnections;
    // An undocumented option of Node. Without it, Node does not answer the requests of a half-closed connection.
    Object.assign(server, { httpAllowHalfOpen: true });
    server.on('connection', (socket: Socket) => {
      this.#open.set(socket, { responses: [], isClosing: false });
      socket.once('close', () => this.#open.delete(socket));
    });
    // This listener must run before Fastify's, which may answer synchronously.
    server.prependListener('request', ({ socket }, response) => {
      this.#requestCount += 1;
      this.#open.get(socket)?.responses.push(response);
    });
    // Node would send 100 Continue before the request is authenticated; see `sendContinue`.
    server.on('checkContinue', (request, response) => {
      this.#awaitingContinue.set(request, response);
      server.emit('request', request, response);
    });
    // Ignores an unknown `Expect` header; Node would answer 417 without the envelope.
    server.on('checkExpectation', (request, response) => server.emit('request', request, response));
    // Without this listener, Node would close the connection of a CONNECT request without a response.
    server.on('connect', (_, socket: Socket) => {
      // Node no longer handles errors and timeouts of this socket.
      socket.on('error', () => socket.destroy());
      socket.setTimeout(refusedTimeoutMs, () => socket.destroy());
      this.#refuse(new Error('CONNECT is not supported'), socket);
    });
    app.addHook('preClose', () => this.#shutDown(limits.shutdownTimeoutMs));
  }

  /**
   * The reason to refuse a request because of its connection or its Host header; undefined if the request is accepted.
   * Call this method before anything else is done for the request. An injected request has no connection.
   */
  refusalOf({ raw }: FastifyRequest, reply: FastifyReply): RequestRefused | undefined {
    const { socket } = raw;
    const { length: inFlight } = this.#inFlightOf(socket);
    // The connection is closed without a response, because the client would not read that response either.
    const isUnread = inFlight > 2 * maxInFlight || socket.writableLength > maxUnreadBytes;
    if (isUnread) socket.destroy();
    const isClosing = this.#isShuttingDown || this.#open.get(socket)?.isClosing;
    if (isUnread || isClosing || inFlight > maxInFlight) return this.#closing(reply);
    if (raw.headers.upgrade !== undefined) this.#closeAfter(raw, reply);
    return refusalByHost(raw);
  }

  /**
   * Answers no later request of the connection. For a request that offers an upgrade: Node loses the bytes that arrive
   * with its end, so the next bytes that it reads may be in the middle of a request.
   */
  #closeAfter({ socket }: IncomingMessage, reply: FastifyReply): void {
    const connection = this.#open.get(socket);
    if (connection === undefined) return;
    connection.isClosing = true;
    reply.header('connection', 'close');
  }

  /**
   * Call it when a request body is refused. Fastify would then always close the connection, and a client that is still
   * sending the body could not read the response (RFC 9112 section 9.6). Keeps the connection open for a while; Node
   * discards the rest of the body. A client that waits for 100 Continue sends no body.
   */
  bodyRefused(request: FastifyRequest, reply: FastifyReply): void {
    const { raw } = request;
    const connection = this.#open.get(raw.socket);
    const isClosing = this.#isShuttingDown || connection?.isClosing;
    if (isClosing || this.#awaitsContinue(request)) return;
    reply.removeHeader('connection');
    if (connection !== undefined) discardBody(raw);
  }

  /** Whether the client waits for 100 Continue (RFC 9110 section 10.1.1), so that the body can be refused unsent. */
  #awaitsContinue({ raw }: FastifyRequest): boolean {
    return !raw.complete && this.#awaitingContinue.has(raw);
  }

  /** Call it before the body is read: sends 100 Continue if the client waits for it. */
  sendContinue(request: FastifyRequest): void {
    if (!this.#awaitsContinue(request)) return;
    this.#awaitingContinue.get(request.raw)?.writeContinue();
    this.#awaitingContinue.delete(request.raw);
  }

  /** Lets the body of a request take longer than the request timeout. A connection without any traffic is still closed. */
  allowAnyTime({ raw }: FastifyRequest): void {
    this.#unhurried.add(raw);
  }

  /**
   * Call it before a response is sent. If 100 Continue was not sent, Node closes the connection, because the client may
   * or may not send the body. Refuses later requests then, or keeps the connection open if the whole body has arrived.
   */
  answering({ raw }: FastifyRequest, reply: FastifyReply): void {
    if (raw.headers.expect === undefined || !this.#awaitingContinue.has(raw)) return;
    const connection = this.#open.get(raw.socket);
    if (connection === undefined) return;
    if (!raw.complete) connection.isClosing = true;
    else if (reply.raw.shouldKeepAlive && !reply.hasHeader('connection')) reply.header('connection', 'keep-alive');
  }

  /** Call it when a response has been sent. */
  answered({ raw: { socket } }: FastifyRequest): void {
    const inFlight = this.#inFlightOf(socket);
    // A streamed response that began before the shutdown has no `connection: close`.
    if (this.#isShuttingDown && inFlight.length === 0) socket.destroySoon();
  }

  /** The unfinished responses of a connection. They finish in order. */
  #inFlightOf(socket: Socket): readonly ServerResponse[] {
    const responses = this.#open.get(socket)?.responses ?? [];
    while (responses[0]?.writableFinished) responses.shift();
    return responses;
  }

  #closing(reply: FastifyReply): RequestRefused {
    reply.header('connection', 'close');
    const reason = this.#isShuttingDown ? 'shutting down' : 'too many requests in flight on one connection';
    return new RequestRefused('SERVICE_UNAVAILABLE', reason);
  }

  async #shutDown(timeoutMs: number): Promise<void> {
    this.#isShuttingDown = true;
    // The last response of a connection gets `connection: close`. A request that is sent before it is read gets 503.
    for (const socket of this.#open.keys()) {
      const last = this.#inFlightOf(socket).at(-1);
      if (last) last.shouldKeepAlive = false;
    }
    if (this.#open.size > 0) await delay(closingGraceMs);
    for (const socket of this.#open.keys()) if (this.#inFlightOf(socket).length === 0) socket.destroy();
    // Node would wait without a limit for incomplete bodies, and for responses that are still being made.
    setTimeout(() => {
      for (const socket of this.#open.keys()) {
        const first = this.#inFlightOf(socket)[0];
        const isStreaming = first?.headersSent && !first.writableEnded;
        if (first?.req.complete === false || isStreaming) socket.destroy();
      }
    }, timeoutMs / 2).unref();
  }

  /**
   * Answers malformed HTTP and requests that arrive too slowly. Fastify has no request or reply for them, so the
   * response is written to the socket. (Fastify's own handler would log the bytes of the request.)
   */
  #refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const inFlight = this.#inFlightOf(socket);
    const unhurried = inFlight.find(({ req }) => this.#unhurried.has(req) && !req.complete);
    if (unhurried !== undefined && error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return;
    if (unhurried?.headersSent) {
      socket.destroySoon();
      return;
    }
    const code: RefusalCode = error.code === 'HPE_HEADER_OVERFLOW' ? 'HEADERS_TOO_LARGE' : 'BAD_REQUEST';
    const requestId = requestIdOf(inFlight.find(({ req }) => !req.complete)?.req);
    const send = () => {
      if (socket.writable) socket.end(rawAnswer(code, requestId));
      this.#onRefused({ requestId, status: httpStatus[code], code, cause: error.code, ip: socket.remoteAddress });
    };
    // Complete requests are answered first. Node's own listener, which may close the connection, must run after this
    // one.
    const lastWhole = inFlight.findLast(({ req }) => req.complete);
    if (lastWhole === undefined) send();
    else lastWhole.prependOnceListener('finish', send);
  }
}

/**
 * Call it if a request is answered although its body was not read to the end. Closes the connection if the client goes on
 * sending; Node discards what it sends until then.
 */
export function discardBody(raw: IncomingMessage): void {
  // An injected request is never `complete`.
  if (raw.complete || raw.readableEnded) return;
  raw.resume();
  const timer = setTimeout(() => raw.complete || raw.socket.destroy(), discardTimeoutMs).unref();
  for (const event of ['end', 'close']) raw.once(event, () => clearTimeout(timer));
}

/** RFC 9112 section 3.2: exactly one Host header; optional in HTTP/1.0. Node's `headers` contains only the first. */
function refusalByHost({ rawHeaders, httpVersion }: IncomingMessage): RequestRefused | undefined {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.length === 4 && rawHeaders[at]?.toLowerCase() === 'host') hosts += 1;
  }
  const isValid = hosts === 1 || (hosts === 0 && httpVersion === '1.0');
  return isValid ? undefined : new RequestRefused('BAD_REQUEST', 'a request must have exactly one Host header');
}

/** A complete HTTP response with the envelope; the connection is closed after it. */
function rawAnswer(code: RefusalCode, requestId: string): string {
  const body = JSON.stringify(wrapped(refusal(code)));
  const head = [
    `HTTP/1.1 ${httpStatus[code]} ${code}`,
    `content-type: ${mediaType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    'cache-control: no-store',
    'connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}
