/** A key through its life, by command line, beside a server that is another process on the same folder. */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Role } from '../../src/application/ports/tenant-directory.ts';
import { openServices } from '../../src/compose.ts';
import { readConfig } from '../../src/config.ts';
import { c2a, serving } from '../support/process.ts';
import { tenantId } from '../support/storage.ts';

const hour = 3_600_000;

interface Wanted {
  readonly name: string;
  readonly role?: Role;
  readonly lifetimeMs?: number;
  readonly revoked?: boolean;
}

/** Commands on a new folder with the tenant `acme` and these keys of it. */
async function start(t: Test, ...wanted: readonly Wanted[]) {
  const dataDir = t.testdir();
  const at = ['--data-dir', dataDir];
  // Keys are listed in the order of their making: no two in one millisecond.
  let last = 0;
  const clock = () => {
    last = Math.max(Date.now(), last + 1);
    return last;
  };
  const { tenants, close } = await openServices({ ...readConfig({}, {}), dataDir }, { mayCreate: true, clock });
  await tenants.addTenant(tenantId('acme'), {});
  const keys = [];
  for (const { role = 'full', revoked, ...key } of wanted) {
    const issued = await tenants.issueKey(tenantId('acme'), { ...key, role });
    if (issued === undefined) throw new Error('the tenant that was just made is not there');
    if (revoked) await tenants.revokeKey(issued.key.id);
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
      const headers = { 'x-tn': 'acme', 'x-api-key': key };
      return (await fetch(`${server.url}/api/c2a/customer/info?exId=x`, { headers })).status;
    },
  };
}

const known = 404;
const refused = 401;

t.test('beside a running server', async (t) => {
  const { at, json, keys } = await start(t, { name: 'checkout', role: 'read' });
  const [{ id, secret: old }] = keys as [(typeof keys)[number]];
  const server = await serve(t, at);
  t.equal(await server.ask(old), known);

  const rotated = await json('key', 'rotate', id, '--overlap', '1h');
  t.match(rotated, { name: 'checkout', role: 'read', replaced: { id, expiresAt: String } }, 'name and role go over');
  t.strictSame([await server.ask(old), await server.ask(rotated.key)], [known, known], 'both work');

  await json('key', 'rotate', id, '--overlap', '0s');
  await sleep(1_000);
  t.strictSame([await server.ask(old), await server.ask(rotated.key)], [refused, known], 'the old one ended');

  await json('key', 'revoke', rotated.id);
  await sleep(1_000);
  t.equal(await server.ask(rotated.key), refused, 'within a second');

  t.equal((await server.stop()).code, 0);
  const listed = await json('key', 'list', 'acme');
  t.match(listed.slice(0, 2), [{ requests: 2 }, { requests: 2 }], 'the count is written down when the server ends');
  t.ok(listed[0].lastUsedAt < listed[1].lastUsedAt);
});

t.test('a key ends when it was told to, and rotating it does not put that off', async (t) => {
  const { json } = await start(t);
  const issued = await json('key', 'issue', 'acme', '--expires', '90d');
  t.equal(Date.parse(issued.expiresAt) - Date.parse(issued.createdAt), 90 * 24 * hour);

  const soon = await json('key', 'rotate', issued.id, '--overlap', '2h', '--expires', '3h');
  t.equal(Date.parse(soon.expiresAt) - Date.parse(soon.createdAt), 3 * hour);
  const left = Date.parse(soon.replaced.expiresAt) - Date.parse(soon.createdAt);
  t.ok(left >= 2 * hour && left < 2 * hour + 5_000, 'brought forward');

  const { replaced } = await json('key', 'rotate', soon.id);
  t.equal(replaced.expiresAt, soon.expiresAt, 'a day, which is the default, would be later');
});

t.test('the list tells all of a key but the key', async (t) => {
  const { command, keys } = await start(
    t,
    { name: 'checkout', role: 'read' },
    { name: 'batch', lifetimeMs: hour },
    { name: 'leaked', revoked: true },
  );
  const people = await command('key', 'list');
  const machines = await command('key', 'list', 'acme', '--json');

  const listed = JSON.parse(machines.stdout);
  const columns = ['createdAt', 'environment', 'id', 'name', 'prefix', 'requests', 'role', 'tenant'];
  for (const [index, more] of [[], ['expiresAt'], ['revokedAt']].entries()) {
    t.strictSame(Object.keys(listed[index]).sort(), [...columns, ...more].sort());
  }

  const rows = people.stdout.trimEnd().split('\n');
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
      t.notOk(people.stdout.includes(hidden) || machines.stdout.includes(hidden));
    }
  }
});

t.test('times that make no sense are refused by name', async (t) => {
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
