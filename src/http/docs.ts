import swagger, { type StaticDocumentSpec } from '@fastify/swagger';
import Fastify, { type FastifyInstance } from 'fastify';
import { type RefusalCode, refusal } from '../application/outcome.ts';
import { answer, mediaType, wrapped } from './envelope.ts';

/**
 * `/openapi.json`, made from the route schemas, and `/docs`, a page with everything it needs inside. To be registered
 * before the routes that it is to see.
 */
export async function documentation(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'C2A-01 Customers',
        version,
        license: { name: 'MIT', identifier: 'MIT' },
        description:
          'Projects a tenant’s customers into a subscription platform and keeps them in step.\n\n' +
          'Every answer with a body is an envelope whose `status.messageCode` says how the request ended; every ' +
          'answer has an `X-Request-Id`. The same routes answer under `/api/v1/c2a/customer`; paths match without ' +
          'regard to case or a trailing slash. Where there is no such route the answer is 404 `NOT_FOUND`; where it ' +
          'has other methods, 405 `METHOD_NOT_ALLOWED` with `Allow`.',
      },
      servers: [{ url: '/', description: 'This server.' }],
      tags: [{ name: 'customers', description: 'The five operations of C2A-01.' }],
      components: {
        securitySchemes: {
          apiKey: {
            type: 'apiKey',
            in: 'header',
            name: 'x-api-key',
            description: 'A key of the tenant in `x-tn`, for this environment: `sk_dev_…` or `sk_live_…`.',
          },
          jwtTenant: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description: 'Required where the tenant has a JWT issuer, and refused where it has none.',
          },
        },
        responses: {
          NotFound: routingRefusal('NOT_FOUND', {}),
          MethodNotAllowed: routingRefusal('METHOD_NOT_ALLOWED', {
            allow: { schema: { type: 'string' }, description: 'The methods that the route has.', example: 'POST' },
          }),
        },
      },
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `schema-${index}`) },
  });
  app.get('/openapi.json', { schema: { hide: true } }, async (_, reply) => {
    reply.type('application/json; charset=utf-8');
    return app.swagger();
  });

  let page: Promise<FastifyInstance> | undefined;
  for (const url of ['/docs', '/docs/*']) {
    app.get(url, { schema: { hide: true } }, async (request, reply) => {
      page ??= openPage(app.swagger() as StaticDocumentSpec['document']);
      const { method, headers } = request;
      const found = await (await page).inject({ method: method as 'GET' | 'HEAD', url: request.url, headers });
      if (found.statusCode === 404) return reply.send(answer(reply, refusal('NOT_FOUND'), wrapped));
      for (const name of forwarded) if (name in found.headers) reply.header(name, found.headers[name]);
      return reply.code(found.statusCode).send(found.rawPayload);
    });
  }
}

const forwarded = ['content-type', 'content-security-policy', 'cache-control', 'etag', 'last-modified', 'location'];

/** The page may load what this server has, and nothing from anywhere else. */
const contentSecurityPolicy = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
};

/**
 * A server of its own behind `/docs`, opened by the first who asks: the packages of the page take some 50 ms to load,
 * and most processes never show it.
 */
async function openPage(document: StaticDocumentSpec['document']): Promise<FastifyInstance> {
  const { default: swaggerUi } = await import('@fastify/swagger-ui');
  const app = Fastify({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } });
  await app.register(swagger, { mode: 'static', specification: { document } });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: contentSecurityPolicy,
    // Without the bar at the top, which offers to load other documents.
    uiConfig: { layout: 'BaseLayout' },
    theme: { title: document.info.title },
  });
  await app.ready();
  return app;
}

/** A refusal that belongs to no operation, as a response component. */
function routingRefusal(code: RefusalCode, headers: Record<string, object>) {
  const refused = refusal(code);
  const status = {
    type: 'object',
    properties: { messageCode: { type: 'string', enum: [code] }, message: { type: 'string' } },
    required: ['messageCode', 'message'],
    additionalProperties: false,
  } as const;
  const schema = {
    type: 'object',
    properties: { result: { type: 'null' }, status },
    required: ['result', 'status'],
    additionalProperties: false,
  } as const;
  return {
    description: refused.status.message,
    headers: { 'x-request-id': { schema: { type: 'string' as const } }, ...headers },
    content: { [mediaType]: { schema: schema as object, examples: { [code]: { value: wrapped(refused) } } } },
  };
}
