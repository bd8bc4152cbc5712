/** Tenants, managed by the command line. */
import t from 'tap';
import { deployment } from '../../support/deployment.ts';
import { c2a, c2aJson } from '../../support/process.ts';

t.test('a tenant is added once, changed and listed', async (t) => {
  const at = ['--data-dir', t.testdir()];
  const made = await c2aJson('tenant', 'add', 'acme', '--name', 'Acme GmbH', '--channel', 'CARD', ...at);
  t.match(made.value, { id: 'acme', name: 'Acme GmbH', channels: ['CARD'], canSavePaymentMethod: false });
  t.equal(made.code, 0);

  t.match(await c2aJson('key', 'list', 'nobody', ...at), { code: 1, value: { error: 'there is no tenant nobody' } });
  const again = await c2aJson('tenant', 'add', 'acme', ...at);
  t.same(again.value, { error: 'tenant acme already exists' });
  t.equal(again.code, 1);

  const options = ['--channel', 'SEPA:DE,AT', '--can-save-payment-method', 'true'];
  const changed = await c2aJson('tenant', 'set', 'acme', ...options, ...at);
  t.match(changed.value, { name: 'Acme GmbH', channels: ['SEPA:DE,AT'], canSavePaymentMethod: true });
  t.same((await c2aJson('tenant', 'list', ...at)).value, [{ ...changed.value, customers: 0, anonymized: 0 }]);
  t.equal((await c2aJson('tenant', 'set', 'nobody', '--name', 'x', ...at)).code, 1);
});

t.test('without --json, results are tables', async (t) => {
  const at = ['--data-dir', t.testdir()];
  t.match(await c2a(['tenant', 'list', ...at]), { code: 1, stderr: /there is no data in/ });
  await c2a(['tenant', 'add', 'acme', '--channel', 'CARD', ...at]);
  const { stdout } = await c2a(['key', 'issue', 'acme', ...at]);
  t.match(stdout, /^sk_dev_\w{38}\n\(key \w{12} of the sandbox environment, shown once\)\n$/);
  t.match((await c2a(['tenant', 'list', ...at])).stdout, /^acme +0 customers +0 anonymized +CARD/);
  t.match((await c2a(['key', 'list', ...at])).stdout, /acme +sk_dev_\w{4}… +full +sandbox/);
});

t.test('the list has the number of customers of each tenant', async (t) => {
  const { serve, command, dataDir } = deployment(t);
  const server = await serve();
  await command('tenant', 'add', 'globex');
  const urns = [];
  for (const externalIdentifier of ['crm-1', 'crm-2', 'crm-3']) urns.push(await server.has({ externalIdentifier }));
  await server.forget(String(urns[0]));
  t.match((await command('tenant', 'list')).value, [
    { id: 'acme', customers: 2, anonymized: 1 },
    { id: 'globex', customers: 0, anonymized: 0 },
  ]);
  const { stdout } = await c2a(['tenant', 'list', '--data-dir', dataDir]);
  t.match(stdout, /^acme .*2 customers {2}1 anonymized .*\nglobex .*0 customers {2}0 anonymized /);
});
