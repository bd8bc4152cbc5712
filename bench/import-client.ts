/** Imports new customers and prints rows a second as JSON: `node import-client.ts <url> <tenant> <key> <first> <rows>`. */
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { customerBody } from './customer.ts';

const [url, tenant, key, first, rows] = process.argv.slice(2) as [string, string, string, string, string];

/** Made before the clock starts: 256 rows a chunk. */
const chunks: string[] = [];
for (let row = 0; row < Number(rows); row += 256) {
  const count = Math.min(256, Number(rows) - row);
  const lines = Array.from({ length: count }, (_, index) => JSON.stringify(customerBody(Number(first) + row + index)));
  chunks.push(`${lines.join('\n')}\n`);
}

const started = performance.now();
const sent = request(`${url}/api/c2a/customer/import`, {
  method: 'POST',
  headers: { 'x-tn': tenant, 'x-api-key': key, 'content-type': 'application/x-ndjson' },
});
Readable.from(chunks).pipe(sent);
const answers = await new Promise<Readable>((resolve, reject) => sent.once('response', resolve).once('error', reject));
let last = '';
for await (const chunk of answers.setEncoding('utf8')) last = (last + chunk).slice(-2000);
const seconds = (performance.now() - started) / 1000;
const end = JSON.parse(last.trim().split('\n').at(-1) as string) as { summary: { created: number } };
if (end.summary.created !== Number(rows)) throw new Error(`not all rows were created: ${JSON.stringify(end)}`);
console.log(JSON.stringify({ rowsPerSecond: Number(rows) / seconds }));
