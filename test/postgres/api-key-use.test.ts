/** Several processes record the uses of the same API keys. */
import t from 'tap';
import type { ApiKey, KeyUse } from '../../src/application/ports/tenant-directory.ts';
import { newDatabase, withRawPostgres } from '../support/postgres.ts';
import { atOnce, connectPostgres, noon, tenantId } from '../support/storage.ts';

const keys = 20;
const rounds = 50;

t.test('processes that record the same keys in opposite orders do not deadlock', async (t) => {
  const url = await newDatabase(t);
  const [one, other] = [await connectPostgres(t, { url }), await connectPostgres(t, { url })];
  const uses: KeyUse[] = [];
  for (const name of ['acme', 'globex']) {
    const tenant = tenantId(name);
    await one.directory.addTenant({
      id: tenant,
      payment: { channels: [], canSavePaymentMethod: false },
      createdAt: noon,
    });
    for (let number = 0; number < keys; number += 1) {
      const id = `${name}-${number}`;
      const key = { prefix: 'sk_dev_abcd', name: id, role: 'full', environment: 'sandbox', createdAt: noon } as const;
      await one.directory.addKey({ ...key, id, tenant, digest: Buffer.from(id), requests: 0 } satisfies ApiKey);
      uses.push({ tenant, id, requests: 1, lastUsedAt: noon });
    }
  }
  const reversed = [...uses].reverse();
  for (let round = 0; round < rounds; round += 1) {
    await atOnce(4, (index) => (index % 2 === 0 ? one : other).directory.recordUse(index % 2 === 0 ? uses : reversed));
  }
  const counts = (await one.directory.listKeys()).map(({ requests }) => requests);
  t.same(new Set(counts), new Set([4 * rounds]), 'every use is counted');
  // The server publishes its counters when a session ends, at the latest.
  await Promise.all([one.close(), other.close()]);
  const [row] = await withRawPostgres(
    url,
    'select deadlocks::int from pg_stat_database where datname = current_database()',
  );
  t.equal(row?.deadlocks, 0);
});
