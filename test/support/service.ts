/**
 * The composed service in a test: over any storage, with a clock that the test sets. Every answer is compared with the
 * published description of the API.
 */
import type { InjectOptions } from 'fastify';
import pino, { type Logger } from 'pino';
import t, { type Test } from 'tap';
import { ephemeralVault } from '../../src/adapters/crypto/vault.ts';
import { createMemoryAccessRecords } from '../../src/adapters/memory/access-records.ts';
import { createMemoryReferences } from '../../src/adapters/memory/references.ts';
import { openScratch } from '../../src/adapters/memory/scratch.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { Changes } from '../../src/application/changes.ts';
import { Customers } from '../../src/application/customers.ts';
import { CustomerExport } from '../../src/application/export.ts';
import { createRunOnce } from '../../src/application/idempotency.ts';
import { LookUp } from '../../src/application/look-up.ts';
import { Merges } from '../../src/application/merges.ts';
import type { Clock } from '../../src/application/ports/clock.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import type { ReferenceRepository } from '../../src/application/ports/references.ts';
import type { Role } from '../../src/application/ports/tenant-directory.ts';
import { References } from '../../src/application/references.ts';
import { Synchronization } from '../../src/application/synchronization.ts';
import type { TenantSettings } from '../../src/application/tenants.ts';
import { openServer, openServices, type Services } from '../../src/compose.ts';
import { type Config, readConfig } from '../../src/config.ts';
import { parseTenantId, type TenantId } from '../../src/domain/identity.ts';
import { type Credentials, createDemoTenant } from '../../src/process/demo.ts';
import { type Answer, client, toAnswer } from './client.ts';
import { type Asked, answerFaults } from './conformance.ts';
import { newDatabase } from './postgres.ts';

interface Options {
  readonly storage?: 'memory' | 'sqlite';
  readonly dataDir?: string;
  readonly databaseUrl?: string;
  readonly environment?: 'sandbox' | 'live';
  readonly logger?: Logger;
  /** Settings that differ from their defaults. */
  readonly config?: Partial<Config>;
  /** Replaces the repository of the storage. */
  readonly repository?: CustomerRepository;
  /** The references beside `repository`. Default: in memory. */
  readonly references?: ReferenceRepository;
}

/** The use cases on a repository of the test. */
function useCasesOf(repository: CustomerRepository, references: ReferenceRepository, clock: Clock) {
  const referenceData = createReferenceData();
  const runOnce = createRunOnce(ephemeralVault().digest, clock);
  const writing = { repository, referenceData, clock, tombstoneDays: 30, runOnce };
  return {
    customers: new Customers({ ...writing, references }),
    references: new References({ repository, references, referenceData, clock }),
    merges: new Merges(writing),
    synchronization: new Synchronization({ ...writing, openScratch: () => openScratch(referenceData) }),
    customerExport: new CustomerExport({ repository, referenceData }),
    lookUp: new LookUp({
      repository,
      accessRecords: createMemoryAccessRecords(),
      references,
      referenceData,
      clock,
    }),
    changes: new Changes({ repository, referenceData }),
  };
}

export type Service = Awaited<ReturnType<typeof startService>>;

/** Starts a service with the tenant `acme`; the service is closed when the test ends. */
export async function startService(test: Test, options: Options = {}) {
  const { storage = 'memory', dataDir = '', databaseUrl = '', environment = 'sandbox', repository } = options;
  const { references = repository && createMemoryReferences(repository) } = options;
  const clock = { now: Date.parse('2026-01-15T09:30:00.000Z') };
  const read = () => clock.now;
  const place = { storage, dataDir, databaseUrl, environment };
  const config = { ...readConfig({}, {}), maxEventLoopDelayMs: 0, ...options.config, ...place };
  const composed = await openServices(config, { mayCreate: true, clock: read });
  const services: Services =
    repository && references ? { ...composed, ...useCasesOf(repository, references, read) } : composed;
  const app = await openServer(services, config, options.logger ?? pino({ level: 'silent' }));
  test.teardown(() => app.close());
  await app.ready();

  /** Sends a request unchanged; throws if the answer differs from the published description. */
  async function send(request: InjectOptions & Asked): Promise<Answer> {
    const answer = await app.inject(request);
    const found = answerFaults(request, answer);
    if (found.length > 0) {
      throw new Error(
        `${request.method} ${request.url}: ${found.join('; ')}\n${answer.statusCode} ${answer.body.slice(0, 2_000)}`,
      );
    }
    return toAnswer(answer.statusCode, answer.headers, answer.body);
  }

  const caller = (credentials: Credentials) => ({ credentials, ...client(send, { ...credentials }) });

  /** Issues an API key for an existing tenant. Returns its id and a client that uses it. */
  async function key(tenant: string, role: Role) {
    const issued = await services.apiKeys.issue(tenantId(tenant), { name: role, role });
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
    tenant: async (name: string) => caller(await createDemoTenant(services, name)),
    /** Changes settings, and advances the clock so that cached API keys, which contain the old settings, expire. */
    async set(tenant: string, settings: TenantSettings) {
      await services.tenants.set(tenantId(tenant), settings);
      clock.now += 1_000;
    },
    ...caller(await createDemoTenant(services, 'acme')),
  };
}

const tenantId = (name: string): TenantId => parseTenantId(name) as TenantId;

/** Asserts that an answer refuses a request for exactly these violations, in this order. */
export function refusedFor(
  test: Test,
  { outcome, violations }: Answer,
  expected: readonly string[],
  name = 'violations',
) {
  test.same({ outcome, violations }, { outcome: '400 INVALID_REQUEST', violations: expected }, name);
}

type Start = (test: Test, options?: Options) => Promise<Service>;

/** Registers the tests of a file for each storage. */
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
