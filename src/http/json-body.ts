import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { failure } from './overload.ts';

/** A body that took longer comes after what was known of its caller may have changed. */
const lateMs = 500;

/**
 * Reads bodies as JSON, and nothing else.
 * @param limit bytes
 * @param isStillKnown asked where a body came late: a key may have been revoked meanwhile
 */
export function readJsonBodies(
  app: FastifyInstance,
  limit: number,
  isStillKnown: (request: FastifyRequest) => Promise<boolean>,
): void {
  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', (request, payload, done) => {
    if (Number(request.headers['content-length']) > limit) return done(tooLarge());
    const since = performance.now();
    receive(payload, limit, (body) => {
      const isLate = performance.now() - since > lateMs;
      if (body instanceof Error) return done(body);
      // Not before: who is still sending would not hear of it, as the connection is closed behind such an answer.
      if (!isPlainJson(request.headers)) return done(failure(415, 'the body is encoded in a way that we do not read'));
      // Decoding would replace malformed bytes silently, and what was sent would be lost.
      if (!isUtf8(body)) return done(failure(400, 'the body is not UTF-8'));
      if (!isLate) return parseJson(request, body.toString('utf8'), done);
      return isStillKnown(request).then((isKnown) => {
        if (isKnown) parseJson(request, body.toString('utf8'), done);
        else done(failure(401, 'not known any more'));
      }, done);
    });
  });
}

/** A body that is said to be empty is none, whatever type it is said to have. */
export function ignoreEmptyBody(headers: IncomingHttpHeaders): void {
  const isEmpty = headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
  // Not deleted: that makes all later look-ups slower.
  if (isEmpty) headers['content-type'] = undefined;
}

/**
 * Takes a body from its stream. Nearly every one is there as a whole by now (`stages.ts`) and is taken at once: to be told by the
 * events of the stream, as Fastify's own parsers are, costs 15 µs more.
 */
function receive(payload: IncomingMessage, limit: number, done: (body: Buffer | Error) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;

  /** Takes what has come; whether that is all, or too much. */
  function take(): boolean {
    const chunk: Buffer | null = payload.read();
    if (chunk !== null) chunks.push(chunk);
    length += chunk?.length ?? 0;
    return length > limit || (payload.complete && payload.readableLength === 0);
  }
  function finish(): void {
    if (length <= limit) {
      done(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length));
    } else {
      // Who is still sending does not read the answer otherwise.
      payload.resume();
      done(tooLarge());
    }
  }
  function wait(): void {
    const onReadable = () => {
      if (take()) stop(finish);
    };
    const onError = () => stop(() => done(hungUp()));
    const onEnd = () => stop(finish);
    function stop(then: () => void): void {
      payload.off('readable', onReadable).off('end', onEnd).off('error', onError);
      payload.socket.off('end', onError);
      then();
    }
    payload.on('readable', onReadable).on('end', onEnd).on('error', onError);
    if (breaksSilently()) payload.socket.on('end', onError);
  }
  /** Node's parser says nothing of a body that is malformed, or ends too early, where an upgrade is offered. */
  const breaksSilently = () => payload.headers.upgrade !== undefined;

  if (take()) finish();
  else if (payload.destroyed || (breaksSilently() && payload.socket.readableEnded)) done(hungUp());
  else wait();
}

/** Whether a body is JSON as it is on the wire: in UTF-8 (RFC 8259 section 8.1), and not packed. */
function isPlainJson({
  'content-type': type = '',
  'content-encoding': coding,
  'transfer-encoding': transfer,
}: IncomingHttpHeaders) {
  const charset = /;\s*charset="?([^";\s]*)/i.exec(type)?.[1];
  return (
    (charset === undefined || /^(utf-?8|us-ascii)$/i.test(charset)) &&
    (coding === undefined || coding.toLowerCase() === 'identity') &&
    (transfer === undefined || transfer.toLowerCase() === 'chunked')
  );
}

const tooLarge = () => failure(413, 'the body is too large');
const hungUp = () => failure(400, 'the body did not come to its end');
