/** Schemas that move on: once, whoever starts, and with the program of before beside the new one. */
import t, { type Test } from 'tap';
import type { SqlDatabase } from '../../src/adapters/sql/driver/database.ts';
import { runOnce } from '../../src/adapters/sql/driver/query.ts';
import { type Migrations, migrations } from '../../src/adapters/sql/schema/migrations.ts';
import type { CustomerRepository } from '../../src/application/ports/customer-repository.ts';
import { newDatabase } from '../support/postgres.ts';
import { atOnce, byExternalId, connectPostgres, connectSqlite, newFolder, tenantOf } from '../support/storage.ts';

interface Opened {
  readonly database: SqlDatabase;
  readonly repository: CustomerRepository;
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
  async 'PostgreSQL with the keys apart'(t) {
    const place = { url: await newDatabase(t), keysUrl: await newDatabase(t) };
    return (all) => connectPostgres(t, place, all);
  },
};

/** The next release: a column that old programs do not know. */
const expanded: Migrations = {
  ...migrations,
  data: [
    ...migrations.data,
    {
      statements: ({ builder }) => [
        builder.schema.alterTable('customers').addColumn('note', 'text').compile(),
        builder.insertInto('erasures_applied').values({ name: 'expanded', count: 0 }).compile(),
      ],
    },
  ],
};
/** The one after it: what only old programs use goes. */
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
    t.test('ten that start together run each step once', async (t) => {
      const open = await make(t);
      const opened = await atOnce(10, () => open(expanded));
      const rows = await opened[0]?.database.read(() =>
        runOnce(
          opened[0]?.database.dialect.builder.selectFrom('erasures_applied').selectAll().compile() as { sql: string },
        ),
      );
      t.equal(rows?.filter((row) => row.name === 'expanded').length, 1);
      const adds = await atOnce(10, (index) => tenantOf((opened[index] as Opened).repository).add(`crm-${index}`));
      t.ok(adds.every(({ code }) => code === 'SUCCESS'));
    });

    t.test('a program goes on beside the schema of the next version, and may start on it', async (t) => {
      const open = await make(t);
      const old = tenantOf((await open()).repository);
      await old.has('crm-1');
      const next = tenantOf((await open(expanded)).repository);
      await next.has('crm-2');
      t.ok(await old.find(byExternalId('crm-2')));
      await old.has('crm-3');
      await tenantOf((await open()).repository).has('crm-4');
      for (const externalId of ['crm-1', 'crm-3', 'crm-4']) t.ok(await next.find(byExternalId(externalId)), externalId);
    });

    t.test('what only the version before needed goes one version later: older programs are refused', async (t) => {
      const open = await make(t);
      await open(expanded);
      await open(contracted);
      await t.rejects(open(), { message: /schema version 3; this program knows 1, and 3 is needed/ });
      await t.rejects(open(expanded), { message: /this program knows 2, and 3 is needed/ });
      await open(contracted);
    });

    t.test('a step that fails leaves everything as it was', async (t) => {
      const open = await make(t);
      await tenantOf((await open()).repository).has('crm-1');
      const broken: Migrations = {
        ...migrations,
        data: [
          ...migrations.data,
          {
            statements: ({ builder }) => [
              builder.schema.alterTable('customers').addColumn('note', 'text').compile(),
              { sql: 'nonsense' },
            ],
          },
        ],
      };
      await t.rejects(open(broken));
      t.ok(await tenantOf((await open(expanded)).repository).find(byExternalId('crm-1')), 'the column was not added');
    });
  });
}
