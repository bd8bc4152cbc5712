/** The program as a user starts it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const entry = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Environment = Readonly<Record<string, string>>;

/**
 * Starts a program without `C2A_` variables and without the test runner's hooks. The test runner adds its hooks to
 * NODE_OPTIONS at every spawn, so `env` must remove that variable after the spawn.
 */
export function start(file: string, words: readonly string[], extra: Environment = {}, cwd?: string) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('C2A_'));
  const env = { ...Object.fromEntries(inherited), ...extra };
  const child = spawn('env', ['-u', 'NODE_OPTIONS', file, ...words], { env, cwd });
  child.stdout.setEncoding('utf8');
  child.stderr.setEncoding('utf8');
  return child;
}

/** Runs a program to its end. */
export async function run(
  file: string,
  words: readonly string[],
  extra: Environment = {},
  cwd?: string,
): Promise<Finished> {
  const child = start(file, words, extra, cwd);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Runs a program to its end, and returns its standard output. Throws if it fails. */
export async function succeed(file: string, words: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await run(file, words, {}, cwd);
  if (code !== 0) throw new Error(`${file} ${words.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** How the program is started: a file, and the arguments that precede those of the command. */
export type Program = readonly [file: string, ...words: string[]];
const source: Program = [process.execPath, entry];

/** Runs a `c2a` command to its end. */
export const c2a = (
  words: readonly string[],
  environment: Environment = {},
  [file, ...first]: Program = source,
): Promise<Finished> => run(file, [...first, ...words], environment);

/** Runs a `c2a` command with `--json`; `value` is the JSON value that it printed. */
export async function c2aJson(...words: readonly string[]) {
  const { code, stdout, stderr } = await c2a([...words, '--json']);
  return { code, stderr, value: JSON.parse(stdout) };
}

export interface Serving {
  readonly url: string;
  /** The standard output of the server up to the moment when it was ready. */
  readonly greeting: string;
  readonly child: ChildProcess;
  /** Sends a signal, waits for the exit, and returns the exit code and all output. */
  stop(signal?: NodeJS.Signals): Promise<Finished>;
}

/** Starts `serve` on a free port and waits until it listens. */
export async function serving(
  words: readonly string[],
  environment: Environment = {},
  [file, ...first]: Program = source,
): Promise<Serving> {
  const child = start(file, [...first, 'serve', '--port', '0', ...words], environment);
  let stdout = '';
  let stderr = '';
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (text) => {
      stdout += text;
      const said = /listens on (\S+),|"url":"([^"]+)"/.exec(stdout);
      if (said && stdout.endsWith('\n')) resolve((said[1] ?? said[2]) as string);
    });
    closed.then(([code]) => reject(new Error(`serve ended with ${code}: ${stderr}`)), reject);
  });
  return {
    url,
    greeting: stdout,
    child,
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      const [code] = await closed;
      return { code, stdout, stderr };
    },
  };
}
