/** Migrations to made-up later versions: each is applied once, and programs of two versions work side by side. */
import t, { type Test } from 'tap';
import { runOnce } from '../../src/adapters/sql/driver/query.ts';
import type { SqlDatabase } from '../../src/adapters/sql/schema/database.ts';
import { type Migrations, migrations } from '../../src/adapters/sql/schema/migrations.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import type { Leases } from '../../src/application/ports/leases.ts';
import { newDatabase } from '../support/postgres.ts';
import {
  atOnce,
  byExternalId,
  connectPostgres,
  connectSqlite,
  idempotencyKey,
  newFolder,
  noon,
  tenantId,
  tenantOf,
  tombstoneMs,
} from '../support/storage.ts';

interface Opened {
  readonly database: SqlDatabase;
  readonly repository: CustomerRepository;
  readonly leases: Leases;
}
type Open = (all?: Migrations) => Promise<Opened>;

const storages: Record<string, (t: Test) => Promise<Open>> = {
  async SQLite(t) {
    const path = newFolder(t);
    return (all) => connectSqlite(t, path, all);
  },
  async PostgreSQL(t) {
    const url = await newDatabase(t);
    return (all) => connectPostgres(t, { url }, all);
  },
  async 'PostgreSQL, keys in a database of their own'(t) {
    const place = { url: await newDatabase(t), keysUrl: await newDatabase(t) };
    return (all) => connectPostgres(t, place, all);
  },
};

/** The next release adds a column that old programs do not know. */
const expanded: Migrations = {
  ...migrations,
  data: [
    ...migrations.data,
    {
      statements: ({ builder }) => [
        builder.schema.alterTable('customers').addColumn('note', 'text').compile(),
        builder.insertInto('leases').values({ name: 'expanded', holder: 'nobody', expires_at: 0 }).compile(),
      ],
    },
  ],
};
/** The release after the next removes a column that only old programs use. */
const contracted: Migrations = {
  ...expanded,
  data: [
    ...expanded.data,
    {
      contracts: true,
      statements: ({ builder }) => [builder.schema.alterTable('tenants').dropColumn('name').compile()],
    },
  ],
};

for (const [name, make] of Object.entries(storages)) {
  t.test(name, async (t) => {
    t.test('ten processes that start together apply each migration once', async (t) => {
      const open = await make(t);
      const opened = await atOnce(10, () => open(expanded));
      const rows = await opened[0]?.database.read(() =>
        runOnce(opened[0]?.database.dialect.builder.selectFrom('leases').selectAll().compile() as { sql: string }),
      );
      t.equal(rows?.filter(({ name }) => name === 'expanded').length, 1);
      const adds = await atOnce(10, (index) => tenantOf((opened[index] as Opened).repository).store(`crm-${index}`));
      t.ok(adds.every(({ code }) => code === 'SUCCESS'));
    });

    // That the steps keep the data of the releases before them is tested with their fixtures: test/upgrade.test.ts.
    t.test('the steps can be applied one at a time', async (t) => {
      const open = await make(t);
      const { keys, data } = migrations;
      const most = Math.max(keys.length, data.length);
      for (let steps = 1; steps < most; steps += 1) {
        await open({ keys: keys.slice(0, steps), data: data.slice(0, steps) });
      }
      const { repository, leases } = await open();
      const acme = tenantOf(repository);
      t.equal(await leases.acquire('jobs', 'one', 60_000, noon), true);
      const { by } = await acme.mustStore('crm-1', {}, { revision: 1 });
      const key = idempotencyKey('k', 'delete', noon + 1);
      t.equal((await acme.erase(by, { key, revision: 2 })).code, 'SUCCESS');
      await repository.deleteExpired(tenantId('acme'), noon + tombstoneMs + 1);
      const other = await acme.mustStore('crm-1', {}, { revision: 1 });
      const reused = idempotencyKey('k', 'another', noon + 1);
      t.equal((await acme.erase(other.by, { key: reused })).code, 'SUCCESS', 'the expired key was deleted');
    });

    t.test('a program works, and starts, on the schema of the next version', async (t) => {
      const open = await make(t);
      const old = tenantOf((await open()).repository);
      await old.mustStore('crm-1');
      const next = tenantOf((await open(expanded)).repository);
      await next.mustStore('crm-2');
      t.ok(await old.find(byExternalId('crm-2')));
      await old.mustStore('crm-3');
      await tenantOf((await open()).repository).mustStore('crm-4');
      for (const externalId of ['crm-1', 'crm-3', 'crm-4']) t.ok(await next.find(byExternalId(externalId)), externalId);
    });

    t.test('a contracting migration refuses programs that do not know it', async (t) => {
      const open = await make(t);
      await open(expanded);
      await open(contracted);
      await t.rejects(open(), { message: /schema version 6; this program knows 4, and 6 is needed/ });
      await t.rejects(open(expanded), { message: /this program knows 5, and 6 is needed/ });
      await open(contracted);
    });

    t.test('a migration that fails changes nothing', async (t) => {
      const open = await make(t);
      await tenantOf((await open()).repository).mustStore('crm-1');
      const broken: Migrations = {
        ...migrations,
        data: [
          ...migrations.data,
          {
            statements: ({ builder }) => [
              builder.schema.alterTable('customers').addColumn('note', 'text').compile(),
              { sql: 'nonsense', part: 'data' },
            ],
          },
        ],
      };
      await t.rejects(open(broken));
      t.ok(await tenantOf((await open(expanded)).repository).find(byExternalId('crm-1')), 'the column was rolled back');
    });
  });
}
