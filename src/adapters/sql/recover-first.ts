import type { MaybePromise } from '../../application/maybe-promise.ts';
import type { CustomerRepository } from '../../application/ports/customer-repository.ts';
import { unlessDatabaseFailure } from '../../application/ports/database-failure.ts';
import type { RecoveryFinding } from '../../application/ports/erasures.ts';
import type { ReferenceRepository } from '../../application/ports/references.ts';
import type { TenantId } from '../../domain/identity.ts';

type Method = (tenant: TenantId, ...others: unknown[]) => MaybePromise<unknown>;

interface Repositories {
  readonly repository: CustomerRepository;
  readonly references: ReferenceRepository;
}

/**
 * Repositories that recover a tenant before its next use, if a start could not: restored keys may lack entries of the
 * erasure log, which must be appended before a request appends others. If the recovery fails too, the use goes on: on a
 * node that is away it fails by itself, and damage must not make a whole tenant unavailable.
 *
 * @param unrecovered the tenants that a start could not recover; those that are recovered are removed
 */
export function recoverFirst({ repository, references }: Repositories, unrecovered: Set<TenantId>): Repositories {
  const attempts = new Map<TenantId, Promise<void>>();
  /** Findings of attempts, until a caller asks for them. */
  const unreported = new Map<TenantId, readonly RecoveryFinding[]>();

  async function recover(tenant: TenantId): Promise<void> {
    try {
      const { findings } = await repository.recoverErasures(tenant);
      unrecovered.delete(tenant);
      if (findings.length > 0) unreported.set(tenant, findings);
    } catch (error) {
      unlessDatabaseFailure(error);
    } finally {
      attempts.delete(tenant);
    }
  }

  const first =
    (method: Method): Method =>
    (tenant, ...others) => {
      if (!unrecovered.has(tenant)) return method(tenant, ...others);
      const attempt = attempts.get(tenant) ?? recover(tenant);
      attempts.set(tenant, attempt);
      return attempt.then(() => method(tenant, ...others));
    };

  const firstOfAll = <Methods extends object>(methods: Methods): Methods =>
    Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, first(method as Method)])) as Methods;

  // These need no recovery: on a node that does not answer, each attempt would cost them a timeout.
  const { countCustomers, deleteExpired, ...others } = repository;
  return {
    references: firstOfAll(references),
    repository: {
      ...firstOfAll(others),
      countCustomers,
      deleteExpired,
      async recoverErasures(tenant) {
        const report = await repository.recoverErasures(tenant);
        unrecovered.delete(tenant);
        const earlier = unreported.get(tenant) ?? [];
        unreported.delete(tenant);
        return { ...report, findings: [...earlier, ...report.findings] };
      },
    },
  };
}
