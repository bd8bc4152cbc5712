/** Failures on demand, for tests of callers: `createService({ faults })`. A server without faults has none of these hooks. */
import { Readable } from 'node:stream';
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
  /** The request waits for so many milliseconds. */
  readonly delayMs?: number;
  /** `request`: the connection is closed before the request is carried out. `response`: after that, instead of its response. */
  readonly drop?: 'request' | 'response';
  /** With `drop: 'response'`: so many bytes of the body are sent. Rows of an import are carried out while they are read. */
  readonly afterBytes?: number;
  /** The request is refused with this code. */
  readonly refuse?: 'TOO_MANY_REQUESTS' | 'SERVICE_UNAVAILABLE' | 'SQL_DATABASE_FAILURE' | 'INTERNAL_SERVER_ERROR';
  /** The `Retry-After` of the refusal. Default: 1 for TOO_MANY_REQUESTS and SERVICE_UNAVAILABLE, else none. */
  readonly retryAfterSeconds?: number;
}

/** Called once for each request of the API; `undefined` for a request without a fault. */
export type Faults = (request: FaultedRequest) => Fault | undefined;

export function injectFaults(scope: FastifyInstance, faults: Faults): void {
  const cut = new WeakMap<FastifyRequest, number>();
  scope.addHook('onRequest', async (request, reply) => {
    const { delayMs = 0, drop, afterBytes = 0, refuse, retryAfterSeconds } = faults(faultedRequest(request)) ?? {};
    if (delayMs > 0) await delay(delayMs);
    if (drop === 'request') {
      reply.hijack();
      close(reply);
      return;
    }
    if (drop === 'response') cut.set(request, afterBytes);
    const headers = { ...(retryAfterSeconds !== undefined && { 'retry-after': `${retryAfterSeconds}` }) };
    if (refuse !== undefined) throw new RequestRefused(refuse, 'a fault', headers);
  });
  scope.addHook('onSend', async (request, reply, payload) => {
    const afterBytes = cut.get(request);
    if (afterBytes === undefined) return payload;
    const chunks = payload instanceof Readable ? payload : [payload as string];
    return Readable.from(beginningOf(chunks, afterBytes, reply), { objectMode: false });
  });
}

function faultedRequest({ routeOptions, headers, id }: FastifyRequest): FaultedRequest {
  const { operationId } = routeOptions.schema as { readonly operationId: string };
  const tenant = headers['x-tn'];
  return { operation: operationId, tenant: typeof tenant === 'string' ? tenant : undefined, requestId: id };
}

async function* beginningOf(
  chunks: Iterable<string> | AsyncIterable<string | Buffer>,
  bytes: number,
  reply: FastifyReply,
): AsyncGenerator<Buffer, void> {
  let left = bytes;
  for await (const chunk of chunks) {
    const buffer = Buffer.from(chunk);
    const sent = buffer.subarray(0, left);
    left -= sent.length;
    if (sent.length > 0) yield sent;
    if (sent.length < buffer.length) break;
  }
  // The bytes must have left before the connection closes.
  await nextTurn();
  close(reply);
}

/** Resets the connection; a promise of `inject` is rejected. */
function close({ raw }: FastifyReply): void {
  raw.destroy();
}
