/**
 * `npm run build:debian`: makes a Debian package of the output of `npm run build:binary`, in the same folder. Needs
 * `dpkg-deb`. The same binary and SOURCE_DATE_EPOCH (default: the time of the commit) give the same bytes.
 *
 *     npm run build:debian -- [folder of the binary]
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { writeSums } from './sums.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = resolve(process.argv[2] ?? join(root, 'dist'));
const packaging = join(root, 'packaging');

const architectures: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };
const architecture = architectures[process.arch];
if (process.platform !== 'linux' || architecture === undefined) {
  throw new Error(`there is no Debian package for ${process.platform}-${process.arch}`);
}

/** The package's files by their path on the target machine. */
const files: Readonly<Record<string, string>> = {
  'usr/bin/c2a': join(folder, 'c2a'),
  'usr/lib/systemd/system/c2a-customers.service': join(packaging, 'c2a-customers.service'),
  'usr/lib/sysusers.d/c2a-customers.conf': join(packaging, 'c2a-customers.sysusers'),
  'etc/c2a-customers.env': join(packaging, 'c2a-customers.env'),
  'usr/share/doc/c2a-customers/copyright': join(folder, 'c2a.licenses.txt'),
  'usr/share/doc/c2a-customers/c2a.cdx.json': join(folder, 'c2a.cdx.json'),
  'usr/share/doc/c2a-customers/CHANGELOG.md': join(root, 'CHANGELOG.md'),
};

/** The mode of a file. Only root may read the settings, which may contain a password. */
function modeOf(path: string): number {
  if (path === 'usr/bin/c2a') return 0o755;
  return path.startsWith('etc/') ? 0o600 : 0o644;
}

const timeOfCommit = () =>
  execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
const time = process.env.SOURCE_DATE_EPOCH ?? timeOfCommit();

// Folders must be readable for all, whatever the builder's umask.
process.umask(0o022);
const work = mkdtempSync(join(tmpdir(), 'c2a-debian-'));
try {
  const tree = join(work, 'tree');
  const put = (path: string, content: string | Buffer, mode: number) => {
    const at = join(tree, path);
    mkdirSync(dirname(at), { recursive: true, mode: 0o755 });
    writeFileSync(at, content);
    chmodSync(at, mode);
  };
  for (const [path, from] of Object.entries(files)) put(path, readFileSync(from), modeOf(path));

  const bytes = Object.keys(files).reduce((sum, path) => sum + statSync(join(tree, path)).size, 0);
  const values: Record<string, string> = {
    version: manifest.version,
    architecture,
    installedSize: String(Math.ceil(bytes / 1024)),
  };
  const control = readFileSync(join(packaging, 'debian/control'), 'utf8');
  put(
    'DEBIAN/control',
    control.replace(/\$\{(\w+)\}/g, (_, name) => values[name] as string),
    0o644,
  );
  put('DEBIAN/conffiles', '/etc/c2a-customers.env\n', 0o644);
  for (const script of ['postinst', 'prerm', 'postrm']) {
    put(`DEBIAN/${script}`, readFileSync(join(packaging, 'debian', script)), 0o755);
  }

  const made = `c2a-customers_${manifest.version}_${architecture}.deb`;
  // Higher compression saves a tenth of the size, and takes five times as long.
  const words = ['--root-owner-group', '-Zxz', '-z1', '--build', tree, join(work, made)];
  execFileSync('dpkg-deb', words, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: '/usr/bin:/bin', SOURCE_DATE_EPOCH: time },
  });
  copyFileSync(join(work, made), join(folder, made));
  writeSums(folder);
} finally {
  rmSync(work, { recursive: true, force: true });
}
