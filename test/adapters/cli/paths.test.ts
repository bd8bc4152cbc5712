/** A path or an address that cannot be used is one clear message, which names it. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { c2a } from '../../support/process.ts';
import { newFolder } from '../../support/storage.ts';

const publicKey = 'A'.repeat(43);

/** A data folder with the tenant `acme`; beside it a file and a folder. */
async function withPaths(t: Test) {
  const dataDir = newFolder(t);
  const beside = (name: string) => join(dataDir, '..', name);
  const at = ['--data-dir', dataDir];
  await c2a(['tenant', 'add', 'acme', ...at]);
  writeFileSync(beside('file'), 'text');
  mkdirSync(beside('folder'));
  return { at, beside };
}

t.test('commands that write or read a file', async (t) => {
  const { at, beside } = await withPaths(t);
  const [file, folder, nowhere] = ['file', 'folder', 'no/where'].map(beside) as [string, string, string];
  const jwt = ['--jwt-issuer', 'i', '--jwt-audience', 'a', '--jwt-public-key-file'];
  const exporting = ['export', '--tenant', 'acme', '--output'];
  const cases: [words: string[], problem: string][] = [
    [['backup', file, ...at], `${file} already exists; choose another name`],
    [['backup', folder, ...at], `${folder} already exists; choose another name`],
    [['backup', nowhere, ...at], `the folder ${beside('no')} does not exist; create it`],
    [['backup', '', ...at], 'the empty path does not exist'],
    [[...exporting, file, ...at], `${file} already exists; choose another name, or add --force`],
    [[...exporting, folder, ...at], `${folder} already exists; choose another name, or add --force`],
    [[...exporting, nowhere, ...at], `the folder ${beside('no')} does not exist; create it`],
    [[...exporting, folder, '--force', ...at], folder],
    [['backup-keys', file, ...at], `${file} exists and is not a backup of these keys: choose another name`],
    [['backup-keys', nowhere, ...at], `${beside('no')} does not exist`],
    [['backup-keys', join(file, 'x'), ...at], 'a part of'],
    [['import', nowhere, '--tenant', 'acme', ...at], `the folder ${beside('no')} does not exist`],
    [['import', folder, '--tenant', 'acme', ...at], `${folder} is a folder; name a file`],
    [['import', file, '--tenant', 'acme', '--report', folder, ...at], `${folder} already exists; choose another name`],
    [['restore', beside('none'), ...at], `${beside('none')} does not exist`],
    [['restore', folder, ...at], `${folder} is not a file`],
    [['restore-keys', beside('none'), ...at], `${beside('none')} does not exist`],
    [['verify-receipt', folder, '--public-key', publicKey], `<file>: ${folder} is a folder; name a file`],
    [['audit', 'verify', beside('none'), ...at], `<receipts>: ${beside('none')} does not exist`],
    [
      ['tenant', 'set', 'acme', ...jwt, beside('none'), ...at],
      `--jwt-public-key-file: ${beside('none')} does not exist`,
    ],
  ];
  for (const [words, problem] of cases) {
    const { code, stdout, stderr } = await c2a(words);
    t.same({ code, stdout }, { code: 1, stdout: '' }, words.join(' '));
    t.ok(stderr.startsWith(`c2a: ${problem}`), stderr);
    t.notMatch(stderr, /\bE[A-Z]{4,}\b/, 'no raw code');
  }
  t.equal(readFileSync(file, 'utf8'), 'text', 'an existing file is never overwritten');
  t.notOk(
    readdirSync('.').some((name) => name.startsWith('.next-')),
    'no copy of the keys is left',
  );
});

t.test('settings that are paths or addresses', async (t) => {
  const { at, beside } = await withPaths(t);
  const [file, folder] = [beside('file'), beside('folder')];
  const listener = createServer();
  const port = await new Promise<number>((resolve) => {
    listener.listen(0, '127.0.0.1', () => resolve((listener.address() as { port: number }).port));
  });
  t.teardown(() => listener.close());
  const dataDir = 'a part of';
  const url = '127.0.0.1:1 refuses connections';
  const to = ['move', '--from', `sqlite:${at[1]}`, '--to'];
  const cases: [words: string[], problem: string][] = [
    [['tenant', 'add', 'x', '--data-dir', file], dataDir],
    [['tenant', 'add', 'x', '--data-dir', join(file, 'x')], dataDir],
    [
      ['tenant', 'list', '--master-key-file', folder, ...at],
      `${folder} is a folder; name a file (C2A_MASTER_KEY_FILE)`,
    ],
    [['tenant', 'list', '--database-url', 'postgres://127.0.0.1:1/x', ...at], url],
    [[...to, `sqlite:${join(file, 'x')}`, ...at], 'a part of'],
    [[...to, 'postgres://127.0.0.1:1/x', ...at], '127.0.0.1:1 refuses connections'],
    [['serve', '--port', String(port), ...at], `another process listens on 127.0.0.1:${port}`],
  ];
  for (const [words, problem] of cases) {
    const { code, stderr } = await c2a(words);
    t.equal(code, 1, words.join(' '));
    t.ok(stderr.startsWith(`c2a: ${problem}`), stderr);
  }
});
