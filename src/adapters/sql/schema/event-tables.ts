/** The tables of the change feed, of those who follow or check it, and of what is kept beside customers. */
import type { Compiled } from '../driver/query.ts';
import type { Dialect } from './database.ts';

export const eventTables = (dialect: Dialect): readonly Compiled[] => [
  ...feed(dialect),
  accessRecords(dialect),
  ...flowReferences(dialect),
  ...checkpoints(dialect),
  webhooks(dialect),
];

/** SQLite assigns positions with the insert, PostgreSQL after the commit: docs/decisions/0043-the-change-feed.md. */
const feed = ({ builder, text, schemas, createIndex, isPostgres }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('feeds')
    .addColumn('tenant', text, (column) => column.primaryKey().notNull())
    .addColumn('last', 'bigint', (column) => column.notNull())
    .compile(),
  ...(isPostgres
    ? []
    : [
        {
          sql: `update ${schemas.data}.changes set position = numbered.position from
            (select rowid as id, row_number() over (partition by tenant order by rowid) as position from ${schemas.data}.changes)
            as numbered where numbered.id = changes.rowid`,
          part: 'data' as const,
        },
        {
          sql: `insert into ${schemas.data}.feeds select tenant, count(*) from ${schemas.data}.changes group by tenant`,
          part: 'data' as const,
        },
        createIndex('data', 'changes_version', 'changes', ['tenant', 'number', 'version'], { isUnique: true }),
      ]),
];

const accessRecords = ({ builder, text }: Dialect): Compiled =>
  builder.schema
    .createTable('access_records')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('id', text, (column) => column.notNull())
    .addColumn('body', text, (column) => column.notNull())
    .addPrimaryKeyConstraint('access_records_pk', ['tenant', 'number', 'at', 'id'])
    .compile();

/** The index has all columns of the summary of a customer, so that it is counted in the index. */
const flowReferences = ({ builder, text, createIndex }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('flow_references')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('kind', text, (column) => column.notNull())
    .addColumn('reference', text, (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('state', text, (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('flow_references_pk', ['tenant', 'kind', 'reference'])
    .compile(),
  createIndex('data', 'flow_references_customer', 'flow_references', ['tenant', 'number', 'kind', 'state']),
];

const checkpoints = ({ builder, bytes, text }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('checkpoints')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('sequence', 'bigint', (column) => column.notNull())
    .addColumn('through', 'bigint', (column) => column.notNull())
    .addColumn('digests', bytes, (column) => column.notNull())
    .addColumn('previous', text, (column) => column.notNull())
    .addColumn('erasure_sequence', 'bigint')
    .addColumn('erasure_chain', bytes)
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('signature', bytes, (column) => column.notNull())
    .addPrimaryKeyConstraint('checkpoints_pk', ['tenant', 'sequence'])
    .compile(),
];

const webhooks = ({ builder, bytes, text }: Dialect): Compiled =>
  builder.schema
    .createTable('webhooks')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('id', text, (column) => column.notNull())
    .addColumn('url', text, (column) => column.notNull())
    .addColumn('description', text)
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('sealed_secrets', bytes, (column) => column.notNull())
    .addColumn('position', 'bigint', (column) => column.notNull())
    .addColumn('event_id', text)
    .addColumn('first_failure_at', 'bigint')
    .addColumn('failures', 'integer', (column) => column.notNull())
    .addColumn('next_attempt_at', 'bigint')
    .addColumn('last_error', text)
    .addColumn('last_success_at', 'bigint')
    .addColumn('disabled_reason', text)
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('webhooks_pk', ['tenant', 'id'])
    .compile();
