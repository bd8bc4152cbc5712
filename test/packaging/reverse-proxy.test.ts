/** The nginx sample in docs/deployment.md publishes the paths of tenants, and no path of operators. Streams are not buffered. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { baseRoutes } from '../../src/http/api.ts';
import { root } from '../support/binary.ts';
import { everyOperation, operations } from '../support/openapi.ts';
import { startService } from '../support/service.ts';

const [, sample = ''] = /```nginx\n([\s\S]*?)```/.exec(readFileSync(join(root, 'docs/deployment.md'), 'utf8')) ?? [];
const published = [...sample.matchAll(/location (\S+) (\S+) \{\n\s+proxy_pass /g)];
const [streams, tenants] = published.map(([, , pattern]) => new RegExp(String(pattern), 'i')) as [RegExp, RegExp];
const isPublished = (path: string) => tenants.test(path);

const ofApi = operations.flatMap(({ path }) =>
  baseRoutes.map((prefix) => path.replace(/^\/api\/c2a\/customer/, prefix)),
);
const ofTenants = [...ofApi, '/.well-known/c2a-receipts', '/openapi.json', '/docs', '/docs/static/index.css'];
const ofOperators = ['/metrics', '/healthz', '/readyz'];

t.test('two locations are published, and they ignore case', async (t) => {
  t.equal(published.length, 2);
  for (const [, modifier] of published) t.equal(modifier, '~*');
  t.match(sample, /location \/ \{\n\s+return 404;/);
});

t.test('the paths of tenants are published, in any case', async (t) => {
  for (const path of ofTenants) t.ok(isPublished(path) && isPublished(path.toUpperCase()), path);
});

t.test('streams are not buffered, and nothing else', async (t) => {
  const [block = ''] = /location [^{]*import[^{]*\{[^}]*\}/.exec(sample) ?? [];
  t.match(block, /client_max_body_size 0;[\s\S]*proxy_request_buffering off;[\s\S]*proxy_buffering off;/);
  t.same(
    ofTenants.filter((path) => streams.test(path)),
    ofApi.filter((path) => /\/(import|export)$/.test(path)),
  );
});

t.test('the paths of operators, and paths that resemble public ones, are not published', async (t) => {
  const similar = ['/', '/apis', '/metrics/api/', '/.well-known/other', '/docsx', '/openapi.json.bak'];
  for (const path of [...ofOperators, ...similar]) t.notOk(isPublished(path), path);
});

t.test('the service has all these paths, and no others', async (t) => {
  for (const { path } of everyOperation) t.ok([...ofTenants, ...ofOperators].includes(path), path);
  const { app } = await startService(t);
  for (const path of [...ofTenants, ...ofOperators]) {
    const isRoute = app.hasRoute({ method: 'GET', url: path }) || app.hasRoute({ method: 'POST', url: path });
    t.ok(isRoute || (await app.inject(path)).statusCode === 200, path);
  }
});
