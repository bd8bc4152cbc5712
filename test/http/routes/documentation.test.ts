/** `/docs` loads files of this server alone, and its policy forbids others; `/openapi.json` beside it. */
import t from 'tap';
import { startService } from '../../support/service.ts';

const { app } = await startService(t);
const page = await app.inject('/docs');

/** The URLs that a page or style sheet loads; `data:` URLs load nothing. */
const loaded = (text: string): string[] =>
  [...text.matchAll(/(?:src|href)="([^"]+)"|@import\s+["']?([^"';]+)|url\(\s*["']?(?!data:)([^"')]+)/g)].map(
    ([, attribute, imported, url]) => (attribute ?? imported ?? url) as string,
  );

t.test('the page and all its files come from this server', async (t) => {
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

t.test('the policy forbids other servers', async (t) => {
  const policy = String(page.headers['content-security-policy']);
  t.match(policy, /^default-src 'none';/);
  t.notMatch(policy, /https?:|\*|unsafe|upgrade-insecure-requests/);
});

t.test('no external validator is called', async (t) => {
  const { body } = await app.inject('/docs/static/swagger-initializer.js');
  t.match(body, 'validatorUrl: null');
  t.notMatch(body, /https?:\/\/(?!stackoverflow\.com)/);
});

t.test('the page shows the published document', async (t) => {
  t.same((await app.inject('/docs/json')).json(), (await app.inject('/openapi.json')).json());
});

t.test('unknown paths and methods are refused in the envelope', async (t) => {
  const { statusCode, headers, body } = await app.inject('/docs/static/nothing.js');
  t.match({ statusCode, headers }, { statusCode: 404, headers: { 'x-request-id': String } });
  t.match(JSON.parse(body), { status: { messageCode: 'NOT_FOUND' } });
  t.equal((await app.inject({ method: 'POST', url: '/docs' })).statusCode, 405);
});

t.test('repeated requests get the same bytes, and unknown paths 404', async (t) => {
  for (const url of ['/openapi.json', '/docs/static/swagger-ui-bundle.js', '/DOCS/static/swagger-ui.css']) {
    const [one, other] = [await app.inject(url), await app.inject(url)];
    t.equal(one.statusCode, 200, url);
    t.ok(one.rawPayload.equals(other.rawPayload));
  }
  for (const url of [
    '/docs/static//etc/passwd',
    '/docs/static/..%5c..%5cpackage.json',
    `/docs/static/${'a'.repeat(5000)}`,
  ]) {
    const { statusCode, headers, body } = await app.inject(url);
    t.match({ statusCode, headers }, { statusCode: 404, headers: { 'content-type': /clientOutput/ } }, url);
    t.match(JSON.parse(body), { status: { messageCode: 'NOT_FOUND' } });
  }
});
