/** `serve --workers`: one port, one database, several processes, of which each may end. */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { deployment } from '../support/deployment.ts';
import { c2a } from '../support/process.ts';
import { storing } from '../support/service.ts';
import { newFolder } from '../support/storage.ts';

const count = 3;

async function started(t: Test) {
  const { serve, command } = deployment(t);
  const server = await serve('--workers', String(count), '--log-level', 'info');
  /** Each request by a connection of its own, of which the watcher gives each to the next worker. */
  const apart = { connection: 'close' };
  return {
    ...server,
    command,
    post: (route: 'store' | 'validate' | 'delete', body: object) => server.post(route, body, apart),
    ask: (path: string) => server.ask(path, { headers: apart }),
    workers: () => childrenOf(server.child.pid as number),
  };
}

/** Processes that were started by one. */
function childrenOf(pid: number): number[] {
  const stat = (one: string) => {
    try {
      return readFileSync(`/proc/${one}/stat`, 'utf8').split(') ').at(-1)?.split(' ');
    } catch {
      return undefined; // it has ended meanwhile
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(stat(name)?.[1]) === pid)
    .map(Number);
}

t.test('they share the port and the work, and are unique together', async (t) => {
  const server = await started(t);
  t.equal(server.workers().length, count);
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, index) =>
      server.post(
        'store',
        storing({ externalIdentifier: `crm-${index % 20}`, email: `jane.${index % 20}@example.com` }),
      ),
    ),
  );
  t.equal(answers.filter(({ status }) => status === 200).length, 20);
  t.equal(answers.filter(({ status }) => status === 409).length, 40);
  const urns = new Set(answers.flatMap(({ body }) => body.result?.customerUrn ?? []));
  t.equal(urns.size, 20);

  const { text } = await server.ask('/metrics');
  const counted = [...text.matchAll(/^c2a_requests_total\{route="[^"]*store",[^}]*\} (\d+)$/gm)].map(([, n]) =>
    Number(n),
  );
  t.equal(
    counted.reduce((sum, one) => sum + one, 0),
    60,
    'whichever worker is asked tells of all',
  );
  const { stderr, code } = await server.stop();
  t.equal(code, 0);
  const answeredBy = new Set([...stderr.matchAll(/"worker":(\d+),"requestId"/g)].map(([, id]) => id));
  t.equal(answeredBy.size, count, 'all have answered');
});

t.test('what one has read is not served by it when another has erased it', async (t) => {
  const server = await started(t);
  const urn = await server.has({ externalIdentifier: 'crm-1', firstName: 'Jane' });
  const look = () => Promise.all(Array.from({ length: 9 }, () => server.ask(`/api/c2a/customer/info?urn=${urn}`)));
  for (const { body } of await look()) t.equal(body.result.firstName, 'Jane');
  await server.post('delete', { customerUrn: urn });
  for (const { body } of await look()) t.equal(body.result.firstName, 'Anonymized');

  const [key] = (await server.command('key', 'list')).value;
  await server.command('key', 'revoke', key.id);
  await delay(1000);
  for (const { status } of await look()) t.equal(status, 401);
  t.equal((await server.stop()).code, 0);
});

t.test('one that ends is replaced, and what it had acknowledged is there', async (t) => {
  const server = await started(t);
  const urn = await server.has({ externalIdentifier: 'crm-1' });
  const before = server.workers();
  process.kill(before[0] as number, 'SIGKILL');
  for (let turn = 0; turn < 200 && !isReplaced(); turn += 1) await delay(50);
  t.ok(isReplaced());
  t.equal((await server.ask(`/api/c2a/customer/info?urn=${urn}`)).status, 200);
  const { code, stderr } = await server.stop();
  t.equal(code, 0);
  t.match(stderr, '"signal":"SIGKILL","msg":"a worker has ended; another takes its place"');
  t.same(childrenOf(server.child.pid as number), []);

  function isReplaced(): boolean {
    const now = server.workers();
    return now.length === count && now.some((pid) => !before.includes(pid));
  }
});

t.test('one that ends while another is still starting is replaced too', async (t) => {
  const { serve } = deployment(t);
  const starting = serve('--workers', '2', '--log-level', 'info');
  const watcher = () => childrenOf(process.pid).find((pid) => childrenOf(pid).length === 2);
  while (watcher() === undefined) await delay(5);
  const pid = watcher() as number;
  const before = childrenOf(pid);
  process.kill(Math.min(...before), 'SIGKILL');
  const server = await starting;
  const isReplaced = () => childrenOf(pid).length === 2 && !childrenOf(pid).includes(Math.min(...before));
  for (let turn = 0; turn < 200 && !isReplaced(); turn += 1) await delay(50);
  t.ok(isReplaced());
  t.match(await server.stop(), { code: 0, stderr: 'a worker has ended; another takes its place' });
});

t.test('where they cannot start, the whole ends and says why once', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  const words = ['serve', '--workers', '2', '--data-dir', newFolder(t), '--port', String(port)];
  const { code, stderr } = await c2a(words);
  t.equal(code, 1);
  t.equal(stderr.match(/EADDRINUSE/g)?.length, 1, stderr);
  t.match(await c2a(['serve', '--workers', '2', '--storage', 'memory']), { code: 2, stderr: /C2A_WORKERS/ });
});
