import type { TenantId } from '../domain/identity.ts';
import type { RecoveryFinding, RecoveryReport } from './ports/erasures.ts';

/** Messages about a recovery for operators: one about finished erasures, if there are any, and one per finding. */
export function describeRecovery({ erasedAgain, findings }: RecoveryReport): string[] {
  return [
    ...(erasedAgain > 0
      ? [`finished ${erasedAgain} erasures that a crash had interrupted or a restored backup had undone`]
      : []),
    ...findings.map((finding) => `tenant ${finding.tenant}: ${sentences[finding.kind](finding)}`),
  ];
}

/** How many tenants a message names. */
const maxNamed = 20;

/** The ids of tenants, for a message: `acme, globex`. Long lists end with the number of further tenants. */
export function nameTenants(tenants: readonly TenantId[]): string {
  const further = tenants.length - maxNamed;
  return [...tenants.slice(0, maxNamed), ...(further > 0 ? [`and ${further} more`] : [])].join(', ');
}

const sentences: Record<RecoveryFinding['kind'], (finding: RecoveryFinding) => string> = {
  keys_older_than_records: () => 'the keys are older than the records; the erasure log was completed from the records',
  keys_and_records_mismatch: () => 'keys and records do not belong together: their erasure logs differ',
  broken_link: ({ sequence }) => `entry ${sequence} of the erasure log does not follow from the entry before it`,
  broken_seal: ({ sequence }) => `entry ${sequence} of the erasure log is damaged`,
  unknown_erasures: ({ count }) => `${count} entries of the erasure log were lost with the keys; repeat those erasures`,
};
