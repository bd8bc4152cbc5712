/**
 * The Dockerfile, without Docker: its instructions are carried out in a root that has only the loader and libraries of the
 * base image that the binary needs. No shell, no /proc, nothing writable but the volume.
 */
import { copyFileSync, lchownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { isRoot, release, root } from '../support/binary.ts';
import { client, overHttp } from '../support/client.ts';
import { deployment } from '../support/deployment.ts';
import { type Program, run } from '../support/process.ts';

/** The user `nonroot` of the base image. */
const nonroot = 65_532;
const dockerfile = readFileSync(join(root, 'packaging/Dockerfile'), 'utf8');
const instruction = (name: string) => new RegExp(`^${name} (.*)$`, 'm').exec(dockerfile)?.[1] as string;
const canEnter = isRoot && (await run('/usr/sbin/chroot', ['/', 'true'])).code === 0;

t.test(
  'the image serves, keeps its data and answers its health check',
  { skip: !canEnter && 'chroot needs root' },
  async (t) => {
    const image = mkdtempSync(join(tmpdir(), 'c2a-test-'));
    t.teardown(() => rmSync(image, { recursive: true, force: true }));
    await run('chmod', ['755', image]);
    const binary = join(await release(), 'c2a');
    const { stdout: libraries } = await run('ldd', [binary]);
    const paths = [...libraries.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path as string);
    t.ok(
      paths.every((path) => /\/(ld-linux[\w-]*|lib(c|m|dl|pthread|stdc\+\+|gcc_s))\.so\.\d$/.test(path)),
      `only libraries of the base image: ${paths.join(' ')}`,
    );
    const put = (from: string, to: string) => {
      mkdirSync(dirname(join(image, to)), { recursive: true });
      copyFileSync(from, join(image, to));
    };
    for (const path of paths) put(path, path);
    const [from, to] = instruction('COPY').split(' ') as [string, string];
    t.equal(from, 'dist/c2a');
    put(binary, to);
    const home = instruction('VOLUME');
    mkdirSync(join(image, dirname(home)), { recursive: true });
    mkdirSync(join(image, home), { mode: 0o700 });
    lchownSync(join(image, home), nonroot, nonroot);

    const environment = instruction('ENV').split(' ');
    const [entry] = JSON.parse(instruction('ENTRYPOINT')) as [string];
    const enter = ['/usr/sbin/chroot', `--userspec=${nonroot}:${nonroot}`, image] as const;
    const program: Program = ['env', '-i', ...environment, ...enter, entry];
    t.same(JSON.parse(instruction('CMD')), ['serve']);

    const dataDir = environment.find((one) => one.startsWith('C2A_DATA_DIR='))?.split('=')[1] as string;
    const { serve, command } = deployment(t, dataDir, [], program);
    let server = await serve();
    const urn = await server.has({ externalIdentifier: 'crm-1' });
    t.equal((await command('key', 'list')).code, 0);
    await server.stop('SIGKILL');
    server = await serve();
    const { port } = new URL(server.url);
    const here = server.url.replace('0.0.0.0', '127.0.0.1');
    t.equal((await client(overHttp(here), {}).get('/docs')).status, 200);
    t.match((await server.info({ urn })).body.result, { externalIdentifier: 'crm-1' });

    const [, check] = /CMD (\[.*\])$/.exec(instruction('HEALTHCHECK')) ?? [];
    const [file, ...words] = program;
    t.same(JSON.parse(check as string), [entry, 'health']);
    t.match(await run(file, [...words, 'health', '--port', port]), { code: 0 });
    const { code, stderr } = await server.stop();
    t.equal(code, 0, stderr);
    t.match(await run(file, [...words, 'health', '--port', port]), { code: 1 });
  },
);
