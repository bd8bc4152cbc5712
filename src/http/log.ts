import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify';
import type { Telemetry } from '../application/ports.ts';

/** Writes the one line of an answered request, and counts it. Never a secret, a body or a query value. */
export function requestLog(logger: FastifyBaseLogger, telemetry: Pick<Telemetry, 'request'>) {
  return function log(request: FastifyRequest, reply: FastifyReply): void {
    const { caller } = request;
    // The pattern, never the URL: a query value may be personal.
    const { url: route = 'none', config } = request.routeOptions;
    telemetry.request(route, reply.messageCode ?? String(reply.statusCode), reply.elapsedTime / 1000);
    const line = {
      requestId: request.id,
      tenant: caller?.tenant.id,
      keyId: caller?.keyId,
      method: request.method,
      route,
      ip: request.ip,
      status: reply.statusCode,
      code: reply.messageCode,
      ms: Math.round(reply.elapsedTime * 1000) / 1000,
    };
    if (config.quiet) logger.debug(line, 'request');
    else logger.info(line, 'request');
  };
}
