/** The only file that knows everybody: configuration → adapters → use cases → server. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { replaceCopy } from './adapters/files.ts';
import { joseTokens } from './adapters/jwt.ts';
import { memoryCustomers, memoryTenants } from './adapters/memory.ts';
import { type Metrics, prometheusMetrics } from './adapters/metrics.ts';
import { referenceData } from './adapters/reference-data.ts';
import { secrets } from './adapters/secrets.ts';
import { sqlCustomers } from './adapters/sql/customers.ts';
import { type SqlDatabase, writeProbe } from './adapters/sql/database.ts';
import { isCopyOfKeys, restoreSqlite } from './adapters/sql/restore.ts';
import { openSqlite } from './adapters/sql/sqlite.ts';
import { sqlTenants } from './adapters/sql/tenants.ts';
import { rotateMasterKey, unlockVault } from './adapters/sql/vault-keys.ts';
import { ephemeralVault, type Vault } from './adapters/vault.ts';
import { type Customers, customerUseCases } from './application/customers.ts';
import { type Erasures, erasureUseCases } from './application/erasures.ts';
import type { Clock, CustomerRepository, Maintenance, Telemetry, TenantDirectory } from './application/ports.ts';
import { type Tenants, tenantUseCases } from './application/tenants.ts';
import type { Config } from './config.ts';
import type { ReferenceData } from './domain/reference-data.ts';
import { version } from './version.ts';

export interface Services {
  readonly customers: Customers;
  readonly tenants: Tenants;
  readonly erasures: Erasures;
  readonly maintenance: Maintenance;
  readonly telemetry: Telemetry;
  readonly metrics: Pick<Metrics, 'contentType' | 'render'>;
  /** Whether the storage takes writes right now. */
  readonly canWrite: () => Promise<boolean>;
  /** Finishes what was begun and closes the storage. */
  close(): Promise<void>;
}

interface Storage {
  readonly repository: CustomerRepository;
  readonly directory: TenantDirectory;
  readonly canWrite: () => Promise<boolean>;
  readonly vault: Vault;
  readonly maintenance: Maintenance;
  close(): Promise<void>;
}

/** The use cases over the storage that is configured. */
export async function openServices(config: Config, clock: Clock = Date.now): Promise<Services> {
  const world = referenceData();
  const metrics = prometheusMetrics();
  const tokens = joseTokens({ clock });
  const { environment } = config;
  const { repository, directory, vault, ...storage } = await openStorage(config, world, metrics);
  const tenants = tenantUseCases({ directory, secrets, tokens, telemetry: metrics, clock, environment });
  return {
    customers: customerUseCases({ repository, world, digest: vault.digest, clock }),
    tenants,
    erasures: erasureUseCases({ repository, signer: vault, world, clock }),
    maintenance: storage.maintenance,
    telemetry: metrics,
    metrics,
    canWrite: storage.canWrite,
    async close() {
      try {
        await tenants.recordUse();
      } finally {
        await storage.close();
      }
    },
  };
}

async function openStorage(config: Config, world: ReferenceData, telemetry: Telemetry): Promise<Storage> {
  const { storage, dataDir, databaseUrl, partition } = config;
  if (storage === 'memory') {
    return {
      repository: memoryCustomers({ partition, world }),
      directory: memoryTenants(),
      // Plain objects need no sealing; the vault signs and digests, with keys that end with the process.
      vault: ephemeralVault(),
      maintenance: noMaintenance,
      canWrite: async () => true,
      close: async () => {},
    };
  }
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  if (databaseUrl !== '') {
    // Loaded where it is needed alone.
    const { openPostgres } = await import('./adapters/sql/postgres.ts');
    const { databasePoolSize: poolSize, databaseTimeoutMs: timeoutMs } = config;
    const database = await openPostgres({ url: databaseUrl, poolSize, timeoutMs }, telemetry);
    return openSql(database, config, world, copiesByServer);
  }
  const database = await openSqlite(dataDir, telemetry);
  return openSql(database, config, world, {
    backup: (file) => database.copy('data', file),
    backupKeys: (file) =>
      replaceCopy(
        file,
        (path) => isCopyOfKeys(path, dataDir),
        (next) => database.copy('keys', next),
      ),
  });
}

type Copies = Pick<Maintenance, 'backup' | 'backupKeys'>;

/** Everything that is kept in SQL. The database is closed where it cannot be used. */
async function openSql(database: SqlDatabase, config: Config, world: ReferenceData, copies: Copies): Promise<Storage> {
  try {
    const masterKeyFile = masterKeyFileOf(config);
    const vault = await unlockVault({ database, masterKeyFile });
    const repository = sqlCustomers({ database, vault, world, partition: config.partition });
    return {
      repository,
      directory: sqlTenants(database),
      vault,
      maintenance: {
        ...copies,
        rotateMasterKey: () => rotateMasterKey({ database, masterKeyFile }),
        countUnreadable: repository.countUnreadable,
        erasedAgain: await repository.reconcile(),
      },
      canWrite: writeProbe(database),
      close: database.close,
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

const byServer = async (): Promise<never> => {
  throw new Error('PostgreSQL is copied by its own tools: pg_dump --schema=c2a for the records; see README.md');
};
const copiesByServer: Copies = { backup: byServer, backupKeys: byServer };

const none = async (): Promise<never> => {
  throw new Error('memory storage has no files');
};
const noMaintenance: Maintenance = {
  backup: none,
  backupKeys: none,
  rotateMasterKey: none,
  countUnreadable: async () => 0,
  erasedAgain: 0,
};

const masterKeyFileOf = ({ masterKeyFile, dataDir }: Config): string => masterKeyFile || join(dataDir, 'master.key');

/** Puts a backup in place of the records; see `restoreSqlite`. Throws, and touches nothing, where a server runs or it is no backup of ours. */
export async function restoreBackup(
  { storage, databaseUrl, dataDir }: Config,
  file: string,
): Promise<{ keptKeys: boolean }> {
  if (storage === 'memory') return none();
  if (databaseUrl !== '') return byServer();
  return restoreSqlite(dataDir, file);
}

/** How often the use of keys is written down. */
const recordUseMs = 5_000;

/** The HTTP server over services, which it closes when it is closed itself. It does not listen. */
export async function openServer(
  services: Services,
  config: Config,
  logger: FastifyBaseLogger,
): Promise<FastifyInstance> {
  // Commands that do not serve need not load it.
  const { createServer } = await import('./http/server.ts');
  const app = await createServer(services, { ...config, logger, version });
  const recording = setInterval(() => {
    services.tenants.recordUse().catch((error) => logger.warn({ err: error }, 'the use of keys was not recorded'));
  }, recordUseMs).unref();
  // Runs when the last request has been answered.
  app.addHook('onClose', async () => {
    clearInterval(recording);
    await services.close();
  });
  return app;
}
