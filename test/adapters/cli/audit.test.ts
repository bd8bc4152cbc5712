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
