/** `version`, `licenses` and `health`, from source; test/binary runs them in the binary. */
import { existsSync } from 'node:fs';
import t from 'tap';
import manifest from '../../../package.json' with { type: 'json' };
import { version } from '../../../src/process/about.ts';
import { c2a, serving } from '../../support/process.ts';

t.test('--version prints the versions, like the binary', async (t) => {
  t.equal(version, manifest.version);
  const { code, stdout } = await c2a(['--version', '--json']);
  const isCheckout = existsSync(new URL('../../../.git', import.meta.url));
  const commit = isCheckout ? /^[\da-f]{40}(-dirty)?$/ : 'unknown';
  t.equal(code, 0);
  t.match(JSON.parse(stdout), {
    version,
    commit,
    runtime: `Node.js ${process.versions.node}, ${process.platform}-${process.arch}`,
    sqlite: /^3\./,
    schema: { data: Number, keys: Number },
  });
});

t.test('licenses refers to the packages, which have them', async (t) => {
  t.match(await c2a(['licenses']), { code: 1, stdout: '', stderr: /node_modules/ });
});

t.test('health tells whether a server answers', async (t) => {
  const server = await serving(['--storage', 'memory', '--json']);
  t.teardown(() => server.child.kill('SIGKILL'));
  const { port } = new URL(server.url);
  t.match(await c2a(['health', '--port', port, '--ready']), { code: 0, stdout: /readyz answers 200/ });
  t.match(await c2a(['health', '--port', '0']), { code: 2, stderr: /--port is required/ });
  await server.stop();
  t.match(await c2a(['health', '--port', port]), { code: 1, stderr: /does not answer/ });
});
