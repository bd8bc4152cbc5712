import { DatabaseFailure } from '../../application/ports/database-failure.ts';
import { describeRecovery } from '../../application/recovery-messages.ts';
import type { CustomerStorage } from './customer-storage.ts';
import type { SqlDatabase } from './schema/database.ts';

/**
 * Recovers after a crash or a restore: finishes erasures, makes keys and records consistent, and ensures that no URN is
 * issued twice. Returns messages for the operator, one sentence each; later starts do not repeat them.
 *
 * @param now milliseconds since 1970
 */
export async function recoverAtStart(
  { recovery, sequence, keyCopies, audit }: CustomerStorage,
  database: SqlDatabase,
  now: number,
): Promise<readonly string[]> {
  const isCopy = await keyCopies.isUnused();
  const report = await recovery.recoverAll();
  // Damage must not prevent a start: a later read of the damaged record reports the damage.
  await sequence.raise().catch(unlessRefused);
  // A crash may have left destroyed keys in the write-ahead logs.
  await database.checkpoint('keys');
  await database.checkpoint('data');
  // Mark the backup as used only now: if this process ends earlier, the next start must still find it unused.
  const skipped = isCopy ? await keyCopies.takeIntoUse(now) : 0;
  const unreadable = isCopy ? await audit.countUnreadable() : 0;
  return [
    ...describeRecovery(report),
    ...(skipped > 0
      ? [
          `the keys are a backup: skipped ${skipped} URNs, so that none is issued twice`,
          'if the records are a backup too, revoke again every API key that was revoked after this backup was made',
        ]
      : []),
    ...(unreadable > 0
      ? [
          `${unreadable} records cannot be decrypted with these keys: they are newer than the keys, or of another deployment`,
        ]
      : []),
  ];
}

function unlessRefused(error: unknown): void {
  if (!(error instanceof DatabaseFailure)) throw error;
}
