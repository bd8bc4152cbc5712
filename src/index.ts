/** What another project imports. */
import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import type { CustomerRepository } from './application/ports/customer-repository.ts';
import { openServer, openServices } from './compose.ts';
import { type Config, readConfig } from './config.ts';
import { createDemoTenant } from './process/demo.ts';

export interface ServiceOptions {
  /** The tenant that is made; `acme` unless given. */
  readonly tenant?: string;
  /** Two digits, the second part of every CustomerUrn; `00` unless given. */
  readonly partition?: string;
  /** An adapter of one's own, in place of memory; `close` leaves it open. */
  readonly repository?: CustomerRepository;
}

/** A test may be as fast as it likes, and block the event loop. */
const unlimited = { rateLimit: 'off', maxEventLoopDelayMs: 0 };

/** A Fastify instance that holds everything in memory. */
export type Service = FastifyInstance & {
  /** The headers by which a request is authenticated as the tenant. */
  readonly credentials: { readonly 'x-tn': string; readonly 'x-api-key': string };
};

/**
 * The whole service in memory, for another project's tests: use `inject`, or `listen` on a port of its own. It has
 * one tenant, whose headers are in `credentials`. `close` ends it.
 */
export async function createService({
  tenant = 'acme',
  partition = '00',
  repository,
}: ServiceOptions = {}): Promise<Service> {
  const config: Config = { ...readConfig({}, { C2A_PARTITION: partition }), ...unlimited, storage: 'memory' };
  const services = await openServices(config, { mayCreate: true, repository });
  const credentials = await createDemoTenant(services.tenants, tenant);
  const app = await openServer(services, config, pino({ level: 'silent' }));
  return Object.assign(app, { credentials });
}
