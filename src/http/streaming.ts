/** Responses that are sent while they are made. */
import { finished, Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';

/** Newline-delimited JSON; it has no registered media type. */
export const ndjsonType = 'application/x-ndjson';

/**
 * Answers 200 with the chunks, each of which is taken when the client has read most of those before it. If the connection
 * is closed, the iteration ends at the next chunk, which may be empty. If the iteration throws before the first byte, the
 * request gets the usual error; after it, the connection is closed, so that the client can tell that the end is missing.
 */
export function sendStream(reply: FastifyReply, type: string, chunks: AsyncIterable<string>): FastifyReply {
  async function* untilEnd(): AsyncGenerator<string, void> {
    for await (const chunk of chunks) {
      // Restarts the timeout of the connection, which many empty chunks may exceed. An injected request has none.
      const { socket } = reply.request.raw;
      if (socket.timeout) socket.setTimeout(socket.timeout);
      yield chunk;
    }
    reply.messageCode ??= 'SUCCESS';
  }
  return reply
    .headers({ 'content-type': type, 'cache-control': 'no-store' })
    .send(Readable.from(untilEnd(), { objectMode: false }));
}

/**
 * Calls `broken` if a stream's response is not sent to its end, because the client has closed the connection, or the
 * stream failed. Fastify calls no `onResponse` hook then.
 */
export function whenBroken({ raw }: FastifyReply, payload: unknown, broken: () => void): void {
  if (!(payload instanceof Readable)) return;
  finished(raw, (error) => {
    if (error) broken();
  });
}
