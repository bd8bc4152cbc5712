import { type Kysely, sql } from 'kysely';

type Migration = (db: Kysely<unknown>) => Promise<void>;

/**
 * Every step of the schemas, oldest first: `data` is what is backed up, `keys` lives apart. A step that was released
 * is never edited: add the next.
 */
export const migrations: Readonly<Record<'data' | 'keys', readonly Migration[]>> = {
  data: [
    async (db) => {
      const schema = db.withSchema('data').schema;
      await schema
        .createTable('tenants')
        .addColumn('tenant', 'text', (column) => column.primaryKey().notNull())
        .addColumn('name', 'text')
        .addColumn('payment', 'text', (column) => column.notNull())
        .addColumn('jwt', 'text')
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .execute();

      await schema
        .createTable('api_keys')
        .addColumn('tenant', 'text', (column) => column.notNull())
        .addColumn('key_id', 'text', (column) => column.notNull())
        .addColumn('digest', 'blob', (column) => column.notNull())
        .addColumn('prefix', 'text', (column) => column.notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('role', 'text', (column) => column.notNull())
        .addColumn('environment', 'text', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('expires_at', 'bigint')
        .addColumn('revoked_at', 'bigint')
        .addColumn('last_used_at', 'bigint')
        .addColumn('requests', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('api_keys_pk', ['tenant', 'key_id'])
        .addUniqueConstraint('api_keys_digest', ['tenant', 'digest'])
        .execute();

      await schema
        .createTable('customers')
        .addColumn('tenant', 'text', (column) => column.notNull())
        .addColumn('number', 'bigint', (column) => column.notNull())
        .addColumn('version', 'integer', (column) => column.notNull())
        .addColumn('external_id', 'blob')
        .addColumn('email', 'blob')
        .addColumn('phone_number', 'blob')
        .addColumn('sealed', 'blob')
        .addColumn('remainder', 'text', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('updated_at', 'bigint', (column) => column.notNull())
        .addColumn('anonymized_at', 'bigint')
        .addPrimaryKeyConstraint('customers_pk', ['tenant', 'number'])
        .addUniqueConstraint('customers_external_id', ['tenant', 'external_id'])
        .addUniqueConstraint('customers_email', ['tenant', 'email'])
        .addUniqueConstraint('customers_phone_number', ['tenant', 'phone_number'])
        .execute();

      await schema
        .createTable('kept_answers')
        .addColumn('tenant', 'text', (column) => column.notNull())
        .addColumn('key_digest', 'blob', (column) => column.notNull())
        .addColumn('fingerprint', 'blob', (column) => column.notNull())
        .addColumn('answer', 'text')
        .addColumn('expires_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('kept_answers_pk', ['tenant', 'key_digest'])
        .execute();
      await sql`create index data.kept_answers_expiry on kept_answers (tenant, expires_at)`.execute(db);

      await schema
        .createTable('erasures_applied')
        .addColumn('name', 'text', (column) => column.primaryKey().notNull())
        .addColumn('count', 'bigint', (column) => column.notNull())
        .execute();
      await sql`insert into data.erasures_applied values ('erasure', 0)`.execute(db);
    },
  ],

  keys: [
    async (db) => {
      const { schema } = db;
      await schema
        .createTable('root_keys')
        .addColumn('name', 'text', (column) => column.primaryKey().notNull())
        .addColumn('wrapped', 'blob', (column) => column.notNull())
        .execute();

      await schema
        .createTable('data_keys')
        .addColumn('tenant', 'text', (column) => column.notNull())
        .addColumn('number', 'bigint', (column) => column.notNull())
        .addColumn('wrapped', 'blob', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('data_keys_pk', ['tenant', 'number'])
        .execute();

      await schema
        .createTable('erasures')
        .addColumn('tenant', 'text', (column) => column.notNull())
        .addColumn('hash', 'blob', (column) => column.notNull())
        .addColumn('sealed', 'blob', (column) => column.notNull())
        .addPrimaryKeyConstraint('erasures_pk', ['tenant', 'hash'])
        .execute();

      await schema
        .createTable('sequences')
        .addColumn('name', 'text', (column) => column.primaryKey().notNull())
        .addColumn('last', 'bigint', (column) => column.notNull())
        .execute();
      await sql`insert into sequences values ('customer', 0), ('erasure', 0)`.execute(db);
    },
  ],
};
