/** Runs before all tests: starts the PostgreSQL server that they share. */
import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { shared } from './shared.ts';

rmSync(shared, { force: true });
// The host process watches the test runner, so it ends even if `after.ts` does not run.
const words = [resolve(import.meta.dirname, 'postgres-host.ts'), shared, String(process.ppid)];
const host = spawn(process.execPath, words, { detached: true, stdio: ['ignore', 'ignore', 'inherit'] });
host.unref();
let ended: number | null | undefined;
host.on('exit', (code) => {
  ended = code;
});
while (!existsSync(shared)) {
  if (ended !== undefined) throw new Error(`PostgreSQL did not start: exit code ${ended}`);
  await delay(20);
}
