/** Entry point of the package: the service as a library, for other projects' tests. */
import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import type { CustomerRepository } from './application/ports/customer-repository.ts';
import { openServer, openServices } from './compose.ts';
import { type Config, readConfig } from './config.ts';
import { type Credentials, createDemoTenant } from './process/demo.ts';

export interface ServiceOptions {
  /** The id of the tenant that is added. Default: `acme`. */
  readonly tenant?: string;
  /** Two digits, the second part of every CustomerUrn. Default: `00`. */
  readonly partition?: string;
  /** Used instead of the memory repository. The service's `close` does not close this repository. */
  readonly repository?: CustomerRepository;
}

/** Tests may send requests at any rate and block the event loop. */
const unlimited = { rateLimit: 'off', maxEventLoopDelayMs: 0 };

/** A Fastify instance with memory storage. */
export type Service = FastifyInstance & {
  /** The headers that authenticate a request as the tenant. */
  readonly credentials: Credentials;
};

/** Starts the whole service with memory storage and one tenant, for another project's tests. */
export async function createService({
  tenant = 'acme',
  partition = '00',
  repository,
}: ServiceOptions = {}): Promise<Service> {
  const config: Config = { ...readConfig({}, { C2A_PARTITION: partition }), ...unlimited, storage: 'memory' };
  const services = await openServices(config, { mayCreate: true, repository });
  const credentials = await createDemoTenant(services, tenant);
  const app = await openServer(services, config, pino({ level: 'silent' }));
  return Object.assign(app, { credentials });
}
