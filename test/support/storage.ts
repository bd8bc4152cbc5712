/** Storage in a test: a tenant's view of a repository, records to store, and SQLite files that end with the test. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Test } from 'tap';
import { referenceData } from '../../src/adapters/reference-data.ts';
import { type SqlCustomers, sqlCustomers } from '../../src/adapters/sql/customers.ts';
import type { SqlDatabase } from '../../src/adapters/sql/database.ts';
import type { Migrations } from '../../src/adapters/sql/migrations.ts';
import { openPostgres, type PostgresOptions } from '../../src/adapters/sql/postgres.ts';
import { openSqlite, sqliteFiles } from '../../src/adapters/sql/sqlite.ts';
import { sqlTenants } from '../../src/adapters/sql/tenants.ts';
import { unlockVault } from '../../src/adapters/sql/vault-keys.ts';
import type { Vault } from '../../src/adapters/vault.ts';
import type {
  CustomerReference,
  CustomerRepository,
  Decision,
  RequestKey,
  StoredCustomer,
  WriteAnswer,
} from '../../src/application/ports.ts';
import { type CustomerContent, contentOf, timestamp } from '../../src/domain/customer.ts';
import { isAnonymized } from '../../src/domain/deletion.ts';
import {
  type CustomerUrn,
  type ExternalId,
  parseCustomerUrn,
  parseTenantId,
  type TenantId,
} from '../../src/domain/identity.ts';
import { noTelemetry } from './telemetry.ts';

export const world = referenceData();
export const noon = Date.parse('2026-01-15T12:00:00.000Z');
export const tenantId = (name: string): TenantId => parseTenantId(name) as TenantId;
export const byUrn = (urn: string): CustomerReference => ({ urn: parseCustomerUrn(urn) as CustomerUrn });
export const byExternalId = (externalId: string): CustomerReference => ({ externalId: externalId as ExternalId });

/** One connection to a storage. */
export interface Connection {
  readonly repository: CustomerRepository;
  close(): Promise<void>;
}

export type Fields = Partial<Omit<CustomerContent, 'externalIdentifier'>>;
export type Decide = (current: StoredCustomer | undefined) => Decision;

const noConsents = {
  emailConsent: false,
  smsConsent: false,
  phoneConsent: false,
  pushConsent: false,
  profilingConsent: false,
};

/** A customer as a store makes it of these fields. */
export function content(externalIdentifier: string, fields: Fields = {}): CustomerContent {
  return contentOf({
    externalIdentifier,
    legalType: 'Individual',
    privacy: noConsents,
    status: 'Active',
    claimedRegion: { countryCode: 'DE', languageCode: 'de' },
    ...fields,
  });
}

/** Overwrites these fields, a millisecond after noon; undefined removes one. An anonymised record is not found. */
export function overwrite(
  fields: { readonly [Name in keyof CustomerContent]?: CustomerContent[Name] | undefined },
): Decide {
  return (current) => {
    if (current === undefined || isAnonymized(current.customer)) return { leave: 'CUSTOMER_NOT_FOUND' };
    const { customerUrn, createdAt } = current.customer;
    const changed = contentOf({ ...current.customer, ...fields } as CustomerContent);
    return { write: { customerUrn, ...changed, createdAt, updatedAt: timestamp(noon + 1) } };
  };
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** An Idempotency-Key; the same words make the same one. */
export const requestKey = (name: string, request: string, expiresAt: number): RequestKey => ({
  digest: digest(name),
  fingerprint: digest(request),
  expiresAt,
});

/** Who asks for everything that tests write. */
export const asker = { keyId: 'key', requestId: 'request' };

interface When {
  readonly now?: number;
  readonly key?: RequestKey;
}

/** A repository as one tenant uses it, at noon unless it says otherwise. */
export function tenantOf(repository: CustomerRepository, tenant: TenantId = tenantId('acme')) {
  const change = (by: CustomerReference, decide: Decide, { now = noon, key }: When = {}) =>
    repository.change(tenant, by, decide, { ...asker, now }, key);
  const add = (externalId: string, fields: Fields = {}, { now = noon, key }: When = {}) =>
    repository.add(tenant, content(externalId, fields), { ...asker, now }, key);

  const forget = (by: CustomerReference, { now = noon + 1, key }: When = {}) =>
    repository.erase(tenant, by, { ...asker, now }, key);

  return {
    add,
    change,
    forget,
    find: (by: CustomerReference) => repository.find(tenant, by),
    holds: (externalId: string) => repository.holds(tenant, externalId as ExternalId),
    /** Adds what cannot be refused. */
    has: async (externalId: string, fields: Fields = {}, when: When = {}) =>
      storedIn(await add(externalId, fields, when)),
  };
}

/** The record of an answer that must be SUCCESS, and how to name it. */
export function storedIn(answer: WriteAnswer) {
  if (answer.code !== 'SUCCESS') throw new Error(`expected SUCCESS, got ${answer.code}`);
  const { customer, version } = answer.stored;
  return { stored: answer.stored, customer, version, by: byUrn(customer.customerUrn) };
}

/** How often each code was answered. */
export function tally(answers: readonly WriteAnswer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code } of answers) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

/** The results of `times` calls that are made in one turn. */
export const atOnce = <Result>(times: number, call: (index: number) => Promise<Result>): Promise<Result[]> =>
  Promise.all(Array.from({ length: times }, (_, index) => call(index)));

/** A data folder that is not there yet; it ends with the test. */
export const newFolder = (t: Test): string => join(t.testdir({}), 'data');

/** Opens a data folder as the program does. */
export async function openFolder(dataDir: string, all?: Migrations) {
  mkdirSync(dataDir, { recursive: true });
  const database = await openSqlite({ files: sqliteFiles(dataDir), mayCreate: true }, noTelemetry);
  try {
    const masterKeyFile = join(dataDir, 'master.key');
    const vault = await unlockVault({ database, masterKeyFile, mayCreate: true, ...(all && { all }) });
    const repository = sqlCustomers({ database, vault, world, partition: '00' });
    await repository.reconcile();
    return { database, vault, repository };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Opens a PostgreSQL database as the program does, with a master key of the test's own; it is closed with the test. */
export async function connectPostgres(t: Test, place: Pick<PostgresOptions, 'url' | 'keysUrl'>, all?: Migrations) {
  const { url } = place;
  masterKeys.set(url, masterKeys.get(url) ?? join(t.testdir({}), 'master.key'));
  const database = openPostgres({ ...place, poolSize: 10, timeoutMs: 5_000 }, noTelemetry);
  const masterKeyFile = masterKeys.get(url) as string;
  const vault = await unlockVault({ database, masterKeyFile, mayCreate: true, ...(all && { all }) });
  const repository = sqlCustomers({ database, vault, world, partition: '00' });
  await repository.reconcile();
  return closing(t, { database, vault, repository });
}
/** By the URL of the database. */
const masterKeys = new Map<string, string>();

/** Opens a data folder; it is closed with the test if not before. */
export async function connectSqlite(t: Test, dataDir: string, all?: Migrations) {
  return closing(t, await openFolder(dataDir, all));
}

function closing<Database extends SqlDatabase>(
  t: Test,
  { database, vault, repository }: { database: Database; vault: Vault; repository: SqlCustomers },
) {
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= database.close();
    return closing;
  };
  t.teardown(close);
  return { database, vault, repository, directory: sqlTenants(database), close };
}

/** Uses an SQLite file with nothing of ours in between. */
export function withRawSqlite<Result>(path: string, use: (database: Database.Database) => Result): Result {
  const database = new Database(path);
  try {
    return use(database);
  } finally {
    database.close();
  }
}
