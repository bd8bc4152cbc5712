/** Processes that use a data folder; see `sqlite-child.ts` for their tasks. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { start } from './process.ts';

const script = fileURLToPath(new URL('./sqlite-child.ts', import.meta.url));

/** Starts a process, which waits for its first line of input. If it still runs when the test ends, it is killed. */
export async function startSqliteProcess(
  t: Test,
  task: 'open' | 'add' | 'addForever' | 'eraseForever' | 'changeUntilGone' | 'rotate' | 'lock',
  path: string,
  argument: string | number = '',
) {
  const child = start(process.execPath, [script, task, path, String(argument)]);
  t.teardown(() => child.kill('SIGKILL'));
  const closed = once(child, 'close');
  const lines: string[] = [];
  let stderr = '';
  let wake = () => {};
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    wake();
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });

  /** Resolves when the process has printed `count` lines. */
  async function said(count: number): Promise<void> {
    while (lines.length < count) {
      const more = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const ended = closed.then(() => {
        if (lines.length < count) throw new Error(`${task} ended early: ${stderr}`);
      });
      await Promise.race([more, ended]);
    }
  }

  await said(1);
  lines.shift();
  return {
    /** The lines that the process has printed since it was ready. */
    lines,
    said,
    /** Sends a line: the first one starts the task. */
    tell: (line = '') => child.stdin.write(`${line}\n`),
    /** Kills the process (SIGKILL), so that it cannot finish its work. */
    async kill(): Promise<void> {
      child.kill('SIGKILL');
      await closed;
    },
    /** Closes the input and waits until the process has done its task. @returns the printed lines */
    async done(): Promise<readonly string[]> {
      child.stdin.end();
      const [code] = await closed;
      if (code !== 0) throw new Error(`${task} ended with ${code}: ${stderr}`);
      return lines;
    },
  };
}
