/** The migrations of both parts. */
import type { CreateTableBuilder } from 'kysely';
import type { Compiled } from '../driver/query.ts';
import type { Dialect } from './database.ts';
import { eventTables } from './event-tables.ts';
import type { Part } from './tables.ts';

interface Migration {
  /** The statements, in order. */
  statements(dialect: Dialect): readonly Compiled[];
  /**
   * True if a program that does not know this migration cannot use the tables after it. A schema change takes two
   * releases: the first expands (the old program still works beside the new one), and a later release contracts.
   */
  readonly contracts?: true;
}

export type Migrations = Readonly<Record<Part, readonly Migration[]>>;

/** Every migration, oldest first. Never edit a released migration: append a new one. */
export const migrations: Migrations = {
  data: [
    {
      statements: (dialect) => [
        ...tenants(dialect),
        ...customers(dialect),
        ...changes(dialect),
        ...idempotencyRecords(dialect),
        positionTable(dialect, 'erasure_positions'),
      ],
    },
    {
      statements: (dialect) => [
        leases(dialect),
        ...replaceExpiryIndex(dialect, 'data', 'idempotency_records', 'idempotency_records_expiry'),
      ],
    },
    { statements: mergedInto },
    // An older program stores events without a position, and merges without moving references.
    { statements: eventTables, contracts: true },
  ],
  keys: [
    {
      statements: (dialect) => [
        ...keyTables(dialect),
        ...erasures(dialect),
        positionTable(dialect, 'erasure_heads'),
        dialect.builder.insertInto('sequences').values({ name: 'customer', last: 0 }).compile(),
      ],
    },
    {
      statements: (dialect) =>
        replaceExpiryIndex(dialect, 'keys', 'erasures', 'erasures_expiry', { where: 'expires_at is not null' }),
    },
    { statements: tombstones },
  ],
};

const leases = ({ builder, text }: Dialect): Compiled =>
  builder.schema
    .createTable('leases')
    .addColumn('name', text, (column) => column.primaryKey().notNull())
    .addColumn('holder', text, (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .compile();

function mergedInto({ builder, createIndex }: Dialect): readonly Compiled[] {
  return [
    builder.schema.alterTable('customers').addColumn('merged_into', 'bigint').compile(),
    createIndex('data', 'customers_merged_into', 'customers', ['tenant', 'merged_into'], {
      where: 'merged_into is not null',
    }),
  ];
}

function tombstones({ builder, bytes, text, createIndex }: Dialect): readonly Compiled[] {
  return [
    builder.schema
      .createTable('tombstones')
      .addColumn('tenant', text, (column) => column.notNull())
      .addColumn('digest', bytes, (column) => column.notNull())
      .addColumn('revision', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('tombstones_pk', ['tenant', 'digest'])
      .compile(),
    createIndex('keys', 'tombstones_expiry', 'tombstones', ['tenant', 'expires_at']),
  ];
}

/** Expired rows are searched for each tenant, as the rows of different tenants may be on different nodes. */
const replaceExpiryIndex = (
  { schemas, createIndex }: Dialect,
  part: Part,
  table: string,
  index: string,
  options?: Parameters<Dialect['createIndex']>[4],
): readonly Compiled[] => [
  { sql: `drop index ${schemas[part]}.${index}`, part },
  createIndex(part, index, table, ['tenant', 'expires_at'], options),
];

const tenants = ({ builder, bytes, text }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('tenants')
    .addColumn('tenant', text, (column) => column.primaryKey().notNull())
    .addColumn('name', text)
    .addColumn('payment', text, (column) => column.notNull())
    .addColumn('jwt', text)
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .compile(),
  builder.schema
    .createTable('api_keys')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('key_id', text, (column) => column.notNull())
    .addColumn('digest', bytes, (column) => column.notNull())
    .addColumn('prefix', text, (column) => column.notNull())
    .addColumn('name', text, (column) => column.notNull())
    .addColumn('role', text, (column) => column.notNull())
    .addColumn('environment', text, (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .addColumn('last_used_at', 'bigint')
    .addColumn('requests', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('api_keys_pk', ['tenant', 'key_id'])
    .addUniqueConstraint('api_keys_digest', ['tenant', 'digest'])
    .compile(),
];

const customers = ({ builder, bytes, text, createIndex }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('customers')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('external_id', bytes)
    .addColumn('email', bytes)
    .addColumn('phone_number', bytes)
    .addColumn('sealed', bytes, (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addColumn('erasure', 'bigint')
    .addPrimaryKeyConstraint('customers_pk', ['tenant', 'number'])
    .addUniqueConstraint('customers_external_id', ['tenant', 'external_id'])
    .addUniqueConstraint('customers_email', ['tenant', 'email'])
    .addUniqueConstraint('customers_phone_number', ['tenant', 'phone_number'])
    .compile(),
  createIndex('data', 'customers_erasure', 'customers', ['tenant', 'erasure'], { where: 'erasure is not null' }),
];

/** No primary key on SQLite; `feed` adds an index. */
const changes = ({ builder, text, createIndex, isPostgres }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('changes')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('position', 'bigint')
    .addColumn('id', text, (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('body', text, (column) => column.notNull())
    .$call((table) =>
      isPostgres ? table.addPrimaryKeyConstraint('changes_pk', ['tenant', 'number', 'version']) : table,
    )
    .compile(),
  ...(isPostgres
    ? [createIndex('data', 'changes_due', 'changes', ['tenant', 'number', 'version'], { where: 'position is null' })]
    : []),
  createIndex('data', 'changes_position', 'changes', ['tenant', 'position'], {
    isUnique: true,
    where: 'position is not null',
  }),
];

const idempotencyRecords = ({ builder, bytes, text, createIndex }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('idempotency_records')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('key_digest', bytes, (column) => column.notNull())
    .addColumn('request_digest', bytes, (column) => column.notNull())
    .addColumn('code', text, (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('idempotency_records_pk', ['tenant', 'key_digest'])
    .compile(),
  createIndex('data', 'idempotency_records_expiry', 'idempotency_records', ['expires_at']),
  createIndex('data', 'idempotency_records_customer', 'idempotency_records', ['tenant', 'number']),
];

const keyTables = ({ builder, bytes, text }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('root_keys')
    .addColumn('name', text, (column) => column.primaryKey().notNull())
    .addColumn('wrapped', bytes, (column) => column.notNull())
    .compile(),
  builder.schema
    .createTable('data_keys')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('wrapped', bytes, (column) => column.notNull())
    .addPrimaryKeyConstraint('data_keys_pk', ['tenant', 'number'])
    .compile(),
  builder.schema
    .createTable('key_copies_used')
    .addColumn('made_at', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('taken_at', 'bigint')
    .compile(),
  builder.schema
    .createTable('sequences')
    .addColumn('name', text, (column) => column.primaryKey().notNull())
    .addColumn('last', 'bigint', (column) => column.notNull())
    .compile(),
];

const erasures = ({ builder, bytes, text, createIndex }: Dialect): readonly Compiled[] => [
  builder.schema
    .createTable('erasures')
    .addColumn('tenant', text, (column) => column.notNull())
    .addColumn('sequence', 'bigint', (column) => column.notNull())
    .addColumn('hash', bytes, (column) => column.notNull())
    .addColumn('sealed', bytes, (column) => column.notNull())
    .addColumn('chain', bytes, (column) => column.notNull())
    .addColumn('key_digest', bytes)
    .addColumn('request_digest', bytes)
    .addColumn('expires_at', 'bigint')
    .addPrimaryKeyConstraint('erasures_pk', ['tenant', 'sequence'])
    .addUniqueConstraint('erasures_hash', ['tenant', 'hash'])
    .compile(),
  createIndex('keys', 'erasures_key_digest', 'erasures', ['tenant', 'key_digest'], {
    isUnique: true,
    where: 'key_digest is not null',
  }),
  createIndex('keys', 'erasures_expiry', 'erasures', ['expires_at'], { where: 'expires_at is not null' }),
];

/** A table that stores, for each tenant, one position in the tenant's erasure log. */
const positionTable = ({ builder, bytes, text }: Dialect, name: string): Compiled =>
  (builder.schema.createTable(name) as CreateTableBuilder<string>)
    .addColumn('tenant', text, (column) => column.primaryKey().notNull())
    .addColumn('sequence', 'bigint', (column) => column.notNull())
    .addColumn('chain', bytes, (column) => column.notNull())
    .compile();
