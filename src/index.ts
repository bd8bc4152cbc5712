/** Entry point of the package: the service as a library, for other projects' tests. */
import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import type { Clock } from './application/ports/clock.ts';
import type { CustomerRepository } from './application/ports/customer-repository.ts';
import type { Role } from './application/ports/tenant-directory.ts';
import { openServer, openServices, type Services } from './compose.ts';
import { type Config, readConfig } from './config.ts';
import { parseTenantId, type TenantId } from './domain/identity.ts';
import type { Faults } from './http/faults.ts';
import { type Credentials, createDemoTenant } from './process/demo.ts';

export type { Fault, FaultedRequest, Faults } from './http/faults.ts';
export type { Credentials, Role };

export interface ServiceOptions {
  /** The id of the tenant that is added. Default: `acme`. */
  readonly tenant?: string;
  /** Two digits, the second part of every CustomerUrn. Default: `00`. */
  readonly partition?: string;
  /** Used instead of the memory repository. The service's `close` does not close this repository. */
  readonly repository?: CustomerRepository;
  /** Failures on demand: called for each request of the API. Default: none. */
  readonly faults?: Faults;
  /** The time in milliseconds since 1970, for records, events, and the expiry of keys. Default: `Date.now`. */
  readonly clock?: Clock;
  /** Requests per minute, of real time, for each API key. Default: no limit. */
  readonly rateLimit?: number;
}

/** A Fastify instance with memory storage. */
export type Service = FastifyInstance & {
  /** The headers that authenticate a request as the tenant. */
  readonly credentials: Credentials;
  /** Adds another tenant. Returns the headers with an API key of the role `full`. Throws if the id is not valid, or taken. */
  addTenant(tenant: string): Promise<Credentials>;
  /**
   * Issues an API key. Throws if the tenant does not exist.
   *
   * @param options by default the role is `full`, and the key works until it is revoked
   */
  issueKey(tenant: string, options?: { readonly role?: Role; readonly lifetimeMs?: number }): Promise<Credentials>;
  /** Revokes an API key: from now on it is answered 401. Throws if it is not valid. */
  revokeKey(credentials: Credentials): Promise<void>;
};

/** Starts the whole service with memory storage and one tenant, for another project's tests. */
export async function createService({
  tenant = 'acme',
  partition = '00',
  repository,
  faults,
  clock = Date.now,
  rateLimit,
}: ServiceOptions = {}): Promise<Service> {
  const config: Config = {
    ...readConfig({}, { C2A_PARTITION: partition, C2A_RATE_LIMIT: `${rateLimit ?? 'off'}` }),
    storage: 'memory',
    // Tests may block the event loop.
    maxEventLoopDelayMs: 0,
  };
  const services = await openServices(config, { mayCreate: true, repository, clock });
  const credentials = await createDemoTenant(services, tenant);
  const app = await openServer(services, config, pino({ level: 'silent' }), { faults });
  return Object.assign(app, { credentials, ...managementOf(services) });
}

function managementOf(services: Services): Pick<Service, 'addTenant' | 'issueKey' | 'revokeKey'> {
  return {
    async addTenant(tenant) {
      const tenants = await services.tenants.list();
      if (tenants.some(({ id }) => id === tenant)) throw new Error(`there is a tenant ${tenant} already`);
      return createDemoTenant(services, tenant);
    },
    async issueKey(tenant, { role = 'full', lifetimeMs } = {}) {
      const issued = await services.apiKeys.issue(parseTenantId(tenant) as TenantId, { name: role, role, lifetimeMs });
      if (issued === undefined) throw new Error(`there is no tenant ${tenant}`);
      return { 'x-tn': tenant, 'x-api-key': issued.secret };
    },
    async revokeKey({ 'x-tn': tenant, 'x-api-key': apiKey }) {
      const caller = await services.authentication.authenticate({ tenant, apiKey, authorization: undefined });
      if (caller === undefined) throw new Error('the API key is not valid');
      await services.apiKeys.revoke(caller.keyId);
    },
  };
}
