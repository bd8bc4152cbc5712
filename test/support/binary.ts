/** The binary, built once for all tests and cached until its sources change. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { commitOf } from '../../src/process/about.ts';
import { type Program, run } from './process.ts';

export const root = resolve(import.meta.dirname, '../..');
const cache = join(root, 'node_modules/.cache/c2a-binary');

/** A lock older than this was left by a killed build. */
const buildTimeMs = 5 * 60_000;
/** How long a build is kept: longer than a run of all tests takes, because a run in progress may use an older build. */
const keptMs = 60 * 60_000;

/** Digest of the sources of the binary. */
function fingerprint(): string {
  const hash = createHash('sha256').update(`${commitOf(root)} ${process.version}`);
  const sources = ['src', 'scripts/release', 'packaging/licenses', 'package.json', 'package-lock.json', 'LICENSE'];
  for (const path of sources.map((one) => join(root, one))) {
    const files = statSync(path).isFile()
      ? [path]
      : readdirSync(path, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map(({ parentPath, name }) => join(parentPath, name))
          .sort();
    for (const file of files) hash.update(file).update(readFileSync(file));
  }
  return hash.digest('hex').slice(0, 16);
}

/** Builds the binary of a checkout into a folder. */
export async function build(source: string, folder: string, ...words: string[]): Promise<void> {
  const { code, stderr } = await run('npm', ['run', '-s', 'build:binary', '--', folder, ...words], {}, source);
  if (code !== 0) throw new Error(`the binary was not built: ${stderr}`);
}

/** Removes builds of earlier sources that no test run uses any more. */
function removeOld(): void {
  for (const path of readdirSync(cache).map((name) => join(cache, name))) {
    const since = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - since > keptMs) rmSync(path, { recursive: true, force: true });
  }
}

/** The folder with the output of `npm run build:binary`. Of concurrent callers one builds, and the others wait. */
export async function release(): Promise<string> {
  const folder = join(cache, fingerprint());
  const lock = `${folder}.lock`;
  mkdirSync(cache, { recursive: true });
  while (!existsSync(folder)) {
    try {
      mkdirSync(lock);
    } catch {
      // Another process builds, or was killed and left its lock.
      const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
      if (Date.now() - since > buildTimeMs) rmSync(lock, { recursive: true, force: true });
      await delay(200);
      continue;
    }
    try {
      removeOld();
      await build(root, `${lock}/new`);
      renameSync(`${lock}/new`, folder);
    } finally {
      rmSync(lock, { recursive: true });
    }
  }
  return folder;
}

/** The unprivileged user that runs the binary if the tests run as root. */
const nobody = 65_534;
export const isRoot = process.geteuid?.() === 0;

/**
 * The binary alone in an empty folder, run by an unprivileged user with only these environment variables. That user may write
 * to `home`. Both folders are removed after the test.
 */
export async function installed(t: Test, environment: Readonly<Record<string, string>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'c2a-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const file = join(folder, 'c2a');
  copyFileSync(join(await release(), 'c2a'), file);
  const home = join(folder, 'home');
  mkdirSync(home, { mode: 0o700 });
  if (isRoot) chownSync(home, nobody, nobody);
  const become = isRoot ? ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'] : [];
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const program = [...become, 'env', '-i', ...variables, file] as unknown as Program;
  /** Gives the unprivileged user a folder that a test created, and the files in it. */
  const handOver = (path: string) => {
    if (isRoot) for (const name of ['', ...readdirSync(path)]) chownSync(join(path, name), nobody, nobody);
  };
  return { folder, file, home, program, handOver };
}
