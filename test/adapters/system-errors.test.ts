/** Errors of the operating system in words. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { systemProblem } from '../../src/adapters/system-errors.ts';
import { DatabaseFailure } from '../../src/application/ports/database-failure.ts';

/** A system error as Node makes it. */
const systemError = (code: string, members: object = {}) =>
  Object.assign(new Error(`${code}: raw, open '/raw'`), { code, errno: -9999, syscall: 'open', ...members });

t.test('each error names what is wrong, the path or address, and what to do', async (t) => {
  const cases: [error: Error, problem: string][] = [
    [systemError('EEXIST', { path: '/a' }), '/a already exists; choose another name'],
    [systemError('ENOENT', { path: '/a' }), '/a does not exist'],
    [systemError('ENOENT', { path: '/no/where' }), 'the folder /no does not exist; create it'],
    [systemError('ENOENT', { path: '/a', syscall: 'mkdir' }), '/a cannot be created; choose another path'],
    [systemError('ENOENT', { path: '' }), 'the empty path does not exist'],
    [systemError('ENOTDIR', { path: '/a/b' }), 'a part of /a/b is a file, not a folder; choose another path'],
    [systemError('EISDIR', { path: '/a' }), '/a is a folder; name a file'],
    [
      systemError('EACCES', { path: '/a' }),
      'this user may not access /a; change the permissions, or run this as another user',
    ],
    [systemError('EROFS', { path: '/a' }), '/a is on a read-only file system; choose another path'],
    [systemError('ENOSPC'), 'the disk is full; free some space'],
    [systemError('SQLITE_FULL', { errno: undefined }), 'the disk is full; free some space'],
    [
      systemError('EACCES', { syscall: 'listen', address: '::1', port: 80 }),
      'this user may not listen on ::1:80; choose a port above 1023',
    ],
    [systemError('ENOTFOUND', { hostname: 'db1' }), 'the host db1 cannot be resolved; correct its name'],
    [
      systemError('ECONNREFUSED', { address: '::1', port: 1 }),
      '::1:1 refuses connections; start the server, or correct the address',
    ],
    [systemError('ELOOP', { errno: -40, path: '/a' }), '/a: too many symbolic links encountered'],
    [systemError('ECONNRESET', { errno: -104 }), 'connection reset by peer'],
  ];
  for (const [error, problem] of cases) t.equal(systemProblem(error), problem, problem);
});

t.test('the errors of the runtime are described', async (t) => {
  const folder = t.testdir({ file: '' });
  const file = join(folder, 'file');
  symlinkSync('loop', join(folder, 'loop'));
  const problemOf = (work: () => void, path?: string) => {
    try {
      work();
    } catch (error) {
      return systemProblem(error, path);
    }
    return undefined;
  };
  t.match(
    problemOf(() => mkdirSync(file)),
    `${file} already exists`,
  );
  t.match(
    problemOf(() => writeFileSync(join(file, 'x'), '')),
    'is a file, not a folder',
  );
  t.match(
    problemOf(() => readFileSync(join(folder, 'loop'))),
    'too many symbolic links',
  );
  // The error of a read has no path.
  t.equal(
    problemOf(() => readFileSync(folder), folder),
    `${folder} is a folder; name a file`,
  );
  const listener = createServer();
  const port = await new Promise<number>((resolve) => {
    listener.listen(0, '127.0.0.1', () => resolve((listener.address() as { port: number }).port));
  });
  t.teardown(() => listener.close());
  const error = await new Promise((resolve) => createServer().once('error', resolve).listen(port, '127.0.0.1'));
  t.equal(systemProblem(error), `another process listens on 127.0.0.1:${port}; stop it, or choose another port`);
});

t.test('a cause is described, and of several addresses the first', async (t) => {
  const refused = systemError('ECONNREFUSED', { address: '127.0.0.1', port: 1 });
  const several = Object.assign(new AggregateError([refused, systemError('EACCES')]), { code: 'ECONNREFUSED' });
  for (const error of [new DatabaseFailure(refused), new DatabaseFailure(several)]) {
    t.match(systemProblem(error), '127.0.0.1:1 refuses connections');
  }
});

t.test('any other error is no problem of the system', async (t) => {
  const others = [new Error('x'), new DatabaseFailure(systemError('SQLITE_CORRUPT', { errno: undefined })), 'text'];
  for (const other of others) t.equal(systemProblem(other), undefined);
});
