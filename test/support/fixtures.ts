/** Data folders that earlier releases have written, one of each schema version; see `scripts/fixture.ts`. */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { storing } from './client.ts';
import { deployment } from './deployment.ts';
import type { Program } from './process.ts';

const folder = join(import.meta.dirname, '../fixtures');

export const fixtures: readonly string[] = readdirSync(folder).filter((name) => name.startsWith('schema-'));

interface Expected {
  readonly records: readonly { readonly customerUrn: string; readonly email?: string }[];
  readonly erased: string;
}

/** Copies a fixture to a new data folder. */
export function unpack(fixture: string, dataDir: string): void {
  mkdirSync(dataDir, { mode: 0o700 });
  for (const name of ['customers.db', 'keys.db', 'master.key']) {
    copyFileSync(join(folder, fixture, name), join(dataDir, name));
    chmodSync(join(dataDir, name), 0o600);
  }
}

/** Upgrades a fixture as an operator does, by starting the program on it. Tests that no data is lost and all works. */
export async function upgrade(t: Test, fixture: string, dataDir: string, program?: Program): Promise<void> {
  const { records, erased } = JSON.parse(readFileSync(join(folder, fixture, 'expected.json'), 'utf8')) as Expected;
  const { serve, command, beside, useKey } = deployment(t, dataDir, [], program);

  t.match((await command('tenant', 'list')).value, [{ id: 'acme', channels: ['CARD', 'SEPA'] }]);
  useKey('acme', (await command('key', 'issue', 'acme')).value.key);
  let server = await serve();
  for (const record of records) {
    // Older versions had no references.
    const expected = { subscriptionSummary: { total: 0, active: 0, canceled: 0 }, ...record };
    t.same((await server.info({ urn: record.customerUrn })).body.result, expected);
  }
  t.match((await server.receipt(erased)).body.result.receipt, { customerUrn: erased, residualScan: { clean: true } });

  const [jane] = records as [Expected['records'][number]];
  const taken = { externalIdentifier: 'new', email: jane.email };
  t.equal((await server.post('store', storing(taken))).status, 409);
  const urn = await server.has({ externalIdentifier: 'crm-3', email: 'gone@example.com' });
  t.notOk(
    records.some(({ customerUrn }) => customerUrn === urn),
    'a URN that was never handed out',
  );
  await server.forget(jane.customerUrn);
  t.match((await command('backup', beside(`${fixture}.backup`))).code, 0);
  t.match((await command('keys', 'rotate-master')).code, 0);
  await server.stop();
  server = await serve();
  t.match((await server.info({ urn: jane.customerUrn })).body.result, { status: 'Anonymized' });
  t.match((await server.info({ urn })).body.result, { email: 'gone@example.com' });
  await server.stop();
}
