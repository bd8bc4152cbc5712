import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyBaseLogger, FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { RefusalCode } from '../application/outcome.ts';
import type { Telemetry } from '../application/ports/telemetry.ts';
import type { Violation } from '../domain/violations.ts';

/** A connection refused before its request was complete: its HTTP was malformed, or the request was too slow. */
interface RefusedConnection {
  readonly requestId: string;
  readonly status: number;
  readonly code: RefusalCode;
  /** Node's error code, e.g. `ERR_HTTP_REQUEST_TIMEOUT`; undefined if the error has none. */
  readonly cause: string | undefined;
  readonly ip: string | undefined;
}

/** Fastify's logger type lacks pino's `isLevelEnabled`. */
export interface RequestLogger extends FastifyBaseLogger {
  isLevelEnabled(level: string): boolean;
}

/** The `x-request-id` of a request if it has 1 to 64 characters of `A-Za-z0-9._-`; else a new id. */
export function requestIdOf(request: Pick<IncomingMessage, 'headers'> | undefined): string {
  const given = request?.headers['x-request-id'];
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
}

export type AccessLog = ReturnType<typeof createAccessLog>;

/**
 * Counts each answered request and logs one line for it. A line never contains a secret, a body or a query value. If
 * authentication failed, it has the tenant and the beginning of the API key that the request claimed.
 */
export function createAccessLog(logger: RequestLogger, telemetry: Pick<Telemetry, 'request'>) {
  const refused = (connection: RefusedConnection): void => {
    telemetry.request('none', connection.code, 0);
    logger.info(connection, 'connection refused');
  };

  /** @param isIncomplete whether the connection was closed before the whole response was sent */
  function answered(request: FastifyRequest, reply: FastifyReply, isIncomplete = false): void {
    const { caller, claims } = request;
    // The route's pattern, not the URL: a query value may be personal data.
    const { url: route = 'none', config } = request.routeOptions;
    const { elapsedTime } = reply;
    telemetry.request(route, reply.messageCode ?? String(reply.statusCode), elapsedTime / 1000);
    const level = config.forOperators ? 'debug' : 'info';
    // Checked first, because building the line is expensive.
    if (!logger.isLevelEnabled(level)) return;
    const line = {
      requestId: request.id,
      tenant: caller?.tenant.id,
      keyId: caller?.keyId,
      claimedTenant: claims?.tenant,
      keyPrefix: claims?.keyPrefix,
      method: request.method,
      route,
      ip: request.ip,
      status: reply.statusCode,
      code: reply.messageCode,
      incomplete: isIncomplete || undefined,
      fields: reply.violations && brokenRules(reply.violations),
      ms: Math.round(elapsedTime * 1000) / 1000,
    };
    logger[level](line, 'request');
  }

  return { answered, refused };
}

/**
 * The fields that broke a rule, with the code of the rule, e.g. `customer.email: invalid_format`. The name of an unknown
 * field may be personal data, so an object around it is named instead. Only names of known fields remain, so the list is
 * short.
 */
const brokenRules = (violations: readonly Violation[]): string[] => [
  ...new Set(violations.map(({ field, code }) => `${code === 'unknown_field' ? parentOf(field) : field}: ${code}`)),
];

const parentOf = (field: string): string => (field.includes('.') ? field.slice(0, field.lastIndexOf('.')) : 'body');

/** Logs why a request failed through no fault of its client. */
export function logFailure({ id: requestId, routeOptions, server }: FastifyRequest, error: Error): void {
  // `err` logs only the message of a cause, and several SQLite codes have the message "disk I/O error".
  const cause = (error.cause as Partial<FastifyError> | undefined)?.code;
  server.log.error({ requestId, route: routeOptions.url, cause, err: error }, 'request failed');
}
