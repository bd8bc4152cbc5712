/**
 * `npm run bench:events`: what a change event costs a store. Stores customers with and without their events, in turns, by the
 * repository, on SQLite and PostgreSQL. `npm run bench:events -- [stores] [rounds]`
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createReferenceData } from '../src/adapters/reference-data.ts';
import { createCustomerStorage } from '../src/adapters/sql/customer-storage.ts';
import type { BoundQuery, CompiledQuery, Routine } from '../src/adapters/sql/driver/query.ts';
import { sqliteFiles } from '../src/adapters/sql/driver/sqlite.ts';
import { unlockVault } from '../src/adapters/sql/root-keys.ts';
import { openPostgres, openSqlite, type SqlDatabase } from '../src/adapters/sql/schema/database.ts';
import { readDeployment } from '../src/adapters/sql/schema/migrate.ts';
import { noTelemetry } from '../src/adapters/telemetry/no-telemetry.ts';
import type { CustomerRepository } from '../src/application/ports/customer-repository.ts';
import { contentOf } from '../src/domain/customer.ts';
import { parseTenantId, type TenantId } from '../src/domain/identity.ts';
import { startPostgres } from '../test/support/postgres-server.ts';

const [stores = 3_000, rounds = 40] = process.argv.slice(2).map(Number);
const inFlight = 64;
const tenant = parseTenantId('acme') as TenantId;
const referenceData = createReferenceData();
let stored = 0;

const isEventOnly = (sql: string): boolean => /^insert into \S*"(?:changes|feeds)"/.test(sql);
/** The statement of a store on PostgreSQL, in which the event is selected and not inserted. */
const selecting = (sql: string): string => sql.replace(/(changed as \()insert into \S*"changes" \([^)]*\)\s*/, '$1');

/** A database that stores no change events. */
function withoutEvents(database: SqlDatabase): SqlDatabase {
  const replaced = new Map<CompiledQuery, CompiledQuery>();
  function withoutEvent({ statement, values }: BoundQuery): BoundQuery {
    const known = replaced.get(statement) ?? { ...statement, sql: selecting(statement.sql) };
    replaced.set(statement, known);
    return { statement: known, values };
  }
  function* filtered<Result>(routine: Routine<Result>): Routine<Result> {
    let step = routine.next();
    while (!step.done) {
      step = routine.next(isEventOnly(step.value.statement.sql) ? [{ count: 1 }] : yield withoutEvent(step.value));
    }
    return step.value;
  }
  return {
    ...database,
    write: (routine) => database.write(() => filtered(routine())),
    writeWithoutTransaction: (routine) => database.writeWithoutTransaction(() => filtered(routine())),
  };
}

interface Cost {
  /** Microseconds of CPU time for each store. */
  readonly cpu: number;
  /** Microseconds for each store, with the waits for the disk or the server. */
  readonly all: number;
}

/** Stores customers with an e-mail address and a phone number. */
async function storeAll(repository: CustomerRepository): Promise<Cost> {
  const end = stored + stores;
  const [began, cpuBefore] = [performance.now(), process.cpuUsage()];
  async function storeSome(): Promise<void> {
    while (stored < end) {
      stored += 1;
      const content = contentOf({
        externalIdentifier: `crm-${stored}`,
        email: `jane.${stored}@example.com`,
        phoneNumber: `+4917${String(stored).padStart(9, '0')}`,
        firstName: 'Jane',
        lastName: 'Doe',
        legalType: 'Individual',
        privacy: {
          emailConsent: true,
          smsConsent: false,
          phoneConsent: false,
          pushConsent: false,
          profilingConsent: false,
        },
        status: 'Active',
        claimedRegion: { countryCode: 'DE', languageCode: 'de' },
      });
      const result = await repository.store(tenant, content, { keyId: 'bench', requestId: 'bench', now: Date.now() });
      if (result.code !== 'SUCCESS') throw new Error(result.code);
    }
  }
  await Promise.all(Array.from({ length: inFlight }, storeSome));
  const { user, system } = process.cpuUsage(cpuBefore);
  return { cpu: (user + system) / stores, all: ((performance.now() - began) * 1000) / stores };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

async function compare(name: string, database: SqlDatabase, folder: string): Promise<void> {
  const vault = await unlockVault({ database, masterKeyFile: join(folder, `${name}.key`), mayCreate: true });
  const deployment = await readDeployment(database);
  const over = (database: SqlDatabase) =>
    createCustomerStorage({ database, vault, referenceData, partition: '00', deployment }).repository;
  const [whole, without] = [over(database), over(withoutEvents(database))];
  await storeAll(whole);
  await storeAll(without);
  const measured: { whole: Cost; without: Cost }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    measured.push({ whole: await storeAll(whole), without: await storeAll(without) });
  }
  for (const kind of ['all', 'cpu'] as const) {
    const of = (which: 'whole' | 'without') => median(measured.map((one) => one[which][kind])).toFixed(0);
    const ratio = median(measured.map((one) => one.without[kind] / one.whole[kind]));
    console.log(
      `${name}, ${kind}: ${of('whole')} µs a store, ${of('without')} without event, ratio ${ratio.toFixed(2)}`,
    );
  }
}

const folder = mkdtempSync(join(tmpdir(), 'c2a-bench-'));
try {
  const sqlite = await openSqlite({ files: sqliteFiles(folder), mayCreate: true }, noTelemetry);
  await compare('SQLite', sqlite, folder);
  await sqlite.close();
  const server = await startPostgres();
  const postgres = await openPostgres({ url: server.url, poolSize: 10, timeoutMs: 10_000 }, noTelemetry);
  await compare('PostgreSQL', postgres, folder);
  await postgres.close();
  await server.stop();
} finally {
  rmSync(folder, { recursive: true });
}
