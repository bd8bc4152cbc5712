/** The service as it is composed, in a test: over any storage, with a clock to turn, every answer held against the documentation. */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import type { FastifyInstance, InjectOptions } from 'fastify';
import pino, { type Logger } from 'pino';
import t, { type Test } from 'tap';
import { ephemeralVault } from '../../src/adapters/crypto/vault.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { createCustomers, type Snapshot } from '../../src/application/customers.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import type { Role } from '../../src/application/ports/tenant-directory.ts';
import type { TenantSettings } from '../../src/application/tenants.ts';
import { openServer, openServices, type Services } from '../../src/compose.ts';
import { type Config, readConfig } from '../../src/config.ts';
import { parseTenantId, type TenantId } from '../../src/domain/identity.ts';
import { type Credentials, createDemoTenant } from '../../src/process/demo.ts';
import { type Asked, conformance, type OpenApi } from '../http/conformance.ts';
import { newDatabase } from './postgres.ts';

export const base = '/api/c2a/customer';
export const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
export type Headers = Record<string, string>;
export type Route = 'validate' | 'store' | 'update' | 'delete';

/** The body of a store. */
export const storing = (customer: object, region: object = claimedRegion) => ({ customer, claimedRegion: region });

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** The body as it was parsed; undefined where there is none. */
  readonly body: unknown;
  /** Status and message code, e.g. `409 CUSTOMER_ALREADY_STORED`; `401` has no code. */
  readonly outcome: string;
  /** `field: code` of every problem, in the order of the answer. */
  readonly problems: readonly string[];
  /** Of an answer that has one. */
  readonly result: Snapshot;
}

interface Options {
  readonly storage?: 'memory' | 'sqlite';
  readonly dataDir?: string;
  readonly databaseUrl?: string;
  readonly environment?: 'sandbox' | 'live';
  readonly logger?: Logger;
  /** Settings that differ from their defaults. */
  readonly config?: Partial<Config>;
  /** In place of the storage's own. */
  readonly repository?: CustomerRepository;
}

let documented: ReturnType<typeof conformance> | undefined;
/** The description of this build's API: one for all services that a test file starts. */
export async function documentationOf(app: FastifyInstance): Promise<ReturnType<typeof conformance>> {
  documented ??= conformance((await app.inject('/openapi.json')).json() as OpenApi);
  return documented;
}

export type Service = Awaited<ReturnType<typeof startService>>;

/** Starts a service with the tenant `acme`; it ends with the test. */
export async function startService(test: Test, options: Options = {}) {
  const { storage = 'memory', dataDir = '', databaseUrl = '', environment = 'sandbox', repository } = options;
  const clock = { now: Date.parse('2026-01-15T09:30:00.000Z') };
  const read = () => clock.now;
  const place = { storage, dataDir, databaseUrl, environment };
  const config = { ...readConfig({}, {}), maxEventLoopDelayMs: 0, ...options.config, ...place };
  const composed = await openServices(config, { mayCreate: true, clock: read });
  const services: Services = repository
    ? {
        ...composed,
        customers: createCustomers({
          repository,
          referenceData: createReferenceData(),
          digest: ephemeralVault().digest,
          clock: read,
        }),
      }
    : composed;
  const app = await openServer(services, config, options.logger ?? pino({ level: 'silent' }));
  test.teardown(() => app.close());
  await app.ready();
  const { faults } = await documentationOf(app);

  /** Sends a request as it is, and throws where the answer is not as the documentation says. */
  async function send(request: InjectOptions & Asked): Promise<Answer> {
    const answer = await app.inject(request);
    const found = faults(request, answer);
    if (found.length > 0) {
      throw new Error(`${request.method} ${request.url}: ${found.join('; ')}\n${answer.statusCode} ${answer.body}`);
    }
    return toAnswer(answer);
  }

  /** Requests of one caller. */
  function caller(credentials: Credentials) {
    return {
      credentials,
      post: (route: Route, body: unknown, headers: Headers = {}) =>
        send({
          method: 'POST',
          url: `${base}/${route}`,
          headers: { ...credentials, 'content-type': 'application/json', ...headers },
          payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
        }),
      info: (query: Record<string, string | string[]>) =>
        send({ method: 'GET', url: `${base}/info`, query, headers: { ...credentials } }),
    };
  }

  /** A key of a tenant that exists. */
  async function key(tenant: string, role: Role) {
    const issued = await services.tenants.issueKey(tenantId(tenant), { name: role, role });
    if (issued === undefined) throw new Error('there is no such tenant');
    return { id: issued.key.id, ...caller({ 'x-tn': tenant, 'x-api-key': issued.secret }) };
  }

  return {
    app,
    services,
    clock,
    send,
    key,
    anonymous: caller({} as Credentials),
    tenant: async (name: string) => caller(await createDemoTenant(services.tenants, name)),
    /** Settings hold from now on, also for keys that are trusted for a moment. */
    async set(tenant: string, settings: TenantSettings) {
      await services.tenants.setTenant(tenantId(tenant), settings);
      clock.now += 1_000;
    },
    ...caller(await createDemoTenant(services.tenants, 'acme')),
  };
}

/** The answer to raw bytes over a socket, in which `CREDENTIALS` stands for the headers of the tenant. */
export async function exchange(
  { app, credentials }: Pick<Service, 'app' | 'credentials'>,
  raw: string,
): Promise<string> {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 });
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  const headers = Object.entries(credentials).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(raw.replace('CREDENTIALS\r\n', headers.join('')));
  let bytes = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    bytes += chunk;
  });
  await once(socket, 'close');
  return bytes;
}

const tenantId = (name: string): TenantId => parseTenantId(name) as TenantId;

function toAnswer({ statusCode, headers, body: text }: Awaited<ReturnType<FastifyInstance['inject']>>): Answer {
  const body = text === '' ? undefined : JSON.parse(text);
  const problems = (body?.status.errors ?? []) as { field: string; code: string }[];
  return {
    status: statusCode,
    headers,
    text,
    body,
    outcome: [statusCode, body?.status.messageCode].join(' ').trim(),
    problems: problems.map(({ field, code }) => `${field}: ${code}`),
    result: body?.result,
  };
}

/** Asserts that an answer refuses a request for these problems and no other, in this order. */
export function refusedFor(test: Test, { outcome, problems }: Answer, expected: readonly string[], name = 'problems') {
  test.same({ outcome, problems }, { outcome: '400 INVALID_REQUEST', problems: expected }, name);
}

type Start = (test: Test, options?: Options) => Promise<Service>;

/** Registers the tests of a file once for each storage. */
export function eachStorage(define: (start: Start, t: Test) => void): void {
  const storages: Record<string, (test: Test) => Options | Promise<Options>> = {
    memory: () => ({ storage: 'memory' }),
    SQLite: (test) => ({ storage: 'sqlite', dataDir: test.testdir({}) }),
    PostgreSQL: async (test) => ({
      storage: 'sqlite',
      dataDir: test.testdir({}),
      databaseUrl: await newDatabase(test),
    }),
  };
  for (const [name, make] of Object.entries(storages)) {
    t.test(`over ${name}`, async (test) =>
      define(async (one, options) => startService(one, { ...(await make(one)), ...options }), test),
    );
  }
}
