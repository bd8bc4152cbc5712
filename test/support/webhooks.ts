/** A consumer of webhooks in a process of its own; see `webhook-consumer.ts`. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { start } from './process.ts';
import type { Received } from './webhook-consumer.ts';

const script = fileURLToPath(new URL('./webhook-consumer.ts', import.meta.url));

/** Starts a consumer, which ends with the test. @param certificate the files of a key and a certificate, for TLS */
export async function startConsumer(t: Test, ...certificate: readonly string[]) {
  const child = start(process.execPath, [script, ...certificate]);
  t.teardown(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const received: Received[] = [];
  const lines = createInterface({ input: child.stdout });
  const ended = once(child, 'close').then(() => {
    throw new Error(`the consumer ended: ${stderr}`);
  });
  ended.catch(() => {});
  const [port] = await Promise.race([once(lines, 'line'), ended]);
  let told = () => {};
  lines.on('line', (line) => {
    const value = JSON.parse(line) as Received | null;
    if (value === null) told();
    else received.push(value);
  });
  const of = (path: string) => received.filter((one) => one.path === path);
  return {
    port: Number(port),
    url: (path: string, host = '127.0.0.1') => `http://${host}:${port}${path}`,
    received,
    of,
    /** Resolves when this many requests of a path have been received. */
    gets: (path: string, count: number) => until(`${count} requests of ${path}`, () => of(path).length >= count),
    /** From now on it verifies with these secrets. */
    async knows(...secrets: readonly string[]): Promise<void> {
      const done = new Promise<void>((resolve) => {
        told = resolve;
      });
      child.stdin.write(`${JSON.stringify(secrets)}\n`);
      await Promise.race([done, ended]);
    },
  };
}

/** Waits until a condition holds; throws if that takes more than `timeoutMs`. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await delay(5);
  }
}

/**
 * What is wrong with the requests that an endpoint has got: two of a customer at once, or an accepted version after a
 * higher one of the same customer, unless it is a repetition. Empty if nothing is.
 */
export function orderFaults(received: readonly Received[]): string[] {
  const faults: string[] = [];
  const highest = new Map<string, number>();
  const seen = new Set<string>();
  for (const { id, overlaps, accepted, body } of received) {
    const { customerUrn, version } = body.data;
    if (overlaps) faults.push(`${customerUrn} ${version} overlaps`);
    if (!accepted || seen.has(id)) continue;
    seen.add(id);
    const before = highest.get(customerUrn) ?? 0;
    if (version !== before + 1) faults.push(`${customerUrn} ${version} after ${before}`);
    highest.set(customerUrn, version);
  }
  return faults;
}
