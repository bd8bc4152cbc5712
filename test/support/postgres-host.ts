/**
 * Runs the PostgreSQL server that all tests of a run share: `node postgres-host.ts <file> <pid>`. When the server is
 * ready, writes its URL and the id of this process to <file>. Ends on SIGTERM, or once the process <pid> has ended.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { startPostgres } from './postgres-server.ts';

const [, , file, pid] = process.argv as [string, string, string, string];

const server = await startPostgres({ fsync: 'off', full_page_writes: 'off', max_connections: '400' });
writeFileSync(`${file}.next`, JSON.stringify({ url: server.url, pid: process.pid }));
renameSync(`${file}.next`, file);

let ending = false;
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  await server.stop();
  process.exit();
}
process.on('SIGTERM', end);
setInterval(() => {
  try {
    process.kill(Number(pid), 0);
  } catch {
    end();
  }
}, 1_000);
