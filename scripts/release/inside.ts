/** Third-party contents of the binary: packages, licences and the bill of materials. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Metafile } from 'esbuild';
import manifest from '../../package.json' with { type: 'json' };

export interface Package {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  /** Its folder in node_modules. */
  readonly folder: string;
}

/** The packages in a bundle, sorted by name. @param more packages whose files are embedded outside the bundle */
export function packagesInside(root: string, { inputs }: Metafile, more: readonly string[]): readonly Package[] {
  const folders = Object.keys(inputs).map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  const all = new Set([...folders.filter((one) => one !== undefined), ...more.map((name) => `node_modules/${name}`)]);
  return [...all].sort().map((path) => {
    const folder = join(root, path);
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    if (typeof license !== 'string') throw new Error(`${path} declares no licence`);
    return { name, version, license, folder };
  });
}

const isLicence = (file: string): boolean => /^(licen[cs]e|copying|notice)/i.test(file);

/** Code that packages embed without its licence. Its licence text is in packaging/licenses. */
const within: Readonly<Record<string, readonly string[]>> = {
  '@fastify/swagger-ui': ['swagger-ui'],
  'better-sqlite3': ['sqlite'],
  'sodium-native': ['libsodium'],
  standardwebhooks: ['standardwebhooks'],
};

/** The licences of everything in the binary, as one text. */
export function licences(root: string, packages: readonly Package[]): string {
  const ours = readFileSync(join(root, 'LICENSE'), 'utf8');
  const runtime = readFileSync(join(dirname(dirname(process.execPath)), 'LICENSE'), 'utf8');
  const theirs = packages.map(({ name, version, license, folder }) => {
    const files = readdirSync(folder).filter(isLicence).sort();
    const texts = files.map((file) => readFileSync(join(folder, file), 'utf8'));
    for (const part of within[name] ?? []) {
      const text = readFileSync(join(root, 'packaging/licenses', `${part}.txt`), 'utf8');
      const [, known] = /^\S+ (\d\S+)\n/.exec(text) ?? [];
      if (known !== undefined && !holdsVersion(folder, known)) {
        throw new Error(`${name} no longer contains ${part} ${known}: update packaging/licenses/${part}.txt`);
      }
      texts.push(text);
    }
    if (texts.length === 0) texts.push(`${license}, by its package.json. The package has no licence file.`);
    return section(`${name} ${version} (${license})`, texts);
  });
  return [section(`c2a-customers ${manifest.version}`, [ours]), section(`Node.js ${process.versions.node}`, [runtime])]
    .concat(theirs)
    .join('\n');
}

const holdsVersion = (folder: string, version: string): boolean => {
  const bundle = join(folder, 'static/swagger-ui-bundle.js');
  return existsSync(bundle) && readFileSync(bundle, 'utf8').includes(`PACKAGE_VERSION:"${version}"`);
};

const section = (title: string, texts: readonly string[]): string =>
  [`${'='.repeat(title.length)}\n${title}\n${'='.repeat(title.length)}`, ...texts.map((text) => text.trim()), ''].join(
    '\n\n',
  );

interface Component {
  readonly name: string;
  readonly version: string;
  readonly 'bom-ref': string;
  readonly [field: string]: unknown;
}

/**
 * The bill of materials (CycloneDX): npm's, limited to the packages in the binary, plus the runtime and its libraries. It is
 * reproducible.
 */
export function billOfMaterials(root: string, packages: readonly Package[], commit: string): string {
  const words = ['sbom', '--sbom-format=cyclonedx', '--sbom-type=application'];
  const npm = JSON.parse(execFileSync('npm', words, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }));
  const inside = new Set(packages.map(({ name, version }) => `${name}@${version}`));
  const components = (npm.components as Component[]).filter((one) => inside.has(`${one.name}@${one.version}`));
  if (components.length < inside.size) throw new Error('npm sbom lacks a package of the bundle');
  const refs = new Set(components.map((one) => one['bom-ref']));
  const { component } = npm.metadata;
  const runtime = {
    'bom-ref': `node@${process.versions.node}`,
    type: 'platform',
    name: 'node',
    version: process.versions.node,
    purl: `pkg:generic/node@${process.versions.node}`,
    licenses: [{ license: { id: 'MIT' } }],
    components: Object.entries(process.versions)
      .filter(([name, version]) => name !== 'node' && version !== undefined && /^\d+\.\d/.test(version))
      .map(([name, version]) => ({ type: 'library', name, version: version as string })),
  };
  const kept = (npm.dependencies as { ref: string; dependsOn: string[] }[])
    .filter(({ ref }) => refs.has(ref) || ref === component['bom-ref'])
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => refs.has(one)) }));
  const bill = {
    $schema: npm.$schema,
    bomFormat: npm.bomFormat,
    specVersion: npm.specVersion,
    version: 1,
    metadata: {
      lifecycles: npm.metadata.lifecycles,
      component: {
        ...component,
        name: manifest.name,
        properties: [
          { name: 'c2a:commit', value: commit },
          { name: 'c2a:platform', value: `${process.platform}-${process.arch}` },
        ],
      },
    },
    components: [runtime, ...components],
    dependencies: kept,
  };
  const digest = createHash('sha256').update(JSON.stringify(bill)).digest('hex');
  const uuid = `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
  return `${JSON.stringify({ ...bill, serialNumber: `urn:uuid:${uuid}` }, null, 2)}\n`;
}
