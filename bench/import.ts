/**
 * `npm run bench:import`: rows a second of an import, beside single stores and raw inserts of the same rows in the same run,
 * and what an import leaves for `info`. Server and raw inserts run on the first core, clients on the second.
 * `npm run bench:import -- [rows] [rounds]`
 */
import { join } from 'node:path';
import { at, folderOf, pinned, run, startRival, startService } from './servers.ts';

const [rows = 50_000, rounds = 5] = process.argv.slice(2).map(Number);
const customers = 100_000;
const node = process.execPath;

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

const service = await startService('sqlite', customers);
// Makes the copy of the files on which the raw inserts work.
await (await startRival('limit', service))?.stop();
const { 'x-tn': tenant, 'x-api-key': key } = service.credentials;
const runId = Date.now() % 1_000_000_000;
let imported = 0;

async function importRows(count: number): Promise<number> {
  // Numbers that no earlier run has used: their phone numbers and e-mail addresses must be new.
  const first = (runId * 1000 + imported) % 900_000_000;
  imported += count;
  ahead += count;
  const words = [node, at('import-client.ts'), service.url, tenant, key, String(first), String(count)];
  return JSON.parse(await run(pinned(1, words))).rowsPerSecond;
}

interface Load {
  readonly requests: number;
  readonly seconds: number;
  readonly p99: number;
}
let loads = 0;
async function wrk(load: string, seconds: number): Promise<Load> {
  loads += 1;
  const script = [load, tenant, key, '1', String(customers), `import${runId}${loads}`];
  const words = ['wrk', '-t1', '-c64', `-d${seconds}s`, '-s', at('load.lua'), service.url, '--', ...script];
  const measured = JSON.parse((await run(pinned(1, words))).trim().split('\n').at(-1) as string) as Load;
  if (load === 'store') ahead += measured.requests;
  return measured;
}
const rateOf = ({ requests, seconds }: Load): number => requests / seconds;

/** The customers that the service has, beyond those that the copy has. */
let ahead = 0;

/** On a copy with as many customers as the service has: the larger an index, the more pages a transaction writes. */
async function rawInserts(): Promise<number> {
  const file = join(folderOf('limit', customers), 'customers.db');
  const words = [node, at('raw-inserts.ts'), file, String(rows), String(ahead)];
  ahead = -rows;
  return JSON.parse(await run(pinned(0, words))).rowsPerSecond;
}

try {
  await importRows(rows);
  await wrk('store', 4);
  const measured: { import: number; store: number; raw: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    measured.push({ import: await importRows(rows), store: rateOf(await wrk('store', 3)), raw: await rawInserts() });
  }
  const alone = await wrk('info-urn-cold', 5);
  const [beside] = await Promise.all([wrk('info-urn-cold', 5), importRows(4 * rows)]);
  const of = (name: 'import' | 'store' | 'raw') => median(measured.map((one) => one[name]));
  const ratioTo = (name: 'store' | 'raw') => median(measured.map((one) => one.import / one[name]));
  const goals: [goal: string, ratio: number, isMet: boolean][] = [
    ['import ≥ 1.5 × single stores', ratioTo('store'), ratioTo('store') >= 1.5],
    ['import ≥ 0.6 × raw inserts', ratioTo('raw'), ratioTo('raw') >= 0.6],
    ['info beside an import ≥ 0.5 × alone', rateOf(beside) / rateOf(alone), rateOf(beside) >= 0.5 * rateOf(alone)],
    ['p99 of info beside an import ≤ 3 × alone', beside.p99 / alone.p99, beside.p99 <= 3 * alone.p99],
  ];
  console.log(
    `rows a second: import ${of('import').toFixed(0)}, single stores ${of('store').toFixed(0)}, raw ${of('raw').toFixed(0)}`,
  );
  console.log(
    `info a second: alone ${rateOf(alone).toFixed(0)} (p99 ${alone.p99.toFixed(1)} ms), beside an import ${rateOf(beside).toFixed(0)} (p99 ${beside.p99.toFixed(1)} ms)`,
  );
  for (const [goal, ratio, isMet] of goals) console.log(`${isMet ? 'met' : 'MISSED'}: ${goal}: ${ratio.toFixed(2)}`);
} finally {
  await service.stop();
}
