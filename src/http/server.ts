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
import type { Customers } from '../application/customers.ts';
import { type MessageCode, type RefusalCode, refusal } from '../application/outcome.ts';
import { DatabaseFailure } from '../application/ports/database-failure.ts';
import type { Telemetry } from '../application/ports/telemetry.ts';
import type { PrivacyReports } from '../application/privacy-reports.ts';
import type { Caller, Tenants } from '../application/tenants.ts';
import { type RequestLogger, requestLog } from './access-log.ts';
import { credentialsOf, refuseUnknown } from './authentication.ts';
import { answer, type RefusalShape, wrapped } from './envelope.ts';
import { ignoreEmptyBody, readJsonBodies } from './json-body.ts';
import { admission, type Limits, limitRate, serverLimits } from './overload.ts';
import { canonicalPath } from './paths.ts';
import { batchRequests } from './request-batching.ts';
import { requestIdOf } from './request-id.ts';
import { customerRoutes } from './routes/customers.ts';
import { type Documents, describeRoutes, documentsOf, serveDocuments } from './routes/documentation.ts';
import { type OperationsNeeds, operationsRoutes } from './routes/operations.ts';
import { sharedSchemas } from './schemas.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `authenticate`; routes that do not authenticate have none. */
    caller: Caller;
  }
  interface FastifyReply {
    /** For the log. */
    messageCode: MessageCode | undefined;
  }
  interface FastifyContextConfig {
    /** How the route puts an outcome in the envelope. */
    shape?: RefusalShape;
    /** It answers under pressure too, as it is how one sees it; and is asked too often to be logged at `info`. */
    forOperators?: boolean;
  }
}

export interface Services extends OperationsNeeds {
  readonly customers: Customers;
  readonly erasures: Pick<PrivacyReports, 'show' | 'publicKey'>;
  readonly tenants: Pick<Tenants, 'recall' | 'authenticate' | 'isStillKnown'>;
  readonly telemetry: Pick<Telemetry, 'request'>;
}

export interface ServerOptions extends Limits {
  readonly logger: RequestLogger;
  readonly version: string;
  /** `off`, `loopback`, or a list of addresses and networks, whose `X-Forwarded-For` is believed. */
  readonly trustProxy: string;
  /** What is served at `/openapi.json` and `/docs`, where it was made before; else it is made of the routes. */
  readonly documents?: Documents | undefined;
}

/** The base route, and the versioned one. */
const baseRoutes = ['/api/c2a/customer', '/api/v1/c2a/customer'] as const;

/** In place of Ajv and fast-json-stringify, whose types these have to have, and which are then not even loaded. */
const schemaController = {
  compilersFactory: {
    // The domain checks requests, and finds all violations at once; a gate in front would only report the first.
    buildValidator: () => () => () => true,
    // Keeps the order of members. That answers are as their schemas say is what the types and the tests are for.
    buildSerializer: () => () => JSON.stringify,
  },
} as unknown as NonNullable<FastifyServerOptions['schemaController']>;

/** The server with all routes, ready to listen or to be injected into; it does not listen. */
export async function createServer(services: Services, options: ServerOptions): Promise<FastifyInstance> {
  const describedServer = () => assemble(services, options, (app) => describeRoutes(app, options.version));
  const documents = options.documents ?? documentsOf(describedServer);
  return assemble(services, options, (app) => serveDocuments(app, documents));
}

/** @param begin comes before the routes of the service */
async function assemble(
  services: Services,
  options: ServerOptions,
  begin: (app: FastifyInstance) => Promise<void> | void,
): Promise<FastifyInstance> {
  const log = requestLog(options.logger, services.telemetry);
  const app = Fastify({
    loggerInstance: withoutChildren(options.logger),
    ...serverLimits(options, log.refused),
    trustProxy: options.trustProxy === 'off' ? false : options.trustProxy,
    // The envelope is ours to write; see `admission`.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    // One line a request is written below.
    logController: new LogController({ disableRequestLogging: true }),
    schemaController,
    requestIdHeader: false,
    genReqId: requestIdOf,
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true },
    frameworkErrors: (_, request, reply: FastifyReply) => {
      // A path that cannot be decoded is none of ours. No hook runs for it.
      reply.header('x-request-id', request.id).send(answer(reply, refusal('NOT_FOUND'), wrapped));
      log.answered(request, reply);
    },
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.decorateRequest('caller');
  app.decorateReply('messageCode');

  for (const schema of sharedSchemas) app.addSchema(schema);

  readJsonBodies(app, options.bodyLimit, (request) =>
    services.tenants.isStillKnown(request.caller, credentialsOf(request)),
  );

  const routes = new Map<string, { readonly methods: readonly string[]; readonly shape: RefusalShape }>();
  app.addHook('onRoute', ({ method, url, config }) => {
    const methods = [...(routes.get(url)?.methods ?? []), ...[method].flat()];
    routes.set(url, { methods, shape: config?.shape ?? wrapped });
  });
  const refuseRoute = (request: FastifyRequest, reply: FastifyReply) => {
    const route = routes.get(canonicalPath(request.url));
    if (route === undefined) return reply.send(answer(reply, refusal('NOT_FOUND'), wrapped));
    reply.header('allow', route.methods.join(', '));
    return reply.send(answer(reply, refusal('METHOD_NOT_ALLOWED'), route.shape));
  };

  // One hook of a kind where there could be several: each costs every request a microsecond.
  const { admit, refuseBody, release } = admission(app, options, log.refused);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    const refused = admit(request, reply);
    if (refused !== undefined) return done(refused);
    // Not left to the handler: nobody has authenticated, and the body would be read and judged first.
    if (request.is404) return refuseRoute(request, reply);
    ignoreEmptyBody(request.raw.headers);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    release(request);
    log.answered(request, reply);
    done();
  });
  batchRequests(app);

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const code = codeOf(error);
    // Fastify's word for every body that is refused; that of `admit` stays.
    if (code !== 'SERVICE_UNAVAILABLE' && reply.getHeader('connection') === 'close') refuseBody(request, reply);
    if (error.statusCode === 401) return refuseUnknown(reply);
    if (code === 'SQL_DATABASE_FAILURE' || code === 'INTERNAL_SERVER_ERROR') {
      // Of a cause, `err` shows the message alone: "disk I/O error" has many codes.
      const cause = (error.cause as Partial<FastifyError> | undefined)?.code;
      app.log.error({ requestId: request.id, route: request.routeOptions.url, cause, err: error }, 'request failed');
    }
    return reply.send(answer(reply, refusal(code), request.routeOptions.config.shape ?? wrapped));
  });

  app.setNotFoundHandler(refuseRoute);

  await begin(app);
  await app.register(operationsRoutes, services);
  await app.register(async (api) => {
    // Around both bases: a key has one rate, whichever it uses.
    await limitRate(api, options);
    for (const [index, prefix] of baseRoutes.entries()) {
      await api.register(customerRoutes, { prefix, ...services, hidden: index > 0 });
    }
  });
  return app;
}

/** A logger for all requests: a child for each, as Fastify makes it, would cost more than the line that is written. */
const withoutChildren = (logger: RequestLogger): FastifyBaseLogger =>
  Object.create(logger, {
    child: {
      value() {
        return this;
      },
    },
  });

/** What an error that was thrown means to the caller. What is not listed is unforeseen. */
function codeOf(error: Partial<FastifyError>): RefusalCode {
  if (error instanceof DatabaseFailure) return 'SQL_DATABASE_FAILURE';
  switch (error.statusCode) {
    case 413:
      return 'PAYLOAD_TOO_LARGE';
    case 415:
      return 'UNSUPPORTED_MEDIA_TYPE';
    case 429:
      return 'TOO_MANY_REQUESTS';
    case 503:
      return 'SERVICE_UNAVAILABLE';
    case 414:
    case 404:
      return 'NOT_FOUND';
    case 400:
      return 'BAD_REQUEST';
    default:
      return 'INTERNAL_SERVER_ERROR';
  }
}
