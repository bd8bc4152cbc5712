/** PgBouncer in transaction mode in front of the PostgreSQL server of the tests. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { freePort } from './postgres-server.ts';

/** The path of the program; undefined if it is not installed (`apt-get install pgbouncer`). */
export function findPgBouncer(): string | undefined {
  for (const path of ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer']) {
    try {
      execFileSync(path, ['--version'], { stdio: 'ignore' });
      return path;
    } catch {
      // Not installed here: try the next path.
    }
  }
  return undefined;
}

/** Starts a pooler with few connections; it ends with the test. Returns the URL of the database through the pooler. */
export async function startPgBouncer(t: Test, program: string, url: string): Promise<string> {
  const { hostname, port: serverPort, username, password, pathname } = new URL(url);
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'c2a-pgbouncer-'));
  chmodSync(folder, 0o755);
  const users = join(folder, 'users.txt');
  writeFileSync(users, `"${username}" "${password}"\n`);
  writeFileSync(
    join(folder, 'pgbouncer.ini'),
    `[databases]
* = host=${hostname} port=${serverPort} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
`,
  );
  // PgBouncer refuses to run as root.
  const user = process.getuid?.() === 0 ? ['-u', 'postgres'] : [];
  const child = spawn(program, [...user, join(folder, 'pgbouncer.ini')], { stdio: 'ignore' });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
    rmSync(folder, { recursive: true });
  });
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const socket = connect(port, '127.0.0.1');
    const answered = await Promise.race([once(socket, 'connect'), once(socket, 'error')]).then(
      ([error]) => error === undefined,
      () => false,
    );
    socket.destroy();
    if (answered) return `postgres://${username}:${password}@127.0.0.1:${port}${pathname}`;
    await delay(50);
  }
  throw new Error('PgBouncer did not start');
}
