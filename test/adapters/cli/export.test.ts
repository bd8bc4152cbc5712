/** `c2a export`, beside a server and alone. */
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { Context } from '../../../src/adapters/cli/context.ts';
import { createProgram } from '../../../src/adapters/cli/program.ts';
import { MemoryCustomers } from '../../../src/adapters/memory/customers.ts';
import { sqliteFiles } from '../../../src/adapters/sql/driver/sqlite.ts';
import { CustomerExport } from '../../../src/application/export.ts';
import { deployment } from '../../support/deployment.ts';
import { c2a, run } from '../../support/process.ts';
import { referenceData, tenantOf, withRawSqlite } from '../../support/storage.ts';

const entry = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));

/** A server with four customers, of which the last is erased. */
async function withCustomers(t: Test) {
  const made = deployment(t);
  const server = await made.serve();
  const urns: string[] = [];
  for (let index = 0; index < 4; index += 1) urns.push(await server.has({ externalIdentifier: `crm-${index}` }));
  await server.forget(String(urns[3]));
  const at = ['export', '--tenant', 'acme', '--data-dir', made.dataDir];
  return { ...made, server, urns, at, file: made.beside('export.ndjson') };
}

/** The files beside an export whose name begins with the name of the export. */
const filesAt = (file: string): string[] =>
  readdirSync(dirname(file)).filter((name) => name.startsWith(basename(file)));

t.test('standard output gets the lines of GET /export', async (t) => {
  const { server, at, urns } = await withCustomers(t);
  const same = async (query: Record<string, string>, ...words: string[]) => {
    const { code, stdout, stderr } = await c2a([...at, ...words]);
    t.same({ code, stderr, stdout }, { code: 0, stderr: '', stdout: (await server.export(query)).text });
  };
  await same({});
  await same({ includeAnonymized: 'true' }, '--include-anonymized');
  await same({ after: String(urns[0]), limit: '1' }, '--after', String(urns[0]), '--limit', '1');
});

t.test('a file gets the same lines, is readable by its owner only, and appears when it is complete', async (t) => {
  const { server, command, dataDir, file, urns } = await withCustomers(t);
  const exporting = (...words: string[]) => command('export', '--tenant', 'acme', '--output', file, ...words);
  t.same(await exporting('--limit', '2'), {
    code: 0,
    stderr: '',
    value: { file, customers: 2, next: urns[1] },
  });
  t.equal(readFileSync(file, 'utf8'), (await server.export({ limit: '2' })).text);
  t.equal(statSync(file).mode & 0o777, 0o600);

  t.match(await exporting(), {
    code: 1,
    value: { error: `${file} already exists; choose another name, or add --force` },
  });
  t.equal(readFileSync(file, 'utf8').split('\n').length, 4, 'the old file is still there');
  chmodSync(file, 0o644);
  t.match(await exporting('--force'), { code: 0, value: { file, customers: 3, next: null } });
  t.equal(readFileSync(file, 'utf8'), (await server.export()).text);
  t.equal(statSync(file).mode & 0o777, 0o600);
  t.same(filesAt(file), [basename(file)]);

  const words = ['export', '--tenant', 'acme', '--output', file, '--force', '--data-dir', dataDir];
  t.match(await c2a(words), { stdout: `exported 3 customers to ${file}\n` });
  t.match(await c2a([...words, '--limit', '1']), {
    stdout: `exported 1 customers to ${file}; continue with --after ${urns[0]}\n`,
  });
});

t.test('--json without --output is refused, because standard output cannot have both', async (t) => {
  const { command } = deployment(t);
  const { code, value } = await command('export', '--tenant', 'acme');
  t.equal(code, 2);
  t.match(value, { error: /add --output, or omit --json/ });
});

t.test('an unknown tenant is an error, and no file is written', async (t) => {
  const { command, file } = await withCustomers(t);
  t.match(await command('export', '--tenant', 'globex', '--output', file), {
    code: 1,
    value: { error: 'there is no tenant globex' },
  });
  t.same(filesAt(file), []);
});

t.test('an export that fails leaves no file, and keeps the one that it was to replace', async (t) => {
  const { command, dataDir, file, server } = await withCustomers(t);
  await server.stop();
  withRawSqlite(sqliteFiles(dataDir).data, (raw) => raw.exec(`UPDATE customers SET sealed = x'00' WHERE number = 3`));
  writeFileSync(file, 'old');
  const { code, value } = await command('export', '--tenant', 'acme', '--output', file, '--force');
  t.match({ code, value }, { code: 1, value: { error: /cannot be decrypted/ } });
  t.same(filesAt(file), [basename(file)]);
  t.equal(readFileSync(file, 'utf8'), 'old');
});

t.test('an export that is interrupted leaves no file', async (t) => {
  const file = join(t.testdir(), 'export.ndjson');
  const repository = new MemoryCustomers(referenceData);
  const acme = tenantOf(repository);
  for (let index = 0; index < 100; index += 1) await acme.mustStore(`crm-${index}`);
  // The first page again and again: an export without an end.
  const list = async () => {
    await delay(5);
    return acme.list(undefined, 100);
  };
  const services = {
    tenants: { list: async () => [{ id: 'acme' }] },
    customerExport: new CustomerExport({ repository: { list }, referenceData }),
  };
  const context = { open: async () => services, print: () => t.fail('nothing is printed') } as unknown as Context;
  const exporting = createProgram(context, () => {}).parseAsync(['export', '--tenant', 'acme', '--output', file], {
    from: 'user',
  });
  const rejected = t.rejects(exporting, { message: `interrupted: ${file} was not written` });
  while (filesAt(file).every((name) => statSync(join(dirname(file), name)).size === 0)) await delay(5);
  process.emit('SIGINT');
  await rejected;
  t.same(filesAt(file), []);
});

t.test('a reader that closes the pipe early is no error', async (t) => {
  const { at } = await withCustomers(t);
  const { code, stdout, stderr } = await run('bash', [
    '-c',
    `set -o pipefail; "${process.execPath}" "${entry}" ${at.map((word) => `"${word}"`).join(' ')} | (exec 0<&-; sleep 1)`,
  ]);
  t.same({ code, stdout, stderr }, { code: 0, stdout: '', stderr: '' });
});
