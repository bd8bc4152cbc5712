/** A deployment as an operator runs it: one data folder, server processes over it, and the command line. */
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { client, type Headers, overHttp, type Request, storing } from './client.ts';
import { c2a, type Program, serving } from './process.ts';
import { newFolder } from './storage.ts';

export type Server = Awaited<ReturnType<ReturnType<typeof deployment>['serve']>>;

/**
 * A deployment that ends with the test. Its first server makes the tenant `acme`, whose key all requests use.
 * @param words further options of every command
 * @param program the program to run; by default the source
 */
export function deployment(t: Test, dataDir = newFolder(t), words: readonly string[] = [], program?: Program) {
  const at = ['--data-dir', dataDir, ...words];
  let credentials: Headers = {};

  /** Starts a server. */
  async function serve(...words: string[]) {
    const server = await serving([...at, '--json', '--rate-limit', 'off', ...words], {}, program);
    t.teardown(() => server.child.kill('SIGKILL'));
    credentials = JSON.parse(server.greeting.split('\n')[0] as string).credentials ?? credentials;

    // Reads the credentials at each request, since `useKey` may change them.
    const send = (request: Request) =>
      overHttp(server.url)({ ...request, headers: { ...credentials, ...request.headers } });
    const caller = client(send, {});

    return {
      ...server,
      ...caller,
      /** Stores a customer and returns its URN; throws if the store is refused. */
      async has(customer: object): Promise<string> {
        const { status, body, text } = await caller.post('store', storing(customer));
        if (status !== 200) throw new Error(`store answered ${status}: ${text}`);
        return body.result.customerUrn;
      },
      /** Deletes a customer; throws if the delete is refused. */
      async forget(customerUrn: string): Promise<void> {
        const { status, text } = await caller.post('delete', { customerUrn });
        if (status !== 200) throw new Error(`delete answered ${status}: ${text}`);
      },
    };
  }

  /** Runs a command; `value` is the JSON value in the first line of its output. */
  async function command(...words: string[]) {
    const { code, stdout, stderr } = await c2a([...words, '--json', ...at], {}, program);
    return { code, stderr, value: stdout && JSON.parse(stdout.split('\n')[0] as string) };
  }

  return {
    dataDir,
    masterKeyFile: join(dataDir, 'master.key'),
    /** A path beside the data folder; a file there is removed with the test too. */
    beside: (name: string) => join(dirname(dataDir), name),
    serve,
    command,
    /** Requests use this key from now on. */
    useKey(tenant: string, key: string): void {
      credentials = { 'x-tn': tenant, 'x-api-key': key };
    },
  };
}
