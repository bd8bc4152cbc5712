import { eachTenant } from '../../application/each-tenant.ts';
import { unlessDatabaseFailure } from '../../application/ports/database-failure.ts';
import { describeRecovery, nameTenants } from '../../application/recovery-messages.ts';
import type { TenantId } from '../../domain/identity.ts';
import type { CustomerStorage } from './customer-storage.ts';
import type { SqlDatabase } from './schema/database.ts';

/** How long a start waits for the recovery. A tenant that is left out is recovered before its first use. */
const maxRecoveryMs = 10_000;

/**
 * Recovers after a crash or a restore: finishes erasures, makes keys and records consistent, and ensures that no URN is
 * issued twice. Goes on without the tenants for which the database fails or takes too long. Returns messages for the
 * operator, one sentence each; later starts do not repeat them, unless the database fails again.
 *
 * @param now milliseconds since 1970
 */
export async function recoverAtStart(
  customers: CustomerStorage,
  database: SqlDatabase,
  now: number,
): Promise<readonly string[]> {
  const { keyCopies, sequence } = customers;
  const isCopy = await keyCopies.isUnused();
  // Damage must not prevent a start: a later read of the damaged table reports the damage.
  const tenants = await customers.listTenants().catch(unlessDatabaseFailure);
  const { erasedAgain, messages } = await recoverTenants(customers, tenants ?? [], performance.now() + maxRecoveryMs);
  sequence.isDoubtful = tenants === undefined || !tenants.every((tenant) => sequence.isRaised(tenant));
  // A crash may have left destroyed keys in the write-ahead logs.
  await database.checkpoint('keys');
  await database.checkpoint('data');
  // Mark the backup as used only now: if this process ends earlier, the next start must still find it unused.
  const skipped = isCopy ? await keyCopies.takeIntoUse(now) : 0;
  return [
    ...(tenants === undefined ? ['the list of tenants could not be read: no erasure was recovered'] : []),
    ...describeRecovery({ erasedAgain, findings: [] }),
    ...messages,
    ...(skipped > 0
      ? [
          `the keys are a backup: skipped ${skipped} URNs, so that none is issued twice`,
          'if the records are a backup too, revoke again every API key that was revoked after this backup was made',
        ]
      : []),
    ...(isCopy ? await describeUnreadable(customers, tenants ?? []) : []),
  ];
}

/**
 * Recovers tenants. Returns the number of erasures that were finished, and a sentence for each finding.
 *
 * @param untilMs when to stop, in milliseconds of `performance.now()`; absent: when all tenants are done
 */
export async function recoverTenants(
  { repository, unrecovered }: CustomerStorage,
  tenants: readonly TenantId[],
  untilMs = Number.POSITIVE_INFINITY,
) {
  const { results, unseen } = await eachTenant(
    tenants,
    (tenant) => repository.recoverErasures(tenant),
    () => performance.now() > untilMs,
  );
  for (const tenant of unseen) unrecovered.add(tenant);
  const reports = [...results.values()];
  const unfinished = tenants.filter((tenant) => results.get(tenant)?.isUnfinished);
  const failed = [...unseen, ...unfinished];
  return {
    erasedAgain: reports.reduce((sum, report) => sum + report.erasedAgain, 0),
    messages: [
      ...describeRecovery({ erasedAgain: 0, findings: reports.flatMap(({ findings }) => findings) }),
      ...(failed.length > 0
        ? [
            `the database failed during the recovery of these tenants; a job or the next start retries it: ${nameTenants(failed)}`,
          ]
        : []),
    ],
  };
}

async function describeUnreadable({ audit }: CustomerStorage, tenants: readonly TenantId[]): Promise<string[]> {
  const { results, unseen } = await eachTenant(tenants, (tenant) => audit.countUnreadable(tenant));
  const unreadable = [...results.values()].reduce((sum, count) => sum + count, 0);
  return [
    ...(unreadable > 0
      ? [
          `${unreadable} records cannot be decrypted with these keys: they are newer than the keys, or of another deployment`,
        ]
      : []),
    ...(unseen.length > 0
      ? [
          `whether these keys decrypt the records is unknown; run audit verify for these tenants: ${nameTenants(unseen)}`,
        ]
      : []),
  ];
}
