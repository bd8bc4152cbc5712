/** Starts the servers that are measured, all on the first core, each with the same number of customers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import Database from 'better-sqlite3';
import { startPostgres } from '../test/support/postgres-server.ts';
import type { Answers } from './fixed-answers.ts';
import type { Rival, Storage } from './options.ts';

/** The command on one core: servers on the first, the client on the second. */
export const pinned = (core: number, command: readonly string[]): string[] => [
  'taskset',
  '-c',
  String(core),
  ...command,
];
export const at = (path: string): string => resolve(import.meta.dirname, path);
const node = process.execPath;

/** Runs a command and returns its standard output. Throws unless it exits with 0. */
export async function run(command: readonly string[], environment: Record<string, string> = {}): Promise<string> {
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

export interface Server {
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
  if (url === undefined) throw new Error(`${command.slice(0, 2).join(' ')} did not start`);
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
export interface Service extends Server {
  readonly storage: Storage;
  readonly credentials: Credentials;
  readonly customers: number;
  /** The URL of the PostgreSQL database. */
  readonly databaseUrl?: string;
}

/** The data folder of a server; it is kept for the next run. */
export const folderOf = (server: 'sqlite' | 'limit' | 'plain', customers: number) => at(`data/${server}-${customers}`);

/** Starts the service over a storage with customers. A SQLite data folder is kept for the next run. */
export async function startService(storage: Storage, customers: number): Promise<Service> {
  const serve = [node, at('../src/main.ts'), 'serve', '--json', '--port', '0', '--log-level', 'warn', '--rate-limit'];
  serve.push('off');
  if (storage === 'memory') {
    const server = await start([...serve, '--storage', 'memory']);
    const { credentials } = JSON.parse(server.greeting) as { credentials: Credentials };
    const service = { ...server, storage, credentials, customers: memoryCustomers };
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
    process.stderr.write(`storing ${customers} customers in PostgreSQL …\n`);
    const masterKeyFile = join(database.folder, 'master.key');
    const environment = { C2A_DATABASE_URL: database.url, C2A_MASTER_KEY_FILE: masterKeyFile };
    const credentials = JSON.parse(await run([node, at('seed.ts'), String(customers)], environment));
    const server = await start(serve, environment);
    const stop = () => server.stop().finally(() => database.stop());
    return { ...server, storage, stop, credentials, customers, databaseUrl: database.url };
  }
  const folder = folderOf('sqlite', customers);
  const kept = join(folder, 'credentials.json');
  if (!existsSync(kept)) {
    process.stderr.write(`storing ${customers} customers in ${folder} …\n`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(kept, await run([node, at('seed.ts'), String(customers)], { C2A_DATA_DIR: folder }));
  }
  const server = await start([...serve, '--data-dir', folder]);
  return { ...server, storage, credentials: JSON.parse(readFileSync(kept, 'utf8')), customers };
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

async function answersOf(service: Service): Promise<Answers> {
  const info = await ask(service, 'GET /info?urn=cu.00.1');
  const { result } = JSON.parse(info) as { result: object };
  const { options: _, ...record } = result as { options: unknown };
  const customer = JSON.stringify({ result: record, status: { messageCode: 'SUCCESS' } });
  return {
    [`GET ${base}/info`]: info,
    [`POST ${base}/validate`]: await ask(service, 'POST /validate', { externalId: 'crm-0' }),
    [`POST ${base}/store`]: customer,
    [`POST ${base}/update`]: customer,
    [`POST ${base}/delete`]: '{"status":{"messageCode":"SUCCESS"}}',
  };
}

/** Starts a server to compare a service with; undefined if there is none for its storage. */
export async function startRival(rival: Rival, service: Service): Promise<Server | undefined> {
  const { storage, databaseUrl } = service;
  const answers = JSON.stringify(await answersOf(service));
  if (rival === 'bare') return start([node, at('bare.ts'), answers]);
  if (storage === 'memory') return undefined;
  if (rival === 'plain') {
    const { 'x-tn': tenant, 'x-api-key': apiKey } = service.credentials;
    return start([node, at('plain.ts'), databaseUrl ?? plainFile(service), tenant, apiKey, String(service.customers)]);
  }
  return databaseUrl === undefined
    ? start([node, at('limit.ts'), answers, copyOf(service)])
    : start([node, at('limit-postgres.ts'), answers, databaseUrl]);
}

function plainFile({ customers }: Service): string {
  const folder = folderOf('plain', customers);
  mkdirSync(folder, { recursive: true });
  return join(folder, 'plain.db');
}

/** The folder with a copy of the service's files, which is made once and kept: the limit has the very same pages. */
function copyOf({ customers }: Service): string {
  const folder = folderOf('limit', customers);
  if (existsSync(folder)) return folder;
  const incomplete = `${folder}.incomplete`;
  rmSync(incomplete, { recursive: true, force: true });
  mkdirSync(incomplete, { recursive: true });
  for (const name of ['customers.db', 'keys.db']) {
    const original = join(folderOf('sqlite', customers), name);
    // The service is idle, so that nothing is added to the log after the checkpoint.
    const database = new Database(original);
    database.pragma('wal_checkpoint(TRUNCATE)');
    copyFileSync(original, join(incomplete, name));
    database.close();
  }
  renameSync(incomplete, folder);
  return folder;
}
