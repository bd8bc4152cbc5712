/** `serve --workers`: several processes that share a port and a database, each of which may exit. */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { storing } from '../support/client.ts';
import { deployment } from '../support/deployment.ts';
import { c2a } from '../support/process.ts';
import { newFolder } from '../support/storage.ts';

const count = 3;

async function started(t: Test) {
  const { serve, command } = deployment(t);
  const server = await serve('--workers', String(count), '--log-level', 'info');
  /** The supervisor gives each new connection to the next worker, so each request has its own. */
  const apart = { connection: 'close' };
  return {
    ...server,
    command,
    post: (route: 'store' | 'validate' | 'delete', body: object) => server.post(route, body, apart),
    ask: (path: string) => server.get(path, apart),
    workers: () => childrenOf(server.child.pid as number),
  };
}

/** The child processes of a process. */
function childrenOf(pid: number): number[] {
  const stat = (one: string) => {
    try {
      return readFileSync(`/proc/${one}/stat`, 'utf8').split(') ').at(-1)?.split(' ');
    } catch {
      return undefined; // It has exited meanwhile.
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(stat(name)?.[1]) === pid)
    .map(Number);
}

t.test('workers share the port and the requests, and keep values unique together', async (t) => {
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

  const { text } = await server.get('/metrics');
  const counted = [...text.matchAll(/^c2a_requests_total\{route="[^"]*store",[^}]*\} (\d+)$/gm)].map(([, n]) =>
    Number(n),
  );
  t.equal(
    counted.reduce((sum, one) => sum + one, 0),
    60,
    'the metrics of any worker include those of all',
  );
  const { stderr, code } = await server.stop();
  t.equal(code, 0);
  const answeredBy = new Set([...stderr.matchAll(/"worker":(\d+),"requestId"/g)].map(([, id]) => id));
  t.equal(answeredBy.size, count, 'every worker has answered');
});

t.test('one of the workers runs the jobs that look at all tenants, and each runs the others', async (t) => {
  const server = await started(t);
  const runsOf = async (job: string) => {
    const { text } = await server.get('/metrics');
    const runs = text.matchAll(new RegExp(`^c2a_job_runs_total\\{job="${job}",result="success"[^}]*\\} (\\d+)$`, 'gm'));
    return [...runs].reduce((sum, [, number]) => sum + Number(number), 0);
  };
  for (let turn = 0; turn < 200 && (await runsOf('refresh_issuer_keys')) < 2 * count; turn += 1) await delay(100);
  t.equal(await runsOf('refresh_issuer_keys'), 2 * count);
  const runs = await runsOf('recover_erasures');
  t.ok(runs === 1 || runs === 2, `${runs} runs`);
  const { code } = await server.stop();
  t.equal(code, 0);
});

t.test('a worker does not serve a cached record that another worker erased', async (t) => {
  const server = await started(t);
  const urn = await server.has({ externalIdentifier: 'crm-1', firstName: 'Jane' });
  const look = () => Promise.all(Array.from({ length: 9 }, () => server.get(`/api/c2a/customer/info?urn=${urn}`)));
  for (const { body } of await look()) t.equal(body.result.firstName, 'Jane');
  await server.post('delete', { customerUrn: urn });
  for (const { body } of await look()) t.equal(body.result.firstName, 'Anonymized');

  const [key] = (await server.command('key', 'list')).value;
  await server.command('key', 'revoke', key.id);
  await delay(1000);
  for (const { status } of await look()) t.equal(status, 401);
  t.equal((await server.stop()).code, 0);
});

t.test('a worker that exits is replaced, and its acknowledged writes are kept', async (t) => {
  const server = await started(t);
  const urn = await server.has({ externalIdentifier: 'crm-1' });
  const before = server.workers();
  process.kill(before[0] as number, 'SIGKILL');
  for (let turn = 0; turn < 200 && !isReplaced(); turn += 1) await delay(50);
  t.ok(isReplaced());
  t.equal((await server.get(`/api/c2a/customer/info?urn=${urn}`)).status, 200);
  const { code, stderr } = await server.stop();
  t.equal(code, 0);
  t.match(stderr, '"signal":"SIGKILL","msg":"worker exited; starting another"');
  t.same(childrenOf(server.child.pid as number), []);

  function isReplaced(): boolean {
    const now = server.workers();
    return now.length === count && now.some((pid) => !before.includes(pid));
  }
});

t.test('a worker that exits while another starts is replaced too', async (t) => {
  const { serve } = deployment(t);
  const starting = serve('--workers', '2', '--log-level', 'info');
  const supervisor = () => childrenOf(process.pid).find((pid) => childrenOf(pid).length === 2);
  while (supervisor() === undefined) await delay(5);
  const pid = supervisor() as number;
  const before = childrenOf(pid);
  process.kill(Math.min(...before), 'SIGKILL');
  const server = await starting;
  const isReplaced = () => childrenOf(pid).length === 2 && !childrenOf(pid).includes(Math.min(...before));
  for (let turn = 0; turn < 200 && !isReplaced(); turn += 1) await delay(50);
  t.ok(isReplaced());
  t.match(await server.stop(), { code: 0, stderr: 'worker exited; starting another' });
});

t.test('if workers cannot start, the supervisor exits and says why once', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  const words = ['serve', '--workers', '2', '--data-dir', newFolder(t), '--port', String(port)];
  const { code, stderr } = await c2a(words);
  t.equal(code, 1);
  t.equal(stderr.match(/another process listens on/g)?.length, 1, stderr);
  t.match(await c2a(['serve', '--workers', '2', '--storage', 'memory']), { code: 2, stderr: /C2A_WORKERS/ });
});
