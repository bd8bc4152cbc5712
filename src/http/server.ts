import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  LogController,
} from 'fastify';
import type { Caller, Claims } from '../application/authentication.ts';
import { type MessageCode, refusal } from '../application/outcome.ts';
import type { Telemetry } from '../application/ports/telemetry.ts';
import type { Violation } from '../domain/violations.ts';
import { type AccessLog, createAccessLog, logFailure, type RequestLogger, requestIdOf } from './access-log.ts';
import { type ApiDependencies, api, baseRoutes } from './api.ts';
import { type AllowedRoles, NoLongerAuthenticated, refuseCredentials } from './authentication.ts';
import { Connections } from './connections.ts';
import { answer, codeOf, type RefusalShape, RequestRefused, wrapped } from './envelope.ts';
import { type Faults, injectFaults } from './faults.ts';
import { ignoreEmptyBody, readJsonBodies } from './json-body.ts';
import { type Limits, limitRate, watchPressure } from './overload.ts';
import { batchRequests } from './request-batching.ts';
import { documentationRoutes, type LoadDocuments } from './routes/documentation.ts';
import { type ErasureDependencies, receiptKeyRoute } from './routes/erasures.ts';
import { type OperationsDependencies, operationsRoutes } from './routes/operations.ts';
import { whenBroken } from './streaming.ts';
import { unmatchedRoutes } from './unmatched-routes.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `authenticate`; undefined on routes outside the API. */
    caller: Caller;
    /** For the access log; set by `authenticate` if the request is refused with 401. */
    claims: Claims | undefined;
  }
  interface FastifyReply {
    /** For the access log; undefined if the response has no envelope. */
    messageCode: MessageCode | undefined;
    /** For the access log; set with INVALID_REQUEST. */
    violations: readonly Violation[] | undefined;
  }
  interface FastifyContextConfig {
    /** The shape of the route's refusals. Default: `wrapped`. */
    shape?: RefusalShape;
    /** The roles whose API keys may use the route. Default: see `checkRoles`. */
    roles?: AllowedRoles;
    /** For probes and scrapers: the route is served even under pressure, and logged at `debug`. */
    forOperators?: boolean;
    /** The route reads NDJSON, as a stream. */
    readsLines?: boolean;
  }
}

export interface Services extends OperationsDependencies, ApiDependencies {
  readonly telemetry: Pick<Telemetry, 'request'>;
}

export interface ServerOptions extends Limits {
  readonly logger: RequestLogger;
  /** `off`, `loopback`, or a list of addresses and networks whose `X-Forwarded-For` is trusted. */
  readonly trustProxy: string;
  /** Loads the documents of `/openapi.json` and `/docs`. Default: from openapi.json and swagger-ui's files. */
  readonly loadDocuments?: LoadDocuments | undefined;
  /** Failures of the API on demand. Default: none. */
  readonly faults?: Faults | undefined;
}

/**
 * Replaces Ajv and fast-json-stringify, so that they are not loaded. The domain checks requests and finds all violations at
 * once; the compiler and the tests check responses against their schemas. `JSON.stringify` keeps the order of members.
 */
export const schemaController = {
  compilersFactory: { buildValidator: () => () => () => true, buildSerializer: () => () => JSON.stringify },
} as unknown as NonNullable<FastifyServerOptions['schemaController']>;

/** A server with all routes, ready for `listen` or `inject`. */
export async function createServer(services: Services, options: ServerOptions): Promise<FastifyInstance> {
  const log = createAccessLog(options.logger, services.telemetry);
  const connections = new Connections(log.refused);
  const app = Fastify({
    ...connections.serverOptions(options),
    loggerInstance: withoutChildren(options.logger),
    logController: new StreamErrors(),
    schemaController,
    trustProxy: options.trustProxy === 'off' ? false : options.trustProxy,
    requestIdHeader: false,
    genReqId: requestIdOf,
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true },
    // Called for paths that cannot be decoded, because Fastify runs no hooks for them.
    frameworkErrors: (_, request, reply: FastifyReply) => {
      connections.answering(request, reply);
      reply.header('x-request-id', request.id).send(answer(reply, refusal('NOT_FOUND'), wrapped));
      log.answered(request, reply);
    },
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.decorateRequest('caller');
  app.decorateRequest('claims');
  app.decorateReply('messageCode');
  app.decorateReply('violations');

  connections.attach(app, options);
  services.imports.giveWayTo(() => connections.requestCount);
  // Before the other hooks: at the end of the turn, when `answering` is called, nearly every body has arrived.
  batchRequests(app);
  addRequestHooks(app, log, connections, watchPressure(app, options));
  readJsonBodies(app, options.bodyLimit, connections);
  answerErrors(app, connections);

  openRoutes(app, services, options.loadDocuments);
  await app.register(async (scope) => {
    if (options.faults) injectFaults(scope, options.faults);
    // One scope for both base routes, so that they share the rate limit of an API key.
    await limitRate(scope, options);
    for (const prefix of baseRoutes) await scope.register(api, { prefix, ...services });
  });
  return app;
}

/** Registers the routes that need no credentials. */
export function openRoutes(
  app: FastifyInstance,
  services: OperationsDependencies & ErasureDependencies,
  loadDocuments?: LoadDocuments,
): void {
  documentationRoutes(app, loadDocuments);
  operationsRoutes(app, services);
  receiptKeyRoute(app, services);
}

/** Adds one hook of each kind instead of one per concern: each hook costs every request a microsecond. */
function addRequestHooks(
  app: FastifyInstance,
  log: AccessLog,
  connections: Connections,
  isUnderPressure: () => boolean,
): void {
  const refuseUnmatched = unmatchedRoutes(app);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    const refused = connections.refusalOf(request, reply);
    if (refused !== undefined) return done(refused);
    if (isUnderPressure() && !request.routeOptions.config.forOperators) {
      return done(new RequestRefused('SERVICE_UNAVAILABLE', 'under pressure'));
    }
    // Fastify would read and check the body before it calls the not-found handler.
    if (request.is404) return refuseUnmatched(request, reply);
    ignoreEmptyBody(request.raw.headers);
    done();
  });
  app.setNotFoundHandler(refuseUnmatched);
  app.addHook('onSend', (request, reply, payload, done) => {
    connections.answering(request, reply);
    whenBroken(reply, payload, () => log.answered(request, reply, true));
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    connections.answered(request);
    log.answered(request, reply);
    done();
  });
}

/** Answers errors with the envelope. Unexpected errors are logged, and their details are not sent to the caller. */
function answerErrors(app: FastifyInstance, connections: Connections): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    if (error instanceof NoLongerAuthenticated) return refuseCredentials(reply);
    const code = codeOf(error);
    // Fastify sets `connection: close` for every refused body. With SERVICE_UNAVAILABLE the connection must be closed.
    if (code !== 'SERVICE_UNAVAILABLE' && reply.getHeader('connection') === 'close') {
      connections.bodyRefused(request, reply);
    }
    if (error instanceof RequestRefused) reply.headers(error.headers);
    if (code === 'SQL_DATABASE_FAILURE' || code === 'INTERNAL_SERVER_ERROR') logFailure(request, error);
    return reply.send(answer(reply, refusal(code), request.routeOptions.config.shape ?? wrapped));
  });
}

/** Fastify's own lines about requests are off: the access log writes one line for each request. */
class StreamErrors extends LogController {
  constructor() {
    super({ disableRequestLogging: true });
  }

  /** Called for a response whose stream fails after the first byte. Fastify then closes the connection. */
  override streamError(error: Error & { readonly code?: string }, request: FastifyRequest, reply: FastifyReply): void {
    // The client has closed the connection, or its API key was revoked.
    if (error.code === 'ERR_STREAM_PREMATURE_CLOSE' || error instanceof NoLongerAuthenticated) return;
    reply.messageCode = codeOf(error);
    logFailure(request, error);
  }
}

/** Prevents child loggers: Fastify creates one per request, which costs more than writing the line. */
function withoutChildren(logger: RequestLogger): FastifyBaseLogger {
  const childless = Object.create(logger);
  childless.child = () => childless;
  return childless;
}
