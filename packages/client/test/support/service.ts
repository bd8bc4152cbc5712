import type { Test } from 'tap';
import { type Credentials, createService, type ServiceOptions } from '../../../../src/index.ts';
import { claimedRegion } from '../../../../test/support/client.ts';
import { faultQueue } from '../../../../test/support/faults.ts';
import { type ClientOptions, createClient } from '../../src/index.ts';

export { claimedRegion };

/** The body of a `store` or `sync`. */
export const stateOf = (externalIdentifier: string, fields: object = {}) => ({
  customer: { externalIdentifier, ...fields },
  claimedRegion,
});

/** A service in memory on a port of its own, and a client of its tenant `acme`. */
export async function start(t: Test, options: Partial<ClientOptions> = {}, serviceOptions: ServiceOptions = {}) {
  const { next, seen, faults } = faultQueue();
  const service = await createService({ ...serviceOptions, faults });
  t.teardown(() => service.close());
  const baseUrl = await service.listen({ port: 0 });
  const clientOf = (credentials: Credentials, others: Partial<ClientOptions> = {}) =>
    createClient({
      baseUrl,
      tenant: credentials['x-tn'],
      apiKey: credentials['x-api-key'],
      ...options,
      ...others,
    });
  return { service, baseUrl, next, seen, clientOf, c2a: clientOf(service.credentials) };
}

/** Everything that an iterable yields. */
export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}
