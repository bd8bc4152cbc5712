import type { Services } from '../compose.ts';
import { parseTenantId } from '../domain/identity.ts';

/** The headers that authenticate a request. Not an interface, because TypeScript does not accept one as headers. */
export type Credentials = {
  readonly 'x-tn': string;
  readonly 'x-api-key': string;
};

/**
 * Adds a tenant with two payment channels, and issues an API key for it. A tenant that exists only gets the key: several
 * processes may start on an empty database at once. Throws if the id is not valid.
 */
export async function createDemoTenant(
  { tenants, apiKeys }: Pick<Services, 'tenants' | 'apiKeys'>,
  name: string,
): Promise<Credentials> {
  const tenant = parseTenantId(name);
  if (tenant === undefined) throw new Error('a tenant id must be 1 to 63 of a-z, 0-9, "-" and "_"');
  const channels = [{ channel: 'CARD' }, { channel: 'SEPA' }];
  await tenants.add(tenant, { channels, canSavePaymentMethod: true });
  const issued = await apiKeys.issue(tenant, { name: 'first', role: 'full' });
  if (issued === undefined) throw new Error('the new tenant is missing');
  return { 'x-tn': tenant, 'x-api-key': issued.secret };
}

/** Shell commands that store, read and erase a customer of a running server. */
export function demoCurls(url: string, credentials: Credentials): string[] {
  const headers = Object.entries(credentials)
    .map(([name, value]) => `-H '${name}: ${value}'`)
    .join(' ');
  const post = (route: string, body: unknown) =>
    `curl -sS ${url}/api/c2a/customer/${route} ${headers} -H 'content-type: application/json' -d '${JSON.stringify(body)}'`;
  const externalIdentifier = 'crm-9981273';
  return [
    post('store', {
      customer: { externalIdentifier, email: 'jane.doe@example.com', firstName: 'Jane', lastName: 'Doe' },
      claimedRegion: { countryCode: 'DE', languageCode: 'de' },
    }),
    `curl -sS '${url}/api/c2a/customer/info?exId=${externalIdentifier}' ${headers}`,
    post('delete', { externalIdentifier }),
  ];
}
