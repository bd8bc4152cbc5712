/** Failures on demand, for tests of callers: `createService({ faults })`. A server without faults has none of these hooks. */
import { Socket } from 'node:net';
import { finished, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { nextTurn } from '../application/next-turn.ts';
import { RequestRefused } from './envelope.ts';

/** A request of the API, before its credentials are checked. */
export interface FaultedRequest {
  /** The operationId of openapi.json, such as `store` or `bindReference`. */
  readonly operation: string;
  /** The header `x-tn` as sent. */
  readonly tenant: string | undefined;
  /** The header `x-request-id` as sent, or a new id. */
  readonly requestId: string;
}

/** What happens to a request, in this order. Without a member, nothing. */
export interface Fault {
  /** The request waits for so many milliseconds before anything else is done with it. */
  readonly delayMs?: number;
  /**
   * `request`: the connection is reset before the request is carried out. `response`: the request is carried out, and the
   * connection is reset instead of its response. A promise of `inject` is rejected. Other requests in flight on the same
   * connection end too.
   */
  readonly drop?: 'request' | 'response';
  /**
   * With `drop: 'response'`: the connection is closed after so many bytes of the body, and before the end of a shorter
   * response. Default: 0, then not even the status is sent. A streamed response (import, export) is produced only until its
   * first bytes, or a little beyond so many bytes; the rows of an import are carried out while its response is produced.
   */
  readonly afterBytes?: number;
  /** The request is refused with this code, before its credentials are checked. `drop: 'response'` drops the refusal. */
  readonly refuse?: 'TOO_MANY_REQUESTS' | 'SERVICE_UNAVAILABLE' | 'SQL_DATABASE_FAILURE' | 'INTERNAL_SERVER_ERROR';
  /** With `refuse`: the `Retry-After`. Default: 1 for TOO_MANY_REQUESTS and SERVICE_UNAVAILABLE, else none. */
  readonly retryAfterSeconds?: number;
}

/**
 * Called once for each request of the API, before its credentials are checked. Returns what goes wrong; undefined for a
 * request without a fault. If it throws, the request is answered 500 (INTERNAL_SERVER_ERROR).
 */
export type Faults = (request: FaultedRequest) => Fault | undefined;

/** Adds the hooks to a scope. Call it before the hook of the authentication is added. */
export function injectFaults(scope: FastifyInstance, faults: Faults): void {
  const dropped = new WeakMap<FastifyRequest, number>();
  scope.addHook('onRequest', async function provokeFault(request, reply) {
    const { delayMs = 0, drop, afterBytes = 0, refuse, retryAfterSeconds } = faults(faultedRequest(request)) ?? {};
    if (delayMs > 0) await delay(delayMs);
    if (drop === 'request') {
      reply.hijack();
      close(request, reply, true);
      return;
    }
    if (drop === 'response') dropped.set(request, afterBytes);
    const headers = { ...(retryAfterSeconds !== undefined && { 'retry-after': `${retryAfterSeconds}` }) };
    if (refuse !== undefined) throw new RequestRefused(refuse, 'provoked by a test', headers);
  });
  scope.addHook('onSend', function dropResponse(request, reply, payload, done) {
    const afterBytes = dropped.get(request);
    if (afterBytes === undefined) return done(null, payload);
    // A 401 has no body.
    const body = payload instanceof Readable ? payload : Readable.from([payload ?? ' ']);
    if (afterBytes > 0) return done(null, Readable.from(beginningOf(body, afterBytes, request, reply)));
    // Fastify does not get the body: it would take the closed connection for an error of the stream.
    finished(reply.raw, () => body.destroy());
    body.once('readable', () => close(request, reply, true)).once('error', done);
  });
}

function faultedRequest({ routeOptions, headers, id }: FastifyRequest): FaultedRequest {
  const { operationId } = routeOptions.schema as { readonly operationId: string };
  const tenant = headers['x-tn'];
  return { operation: operationId, tenant: typeof tenant === 'string' ? tenant : undefined, requestId: id };
}

/** The first bytes of a body. Then closes the connection. */
async function* beginningOf(
  body: Readable,
  bytes: number,
  request: FastifyRequest,
  reply: FastifyReply,
): AsyncGenerator<Buffer, void> {
  let left = bytes;
  for await (const chunk of body) {
    const sent = Buffer.from(chunk).subarray(0, left);
    left -= sent.length;
    yield sent;
    if (left === 0) break;
  }
  // The last bytes are written to the connection first.
  await nextTurn();
  close(request, reply, false);
}

/**
 * Closes the connection of a request.
 *
 * @param isReset whether to reset it. Else sends first what was written to the response.
 */
function close({ raw: { socket } }: FastifyRequest, { raw }: FastifyReply, isReset: boolean): void {
  // An injected request has no socket. Its promise is rejected if its response is destroyed.
  if (!(socket instanceof Socket)) raw.destroy();
  else if (isReset) socket.resetAndDestroy();
  else socket.destroySoon();
}
