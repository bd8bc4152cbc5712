import type { Tenants } from '../application/tenants.ts';
import { parseTenantId } from '../domain/identity.ts';

/** The headers of a tenant's request. */
export interface Credentials {
  readonly 'x-tn': string;
  readonly 'x-api-key': string;
}

/** Makes a tenant to try the service with, and a key for it. */
export async function createDemoTenant(tenants: Tenants, name: string): Promise<Credentials> {
  const tenant = parseTenantId(name);
  if (tenant === undefined) throw new Error('a tenant is named by 1 to 63 of a-z, 0-9, "-" and "_"');
  const channels = [{ channel: 'CARD' }, { channel: 'SEPA' }];
  await tenants.addTenant(tenant, { channels, canSavePaymentMethod: true });
  const issued = await tenants.issueKey(tenant, { name: 'first', role: 'full' });
  if (issued === undefined) throw new Error('the tenant that was just made is not there');
  return { 'x-tn': tenant, 'x-api-key': issued.secret };
}

/** Commands that work when pasted, on a running server. */
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
