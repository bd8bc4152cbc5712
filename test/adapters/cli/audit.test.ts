/** `audit verify` over a deployment with erasures, sound and tampered with. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { sqliteFiles } from '../../../src/adapters/sql/driver/sqlite.ts';
import { openServices } from '../../../src/compose.ts';
import { readConfig } from '../../../src/config.ts';
import { c2a } from '../../support/process.ts';
import { byExternalId, openFolder, tenantId, tenantOf, withRawSqlite } from '../../support/storage.ts';

const acme = tenantId('acme');

/** A data folder with one customer and three erased ones, and a receipt of the second erasure. */
async function erased(t: Test) {
  const dataDir = t.testdir();
  const services = await openServices({ ...readConfig({}, {}), dataDir }, { mayCreate: true });
  await services.tenants.add(acme, {});
  await services.close();
  const { database, repository } = await openFolder(dataDir);
  const side = tenantOf(repository, acme);
  const urns = [];
  for (const name of ['crm-1', 'crm-2', 'crm-3', 'crm-4']) urns.push((await side.mustStore(name)).customer.customerUrn);
  for (const name of ['crm-1', 'crm-2', 'crm-3']) await side.erase(byExternalId(name));
  await repository.recoverErasures(acme);
  await database.close();
  const at = ['--data-dir', dataDir];
  const receipt = join(dataDir, 'receipt.json');
  const issued = await c2a(['erasure-receipt', String(urns[1]), '--tenant', 'acme', '--json', ...at]);
  writeFileSync(receipt, issued.stdout);
  const verify = async (...words: string[]) => {
    const { code, stdout, stderr } = await c2a(['audit', 'verify', ...words, '--json', ...at]);
    return { code, stderr, result: JSON.parse(stdout) };
  };
  return { dataDir, receipt, verify };
}

t.test('a sound log has no findings, and still has the position of a receipt', async (t) => {
  const { receipt, verify } = await erased(t);
  t.match(await verify(receipt), { code: 0, result: { tenants: 1, entries: 3, receipts: 1, findings: [] } });
});

t.test('a changed entry is named, and the exit code is 1', async (t) => {
  const { dataDir, receipt, verify } = await erased(t);
  withRawSqlite(sqliteFiles(dataDir).keys, (raw) => raw.exec("UPDATE erasures SET chain = x'00' WHERE sequence = 2"));
  const { code, result } = await verify(receipt);
  t.equal(code, 1);
  const kinds = (result.findings as { kind: string; sequence?: number }[]).map(({ kind, sequence }) => [
    kind,
    sequence,
  ]);
  t.same(kinds, [
    ['broken_link', 2],
    ['broken_link', 3],
    ['witness_mismatch', 2],
  ]);
});

t.test('an unknown tenant, and a receipt of a tenant that is not checked, are refused', async (t) => {
  const { dataDir, receipt, verify } = await erased(t);
  t.match(await verify('--tenant', 'nope'), { code: 1, stderr: /there is no tenant nope/ });
  const strange = join(dataDir, 'strange.json');
  writeFileSync(strange, readFileSync(receipt, 'utf8').replaceAll('"acme"', '"nope"'));
  t.match(await verify(strange), { code: 1, stderr: /a receipt is of tenant nope, which is not checked/ });
});

/** Makes the checkpoints that are due, as the job of a server does. */
async function checkpointed(dataDir: string): Promise<void> {
  const services = await openServices({ ...readConfig({}, {}), dataDir }, { mayCreate: true });
  await services.jobs.find(({ name }) => name === 'make_checkpoints')?.run(new AbortController().signal);
  await services.close();
}

t.test('a sound feed has no findings, and still has the checkpoint of an earlier output', async (t) => {
  const { dataDir, receipt, verify } = await erased(t);
  t.match((await verify()).result, { events: 7, uncovered: 7, checkpoints: [], findings: [] });
  await checkpointed(dataDir);
  const { code, result } = await verify();
  t.match({ code, result }, { code: 0, result: { events: 7, uncovered: 0, findings: [] } });
  t.match(result.checkpoints, [
    { tenant: 'acme', sequence: 1, through: 7, hash: /^[\w-]{43}$/, signature: /^[\w-]{86}$/ },
  ]);
  const witness = join(dataDir, 'witness.json');
  writeFileSync(witness, JSON.stringify(result));
  t.match(await verify(receipt, witness, '--tenant', 'acme'), { code: 0, result: { receipts: 1, findings: [] } });

  withRawSqlite(sqliteFiles(dataDir).data, (raw) => {
    raw.exec('DELETE FROM checkpoints');
    raw.exec('UPDATE changes SET at = at + 1 WHERE position = 2');
  });
  t.match(await verify(), { code: 0, result: { uncovered: 7, findings: [] } }, 'not seen without a witness');
  const finding = { kind: 'checkpoint_witness_mismatch', tenant: 'acme', checkpoint: 1 };
  t.match(await verify(witness), { code: 1, result: { findings: [finding] } });
  writeFileSync(witness, JSON.stringify({ checkpoints: [{ ...result.checkpoints[0], tenant: 'nope' }] }));
  t.match(await verify(witness), { code: 1, stderr: /a checkpoint is of tenant nope, which is not checked/ });
});

t.test('a changed event is named in words', async (t) => {
  const { dataDir } = await erased(t);
  await checkpointed(dataDir);
  withRawSqlite(sqliteFiles(dataDir).data, (raw) => raw.exec('UPDATE changes SET at = at + 1 WHERE position = 2'));
  const { code, stdout } = await c2a(['audit', 'verify', '--data-dir', dataDir]);
  t.equal(code, 1);
  t.equal(
    stdout,
    'acme  event_changed  position 2  customer cu.00.2  version 1\n' +
      'checked 7 change events; no checkpoint covers 0 of them yet\nchecked 3 entries and 0 receipts\n',
  );
});

t.test('an older backup of the records has no findings, also where erasures are finished again', async (t) => {
  const { dataDir, verify } = await erased(t);
  await checkpointed(dataDir);
  const backup = join(dataDir, 'backup.sqlite');
  t.equal((await c2a(['backup', backup, '--data-dir', dataDir])).code, 0);
  const { database, repository } = await openFolder(dataDir);
  await tenantOf(repository, acme).erase(byExternalId('crm-4'));
  await database.close();
  await checkpointed(dataDir);
  const newest = join(dataDir, 'newest.json');
  writeFileSync(newest, JSON.stringify((await verify()).result));
  const restored = await c2a(['restore', backup, '--data-dir', dataDir]);
  t.equal(restored.code, 0, restored.stderr);
  t.match(await verify(), { code: 0, result: { entries: 4, events: 8, uncovered: 1, findings: [] } });
  await checkpointed(dataDir);
  t.match(await verify(), { code: 0, result: { uncovered: 0, findings: [] } });
  t.equal((await verify(newest)).code, 1, 'what was made after the backup is missing');
});
