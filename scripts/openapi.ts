/** openapi.json: the description of the routes of `src/http`, as @fastify/swagger makes it. */
import swagger from '@fastify/swagger';
import Fastify from 'fastify';
import manifest from '../package.json' with { type: 'json' };
import { api, apiSchemas, baseRoutes } from '../src/http/api.ts';
import { openRoutes, type Services, schemaController } from '../src/http/server.ts';

/** The parts of the document that tests and the Postman collection read. */
export interface OpenApi {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Partial<Record<string, Operation>>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}
export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description: string;
  readonly security: readonly object[];
  readonly requestBody?: Body;
  readonly responses: Readonly<Record<string, Response>>;
}
/** An operation of the API: the others need no credentials. */
export interface ApiOperation extends Operation {
  readonly operationId: OperationId;
  readonly parameters: readonly { readonly in: string; readonly name: string; readonly required: boolean }[];
}
export type OperationId =
  | 'validate'
  | 'store'
  | 'delete'
  | 'update'
  | 'info'
  | 'erasure'
  | 'subjectExport'
  | 'sync'
  | 'export'
  | 'import'
  | 'find'
  | 'changes'
  | 'history'
  | 'merge'
  | 'bindReference'
  | 'listReferences';
interface Body {
  readonly content?: Readonly<Record<string, Media>>;
}
export interface Response extends Body {
  readonly description: string;
  readonly headers: Readonly<Record<string, object>>;
}
interface Media {
  readonly schema: Schema;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

/**
 * Describes all routes, those of the API under the first base route. No request is sent, so the routes never call their
 * dependencies.
 */
export async function describeApi(): Promise<OpenApi> {
  const app = Fastify({ schemaController });
  await app.register(swagger, {
    openapi: document,
    convertConstToEnum: false,
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `schema-${index}`) },
  });
  for (const schema of apiSchemas) app.addSchema(schema);
  app.decorateRequest('caller');
  const unused = {
    customers: {},
    changes: { stop: () => {} },
    lookUp: {},
    merges: {},
    references: {},
    customerExport: {},
    imports: { stop: () => {} },
    erasures: {},
    metrics: {},
  } as unknown as Services;
  await app.register(api, { prefix: baseRoutes[0], ...unused });
  openRoutes(app, unused);
  await app.ready();
  const described = app.swagger() as unknown as OpenApi;
  await app.close();
  return described;
}

const document = {
  openapi: '3.1.0',
  info: {
    title: 'C2A-01 Customers',
    version: manifest.version,
    contact: { name: manifest.author },
    license: { name: manifest.license, identifier: manifest.license },
    description:
      'Projects a tenant’s customers into a subscription platform and keeps them in step.\n\n' +
      'Every answer of the API with a body is an envelope whose `status.messageCode` says how the request ended; every ' +
      'answer has an `X-Request-Id`. The same routes answer under `/api/v1/c2a/customer`; paths match without regard to ' +
      'case or a trailing slash. A path without a route answers 404 `NOT_FOUND`; one with routes of other methods answers ' +
      '405 `METHOD_NOT_ALLOWED` with `Allow`.\n\n' +
      'In a body, an empty string counts as null, and so does an object in which no field has a value.',
  },
  servers: [{ url: '/', description: 'This server.' }],
  tags: [
    {
      name: 'customers',
      description:
        'The five operations of C2A-01, look-up, merges, references, erasure receipts and exports for data subjects.',
    },
    { name: 'service', description: 'Operations of the service itself. They need no credentials.' },
  ],
  components: {
    securitySchemes: {
      apiKey: {
        type: 'apiKey' as const,
        in: 'header',
        name: 'x-api-key',
        description: 'An API key of the tenant in `x-tn`, for this environment: `sk_dev_…` or `sk_live_…`.',
      },
      tenant: {
        type: 'apiKey' as const,
        in: 'header',
        name: 'x-tn',
        description: 'The name of the tenant, such as `acme`. Required beside `x-api-key`.',
      },
      jwtTenant: {
        type: 'http' as const,
        scheme: 'bearer',
        bearerFormat: 'JWT',
        description: 'Required where the tenant has a JWT issuer, and refused where it has none.',
      },
    },
  },
};
