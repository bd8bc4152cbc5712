/** The files in packaging/, checked without installing them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { validate } from 'dockerfile-utils';
import t from 'tap';
import { parse } from 'yaml';
import type { Context } from '../../src/adapters/cli/context.ts';
import { createProgram } from '../../src/adapters/cli/program.ts';
import { settings } from '../../src/config.ts';
import { addServeCommand } from '../../src/process/serve.ts';
import { root } from '../support/binary.ts';
import { run } from '../support/process.ts';

const packaging = join(root, 'packaging');
const read = (name: string) => readFileSync(join(packaging, name), 'utf8');
const commands = createProgram({} as Context, addServeCommand).commands.map((command) => command.name());
const isFound = async (file: string) => (await run('which', [file])).code === 0;

t.test('settings and commands that they name exist', async (t) => {
  for (const name of ['c2a-customers.service', 'c2a-customers.env', 'Dockerfile', 'compose.yaml']) {
    const text = read(name);
    for (const [variable] of text.matchAll(/\bC2A_\w+/g))
      t.hasProp(settings.properties, variable, `${name}: ${variable}`);
    for (const [, command] of text.matchAll(/\/usr\/bin\/c2a"?,? "?([a-z]+)/g)) {
      t.ok(commands.includes(command as string), `${name}: c2a ${command}`);
    }
  }
});

t.test('the Dockerfile is valid and copies only the binary', async (t) => {
  const text = read('Dockerfile');
  t.same(validate(text), []);
  t.same(
    [...text.matchAll(/^(?:COPY|ADD|RUN) .*$/gm)].map(([line]) => line),
    ['COPY dist/c2a /usr/bin/c2a'],
  );
  t.same(read('Dockerfile.dockerignore').trim().split('\n'), ['*', '!dist/c2a']);
});

t.test('the compose file is valid and finds its Dockerfile', async (t) => {
  const { services, volumes } = parse(read('compose.yaml'));
  const { build, depends_on: dependencies, ...c2a } = services.c2a;
  t.ok(existsSync(join(packaging, build.context, build.dockerfile)));
  t.ok(existsSync(join(packaging, build.context, 'packaging/Dockerfile.dockerignore')));
  t.same(dependencies, { postgres: { condition: 'service_healthy' } });
  t.match(c2a, { read_only: true, cap_drop: ['ALL'] });
  t.ok(services.postgres.healthcheck.test.includes('pg_isready'));
  for (const { volumes: mounts } of [c2a, services.postgres]) {
    for (const mount of mounts) t.hasProp(volumes, mount.split(':')[0]);
  }
  // The only folder that the image's user can write to is the volume.
  const [, volume] = /^VOLUME (\S+)$/m.exec(read('Dockerfile')) ?? [];
  t.same(c2a.volumes, [`c2a:${volume}`]);
  t.match(read('Dockerfile'), `C2A_DATA_DIR=${volume}/`);
});

t.test(
  'systemd rates the unit as hardened',
  { skip: !(await isFound('systemd-analyze')) && 'systemd-analyze is not installed' },
  async (t) => {
    const unit = join(packaging, 'c2a-customers.service');
    const words = ['security', '--offline=true', '--no-pager', '--threshold=20', unit];
    const { code, stdout, stderr } = await run('systemd-analyze', words);
    t.equal(code, 0, stderr);
    t.match(stdout, /Overall exposure level for c2a-customers\.service: [01]\.\d/);
  },
);
