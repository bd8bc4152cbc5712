/** The nginx sample in docs/deployment.md publishes the paths of tenants, and no path of operators. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { baseRoutes } from '../../src/http/api.ts';
import { root } from '../support/binary.ts';
import { everyOperation, operations } from '../support/openapi.ts';
import { startService } from '../support/service.ts';

const [, sample = ''] = /```nginx\n([\s\S]*?)```/.exec(readFileSync(join(root, 'docs/deployment.md'), 'utf8')) ?? [];
const published = [...sample.matchAll(/location (\S+) (\S+) \{\n\s+proxy_pass /g)];
const isPublished = (path: string) => new RegExp(String(published[0]?.[2]), 'i').test(path);

const ofApi = operations.flatMap(({ path }) =>
  baseRoutes.map((prefix) => path.replace(/^\/api\/c2a\/customer/, prefix)),
);
const ofTenants = [...ofApi, '/.well-known/c2a-receipts', '/openapi.json', '/docs', '/docs/static/index.css'];
const ofOperators = ['/metrics', '/healthz', '/readyz'];

t.test('one location is published, and it ignores case', async (t) => {
  t.equal(published.length, 1);
  t.equal(published[0]?.[1], '~*');
  t.match(sample, /location \/ \{\n\s+return 404;/);
});

t.test('the paths of tenants are published, in any case', async (t) => {
  for (const path of ofTenants) t.ok(isPublished(path) && isPublished(path.toUpperCase()), path);
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
