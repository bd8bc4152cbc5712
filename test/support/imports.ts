/** A client that sends an import and reads its answers at its own pace. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Test } from 'tap';
import { ndjsonType } from '../../src/http/streaming.ts';
import { base, type Headers, storing } from './client.ts';
import { within } from './sockets.ts';

// biome-ignore lint/suspicious/noExplicitAny: assertions say what it must be.
type Line = any;

/** Rows that create customers, as text. */
export const rowsOf = (from: number, to: number, fields: (index: number) => object = () => ({})): string =>
  Array.from({ length: to - from }, (_, index) => {
    const customer = { externalIdentifier: `crm-${from + index}`, ...fields(from + index) };
    return `${JSON.stringify(storing(customer))}\n`;
  }).join('');

/** Begins an import. Its answers are read at once, unless `isPaused`. */
export function beginImport(
  test: Test,
  port: number,
  { headers, query = '', isPaused = false }: { headers: Headers; query?: string; isPaused?: boolean },
) {
  const request = httpRequest({
    port,
    method: 'POST',
    path: `${base}/import${query}`,
    headers: { 'content-type': ndjsonType, connection: 'keep-alive', ...headers },
    agent: false,
  });
  request.flushHeaders();
  test.teardown(() => request.destroy());
  // A broken connection; the tests look at `isComplete`.
  request.on('error', () => {});
  let text = '';
  let response: IncomingMessage | undefined;
  const responded = once(request, 'response').then(([given]) => {
    response = given as IncomingMessage;
    response.on('error', () => {});
    if (!isPaused) response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    return response;
  });
  responded.catch(() => {});
  const closed = new Promise<void>((resolve) => request.once('close', resolve));
  const lines = (): Line[] =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));

  return {
    request,
    responded: () => within('the response', responded),
    lines,
    text: () => text,
    send: (rows: string) => request.write(rows),
    end: (rows = '') => request.end(rows),
    /** Waits for so many answers. */
    async answered(count: number, ms = 10_000): Promise<Line[]> {
      const wait = async () => {
        while (lines().length < count) await new Promise((resolve) => setTimeout(resolve, 5));
      };
      await within(`${count} answers`, wait(), ms);
      return lines();
    },
    /** Waits for the end of the response, or of the connection. */
    async ended(ms = 15_000): Promise<{ lines: Line[]; isComplete: boolean; last: Line }> {
      const end = responded.then((given) => new Promise((resolve) => given.once('close', resolve)));
      await within(
        'the end',
        Promise.race([end, closed]).catch(() => {}),
        ms,
      );
      return { lines: lines(), isComplete: response?.complete === true, last: lines().at(-1) };
    },
  };
}
