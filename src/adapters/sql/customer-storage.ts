import type { TenantId } from '../../domain/identity.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import type { Vault } from '../crypto/vault.ts';
import { createSqlAuditTrail } from './audit-trail.ts';
import { ChangeFeed } from './change-feed.ts';
import { changeWriter } from './customers/change-writer.ts';
import { CustomerChanges } from './customers/customer-changes.ts';
import { CustomerReader } from './customers/customer-reader.ts';
import { IdBlocks } from './customers/id-blocks.ts';
import { customerQueries } from './customers/queries.ts';
import { cached, cachedFind, RecordCache } from './customers/record-cache.ts';
import { RecordEncryption } from './customers/record-encryption.ts';
import { SqlCustomers } from './customers/repository.ts';
import { toUrn, UrnSequence } from './customers/urns.ts';
import { appliedQueries } from './erasure/applied-positions.ts';
import { ErasureAudit } from './erasure/audit.ts';
import { Eraser } from './erasure/erase.ts';
import { ErasureLog } from './erasure/erasure-log.ts';
import { KeyCopies } from './erasure/key-copies.ts';
import { Merger } from './erasure/merge.ts';
import { Recovery } from './erasure/recovery.ts';
import { ResidueSearch } from './erasure/residue.ts';
import { idempotencyQueries } from './idempotency-records.ts';
import { recoverFirst } from './recover-first.ts';
import { createSqlReferences, FlowReferences } from './references.ts';
import type { SqlDatabase } from './schema/database.ts';
import { Tombstones } from './tombstones.ts';

interface Dependencies {
  readonly database: SqlDatabase;
  readonly vault: Vault;
  readonly referenceData: ReferenceData;
  /** Two digits, the second part of every URN that is issued. */
  readonly partition: string;
  /** The id of the deployment; see `readDeployment`. */
  readonly deployment: string;
}

/** Everything that works on customers and their erasures in one database. */
export type CustomerStorage = ReturnType<typeof createCustomerStorage>;

/** The parts that carry out erasures. A test replaces one part with a faulty one, to show that it detects the fault. */
export const erasureParts = { ErasureLog, Eraser, Recovery, appliedQueries, changeWriter };

/**
 * Wires customers, erasures and idempotency records over a database. A process must create only one customer storage
 * per database, because the record cache is told only of the process's writes through the same storage.
 */
export function createCustomerStorage(
  given: Dependencies,
  { ErasureLog, Eraser, Recovery, appliedQueries, changeWriter } = erasureParts,
) {
  const { database, vault, referenceData, partition, deployment } = given;
  const { dialect } = database;
  const cache = new RecordCache(() => database.epoch());
  const changed = (tenant: string, number: number) => cache.drop(tenant, toUrn(number));
  const queries = customerQueries(dialect);
  const idempotency = idempotencyQueries(dialect);
  const applied = appliedQueries(dialect);
  const encryption = new RecordEncryption(vault, referenceData);
  const writer = changeWriter(dialect, queries, changed);
  const log = new ErasureLog({ dialect, vault, encryption, queries, deployment, changed });
  const reader = new CustomerReader({ queries, idempotency, encryption, log });
  const sequence = new UrnSequence(database, partition);
  const tombstones = new Tombstones(dialect, encryption);
  const shared = { database, queries, applied, idempotency, encryption, reader, writer, log, tombstones };
  const references = new FlowReferences({ dialect, queries, log, changed });
  const eraser = new Eraser({ ...shared, references });
  const merger = new Merger({ ...shared, eraser });
  const changes = new CustomerChanges(shared);
  const recovery = new Recovery({ ...shared, eraser });
  const feed = new ChangeFeed(database);
  const ids = new IdBlocks({ database, encryption, queries, sequence });
  const residue = new ResidueSearch({ database, queries });
  const repository = new SqlCustomers({ ...shared, changes, feed, ids, eraser, merger, recovery, residue, sequence });
  const find = cachedFind((tenant, by) => database.readShort(() => reader.findSummarized(tenant, by)), cache);
  const unrecovered = new Set<TenantId>();
  return {
    ...recoverFirst(
      {
        repository: cached(repository, cache, find),
        references: createSqlReferences(database, references, find),
      },
      unrecovered,
    ),
    /** The tenants that the recovery at the start left out; see `recoverFirst`. */
    unrecovered,
    recovery,
    audit: new ErasureAudit(shared),
    trail: createSqlAuditTrail(shared),
    keyCopies: new KeyCopies(database, sequence),
    sequence,
    cache,
    listTenants: async () =>
      (await database.read(() => queries.listTenants({}))).map(({ tenant }) => tenant as TenantId),
  };
}
