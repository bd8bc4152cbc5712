/** What goes wrong beneath a running server: told plainly, nothing acknowledged lost, and over when the cause is. */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import t, { type Test } from 'tap';
import type { Credentials } from '../../src/process/demo.ts';
import { c2a, serving } from '../support/process.ts';
import { storing } from '../support/service.ts';
import { within } from '../support/sockets.ts';
import { withRawSqlite } from '../support/storage.ts';

/** Longer than a write waits for another process. */
const patienceMs = 9_000;

/** A caller of a server over real sockets. */
function callerOf(url: string, credentials: Credentials) {
  async function ask(path: string, body?: object): Promise<string> {
    const headers = { ...credentials, 'content-type': 'application/json' };
    const request = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
    const response = await within('an answer', fetch(url + path, request), patienceMs);
    const text = await response.text();
    const code = text.startsWith('{') ? JSON.parse(text).status.messageCode : '';
    return [response.status, code].join(' ').trim();
  }
  return {
    store: (externalIdentifier: string) => ask('/api/c2a/customer/store', storing({ externalIdentifier })),
    info: (externalId: string) => ask(`/api/c2a/customer/info?exId=${externalId}`),
    status: async (path: string) => (await within(path, fetch(url + path), patienceMs)).status,
  };
}

async function startServer(test: Test, dataDir: string, credentials?: Credentials) {
  const server = await serving(['--json', '--data-dir', dataDir, '--max-event-loop-delay-ms', '0']);
  test.teardown(() => server.child.kill('SIGKILL'));
  const known = credentials ?? (JSON.parse(server.greeting).credentials as Credentials);
  return { ...server, credentials: known, ...callerOf(server.url, known) };
}
type Server = Awaited<ReturnType<typeof startServer>>;

/** Runs a command of the machine. */
const command = (file: string, ...words: string[]) => execFileSync(file, words, { stdio: 'ignore' });

/** Whether a command is there, may be used, and did what it should. */
function may(file: string, ...words: string[]): boolean {
  try {
    command(file, ...words);
    return true;
  } catch {
    return false;
  }
}

/** A folder on a disk of its own, of one megabyte; undefined where this user may not mount. */
function smallDisk(test: Test): string | undefined {
  // Not a `testdir`: one that is left mounted, where a run was killed, must not be in the way of the next.
  const folder = mkdtempSync(join(tmpdir(), 'c2a-disk-'));
  if (!may('mount', '-t', 'tmpfs', '-o', 'size=1m', 'c2a-test', folder)) return undefined;
  test.teardown(() => {
    may('umount', '-l', folder);
    rmdirSync(folder);
  });
  return folder;
}

/** Overwrites the pages of customers in the file, and makes every process look at the file again. */
function damage(path: string): () => void {
  const pages = withRawSqlite(path, (database) => {
    database.pragma('wal_checkpoint(TRUNCATE)');
    const roots = database.prepare(`SELECT rootpage FROM sqlite_master WHERE tbl_name = 'customers' AND rootpage > 0`);
    return { roots: roots.pluck().all() as number[], size: database.pragma('page_size', { simple: true }) as number };
  });
  const write = (bytes: Uint8Array) => {
    writeFileSync(path, bytes, { flag: 'r+' });
    const noticed = 'UPDATE erasures_applied SET count = count + 1; UPDATE erasures_applied SET count = count - 1';
    withRawSqlite(path, (database) => database.exec(`BEGIN; ${noticed}; COMMIT`));
  };
  const sound = readFileSync(path);
  const broken = Buffer.from(sound);
  for (const page of pages.roots) broken.fill(0xa5, (page - 1) * pages.size, page * pages.size);
  write(broken);
  return () => write(sound);
}

interface Fault {
  /** Where the data is; undefined where this machine cannot have the fault. */
  readonly folder: (test: Test) => string | undefined;
  /** Brings it about, and gives the way back. */
  readonly begin: (server: Server, path: string) => () => void;
  /** What the log says. */
  readonly cause: RegExp;
  readonly reads: string;
  readonly ready: number;
}

// Each has a process of its own, and mostly waits.
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
  t.test(`${name}: refused, logged, and mended without a restart`, { buffered: true }, async (t) => {
    const dataDir = folder(t);
    if (dataDir === undefined) {
      t.pass('this machine cannot have it', { skip: true });
      return;
    }
    const server = await startServer(t, dataDir);
    const { store, info, status } = server;
    for (const one of ['a', 'b']) t.equal(await store(one), '200 SUCCESS');

    const mend = begin(server, join(dataDir, 'customers.db'));
    // All in one batch, or in several: none is stored, each is told.
    const refused = Promise.all(['c', 'd', 'e'].map(store));
    t.same(await Promise.all(['a', 'b'].map(info)), [reads, reads], 'what was acknowledged');
    t.equal(await status('/healthz'), 200);
    t.same(await refused, Array(3).fill('500 SQL_DATABASE_FAILURE'));
    // It asks once a second at most.
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

t.test('a disk that is full when it is told to stop does not keep it from stopping', async (t) => {
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
  t.equal(code, 0, 'what was acknowledged is in the log of the database, and nothing else matters');
  t.match(stderr, /the use of keys was not recorded/);
  const again = await startServer(t, dataDir, server.credentials);
  t.equal(await again.info('a'), '200 SUCCESS');
  t.equal((await again.stop()).code, 0);
});

/** Without them nothing else would be looked at. */
const withKeys = (folder: string): string => {
  withRawSqlite(join(folder, 'keys.db'), (database) => database.exec('CREATE TABLE x (y)'));
  return folder;
};

t.test('what it cannot start with is one plain line and the code 1', async (t) => {
  const cases: [name: string, prepare: (folder: string) => string, says: RegExp][] = [
    [
      'a file in place of the folder',
      (folder) => {
        writeFileSync(join(folder, 'file'), '');
        return join(folder, 'file');
      },
      /C2A_DATA_DIR .* is no folder/,
    ],
    [
      'a file that is no database',
      (folder) => {
        writeFileSync(join(folder, 'customers.db'), 'Lorem ipsum dolor sit amet. '.repeat(400));
        return withKeys(folder);
      },
      /file is not a database/,
    ],
    [
      'a database that is cut short',
      (folder) => {
        const path = join(folder, 'customers.db');
        withRawSqlite(path, (database) => database.exec('CREATE TABLE x (y); CREATE TABLE z (y)'));
        writeFileSync(path, readFileSync(path).subarray(0, 5_000));
        return withKeys(folder);
      },
      /malformed|disk I\/O error/,
    ],
    [
      'a database of a newer version',
      (folder) => {
        withRawSqlite(join(folder, 'customers.db'), (database) =>
          database.exec('CREATE TABLE data_version (version, oldest); INSERT INTO data_version VALUES (9999, 9999)'),
        );
        return withKeys(folder);
      },
      /use a newer one/,
    ],
  ];
  if (process.getuid?.() !== 0) {
    cases.push([
      'a folder that may only be read',
      (folder) => {
        chmodSync(folder, 0o500);
        return folder;
      },
      /C2A_DATA_DIR .* cannot be written to/,
    ]);
  }
  for (const [name, prepare, says] of cases) {
    const dataDir = prepare(t.testdir({}));
    const { code, stdout, stderr } = await within(
      'the exit',
      c2a(['serve', '--port', '0', '--data-dir', dataDir]),
      patienceMs,
    );
    t.same({ code, stdout }, { code: name.endsWith('the folder') ? 2 : 1, stdout: '' }, name);
    t.match(stderr, says, name);
    t.match(stderr, /^c2a: .*\n$/, 'one line');
  }
});

t.test('a read-only disk: it does not start, and says why', async (t) => {
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

t.test('a copy of the file from before is a way back', async (t) => {
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

t.test('kill -9 in the middle of load loses nothing that was acknowledged, three times over', async (t) => {
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
        // Cut off in the middle: stored or not, nobody was told.
        const outcome = await server.store(name).catch(() => 'cut off');
        if (outcome === '200 SUCCESS') acknowledged.push(name);
        else if (alive) t.equal(outcome, 'cut off');
      }
    };
    const lanes = Array.from({ length: 8 }, (_, number) => lane(number));
    await delay(300);
    const before = acknowledged.length;
    t.ok(before > 0, `${before} so far`);
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
