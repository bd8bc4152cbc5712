/** The table of the plain service: plain columns, with unique indexes on the plain values. */
export interface PlainRow {
  tenant: string;
  external_id: string | null;
  email: string | null;
  phone_number: string | null;
  salutation: string | null;
  first_name: string | null;
  last_name: string | null;
  gender: string | null;
  /** JSON, as the other two groups. */
  billing_address: string | null;
  privacy: string | null;
  claimed_region: string | null;
  version: number;
  created_at: string;
  updated_at: string;
}
export type StoredRow = PlainRow & { readonly id: number };

type MaybePromise<Value> = Value | Promise<Value>;

export interface PlainStore {
  /** Whether an API key with this SHA-256 belongs to the tenant. */
  hasApiKey(tenant: string, digest: Buffer): MaybePromise<boolean>;
  find(tenant: string, column: 'id' | 'external_id', value: number | string): MaybePromise<StoredRow | undefined>;
  /** Stores a customer in one transaction. @returns its id; undefined if a unique value is taken */
  insert(row: PlainRow): MaybePromise<number | undefined>;
  /** Reads and replaces a customer in one transaction. @returns the new row; undefined if there is no such customer */
  change(tenant: string, id: number, change: (row: StoredRow) => PlainRow): MaybePromise<StoredRow | undefined>;
}

const columns = [
  'tenant',
  'external_id',
  'email',
  'phone_number',
  'salutation',
  'first_name',
  'last_name',
  'gender',
  'billing_address',
  'privacy',
  'claimed_region',
  'version',
  'created_at',
  'updated_at',
] as const satisfies (keyof PlainRow)[];
export const valuesOf = (row: PlainRow): unknown[] => columns.map((column) => row[column]);

const [placeholders, assignments] = [
  columns.map((_, index) => `$${index + 1}`).join(', '),
  columns.map((column, index) => `${column} = $${index + 1}`).join(', '),
];
/** With the placeholders of PostgreSQL. The id of a customer is the last value of `replace`. */
export const statements = {
  createCustomers: (idType: string) => `create table if not exists customers (id ${idType} primary key,
    ${columns.map((column) => `${column} ${column === 'version' ? 'integer' : 'text'}`).join(', ')},
    unique (tenant, external_id), unique (tenant, email), unique (tenant, phone_number))`,
  createApiKeys: (bytes: string) => `create table if not exists api_keys (digest ${bytes} primary key, tenant text)`,
  addApiKey: 'insert into api_keys (digest, tenant) values ($1, $2) on conflict do nothing',
  hasApiKey: 'select 1 from api_keys where digest = $1 and tenant = $2',
  count: 'select count(*) as count from customers',
  id: 'select * from customers where tenant = $1 and id = $2',
  external_id: 'select * from customers where tenant = $1 and external_id = $2',
  insert: `insert into customers (${columns.join(', ')}) values (${placeholders}) returning id`,
  replace: `update customers set ${assignments} where id = $${columns.length + 1} returning *`,
};
