import type { StaticDocumentSpec } from '@fastify/swagger';
import Fastify, { type FastifyInstance } from 'fastify';
import { type RefusalCode, refusal } from '../../application/outcome.ts';
import { answer, mediaType, wrapped } from '../envelope.ts';
import { canonicalPath } from '../paths.ts';

/** A document as it is served. */
export interface Asset {
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
}

/** The document of a path (see `canonicalPath`), where there is one. */
export type Documents = (path: string) => Promise<Asset | undefined>;

/** Serves `/openapi.json`, and `/docs`, a page with everything it needs inside. */
export function serveDocuments(app: FastifyInstance, documents: Documents): void {
  for (const url of ['/openapi.json', '/docs', '/docs/*']) {
    app.get(url, { schema: { hide: true } }, async (request, reply) => {
      const asset = await documents(canonicalPath(request.url));
      if (asset === undefined) return reply.send(answer(reply, refusal('NOT_FOUND'), wrapped));
      return reply.headers(asset.headers).send(asset.bytes);
    });
  }
}

/** Lets `app.swagger()` describe the routes that are registered from now on. */
export async function describeRoutes(app: FastifyInstance, version: string): Promise<void> {
  const { default: swagger } = await import('@fastify/swagger');
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
}

/**
 * The documents of a server, made once, by the first who asks: whoever comes later gets the same bytes, and most processes
 * never show them. What makes them takes some 100 ms to load.
 *
 * @param describedServer makes a server with the same routes, after `describeRoutes`; it is closed again
 */
export function documentsOf(describedServer: () => Promise<FastifyInstance>): Documents {
  const document = once(async () => {
    const app = await describedServer();
    try {
      await app.ready();
      return app.swagger() as StaticDocumentSpec['document'];
    } finally {
      await app.close();
    }
  });
  const openApi = once(async () => ({
    headers: { 'content-type': 'application/json; charset=utf-8' },
    bytes: Buffer.from(JSON.stringify(await document())),
  }));
  const page = once(async () => loadPage(await document()));
  return async (path) => (path === '/openapi.json' ? openApi() : (await page()).get(path));
}

/** What was made the first time. Where it could not be made, the next who asks tries again. */
function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined;
  return () => {
    made ??= make().catch((error) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

/** All documents of a server, in a form that can be kept. */
export async function packDocuments(openApi: Asset): Promise<string> {
  const page = await loadPage(JSON.parse(openApi.bytes.toString('utf8')));
  return JSON.stringify(
    [['/openapi.json', openApi] as const, ...page].map(([path, { headers, bytes }]) => [
      path,
      { headers, base64: bytes.toString('base64') },
    ]),
  );
}

/** Documents that were packed, unpacked when the first is asked for. */
export function packedDocuments(packed: () => string): Documents {
  let all: ReadonlyMap<string, Asset> | undefined;
  return async (path) => {
    all ??= new Map(
      (JSON.parse(packed()) as [string, { headers: Asset['headers']; base64: string }][]).map(
        ([path, { headers, base64 }]) => [path, { headers, bytes: Buffer.from(base64, 'base64') }],
      ),
    );
    return all.get(path);
  };
}

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

/** The page and all that it refers to, by path. */
async function loadPage(document: StaticDocumentSpec['document']): Promise<ReadonlyMap<string, Asset>> {
  const { default: swagger } = await import('@fastify/swagger');
  const { default: swaggerUi } = await import('@fastify/swagger-ui');
  const app = Fastify();
  await app.register(swagger, { mode: 'static', specification: { document } });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: contentSecurityPolicy,
    // Without the bar at the top, which offers to load other documents.
    uiConfig: { layout: 'BaseLayout' },
    theme: { title: document.info.title },
  });
  const load = async (path: string): Promise<[string, Asset]> => {
    const { headers, rawPayload: bytes } = await app.inject(path);
    const kept = ['content-type', 'content-security-policy'].filter((name) => name in headers);
    return [path, { headers: Object.fromEntries(kept.map((name) => [name, String(headers[name])])), bytes }];
  };
  const page = await load('/docs');
  const paths = [...page[1].bytes.toString().matchAll(/(?:src|href)="\.?([^"]+)"/g)].map(([, path]) => path as string);
  const assets = await Promise.all([...paths.map(load), load('/docs/json'), load('/docs/static/oauth2-redirect.html')]);
  await app.close();
  return new Map([page, ...assets]);
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
