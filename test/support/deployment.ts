/** A deployment as an operator runs it: one data folder, server processes over it, and the command line. */
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { c2a, type Program, serving } from './process.ts';
import { base, claimedRegion, type Headers, type Route } from './service.ts';
import { newFolder } from './storage.ts';

export interface Answer {
  readonly status: number;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service answered; assertions say what it must be.
  readonly body: any;
}

export type Server = Awaited<ReturnType<ReturnType<typeof deployment>['serve']>>;

/**
 * A deployment that ends with the test. Its first server makes the tenant `acme`, whose key all requests use.
 * @param words further options of every command
 * @param program in place of the source
 */
export function deployment(t: Test, dataDir = newFolder(t), words: readonly string[] = [], program?: Program) {
  const at = ['--data-dir', dataDir, ...words];
  let credentials: Headers = {};

  /** Starts a server. */
  async function serve(...words: string[]) {
    const server = await serving([...at, '--json', '--rate-limit', 'off', ...words], {}, program);
    t.teardown(() => server.child.kill('SIGKILL'));
    credentials = JSON.parse(server.greeting.split('\n')[0] as string).credentials ?? credentials;

    async function ask(path: string, request: RequestInit = {}): Promise<Answer> {
      const headers = { ...credentials, ...(request.headers as Headers) };
      const response = await fetch(server.url + path, { ...request, headers });
      const text = await response.text();
      return { status: response.status, text, body: /^[{[]/.test(text) ? JSON.parse(text) : undefined };
    }
    const post = (route: Route, body: unknown, headers: Headers = {}) =>
      ask(`${base}/${route}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      });

    return {
      ...server,
      ask,
      post,
      info: (query: Record<string, string>) => ask(`${base}/info?${new URLSearchParams(query)}`),
      receipt: (urn: string) => ask(`${base}/erasure?urn=${urn}`),
      /** Stores what cannot be refused, and gives its URN. */
      async has(customer: object): Promise<string> {
        const { status, body, text } = await post('store', { customer, claimedRegion });
        if (status !== 200) throw new Error(`store answered ${status}: ${text}`);
        return body.result.customerUrn;
      },
      /** Deletes what is there. */
      async forget(customerUrn: string): Promise<void> {
        const { status, text } = await post('delete', { customerUrn });
        if (status !== 200) throw new Error(`delete answered ${status}: ${text}`);
      },
    };
  }

  /** Runs a command; `value` is the first thing that it printed. */
  async function command(...words: string[]) {
    const { code, stdout, stderr } = await c2a([...words, '--json', ...at], {}, program);
    return { code, stderr, value: stdout && JSON.parse(stdout.split('\n')[0] as string) };
  }

  return {
    dataDir,
    masterKeyFile: join(dataDir, 'master.key'),
    /** A path outside the data folder that ends with the test too. */
    beside: (name: string) => join(dirname(dataDir), name),
    serve,
    command,
    /** Requests use this key from now on. */
    useKey(tenant: string, key: string): void {
      credentials = { 'x-tn': tenant, 'x-api-key': key };
    },
  };
}
