import t from 'tap';
import { parseTenantId, type TenantId } from '../../src/domain/identity.ts';
import { acme, startProcesses } from './processes.ts';

t.test('absent settings keep their values', async (t) => {
  const { tenants } = (await startProcesses()).here;
  const channels = [{ channel: 'CARD' }];
  await tenants.set(acme, { name: 'ACME Inc.', channels });
  t.match(await tenants.set(acme, { canSavePaymentMethod: false }), {
    name: 'ACME Inc.',
    payment: { channels, canSavePaymentMethod: false },
  });
});

t.test('jwt: null removes the token issuer', async (t) => {
  const { tenants } = (await startProcesses()).here;
  const jwt = {
    issuer: 'https://id.example.com/',
    audience: 'c2a',
    algorithm: 'ES256',
    tenantClaim: 'tn',
    keys: { jwksUri: 'https://id.example.com/keys' },
  } as const;
  await tenants.set(acme, { jwt });
  t.match(await tenants.set(acme, { name: 'ACME' }), { jwt });
  t.notOk('jwt' in ((await tenants.set(acme, { jwt: null })) ?? { jwt }));
});

t.test('a tenant without customers has the counts 0', async (t) => {
  const { tenants } = (await startProcesses()).here;
  t.match(await tenants.listWithCounts(), [{ tenant: { id: 'acme' }, count: { customers: 0, anonymized: 0 } }]);
});

t.test('an existing tenant is not added, and an unknown one is not set', async (t) => {
  const { tenants } = (await startProcesses()).here;
  t.equal(await tenants.add(acme, {}), false);
  t.equal(await tenants.set(parseTenantId('nobody') as TenantId, {}), undefined);
  t.equal((await tenants.list()).length, 1);
});
