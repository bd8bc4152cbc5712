/** API keys, managed by the command line beside a server that is another process on the same folder. */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Role } from '../../../src/application/ports/tenant-directory.ts';
import { openServices } from '../../../src/compose.ts';
import { readConfig } from '../../../src/config.ts';
import { client, overHttp } from '../../support/client.ts';
import { c2a, c2aJson, serving } from '../../support/process.ts';
import { tenantId } from '../../support/storage.ts';

const hour = 3_600_000;

interface Wanted {
  readonly name: string;
  readonly role?: Role;
  readonly lifetimeMs?: number;
  readonly revoked?: boolean;
}

/** Commands on a new deployment with the tenant `acme` and these API keys of it. */
async function start(t: Test, ...wanted: readonly Wanted[]) {
  const dataDir = t.testdir();
  const at = ['--data-dir', dataDir];
  // Keys are listed by creation time, which must differ.
  let last = 0;
  const clock = () => {
    last = Math.max(Date.now(), last + 1);
    return last;
  };
  const { tenants, apiKeys, close } = await openServices(
    { ...readConfig({}, {}), dataDir },
    { mayCreate: true, clock },
  );
  await tenants.add(tenantId('acme'), {});
  const keys = [];
  for (const { role = 'full', revoked, ...key } of wanted) {
    const issued = await apiKeys.issue(tenantId('acme'), { ...key, role });
    if (issued === undefined) throw new Error('the new tenant is missing');
    if (revoked) await apiKeys.revoke(issued.key.id);
    keys.push({ secret: issued.secret, ...issued.key });
  }
  await close();

  const command = (...words: readonly string[]) => c2a([...words, ...at]);
  async function json(...words: readonly string[]) {
    const { stdout } = await command(...words, '--json');
    return JSON.parse(stdout);
  }
  return { at, command, json, keys };
}

/** A server on the folder, as a caller sees it. */
async function serve(t: Test, at: readonly string[]) {
  const server = await serving(at);
  t.teardown(() => server.child.kill('SIGKILL'));
  return {
    stop: server.stop,
    async ask(key: string): Promise<number> {
      return (await client(overHttp(server.url), { 'x-tn': 'acme', 'x-api-key': key }).info({ exId: 'x' })).status;
    },
  };
}

const known = 404;
const refused = 401;

t.test('rotate and revoke take effect on a running server within a second', async (t) => {
  const { at, json, keys } = await start(t, { name: 'checkout', role: 'read' });
  const [{ id, secret: old }] = keys as [(typeof keys)[number]];
  const server = await serve(t, at);
  t.equal(await server.ask(old), known);

  const rotated = await json('key', 'rotate', id, '--overlap', '1h');
  t.match(rotated, { name: 'checkout', role: 'read', replaced: { id, expiresAt: String } }, 'name and role are copied');
  t.strictSame([await server.ask(old), await server.ask(rotated.key)], [known, known], 'both work');

  await json('key', 'rotate', id, '--overlap', '0s');
  await sleep(1_000);
  t.strictSame([await server.ask(old), await server.ask(rotated.key)], [refused, known], 'the old one ended');

  await json('key', 'revoke', rotated.id);
  await sleep(1_000);
  t.equal(await server.ask(rotated.key), refused, 'within a second');

  t.equal((await server.stop()).code, 0);
  const listed = await json('key', 'list', 'acme');
  t.match(listed.slice(0, 2), [{ requests: 2 }, { requests: 2 }], 'uses are stored at shutdown');
  t.ok(listed[0].lastUsedAt < listed[1].lastUsedAt);
});

t.test('a key expires as issued, and rotation never prolongs it', async (t) => {
  const { json } = await start(t);
  const issued = await json('key', 'issue', 'acme', '--expires', '90d');
  t.equal(Date.parse(issued.expiresAt) - Date.parse(issued.createdAt), 90 * 24 * hour);

  const soon = await json('key', 'rotate', issued.id, '--overlap', '2h', '--expires', '3h');
  t.equal(Date.parse(soon.expiresAt) - Date.parse(soon.createdAt), 3 * hour);
  const left = Date.parse(soon.replaced.expiresAt) - Date.parse(soon.createdAt);
  t.ok(left >= 2 * hour && left < 2 * hour + 5_000, 'the overlap ends before the expiry');

  const { replaced } = await json('key', 'rotate', soon.id);
  t.equal(replaced.expiresAt, soon.expiresAt, 'the default overlap of a day would end later');
});

t.test('key list shows everything but the secret and its digest', async (t) => {
  const { command, keys } = await start(
    t,
    { name: 'checkout', role: 'read' },
    { name: 'batch', lifetimeMs: hour },
    { name: 'leaked', revoked: true },
  );
  const text = await command('key', 'list');
  const json = await command('key', 'list', 'acme', '--json');

  const listed = JSON.parse(json.stdout);
  const columns = ['createdAt', 'environment', 'id', 'name', 'prefix', 'requests', 'role', 'tenant'];
  for (const [index, more] of [[], ['expiresAt'], ['revokedAt']].entries()) {
    t.strictSame(Object.keys(listed[index]).sort(), [...columns, ...more].sort());
  }

  const rows = text.stdout.trimEnd().split('\n');
  const ends = ['requests', `expires ${listed[1].expiresAt}`, `revoked ${listed[2].revokedAt}`];
  for (const [index, { id, prefix, role, name, createdAt }] of listed.entries()) {
    const created = `created ${createdAt}`;
    const cells = [id, 'acme', `${prefix}…`, role, 'sandbox', name, created, 'never used', '0 requests', ends[index]];
    for (const cell of cells) t.match(rows[index], cell);
    t.ok(rows[index]?.endsWith(ends[index] as string));
  }

  for (const { secret, digest } of keys) {
    const [hex, base64] = (['hex', 'base64'] as const).map((as) => Buffer.from(digest).toString(as)) as [
      string,
      string,
    ];
    for (const hidden of [secret.slice(11), hex, base64, 'digest']) {
      t.notOk(text.stdout.includes(hidden) || json.stdout.includes(hidden));
    }
  }
});

t.test('an invalid duration is refused, with the option', async (t) => {
  for (const [option, time, words] of [
    ['expires', '90', ['key', 'issue', 'acme']],
    ['overlap', '1w', ['key', 'rotate', 'any']],
  ] as const) {
    t.match(await c2a([...words, `--${option}=${time}`]), {
      code: 2,
      stdout: '',
      stderr: `--${option} must look like`,
    });
  }
});

t.test('an API key is printed once, listed without its secret, and revoked', async (t) => {
  const at = ['--data-dir', t.testdir()];
  await c2aJson('tenant', 'add', 'acme', ...at);
  const { value: issued } = await c2aJson('key', 'issue', 'acme', '--name', 'checkout', '--role', 'read', ...at);
  t.match(issued.key, /^sk_dev_[0-9A-Za-z]{38}$/);
  t.match(issued, { tenant: 'acme', name: 'checkout', role: 'read', environment: 'sandbox' });

  const listed = await c2a(['key', 'list', 'acme', '--json', ...at]);
  const { key, ...kept } = issued;
  t.same(JSON.parse(listed.stdout), [kept]);
  t.notMatch(listed.stdout, key.slice(12));

  const { value: revoked } = await c2aJson('key', 'revoke', issued.id, ...at);
  t.type(revoked.revokedAt, 'string');
  t.same((await c2aJson('key', 'revoke', issued.id, ...at)).value, revoked, 'revoking again changes nothing');
  t.equal((await c2aJson('key', 'revoke', 'nothing', ...at)).code, 1);
  t.equal((await c2aJson('key', 'issue', 'nobody', ...at)).code, 1);
});

t.test('keys of the live environment begin with sk_live_', async (t) => {
  const at = ['--data-dir', t.testdir(), '--environment', 'live'];
  await c2aJson('tenant', 'add', 'acme', ...at);
  t.match((await c2aJson('key', 'issue', '--tenant', 'acme', ...at)).value.key, /^sk_live_/);
});
