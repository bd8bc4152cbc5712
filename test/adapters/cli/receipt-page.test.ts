/** `verify-receipt --html`: the page that a data-protection officer prints and sends. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { html } from '../../../src/adapters/cli/html.ts';
import { receiptPage } from '../../../src/adapters/cli/receipt-page.ts';
import { ephemeralVault } from '../../../src/adapters/crypto/vault.ts';
import type { SignedReceipt } from '../../../src/application/privacy-reports.ts';
import { isObject } from '../../../src/domain/field-schema.ts';
import { erasureExamples } from '../../../src/http/routes/erasures.ts';
import { c2a } from '../../support/process.ts';

const vault = ephemeralVault();
const publicKey = vault.publicKey.toString('base64url');
const example = erasureExamples.result.receipt;
const now = new Date('2026-02-03T07:08:09.123Z');

/** A signed receipt like the example, except for these members. */
function signed(members: object = {}): SignedReceipt {
  const receipt = { ...example, ...members } as unknown as SignedReceipt['receipt'];
  const value = vault.sign(JSON.stringify(receipt)).toString('base64url');
  return { receipt, signature: { algorithm: 'Ed25519', publicKey, value } };
}
const pageOf = (members?: object): string => receiptPage(signed(members), now);

const text = (escaped: string): string =>
  escaped.replace(/<[^>]*>/g, '').replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code));
/** The page without the receipt in JSON at its end, as text. */
const prose = (page: string): string => text(page.slice(page.indexOf('<body>'), page.indexOf('<pre>')));

/** Fails unless every element is closed in order, and is of a kind that the page uses. */
function isWellFormed(t: Test, page: string): void {
  const open: string[] = [];
  const known =
    /^(?:html|head|meta|title|style|body|h1|h2|p|strong|dl|dt|dd|ul|ol|li|table|thead|tbody|tr|th|td|code|pre|time)$/;
  for (const [, end, name = ''] of page.matchAll(/<(\/?)([a-z0-9]+)(?: [a-z-]+="[^"<>]*")*>/g)) {
    if (!known.test(name)) t.fail(`<${name}> is an unexpected element`);
    if (end === '/') t.equal(open.pop(), name);
    else if (name !== 'meta') open.push(name);
  }
  t.same(open, []);
  t.notMatch(page.replace(/<!DOCTYPE html>|<\/?[a-z0-9]+(?: [a-z-]+="[^"<>]*")*>/g, ''), /</, 'no other markup');
}

t.test('values in a template are escaped, and HTML is not', async (t) => {
  const item = (value: string) => html`<li title="${value}">${value}</li>`;
  t.equal(html`<ul>${['<b>', `"'&`].map(item)}</ul>${1}`.text.includes('<b>'), false);
  t.equal(item(`<&"'`).text, '<li title="&#60;&#38;&#34;&#39;">&#60;&#38;&#34;&#39;</li>');
  t.equal(html`${html`<p>${2}</p>`}${[html`<br>`, html`<hr>`]}`.text, '<p>2</p><br><hr>');
});

t.test('the page contains everything in the receipt', async (t) => {
  const page = pageOf();
  isWellFormed(t, page);
  t.match(page, /^<!DOCTYPE html>\n<html lang="en">/);
  t.match(page, `<title>Receipt of the erasure of ${example.customerUrn}, tenant acme</title>`);
  const said = prose(page);
  for (const value of leaves({
    ...example,
    receiptVersion: [],
    residualScan: { ...example.residualScan, findings: [] },
  })) {
    const isTime = /^\d{4}-\d\d-\d\dT/.test(value);
    t.ok(said.includes(isTime ? value.replace('T', ' ').replace('.000Z', ' UTC') : value), value);
  }
  t.match(said, /Case number of the tenant\s*DSAR-2026-0042/);
  t.match(said, /Clean\.\s*The storage was searched on 2026-02-02 10:15:00 UTC/);
  t.match(said, /the key that decrypts the record\s*keys: data keys\s*nothing/);
  t.match(said, 'made on 2026-02-03 07:08:09 UTC');
  t.match(said, `c2a verify-receipt receipt.json --public-key ${publicKey}`);
  t.notMatch(said, /NOT CLEAN|undefined|\[object/);
  t.notMatch(prose(pageOf({ reference: undefined })), 'Case number');
});

/** All texts and numbers in a value. */
function leaves(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(leaves);
  if (isObject(value)) return Object.values(value).flatMap(leaves);
  return typeof value === 'string' || typeof value === 'number' ? [String(value)] : [];
}

t.test('the page has no scripts and loads nothing', async (t) => {
  const page = pageOf();
  t.notMatch(page, /<script|<link|<img|<iframe|src=|href=|url\(|@import|https?:/i);
  t.match(page, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`);
});

t.test('values that contain markup are text', async (t) => {
  const markup = `<script>alert("x")</script>'&amp;`;
  const page = pageOf({
    reference: markup,
    tenant: markup,
    erasedAt: markup,
    requestId: markup,
    rewritten: [markup],
    kept: [{ field: markup, ground: markup }],
    erasureLog: { sequence: 1, chain: markup },
    residualScan: { ...example.residualScan, findings: [{ kind: markup, place: markup, found: 0 }], unseen: [markup] },
  });
  isWellFormed(t, page);
  t.notMatch(page, /<script/i);
  t.equal(text(page).split(markup).length - 1, 12, 'as text wherever it stands');
});

t.test('a receipt that is not clean says so visibly', async (t) => {
  const scan = (found: number) => ({
    ...example.residualScan,
    clean: found === 0,
    findings: [
      { kind: 'data_key', place: 'keys: data keys', found: 0 },
      { kind: 'keys_copy', place: 'keys.db.replaced-1', found },
    ],
  });
  const failed = pageOf({ dataKeyDestroyed: false, residualScan: scan(2) });
  isWellFormed(t, failed);
  t.match(
    prose(failed),
    /NOT CLEAN\.\s.* was found in the places marked under.* a copy of the record may be readable/s,
  );
  t.match(prose(failed), /the key, in a file that a restore replaced\s*keys\.db\.replaced-1\s*FOUND: 2/);
  t.match(prose(pageOf({ residualScan: scan(1) })), /NOT CLEAN\.\s.*The data key is destroyed/s);
  const unknown = prose(pageOf({ dataKeyDestroyed: false, residualScan: { ...scan(0), findings: [] } }));
  t.match(unknown, /NOT CLEAN\.\s.*not shown that the data key is destroyed/s);
  t.notMatch(unknown, 'was found in');
});

t.test('what a receipt lacks is said', async (t) => {
  const said = prose(pageOf({ rewritten: null, erasureLog: null }));
  t.match(said, 'The list of these fields was lost.');
  t.match(said, /Position in the erasure log\s*none in this receipt/);
  const { unseen: _, ...residualScan } = example.residualScan;
  const older = pageOf({ rewritten: undefined, kept: undefined, residualScan } as never);
  isWellFormed(t, older);
  t.match(prose(older), 'The list of these fields was lost.');
});

t.test('the command writes the page to a new file, after it has verified the receipt', async (t) => {
  const folder = t.testdir({});
  const at = (name: string) => join(folder, name);
  writeFileSync(at('receipt.json'), JSON.stringify(signed({ reference: 'DSAR-1' })));
  const verify = (page: string, receipt = 'receipt.json', ...more: string[]) =>
    c2a(['verify-receipt', at(receipt), '--public-key', publicKey, '--html', at(page), ...more]);

  const { code, stdout } = await verify('page.html');
  t.same(
    { code, stdout },
    {
      code: 0,
      stdout: `valid: cu.00.482 of acme was erased at 2026-02-01T08:00:00.000Z\nthe page is in ${at('page.html')}\n`,
    },
  );
  const page = readFileSync(at('page.html'), 'utf8');
  t.match(page, 'DSAR-1');
  t.match(JSON.parse((await verify('other.html', 'receipt.json', '--json')).stdout), {
    valid: true,
    html: at('other.html'),
  });

  t.match(await verify('page.html'), {
    code: 1,
    stderr: `c2a: ${at('page.html')} already exists; choose another name\n`,
  });
  t.equal(readFileSync(at('page.html'), 'utf8'), page, 'an existing file is not overwritten');
  t.match(await verify('no/page.html'), { code: 1, stderr: `c2a: the folder ${at('no')} does not exist` });

  const altered = signed();
  writeFileSync(at('altered.json'), JSON.stringify({ ...altered, receipt: { ...altered.receipt, tenant: 'globex' } }));
  t.match(await verify('altered.html', 'altered.json'), { code: 1, stderr: /the receipt was altered/ });
  t.notOk(existsSync(at('altered.html')));

  const [, json = ''] = /<pre>([\s\S]*)<\/pre>/.exec(page) ?? [];
  writeFileSync(at('saved.json'), text(json));
  t.equal((await c2a(['verify-receipt', at('saved.json'), '--public-key', publicKey])).code, 0);
});
