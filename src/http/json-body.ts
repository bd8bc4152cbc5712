/**
 * An optimization, separate from the rest: reads a body that has already arrived with a single read of the stream. Fastify's
 * own parsers wait for the stream's events, which costs 15 µs more per request (docs/decisions/0035-optimizations-kept.md).
 * Because of request batching, nearly every body has already arrived.
 */
import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { parse as parseMediaType } from 'content-type';
import type { FastifyInstance } from 'fastify';
import type { Connections } from './connections.ts';
import { RequestRefused } from './envelope.ts';
import { ndjsonType } from './streaming.ts';

/**
 * Accepts JSON bodies of at most `limit` bytes; on routes that read lines, NDJSON of any length, whose body is the stream.
 */
export function readJsonBodies(
  app: FastifyInstance,
  limit: number,
  connections: Pick<Connections, 'sendContinue' | 'allowAnyTime'>,
): void {
  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser(ndjsonType, (request, payload, done) => {
    if (!request.routeOptions.config.readsLines) return done(unsupportedType('lines'));
    const refused = unsupported(request.headers);
    if (refused !== undefined) return done(refused);
    connections.sendContinue(request);
    connections.allowAnyTime(request);
    return done(null, payload);
  });
  app.addContentTypeParser('application/json', (request, payload, done) => {
    if (request.routeOptions.config.readsLines) return done(unsupportedType('no lines'));
    const isTooLarge = Number(request.headers['content-length']) > limit;
    const refused = isTooLarge ? tooLarge() : unsupported(request.headers);
    if (refused !== undefined) return done(refused);
    connections.sendContinue(request);
    readBody(payload, limit, (body) => {
      if (body instanceof Error) return done(body);
      // `toString` would silently replace malformed bytes.
      if (!isUtf8(body)) return done(new RequestRefused('BAD_REQUEST', 'the body is not UTF-8'));
      return parseJson(request, body.toString('utf8'), done);
    });
  });
}

/** Removes the media type of an empty body, so that Fastify treats the request as one without a body. */
export function ignoreEmptyBody(headers: IncomingHttpHeaders): void {
  const isEmpty = headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
  // `delete` would slow down every later access to the object.
  if (isEmpty) headers['content-type'] = undefined;
}

/** Collects one body and calls `done` once, with its bytes or with an error. */
function readBody(payload: IncomingMessage, limit: number, done: (body: Buffer | Error) => void): void {
  // For a request with an `Upgrade` header, Node's parser does not report a malformed or incomplete body.
  const endsWithSocket = payload.headers.upgrade !== undefined;
  const chunks: Buffer[] = [];
  let length = 0;
  /** Reads the available bytes. Returns true if the body is complete or over the limit. */
  const take = (): boolean => {
    const chunk: Buffer | null = payload.read();
    if (chunk !== null) chunks.push(chunk);
    length += chunk?.length ?? 0;
    return length > limit || (payload.complete && payload.readableLength === 0);
  };
  const finish = (): void => {
    // Discards the rest of the body, because most clients read the response only after sending the whole body.
    if (length > limit) payload.resume();
    done(length > limit ? tooLarge() : chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length));
  };
  if (take()) finish();
  else if (payload.destroyed || (endsWithSocket && payload.socket.readableEnded)) done(incomplete());
  else {
    const stop = (then: () => void): void => {
      payload.off('readable', onReadable).off('end', onEnd).off('error', onError);
      payload.socket.off('end', onError);
      then();
    };
    const onReadable = () => {
      if (take()) stop(finish);
    };
    const onEnd = () => stop(finish);
    const onError = () => stop(() => done(incomplete()));
    payload.on('readable', onReadable).on('end', onEnd).on('error', onError);
    if (endsWithSocket) payload.socket.on('end', onError);
  }
}

/**
 * The reason to refuse a JSON body because of its headers: another encoding than UTF-8 (RFC 8259 section 8.1), a content
 * coding, or a transfer coding other than chunked. Undefined if the body can be read.
 */
function unsupported({
  'content-type': type = '',
  'content-encoding': coding = '',
  'transfer-encoding': transfer = 'chunked',
}: IncomingHttpHeaders): RequestRefused | undefined {
  // RFC 9110 section 15.5.16: the header tells this reason from an unsupported media type.
  if (!/^(identity)?$/i.test(coding)) return unsupportedType('a content coding', { 'accept-encoding': 'identity' });
  if (!hasUtf8Charset(type)) return unsupportedType('a charset other than UTF-8');
  return transfer.toLowerCase() === 'chunked' ? undefined : unsupportedType('a transfer coding');
}

const unsupportedType = (found: string, headers?: RequestRefused['headers']): RequestRefused =>
  new RequestRefused('UNSUPPORTED_MEDIA_TYPE', `the body has ${found}`, headers);

/** Whether the first `charset` parameter (RFC 9110 section 8.3.2) is absent, empty, or of an encoding within UTF-8. */
function hasUtf8Charset(mediaType: string): boolean {
  // Parsing costs 0.3 µs, and most requests have no parameters.
  if (!mediaType.includes(';')) return true;
  const { charset = '' } = parseMediaType(mediaType).parameters;
  return /^(utf-?8|us-ascii)?$/i.test(charset);
}

const tooLarge = () => new RequestRefused('PAYLOAD_TOO_LARGE', 'the body is over the limit');
const incomplete = () => new RequestRefused('BAD_REQUEST', 'the body ended early');
