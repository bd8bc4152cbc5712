/** Disk faults beneath `serve`: reported plainly, recovered without a restart, and no acknowledged write is lost. */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import t, { type Test } from 'tap';
import type { RowAnswer } from '../../src/application/import/answers.ts';
import type { Credentials } from '../../src/process/demo.ts';
import { client, overHttp, storing } from '../support/client.ts';
import { c2a, serving } from '../support/process.ts';
import { within } from '../support/sockets.ts';
import { withRawSqlite } from '../support/storage.ts';

/** Longer than a write waits for another process's lock. */
const patienceMs = 9_000;

/** Requests to a server over real sockets. */
function callerOf(url: string, credentials: Credentials) {
  const calls = client((request) => within('an answer', overHttp(url)(request), patienceMs), {
    ...credentials,
  });
  const { post, info, get } = calls;
  return {
    import: calls.import,
    store: async (externalIdentifier: string) => (await post('store', storing({ externalIdentifier }))).outcome,
    info: async (exId: string) => (await info({ exId })).outcome,
    status: async (path: string) => (await get(path)).status,
  };
}

async function startServer(test: Test, dataDir: string, credentials?: Credentials) {
  const server = await serving(['--json', '--data-dir', dataDir, '--max-event-loop-delay-ms', '0']);
  test.teardown(() => server.child.kill('SIGKILL'));
  const known = credentials ?? (JSON.parse(server.greeting).credentials as Credentials);
  return { ...server, credentials: known, ...callerOf(server.url, known) };
}
type Server = Awaited<ReturnType<typeof startServer>>;

/** Runs a command of the operating system. */
const command = (file: string, ...words: string[]) => execFileSync(file, words, { stdio: 'ignore' });

/** Whether a command exists, is permitted and succeeded. */
function may(file: string, ...words: string[]): boolean {
  try {
    command(file, ...words);
    return true;
  } catch {
    return false;
  }
}

/** A folder on its own disk of one megabyte; undefined where this user may not mount. */
function smallDisk(test: Test): string | undefined {
  // Not a `testdir`: a killed run leaves it mounted, and must not block the next run.
  const folder = mkdtempSync(join(tmpdir(), 'c2a-disk-'));
  if (!may('mount', '-t', 'tmpfs', '-o', 'size=1m', 'c2a-test', folder)) return undefined;
  test.teardown(() => {
    may('umount', '-l', folder);
    rmdirSync(folder);
  });
  return folder;
}

/** Overwrites the pages of the customers table, and makes every process read them again. */
function damage(path: string): () => void {
  const pages = withRawSqlite(path, (database) => {
    database.pragma('wal_checkpoint(TRUNCATE)');
    const roots = database.prepare(`SELECT rootpage FROM sqlite_master WHERE tbl_name = 'customers' AND rootpage > 0`);
    return { roots: roots.pluck().all() as number[], size: database.pragma('page_size', { simple: true }) as number };
  });
  const write = (bytes: Uint8Array) => {
    writeFileSync(path, bytes, { flag: 'r+' });
    const noticed = 'UPDATE data_version SET oldest = oldest + 1; UPDATE data_version SET oldest = oldest - 1';
    withRawSqlite(path, (database) => database.exec(`BEGIN; ${noticed}; COMMIT`));
  };
  const sound = readFileSync(path);
  const broken = Buffer.from(sound);
  for (const page of pages.roots) broken.fill(0xa5, (page - 1) * pages.size, page * pages.size);
  write(broken);
  return () => write(sound);
}

interface Fault {
  /** The data folder; undefined where this machine cannot have the fault. */
  readonly folder: (test: Test) => string | undefined;
  /** Causes the fault. Returns the repair. */
  readonly begin: (server: Server, path: string) => () => void;
  /** The cause in the log. */
  readonly cause: RegExp;
  readonly reads: string;
  readonly ready: number;
}

// Each test mostly waits for its own server process.
t.jobs = 4;

const ownFolder = (test: Test) => test.testdir({});

const faults: Record<string, Fault> = {
  'a file that may not grow': {
    folder: (test) => (may('prlimit', '--version') ? ownFolder(test) : undefined),
    begin({ child }) {
      const limit = (fsize: string) => command('prlimit', '--pid', String(child.pid), `--fsize=${fsize}:`);
      limit('0');
      return () => limit('unlimited');
    },
    cause: /SQLITE_(IOERR_WRITE|FULL)/,
    reads: '200 SUCCESS',
    ready: 503,
  },
  'a full disk': {
    folder: smallDisk,
    begin(_, path) {
      const ballast = `${path}.ballast`;
      may('dd', 'if=/dev/zero', `of=${ballast}`, 'bs=4096');
      return () => rmSync(ballast);
    },
    cause: /SQLITE_FULL|database or disk is full/,
    reads: '200 SUCCESS',
    ready: 503,
  },
  'a file that another process holds for longer than a write waits': {
    folder: ownFolder,
    begin(_, path) {
      const other = new Database(path);
      other.exec('BEGIN IMMEDIATE');
      return () => {
        other.exec('COMMIT');
        other.close();
      };
    },
    cause: /SQLITE_BUSY/,
    reads: '200 SUCCESS',
    ready: 503,
  },
  'a damaged file': {
    folder: ownFolder,
    begin: (_, path) => damage(path),
    cause: /SQLITE_CORRUPT/,
    reads: '500 SQL_DATABASE_FAILURE',
    ready: 503,
  },
};

for (const [name, { folder, begin, cause, reads, ready }] of Object.entries(faults)) {
  t.test(`${name}: refused, logged, and recovered without a restart`, { buffered: true }, async (t) => {
    const dataDir = folder(t);
    if (dataDir === undefined) {
      t.pass('this machine cannot have the fault', { skip: true });
      return;
    }
    const server = await startServer(t, dataDir);
    const { store, info, status } = server;
    for (const one of ['a', 'b']) t.equal(await store(one), '200 SUCCESS');

    const mend = begin(server, join(dataDir, 'customers.db'));
    // In one transaction or in several: none is stored, and each is refused.
    const refused = Promise.all(['c', 'd', 'e'].map(store));
    t.same(await Promise.all(['a', 'b'].map(info)), [reads, reads], 'acknowledged customers');
    t.equal(await status('/healthz'), 200);
    t.same(await refused, Array(3).fill('500 SQL_DATABASE_FAILURE'));
    // Readiness is probed at most once per second.
    await delay(1_100);
    t.equal(await status('/readyz'), ready);

    mend();
    for (let turn = 0; turn < 30 && (await status('/readyz')) !== 200; turn += 1) await delay(500);
    t.equal(await status('/readyz'), 200);
    t.equal(await store('c'), '200 SUCCESS');
    const expected: Record<string, string> = {
      a: '200 SUCCESS',
      b: '200 SUCCESS',
      c: '200 SUCCESS',
      d: '404 CUSTOMER_NOT_FOUND',
    };
    for (const [one, outcome] of Object.entries(expected)) t.equal(await info(one), outcome, one);

    const { stderr } = await server.stop('SIGKILL');
    const failures = stderr.split('\n').filter((line) => line.includes('"level":"error"'));
    t.ok(
      failures.some((line) => cause.test(line)),
      `the log says ${cause}`,
    );
    t.notMatch(failures.join(), server.credentials['x-api-key']);

    const again = await startServer(t, dataDir, server.credentials);
    for (const [one, outcome] of Object.entries(expected)) t.equal(await again.info(one), outcome, `${one}, again`);
    t.equal((await again.stop()).code, 0);
  });
}

t.test('a disk that is full in the middle of an import: what was answered is stored, and the rest later', async (t) => {
  const dataDir = smallDisk(t);
  if (dataDir === undefined) {
    t.pass('this machine cannot have the fault', { skip: true });
    return;
  }
  const server = await startServer(t, dataDir);
  const rows = Array.from({ length: 3_000 }, (_, index) => storing({ externalIdentifier: `crm-${index}` }));
  const linesOf = (body: readonly RowAnswer[], outcome: string) =>
    body.filter((answer) => answer.outcome === outcome).map(({ line }) => line);
  const first = (await server.import(rows)).body;
  const created = linesOf(first, 'created');
  const refused = first.filter(({ outcome }: RowAnswer) => outcome === 'refused');
  t.ok(created.length > 0 && created.length < rows.length, `${created.length} rows`);
  t.equal(created.length + refused.length + 1, first.length);
  t.match(first.at(-1), {
    summary: { created: created.length, refused: refused.length },
    status: { messageCode: 'SQL_DATABASE_FAILURE' },
  });
  for (const { status } of refused) t.match(status, { messageCode: 'SQL_DATABASE_FAILURE' });

  command('mount', '-o', 'remount,size=64m', dataDir);
  const { stderr } = await server.stop('SIGKILL');
  t.match(stderr, /"msg":"request failed"/);
  const again = await startServer(t, dataDir, server.credentials);
  const second = (await again.import(rows)).body;
  t.match(second.at(-1), { summary: { refused: 0, updated: 0 }, status: { messageCode: 'SUCCESS' } });
  t.strictSame(linesOf(second, 'unchanged'), created);
  t.equal(linesOf(second, 'created').length, rows.length - created.length);
  t.equal((await again.stop()).code, 0);
});

t.test('a full disk does not prevent the shutdown', async (t) => {
  if (!may('prlimit', '--version')) {
    t.pass('needs prlimit', { skip: true });
    return;
  }
  const dataDir = t.testdir({});
  const server = await startServer(t, dataDir);
  t.equal(await server.store('a'), '200 SUCCESS');
  command('prlimit', '--pid', String(server.child.pid), '--fsize=0:');
  const since = Date.now();
  const { code, stderr } = await within('the exit', server.stop(), patienceMs);
  t.ok(Date.now() - since < 5_000, `${Date.now() - since} ms`);
  t.equal(code, 0, 'acknowledged writes are in the WAL, and nothing else is lost');
  t.match(stderr, /"job":"record_api_key_use"/);
  const again = await startServer(t, dataDir, server.credentials);
  t.equal(await again.info('a'), '200 SUCCESS');
  t.equal((await again.stop()).code, 0);
});

/** Adds a keys file, without which the records are not looked at. */
const withKeys = (folder: string): string => {
  withRawSqlite(join(folder, 'keys.db'), (database) => database.exec('CREATE TABLE x (y)'));
  return folder;
};

t.test('data that cannot be used is one plain line, and the exit code', async (t) => {
  interface Unusable {
    /** Makes the data folder from an empty one. */
    readonly prepare: (folder: string) => string;
    readonly code: number;
    readonly says: RegExp;
  }
  const cases: Record<string, Unusable> = {
    'a file instead of the folder': {
      prepare(folder) {
        writeFileSync(join(folder, 'file'), '');
        return join(folder, 'file');
      },
      code: 2,
      says: /C2A_DATA_DIR .* is not a folder/,
    },
    'a file that is not a database': {
      prepare(folder) {
        writeFileSync(join(folder, 'customers.db'), 'Lorem ipsum dolor sit amet. '.repeat(400));
        return withKeys(folder);
      },
      code: 1,
      says: /file is not a database/,
    },
    'a truncated database': {
      prepare(folder) {
        const path = join(folder, 'customers.db');
        withRawSqlite(path, (database) => database.exec('CREATE TABLE x (y); CREATE TABLE z (y)'));
        writeFileSync(path, readFileSync(path).subarray(0, 5_000));
        return withKeys(folder);
      },
      code: 1,
      says: /malformed|disk I\/O error/,
    },
    'a database of a newer version': {
      prepare(folder) {
        withRawSqlite(join(folder, 'customers.db'), (database) =>
          database.exec('CREATE TABLE data_version (version, oldest); INSERT INTO data_version VALUES (9999, 9999)'),
        );
        return withKeys(folder);
      },
      code: 1,
      says: /use a newer program/,
    },
    // Root may write to every folder.
    ...(process.getuid?.() !== 0 && {
      'a read-only folder': {
        prepare(folder: string) {
          chmodSync(folder, 0o500);
          return folder;
        },
        code: 2,
        says: /C2A_DATA_DIR .* cannot be written to/,
      },
    }),
  };
  for (const [name, { prepare, code, says }] of Object.entries(cases)) {
    const dataDir = prepare(t.testdir({}));
    const serve = c2a(['serve', '--port', '0', '--data-dir', dataDir]);
    const finished = await within('the exit', serve, 3 * patienceMs);
    t.match(finished, { code, stdout: '', stderr: says }, name);
    t.match(finished.stderr, /^c2a: .*\n$/, 'one line');
  }
});

t.test('a read-only disk prevents the start, with the reason', async (t) => {
  const dataDir = smallDisk(t);
  if (dataDir === undefined) {
    t.pass('this user may not mount', { skip: true });
    return;
  }
  const server = await startServer(t, dataDir);
  t.equal(await server.store('a'), '200 SUCCESS');
  await server.stop();
  command('mount', '-o', 'remount,ro', dataDir);
  const { code, stderr } = await c2a(['serve', '--port', '0', '--data-dir', dataDir]);
  t.equal(code, 2);
  t.match(stderr, /^c2a: C2A_DATA_DIR .* cannot be written to\n$/i);
});

t.test('a copy of the file replaces a damaged one', async (t) => {
  const dataDir = t.testdir({});
  const path = join(dataDir, 'customers.db');
  const server = await startServer(t, dataDir);
  t.equal(await server.store('a'), '200 SUCCESS');
  await server.stop();
  copyFileSync(path, `${path}.copy`);
  damage(path);
  const damaged = await startServer(t, dataDir, server.credentials);
  t.equal(await damaged.info('a'), '500 SQL_DATABASE_FAILURE');
  await damaged.stop();
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
  copyFileSync(`${path}.copy`, path);
  const restored = await startServer(t, dataDir, server.credentials);
  t.equal(await restored.info('a'), '200 SUCCESS');
  t.equal(await restored.store('b'), '200 SUCCESS');
  await restored.stop();
});

t.test('SIGKILL under load loses no acknowledged write, three times', async (t) => {
  const dataDir = t.testdir({});
  const acknowledged: string[] = [];
  let credentials: Credentials | undefined;
  for (const round of [1, 2, 3]) {
    const server = await startServer(t, dataDir, credentials);
    credentials = server.credentials;
    let alive = true;
    const lane = async (number: number) => {
      for (let count = 0; alive; count += 1) {
        const name = `${round}-${number}-${count}`;
        // Killed before the answer: stored or not, it was not acknowledged.
        const outcome = await server.store(name).catch(() => 'cut off');
        if (outcome === '200 SUCCESS') acknowledged.push(name);
        else if (alive) t.equal(outcome, 'cut off');
      }
    };
    const before = acknowledged.length;
    const lanes = Array.from({ length: 8 }, (_, number) => lane(number));
    while (acknowledged.length === before) await delay(10);
    await delay(300);
    server.child.kill('SIGKILL');
    await server.stop('SIGKILL');
    alive = false;
    await Promise.all(lanes);
  }
  const last = await startServer(t, dataDir, credentials);
  const outcomes = await Promise.all(acknowledged.map(last.info));
  t.same(new Set(outcomes), new Set(['200 SUCCESS']), `${acknowledged.length} customers`);
  t.equal((await last.stop()).code, 0);
  withRawSqlite(join(dataDir, 'customers.db'), (database) => {
    t.equal(database.pragma('integrity_check', { simple: true }), 'ok');
  });
});
