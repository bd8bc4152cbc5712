/** The log never blocks the service or its end. */
import { openSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { logSink, type StandardStream } from '../../../src/adapters/telemetry/log-sink.ts';

const streamOf = (fd: number): StandardStream => ({ fd, isTTY: false }) as unknown as StandardStream;

t.test('lines are written in order, and end() waits for the last', async (t) => {
  const file = join(t.testdir({}), 'log');
  const { write, end } = logSink(streamOf(openSync(file, 'a')), () => t.fail('a line was lost'));
  for (let line = 0; line < 1000; line += 1) write(`${line}\n`);
  await end(5_000);
  t.equal(readFileSync(file, 'utf8'), Array.from({ length: 1000 }, (_, line) => `${line}\n`).join(''));
});

t.test('on a full disk, lost lines are counted and end() returns after its timeout', async (t) => {
  const lost: number[] = [];
  const { write, end } = logSink(streamOf(openSync('/dev/full', 'a')), (lines) => lost.push(lines));
  for (let line = 0; line < 10; line += 1) write('x\n');
  await delay(50);
  t.same(lost, [10]);
  write('y\n');
  const since = performance.now();
  await end(200);
  t.ok(performance.now() - since < 2_000);
});

t.test('once the log can be written again, a line says how many lines were lost', async (t) => {
  const file = join(t.testdir({}), 'log');
  const full = openSync('/dev/full', 'a');
  const stream = { fd: full, isTTY: false };
  const { write, end } = logSink(stream as unknown as StandardStream, () => {});
  write('lost\n');
  await delay(20);
  stream.fd = openSync(file, 'a');
  write('kept\n');
  await end(3_000);
  const [missing, kept] = readFileSync(file, 'utf8').split('\n');
  t.match(JSON.parse(missing as string), { level: 'warn', lines: 1 });
  t.equal(kept, 'kept');
});

t.test('a pipe that is not read neither blocks nor fills the memory', async (t) => {
  const stuck = Object.assign(new Socket(), { fd: 1 }) as unknown as StandardStream;
  let lost = 0;
  Object.assign(stuck, { write: () => true });
  const { write, end } = logSink(stuck, (lines) => {
    lost += lines;
  });
  const line = `${'x'.repeat(1023)}\n`;
  write(line);
  await delay(20);
  for (let count = 0; count < 10_000; count += 1) write(line);
  t.ok(lost > 5_000 && lost < 6_500, `${lost} of 10000 dropped`);
  const since = performance.now();
  await end(100);
  t.ok(performance.now() - since < 1_000);
});
