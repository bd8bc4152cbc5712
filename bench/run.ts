/**
 * `npm run bench`: the service's throughput as a ratio to a bare Fastify. Starts both on one core (`bare.ts`), loads them
 * in turns from the other core with wrk (`load.lua`), and prints medians over the rounds. `npm run bench -- --help` lists
 * the options.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { startPostgres } from '../test/support/postgres-server.ts';

const loads = [
  'info-urn-hot',
  'info-urn-cold',
  'info-exid-hot',
  'info-exid-cold',
  'validate',
  'store',
  'update',
  'mixed',
  // Last, as the other loads need the customers.
  'delete',
] as const;
type Load = (typeof loads)[number];
const storages = ['sqlite', 'memory', 'postgres'] as const;
type Storage = (typeof storages)[number];

/** The lowest ratio to the bare stack that is accepted at 64 connections. */
const goals: Partial<Record<Storage, Partial<Record<Load, number>>>> = {
  sqlite: { 'info-urn-hot': 0.75, 'info-exid-hot': 0.75, validate: 0.75, store: 0.5, mixed: 0.65 },
  postgres: { 'info-urn-cold': 0.8, validate: 0.8, store: 0.8 },
};

const { values: options } = parseArgs({
  options: {
    loads: { type: 'string', default: loads.join(',') },
    storages: { type: 'string', default: 'sqlite' },
    connections: { type: 'string', default: '64' },
    customers: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    warmup: { type: 'string', default: '6' },
    out: { type: 'string', default: 'bench/results.json' },
    help: { type: 'boolean' },
  },
});
if (options.help) {
  console.log(`npm run bench -- [options]
  --loads        any of ${loads.join(',')} (default: all)
  --storages     any of ${storages.join(',')} (default: sqlite)
  --connections  for example 1,64,512 (default: 64)
  --customers    number of customers, kept in bench/data for the next run (default: 100000)
  --rounds       number of measurements that the median is taken of (default: 5)
  --seconds      of a measurement (default: 2)
  --warmup       seconds before the measurements of a load (default: 6)
  --out          file for the results as JSON (default: bench/results.json)`);
  process.exit();
}

/** The command on one core: servers on the first, the client on the second. */
const pinned = (core: number, command: readonly string[]): string[] => ['taskset', '-c', String(core), ...command];
const at = (path: string): string => resolve(import.meta.dirname, path);
const node = process.execPath;

/** Runs a command and returns its standard output. Throws unless it exits with 0. */
async function run(command: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  const [file, ...words] = command as [string, ...string[]];
  const child = spawn(file, words, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command.slice(0, 6).join(' ')} … ended with ${code}`);
  return text;
}

interface Server {
  readonly url: string;
  readonly pid: number;
  /** The first line on standard output. */
  readonly greeting: string;
  stop(): Promise<void>;
}

/** Starts a server whose first line on standard output contains its URL. */
async function start(command: readonly string[], environment: Record<string, string> = {}): Promise<Server> {
  const [file, ...words] = pinned(0, command) as [string, ...string[]];
  const child = spawn(file, words, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const [greeting] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), closed]);
  const url = /http:[^"\s,]+/.exec(String(greeting))?.[0];
  if (url === undefined) throw new Error(`${command.join(' ')} did not start`);
  return {
    url,
    pid: child.pid as number,
    greeting,
    async stop() {
      child.kill();
      await closed;
    },
  };
}

interface Credentials {
  readonly 'x-tn': string;
  readonly 'x-api-key': string;
}
interface Service extends Server {
  readonly credentials: Credentials;
  readonly customers: number;
  readonly databaseUrl?: string;
}

/** Starts the service over a storage with customers. A SQLite data folder is kept for the next run. */
async function startService(storage: Storage): Promise<Service> {
  const serve = [node, at('../src/main.ts'), 'serve', '--json', '--port', '0', '--log-level', 'warn', '--rate-limit'];
  if (storage === 'memory') {
    const server = await start([...serve, 'off', '--storage', 'memory']);
    const { credentials } = JSON.parse(server.greeting) as { credentials: Credentials };
    const service = { ...server, credentials, customers: memoryCustomers };
    for (let number = 1; number <= memoryCustomers; number += 1) {
      const customer = {
        externalIdentifier: `crm-${number}`,
        email: `jane.doe.${number}@example.com`,
        firstName: 'Jane',
      };
      await ask(service, 'POST /store', { customer, claimedRegion: { countryCode: 'DE', languageCode: 'de' } });
    }
    return service;
  }
  if (storage === 'postgres') {
    const database = await startPostgres();
    process.stderr.write(`storing ${options.customers} customers in PostgreSQL …\n`);
    const masterKeyFile = join(database.folder, 'master.key');
    const environment = { C2A_DATABASE_URL: database.url, C2A_MASTER_KEY_FILE: masterKeyFile };
    const credentials = JSON.parse(await run([node, at('seed.ts'), options.customers], environment));
    const server = await start([...serve, 'off'], environment);
    const stop = () => server.stop().finally(() => database.stop());
    return { ...server, stop, credentials, customers: Number(options.customers), databaseUrl: database.url };
  }
  const folder = at(`data/${storage}-${options.customers}`);
  const kept = join(folder, 'credentials.json');
  if (!existsSync(kept)) {
    process.stderr.write(`storing ${options.customers} customers in ${folder} …\n`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(kept, await run([node, at('seed.ts'), options.customers], { C2A_DATA_DIR: folder }));
  }
  const server = await start([...serve, 'off', '--data-dir', folder]);
  return { ...server, credentials: JSON.parse(readFileSync(kept, 'utf8')), customers: Number(options.customers) };
}
/** Fewer than in a database, as they are stored over HTTP at every start. */
const memoryCustomers = 10_000;

const base = '/api/c2a/customer';

/** The body of the answer to one request. Throws unless the status is 200. */
async function ask({ url, credentials }: Service, operation: string, body?: object): Promise<string> {
  const [method, path] = operation.split(' ') as [string, string];
  const response = await fetch(url + base + path, {
    method,
    headers: { ...credentials, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${operation}: ${response.status} ${text}`);
  return text;
}

/** Starts a bare Fastify with the service's answers. */
async function startBare(service: Service): Promise<Server> {
  const info = await ask(service, 'GET /info?urn=cu.00.1');
  const { result } = JSON.parse(info) as { result: object };
  const { options: _, ...record } = result as { options: unknown };
  const customer = JSON.stringify({ result: record, status: { messageCode: 'SUCCESS' } });
  const answers = {
    [`GET ${base}/info`]: info,
    [`POST ${base}/validate`]: await ask(service, 'POST /validate', { externalId: 'crm-0' }),
    [`POST ${base}/store`]: customer,
    [`POST ${base}/update`]: customer,
    [`POST ${base}/delete`]: '{"status":{"messageCode":"SUCCESS"}}',
  };
  const { databaseUrl, customers } = service;
  const words = [JSON.stringify(answers), ...(databaseUrl === undefined ? [] : [databaseUrl])];
  return start([node, at('bare.ts'), ...words], { CUSTOMERS: String(customers) });
}

/** The results that `load.lua` prints. Times in milliseconds. */
interface Measured {
  readonly requests: number;
  readonly seconds: number;
  readonly refused: number;
  readonly broken: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

let runs = 0;
/** Customers that earlier measurements deleted, by the service's URL. */
const deleted = new Map<string, number>();

async function measure(
  target: Server,
  service: Service,
  load: Load,
  connections: number,
  seconds = options.seconds,
): Promise<Measured> {
  runs += 1;
  const first = 1 + (deleted.get(service.url) ?? 0);
  const { 'x-tn': tenant, 'x-api-key': key } = service.credentials;
  const script = [load, tenant, key, first, service.customers, `${Date.now().toString(36)}${runs}`];
  const words = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', at('load.lua'), target.url, '--', ...script];
  const text = await run(pinned(1, ['wrk', ...words.map(String)]));
  const measured = JSON.parse(text.trim().split('\n').at(-1) as string) as Measured;
  if (target === service && load === 'delete') deleted.set(service.url, first + measured.requests);
  return measured;
}

/** Writes and transactions since the start of the service. */
async function commits({ url }: Server): Promise<{ writes: number; commits: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const read = (name: string) => Number(new RegExp(`^c2a_commit_writes_${name} (.*)$`, 'm').exec(text)?.[1] ?? 0);
  return { writes: read('sum'), commits: read('count') };
}

/** Resident memory of a process, in megabytes. */
const residentMb = ({ pid }: Server): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((one, other) => one - other);
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2;
};

/** One line of the table: medians of a load that was measured on both sides in turns. */
async function compare(bare: Server, service: Service, storage: Storage, load: Load, connections: number) {
  const rounds: { bare: Measured; service: Measured }[] = [];
  // V8 compiles the hot functions meanwhile.
  for (const side of [bare, service]) await measure(side, service, load, connections, options.warmup);
  const before = await commits(service);
  for (let round = 0; round < Number(options.rounds); round += 1) {
    rounds.push({
      bare: await measure(bare, service, load, connections),
      service: await measure(service, service, load, connections),
    });
  }
  const after = await commits(service);
  const of = (read: (measured: Measured) => number, side: 'bare' | 'service') =>
    median(rounds.map((round) => read(round[side])));
  const rate = ({ requests, seconds }: Measured) => requests / seconds;
  const writes = after.writes - before.writes;
  const transactions = after.commits - before.commits;
  const seconds = rounds.reduce((sum, round) => sum + round.service.seconds, 0);
  return {
    storage,
    load,
    connections,
    bareRate: of(rate, 'bare'),
    rate: of(rate, 'service'),
    ratio: median(rounds.map((round) => rate(round.service) / rate(round.bare))),
    p50: of(({ p50 }) => p50, 'service'),
    p99: of(({ p99 }) => p99, 'service'),
    p999: of(({ p999 }) => p999, 'service'),
    bareP99: of(({ p99 }) => p99, 'bare'),
    /** `refused`: answers other than 2xx; `broken`: connections that failed. */
    refused: rounds.reduce((sum, round) => sum + round.service.refused, 0),
    broken: rounds.reduce((sum, round) => sum + round.service.broken, 0),
    residentMb: residentMb(service),
    ...(transactions > 0 && { commitsPerSecond: transactions / seconds, meanBatch: writes / transactions }),
  };
}
type Row = Awaited<ReturnType<typeof compare>>;

function print(row: Row): void {
  const goal = row.connections === 64 ? goals[row.storage]?.[row.load] : undefined;
  const verdict = goal === undefined ? '' : row.ratio >= goal ? `≥ ${goal}` : `below ${goal}`;
  const fixed = (value: number | undefined, digits = 0) => value?.toFixed(digits) ?? '';
  const cells = [
    row.storage,
    row.load,
    row.connections,
    fixed(row.rate),
    fixed(row.bareRate),
    fixed(row.ratio, 2),
    verdict,
    fixed(row.p50, 2),
    fixed(row.p99, 2),
    fixed(row.p999, 2),
    fixed(row.bareP99, 2),
    fixed(row.residentMb),
    fixed(row.commitsPerSecond),
    fixed(row.meanBatch, 1),
    row.refused + row.broken > 0 ? `${row.refused} refused, ${row.broken} broken` : '',
  ];
  console.log(
    cells
      .map((cell, index) => String(cell).padEnd(widths[index] ?? 0))
      .join(' ')
      .trimEnd(),
  );
}
const heads = 'storage load conns req/s bare ratio goal p50 p99 p99.9 bare-p99 MB commits/s batch note'.split(' ');
const widths = [8, 15, 6, 8, 8, 6, 11, 8, 8, 8, 9, 5, 10, 6];

console.log(`${heads.map((head, index) => head.padEnd(widths[index] ?? 0)).join(' ')}   (times in milliseconds)`);
const rows: Row[] = [];
for (const storage of chosen(options.storages, storages)) {
  const service = await startService(storage);
  const bare = await startBare(service);
  try {
    for (const load of chosen(options.loads, loads)) {
      for (const connections of options.connections.split(',').map(Number)) {
        const row = await compare(bare, service, storage, load, connections);
        print(row);
        rows.push(row);
      }
    }
  } finally {
    await Promise.all([bare.stop(), service.stop()]);
  }
}
writeFileSync(options.out, `${JSON.stringify({ options, rows }, null, 2)}\n`);

function chosen<Value extends string>(text: string, all: readonly Value[]): Value[] {
  const words = text.split(',');
  const unknown = words.find((word) => !all.includes(word as Value));
  if (unknown !== undefined) throw new Error(`${unknown} must be one of ${all.join(', ')}`);
  return words as Value[];
}
