/** `/docs` needs nothing but this server: it works offline, and under a policy that forbids anything else. */
import t from 'tap';
import { startService } from '../support/service.ts';

const { app } = await startService(t);
const page = await app.inject('/docs');

/** What a page or style sheet makes a browser load; data: is in the text itself. */
const loaded = (text: string): string[] =>
  [...text.matchAll(/(?:src|href)="([^"]+)"|@import\s+["']?([^"';]+)|url\(\s*["']?(?!data:)([^"')]+)/g)].map(
    ([, attribute, imported, url]) => (attribute ?? imported ?? url) as string,
  );

t.test('the page and everything it refers to come from here', async (t) => {
  t.match(page, { statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8' } });
  const assets = loaded(page.body);
  t.ok(assets.length >= 6, assets.join(' '));
  for (const path of assets) {
    t.match(path, /^\/docs\/static\/[\w-]+(\.[\w-]+)+$/);
    const { statusCode, headers, body } = await app.inject(path);
    t.equal(statusCode, 200, path);
    t.equal(headers['content-security-policy'], page.headers['content-security-policy'], path);
    if (path.endsWith('.css')) t.same(loaded(body), [], `${path} loads nothing`);
  }
});

t.test('the policy lets the browser load from nowhere else', async (t) => {
  const policy = String(page.headers['content-security-policy']);
  t.match(policy, /^default-src 'none';/);
  t.notMatch(policy, /https?:|\*|unsafe|upgrade-insecure-requests/);
});

t.test('no validator elsewhere is asked', async (t) => {
  const { body } = await app.inject('/docs/static/swagger-initializer.js');
  t.match(body, 'validatorUrl: null');
  t.notMatch(body, /https?:\/\/(?!stackoverflow\.com)/);
});

t.test('it shows the published document', async (t) => {
  t.same((await app.inject('/docs/json')).json(), (await app.inject('/openapi.json')).json());
});

t.test('what is not there is refused as everywhere', async (t) => {
  const { statusCode, headers, body } = await app.inject('/docs/static/nothing.js');
  t.match({ statusCode, headers }, { statusCode: 404, headers: { 'x-request-id': String } });
  t.match(JSON.parse(body), { status: { messageCode: 'NOT_FOUND' } });
  t.equal((await app.inject({ method: 'POST', url: '/docs' })).statusCode, 405);
});
