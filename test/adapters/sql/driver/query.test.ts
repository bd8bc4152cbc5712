/** The part of a query is known once it is compiled. */
import { sql } from 'kysely';
import t from 'tap';
import { createPostgresDialect, createSqliteDialect } from '../../../../src/adapters/sql/driver/dialects.ts';
import { compileQuery, type Part, type Routine, runOnce } from '../../../../src/adapters/sql/driver/query.ts';

interface Tables {
  people: { id: number; name: string };
  secrets: { id: number; secret: string };
}
const partOf = (table: string): Part | undefined => (({ people: 'data', secrets: 'keys' }) as const)[table];

const sqlite = createSqliteDialect<Tables>(partOf);
const together = createPostgresDialect<Tables>(partOf, { keysApart: false, isCitus: false });
const apart = createPostgresDialect<Tables>(partOf, { keysApart: true, isCitus: false });

/** The first query of a routine. */
function first(routine: Routine<unknown>) {
  const step = routine.next();
  if (step.done) throw new Error('the routine has no query');
  return step.value.statement;
}

for (const [name, dialect] of Object.entries({ SQLite: sqlite, PostgreSQL: together, 'keys apart': apart })) {
  const { builder, schemas } = dialect;
  t.test(`a query of ${name} has the part of its tables, and their schema`, async (t) => {
    const queries: [Part, Parameters<typeof compileQuery>[0]][] = [
      ['data', () => builder.selectFrom('people').selectAll()],
      ['keys', () => builder.selectFrom('secrets').select('id').orderBy('id').limit(1)],
      ['keys', () => builder.updateTable('secrets').set({ secret: '' }).where('id', '=', 1)],
      ['keys', () => builder.deleteFrom('secrets')],
      ['data', () => builder.insertInto('people').values({ id: 1, name: 'secrets' })],
      [
        'keys',
        () =>
          builder
            .with('people_of', (one) => one.selectFrom('secrets').select('id'))
            .selectFrom('people_of')
            .select('id'),
      ],
      ['keys', () => builder.schema.createTable('secrets').addColumn('id', 'integer')],
      ['keys', () => builder.schema.alterTable('secrets').addColumn('id', 'integer')],
      ['data', () => builder.selectNoFrom(sql`1`.as('one'))],
    ];
    for (const [part, build] of queries) {
      const { sql, part: found } = first(compileQuery(build)({}));
      t.equal(found, part, sql);
      if (/people\b|secrets/.test(sql)) t.match(sql, `"${schemas[part]}".`);
      t.equal(first(runOnce(build({}).compile())).part, part);
    }
    for (const part of ['keys', 'data'] as const) {
      const made = [
        dialect.hasTable(part, 'x'),
        ...dialect.createSchema(part),
        dialect.createIndex(part, 'i', 'x', ['y']),
      ];
      for (const compiled of made) t.equal(first(runOnce(compiled)).part, part, compiled.sql);
    }
  });
}

t.test('a query may name tables of both parts, unless these are in separate databases', async (t) => {
  const both = ({ builder }: typeof sqlite) =>
    compileQuery((_: object) =>
      builder.selectFrom('people').innerJoin('secrets', 'secrets.id', 'people.id').select('secrets.secret'),
    );
  t.match(first(both(sqlite)({})).sql, '"main"."secrets"');
  t.match(first(both(together)({})).sql, '"c2a_keys"."secrets"');
  t.throws(() => both(apart), { message: /tables of the keys and of the records/ });
});
