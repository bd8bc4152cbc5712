/** `/openapi.json`, and the page `/docs`, which loads nothing from other hosts. */
import type { StaticDocumentSpec } from '@fastify/swagger';
import { Type } from '@sinclair/typebox';
import Fastify, { type FastifyInstance } from 'fastify';
import { refusal } from '../../application/outcome.ts';
import { answer, wrapped } from '../envelope.ts';
import { openOperation, openRefusals, openResponse } from '../operation-schemas.ts';
import { canonicalPath } from '../unmatched-routes.ts';

/** A file to serve. Its content is in base64, so that the binary can embed all files as JSON. */
interface Asset {
  readonly headers: Readonly<Record<string, string>>;
  readonly base64: string;
}

type Specification = StaticDocumentSpec['document'];

/** All documents by their path (see `canonicalPath`). */
export type Documents = Readonly<Record<string, Asset>>;
export type LoadDocuments = () => Promise<Documents>;

const jsonType = 'application/json; charset=utf-8';

const openApiSchema = {
  ...openOperation,
  operationId: 'openApi',
  summary: 'This document',
  description: 'The description of every path of the service, in OpenAPI 3.1.',
  response: {
    200: openResponse('The document.', jsonType, Type.Object({}, { additionalProperties: true })),
    ...openRefusals,
  },
};
const page = openResponse('The page.', 'text/html; charset=utf-8', Type.String());
const policyHeader = { 'content-security-policy': Type.String({ description: 'Forbids to load from other hosts.' }) };
const pageSchema = {
  ...openOperation,
  operationId: 'docs',
  summary: 'This document as a page for the browser',
  description: 'The page and the files that it loads are below this path. It loads nothing from other hosts.',
  response: { 200: { ...page, headers: { ...page.headers, ...policyHeader } }, ...openRefusals },
};

/** The files of the page are no operations, so the description does not list them. */
const schemas = { '/openapi.json': openApiSchema, '/docs': pageSchema, '/docs/*': { hide: true } };

/** Registers the documents. They are loaded at the first request: swagger-ui is large, and rarely needed. */
export function documentationRoutes(app: FastifyInstance, load: LoadDocuments = loadDocuments): void {
  let loading: Promise<Documents> | undefined;
  const documents = () => {
    loading ??= load().catch((error) => {
      // The next request tries again.
      loading = undefined;
      throw error;
    });
    return loading;
  };
  for (const [url, schema] of Object.entries(schemas)) {
    app.get(url, { schema }, async (request, reply) => {
      const asset = (await documents())[canonicalPath(request.url)];
      if (asset === undefined) return reply.send(answer(reply, refusal('NOT_FOUND'), wrapped));
      return reply.headers(asset.headers).send(Buffer.from(asset.base64, 'base64'));
    });
  }
}

/** The directives of the page's Content-Security-Policy: it may load files of this server, and nothing else. */
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

/** Loads openapi.json, and the files of swagger-ui that `/docs` refers to. */
export async function loadDocuments(): Promise<Documents> {
  const { default: document } = await import('../../../openapi.json', { with: { type: 'json' } });
  const { default: swagger } = await import('@fastify/swagger');
  const { default: swaggerUi } = await import('@fastify/swagger-ui');
  const app = Fastify();
  await app.register(swagger, { mode: 'static', specification: { document: document as unknown as Specification } });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: contentSecurityPolicy,
    // This layout has no bar that offers to load other documents.
    uiConfig: { layout: 'BaseLayout' },
    theme: { title: document.info.title },
  });
  const load = async (path: string): Promise<[string, Asset]> => {
    const { headers, rawPayload } = await app.inject(path);
    const kept = ['content-type', 'content-security-policy'].filter((name) => name in headers);
    const served = Object.fromEntries(kept.map((name) => [name, String(headers[name])]));
    return [path, { headers: served, base64: rawPayload.toString('base64') }];
  };
  const { body: page } = await app.inject('/docs');
  const loaded = [...page.matchAll(/(?:src|href)="\.?([^"]+)"/g)].map(([, path]) => path as string);
  const paths = ['/docs', ...loaded, '/docs/json', '/docs/static/oauth2-redirect.html'];
  const assets = await Promise.all(paths.map(load));
  await app.close();
  const openApi: Asset = {
    headers: { 'content-type': jsonType },
    base64: Buffer.from(JSON.stringify(document)).toString('base64'),
  };
  return { '/openapi.json': openApi, ...Object.fromEntries(assets) };
}
