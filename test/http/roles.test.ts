/** Which roles may use which operation. */
import t from 'tap';
import { type Role, roles } from '../../src/application/ports/tenant-directory.ts';
import { baseRoutes } from '../../src/http/api.ts';
import { operations } from '../support/openapi.ts';
import { startService } from '../support/service.ts';

/** By operation: the roles that may use it. */
const allowed: Readonly<Record<string, readonly Role[]>> = {
  'POST /validate': ['full', 'read'],
  'POST /store': ['full'],
  'POST /delete': ['full'],
  'POST /update': ['full'],
  'GET /info': ['full', 'read', 'flow'],
  'POST /references': ['full', 'flow'],
  'GET /references': ['full', 'read', 'flow'],
  'POST /sync': ['full'],
  'POST /import': ['full'],
  'POST /import?dryRun=true': ['full', 'read'],
  'POST /import?dryRun=false': ['full'],
  'POST /merge': ['full'],
  'POST /find': ['full', 'read'],
  'GET /erasure': ['full', 'read'],
  'POST /subject-export': ['full'],
  'GET /changes': ['full', 'read'],
  'GET /history': ['full', 'read'],
  'GET /export': ['full', 'read'],
};

t.test('every operation has its roles', async (t) => {
  const named = operations.map(({ path, method }) => `${method.toUpperCase()} ${path.replace(baseRoutes[0], '')}`);
  t.same(new Set(Object.keys(allowed).map((name) => name.replace(/\?.*/, ''))), new Set(named));
});

t.test('a key of another role gets 403 before the body is read', async (t) => {
  const { app, key } = await startService(t);
  for (const role of roles) {
    const { credentials } = await key('acme', role);
    for (const [name, mayUse] of Object.entries(allowed)) {
      const [method, path] = name.split(' ') as ['GET' | 'POST', string];
      const type = path.startsWith('/import') ? 'application/x-ndjson' : 'application/json';
      for (const base of baseRoutes) {
        const answer = await app.inject({
          method,
          url: base + path,
          headers: { ...credentials, ...(method === 'POST' && { 'content-type': type }) },
          // Neither a body of the operation nor within the limit.
          ...(method === 'POST' && { payload: 'x'.repeat(70_000) }),
        });
        const isRefused = answer.statusCode === 403;
        t.equal(isRefused, !mayUse.includes(role), `${role}: ${method} ${base}${path}`);
        if (isRefused) t.equal(answer.json().status.messageCode, 'FORBIDDEN');
      }
    }
  }
});
