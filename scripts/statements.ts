/** Every statement that the program sends, in each dialect, so that a reviewer sees when one changes. */
import { customerStatements } from '../src/adapters/sql/customers/queries.ts';
import { writeProbe } from '../src/adapters/sql/driver/database.ts';
import {
  type Dialect,
  postgresApartDialect,
  postgresDialect,
  sqliteDialect,
} from '../src/adapters/sql/driver/dialects.ts';
import { rootKeyStatements } from '../src/adapters/sql/root-keys.ts';
import { migrations } from '../src/adapters/sql/schema/migrations.ts';
import { tenantStatements } from '../src/adapters/sql/tenants.ts';

const dialects: Record<string, Dialect> = {
  SQLite: sqliteDialect,
  PostgreSQL: postgresDialect,
  'PostgreSQL, keys in a database of their own': postgresApartDialect,
};

const makers: Record<string, (dialect: Dialect) => unknown> = {
  'Customers, their keys, erasures and kept answers': customerStatements,
  'Tenants and API keys': tenantStatements,
  'Root keys': rootKeyStatements,
  'Whether it takes writes': (dialect) => writeProbe({ dialect } as Parameters<typeof writeProbe>[0]),
};

/** The document, in Markdown. */
export function statementsDocument(): string {
  const lines = [
    '# Statements',
    '',
    'Made by `npm run generate`; a test fails where it is not current. What is not listed under a dialect is as in the one',
    'before it.',
  ];
  const listed = new Set<string>();
  for (const [name, dialect] of Object.entries(dialects)) {
    lines.push('', `## ${name}`);
    const sections = Object.entries(makers).map(([title, make]) => [title, compiledBy(dialect, make)] as const);
    const steps = Object.entries(migrations).flatMap(([part, all]) =>
      all.map(({ statements }, index) => [`Schema of the ${part}, step ${index + 1}`, statements(dialect)] as const),
    );
    for (const [title, statements] of [
      ...sections,
      ...steps.map(([title, all]) => [title, all.map(({ sql }) => sql)] as const),
    ]) {
      const fresh = statements.filter((sql) => !listed.has(sql));
      if (fresh.length > 0) lines.push('', `### ${title}`, '', '```sql', ...fresh.map((sql) => `${sql};`), '```');
      for (const sql of fresh) listed.add(sql);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** What is compiled while statements are prepared, in a stable order. */
function compiledBy({ builder, ...dialect }: Dialect, make: (dialect: Dialect) => unknown): string[] {
  const executor = builder.getExecutor();
  const { compileQuery } = executor;
  const compiled = new Set<string>();
  executor.compileQuery = (...query) => {
    const made = compileQuery.apply(executor, query);
    compiled.add(made.sql);
    return made as never;
  };
  try {
    make({ builder, ...dialect });
  } finally {
    executor.compileQuery = compileQuery;
  }
  return [...compiled].sort();
}
