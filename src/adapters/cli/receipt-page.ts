/** A verified erasure receipt as a page that a data-protection officer can print and send. */
import type { ResidueKind } from '../../application/ports/erasures.ts';
import type { SignedReceipt } from '../../application/privacy-reports.ts';
import { type Html, html } from './html.ts';

type Receipt = SignedReceipt['receipt'];
type Finding = Receipt['residualScan']['findings'][number];

/**
 * The page: HTML without scripts and without external resources. The receipt must have been verified. A receipt of
 * another release may lack members.
 *
 * @param now when the page is made
 */
export function receiptPage({ receipt, signature }: SignedReceipt, now: Date): string {
  const title = `Receipt of the erasure of ${receipt.customerUrn}, tenant ${receipt.tenant}`;
  const { text } = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<h1>Receipt of an erasure of personal data</h1>
<p>Art. 17 of the General Data Protection Regulation (GDPR)</p>
${verdict(receipt)}
${facts(receipt)}
${rewrittenFields(receipt)}
${keptFields(receipt)}
${residualScan(receipt)}
${verification({ receipt, signature }, now)}
</body>
</html>
`;
  return text;
}

const style = html`
:root { font: 11pt/1.45 system-ui, sans-serif; color: #111; background: #fff; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin: 1.8rem 0 .4rem; break-after: avoid; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; }
dt { font-weight: 600; }
dd { margin: 0; }
dd, li, code, pre { overflow-wrap: anywhere; }
td { overflow-wrap: break-word; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #bbb; }
tr, li, .verdict { break-inside: avoid; }
code, pre { font: .9em/1.4 ui-monospace, monospace; }
pre { white-space: pre-wrap; border: 1px solid #bbb; padding: .6rem; }
.verdict { border: 2px solid #1a6b2f; padding: .6rem 1rem; }
.failed { border: 6px double #a40000; }
.failed strong { color: #a40000; }
@page { margin: 18mm; }
@media print { body { max-width: none; margin: 0; padding: 0; } }
`;

/** The result of the scan. A result that is not clean must be visible on paper too, so colour alone does not show it. */
function verdict({ residualScan, dataKeyDestroyed }: Receipt): Html {
  const isClean = residualScan.clean && dataKeyDestroyed;
  const found = residualScan.clean
    ? 'Nothing was found but the data listed under “Kept”.'
    : 'Data of the customer was found in the places marked under “Residual scan”.';
  const key = dataKeyDestroyed
    ? 'The data key is destroyed, so this storage cannot decrypt any copy of the record.'
    : 'It is not shown that the data key is destroyed: a copy of the record may be readable.';
  return html`<p class="verdict ${isClean ? '' : 'failed'}"><strong>${isClean ? 'Clean.' : 'NOT CLEAN.'}</strong>
The storage was searched on ${time(residualScan.scannedAt)}. ${found} ${key} “Residual scan” also lists what the search could not
see.</p>`;
}

function facts({ customerUrn, tenant, erasedAt, keyId, requestId, reference, erasureLog }: Receipt): Html {
  const position = erasureLog
    ? html`entry ${erasureLog.sequence}, chain value <code>${erasureLog.chain}</code>`
    : html`none in this receipt`;
  return html`<h2>Erasure</h2>
<dl>
${fact('Customer', html`${customerUrn}`)}
${fact('Tenant', html`${tenant}`)}
${reference === undefined ? html`` : fact('Case number of the tenant', html`${reference}`)}
${fact('Erased on', time(erasedAt))}
${fact('Requested with API key', html`${keyId}`)}
${fact('Request', html`${requestId}`)}
${fact('Position in the erasure log', position)}
</dl>`;
}

const fact = (name: string, value: Html): Html => html`<dt>${name}</dt><dd>${value}</dd>`;

function rewrittenFields({ rewritten = null }: Receipt): Html {
  const list =
    rewritten === null
      ? html`<p>The list of these fields was lost.</p>`
      : html`<ul>${rewritten.map((field) => html`<li><code>${field}</code></li>`)}</ul>`;
  return html`<h2>Rewritten or removed</h2>
<p>These fields of the record had a value. Each was removed, or replaced with a placeholder that contains nothing of it.</p>
${list}`;
}

const keptFields = ({ kept = [] }: Receipt): Html => html`<h2>Kept</h2>
<table>
<thead><tr><th scope="col">Data</th><th scope="col">Legal ground</th></tr></thead>
<tbody>
${kept.map(({ field, ground }) => html`<tr><td>${field}</td><td>${ground}</td></tr>\n`)}</tbody>
</table>`;

/** What the scan searches for, in words. */
const searched: Readonly<Record<ResidueKind, string>> = {
  data_key: 'the key that decrypts the record',
  keys_log: 'the write-ahead log of the keys, which may contain the key',
  keys_copy: 'the key, in a file that a restore replaced',
  record: 'the record before its anonymization',
  blind_index: 'a keyed digest of an identifier of the customer',
  records_log: 'the write-ahead log of the records, which may contain the encrypted record',
  records_copy: 'the encrypted record, in a file that a restore replaced',
};

function residualScan({ residualScan: { scannedAt, findings, unseen = [] } }: Receipt): Html {
  const row = ({ kind, place, found }: Finding) => {
    const result = found === 0 ? html`nothing` : html`<strong>FOUND: ${found}</strong>`;
    return html`<tr><td>${searched[kind] ?? kind}</td><td>${place}</td><td>${result}</td></tr>\n`;
  };
  return html`<h2>Residual scan</h2>
<p>The scan of ${time(scannedAt)} searched these places for data of the customer.</p>
<table>
<thead><tr><th scope="col">Searched for</th><th scope="col">Place</th><th scope="col">Found</th></tr></thead>
<tbody>
${findings.map(row)}</tbody>
</table>
<p>The scan cannot see:</p>
<ul>${unseen.map((place) => html`<li>${place}</li>`)}</ul>`;
}

function verification(signed: SignedReceipt, now: Date): Html {
  const { algorithm, publicKey, value } = signed.signature;
  return html`<h2>Signature</h2>
<dl>
${fact('Algorithm', html`${algorithm}`)}
${fact('Public key', html`<code>${publicKey}</code>`)}
${fact('Signature', html`<code>${value}</code>`)}
</dl>
<p>This page was made on ${time(now.toISOString())}, after the signature of the receipt was verified with this public key. The
signature covers the receipt below, not this page.</p>
<h2>How to verify the receipt again</h2>
<ol>
<li>Save the text below as <code>receipt.json</code>.</li>
<li>Check that the public key is the one that the deployment publishes at <code>/.well-known/c2a-receipts</code>, or that you
have archived.</li>
<li>Run <code>c2a verify-receipt receipt.json --public-key ${publicKey}</code></li>
<li>In the deployment, <code>c2a audit verify receipt.json</code> also checks that the erasure log still contains the entry.</li>
</ol>
<h2>Receipt</h2>
<pre>${JSON.stringify(signed)}</pre>`;
}

/** @param iso ISO 8601, UTC */
const time = (iso: string): Html =>
  html`<time datetime="${iso}">${iso.replace('T', ' ').replace(/(?:\.\d+)?Z$/, ' UTC')}</time>`;
