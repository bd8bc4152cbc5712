/** Processes that use one directory of tenants and API keys. */
import { apiKeyFormat } from '../../src/adapters/crypto/api-key-format.ts';
import { MemoryCustomers } from '../../src/adapters/memory/customers.ts';
import { createMemoryTenants } from '../../src/adapters/memory/tenants.ts';
import { createReferenceData } from '../../src/adapters/reference-data.ts';
import { noTelemetry } from '../../src/adapters/telemetry/no-telemetry.ts';
import { createJwtVerifier } from '../../src/adapters/tokens/jwt.ts';
import { ApiKeys } from '../../src/application/api-keys.ts';
import { Authentication } from '../../src/application/authentication.ts';
import type { Telemetry } from '../../src/application/ports/telemetry.ts';
import type { Environment, TenantDirectory } from '../../src/application/ports/tenant-directory.ts';
import { Tenants } from '../../src/application/tenants.ts';
import { parseTenantId, type TenantId } from '../../src/domain/identity.ts';
import { createDemoTenant } from '../../src/process/demo.ts';

export const acme = parseTenantId('acme') as TenantId;

/** The use cases of one process. */
export function startProcess(
  directory: TenantDirectory,
  {
    clock = () => 0,
    telemetry = noTelemetry,
    environment = 'sandbox',
  }: { clock?: () => number; telemetry?: Telemetry; environment?: Environment },
) {
  const tokens = createJwtVerifier({ clock, onTrouble() {} });
  const shared = { directory, apiKeyFormat, clock, environment };
  const authentication = new Authentication({ ...shared, tokens, telemetry });
  return {
    authentication,
    tenants: new Tenants({ directory, repository: new MemoryCustomers(createReferenceData()), clock }),
    apiKeys: new ApiKeys({ ...shared, authentication }),
  };
}

type Changeable = { -readonly [Method in keyof TenantDirectory]: TenantDirectory[Method] };

/** Two sandbox processes and a live one with the tenant `acme` and its API key, and the number of key look-ups. */
export async function startProcesses() {
  const clock = { now: 0 };
  const memory = createMemoryTenants();
  const lookups = { count: 0 };
  const directory: Changeable = {
    ...memory,
    findKey(...key) {
      lookups.count += 1;
      return memory.findKey(...key);
    },
  };
  const reasons: string[] = [];
  const telemetry = { ...noTelemetry, notAuthenticated: (reason: string) => reasons.push(reason) };
  const start = (environment: Environment) =>
    startProcess(directory, { clock: () => clock.now, telemetry, environment });
  const here = start('sandbox');
  const { 'x-tn': tenant, 'x-api-key': apiKey } = await createDemoTenant(here, 'acme');
  const [key] = await here.apiKeys.list();
  return {
    clock,
    lookups,
    reasons,
    directory,
    here,
    there: start('sandbox'),
    live: start('live'),
    credentials: { tenant, apiKey, authorization: undefined },
    keyId: key?.id as string,
  };
}
