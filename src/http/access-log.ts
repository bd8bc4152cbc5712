import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify';
import type { RefusalCode } from '../application/outcome.ts';
import type { Telemetry } from '../application/ports/telemetry.ts';

/** What was refused before there was a request: what is no HTTP, or came too slowly. */
export interface RefusedConnection {
  readonly requestId: string;
  readonly status: number;
  readonly code: RefusalCode;
  /** Node's code of what was wrong, e.g. `ERR_HTTP_REQUEST_TIMEOUT`. */
  readonly cause: string | undefined;
  readonly ip: string | undefined;
}

/** What of a logger is needed. Fastify's type of it does not know pino's question for a level. */
export interface RequestLogger extends FastifyBaseLogger {
  isLevelEnabled(level: string): boolean;
}

/** Writes the one line of an answered request, and counts it. Never a secret, a body or a query value. */
export function requestLog(logger: RequestLogger, telemetry: Pick<Telemetry, 'request'>) {
  function refused(refused: RefusedConnection): void {
    telemetry.request('none', refused.code, 0);
    logger.info(refused, 'connection refused');
  }

  function answered(request: FastifyRequest, reply: FastifyReply): void {
    const { caller } = request;
    // The pattern, never the URL: a query value may be personal.
    const { url: route = 'none', config } = request.routeOptions;
    const { elapsedTime } = reply;
    telemetry.request(route, reply.messageCode ?? String(reply.statusCode), elapsedTime / 1000);
    const level = config.forOperators ? 'debug' : 'info';
    // Most of what a line costs is making it.
    if (!logger.isLevelEnabled(level)) return;
    const line = {
      requestId: request.id,
      tenant: caller?.tenant.id,
      keyId: caller?.keyId,
      method: request.method,
      route,
      ip: request.ip,
      status: reply.statusCode,
      code: reply.messageCode,
      ms: Math.round(elapsedTime * 1000) / 1000,
    };
    logger[level](line, 'request');
  }

  return { answered, refused };
}
