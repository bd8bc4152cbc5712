import type { Command } from 'commander';
import type { CheckpointWitness, EventAuditReport } from '../../application/audit/event-audit.ts';
import type { EventFinding } from '../../application/audit/findings.ts';
import { eachTenant } from '../../application/each-tenant.ts';
import { DatabaseFailure } from '../../application/ports/database-failure.ts';
import type { AuditFinding, LogPosition } from '../../application/ports/erasures.ts';
import type { AuditReport } from '../../application/ports/maintenance.ts';
import type { TenantId } from '../../domain/identity.ts';
import { CommandError, type Context, type OpenServices } from './context.ts';
import { readText, toTenantId, withStorage } from './options.ts';
import { readReceipt } from './privacy-reports.ts';

/** What must still be there, from the files that are given to `audit verify`. */
interface Witnesses {
  readonly receipts: readonly { readonly tenant: TenantId; readonly position: LogPosition }[];
  readonly checkpoints: readonly CheckpointWitness[];
}

/** `audit verify`. */
export function addAuditCommand(program: Command, { open, print }: Context): void {
  const command = program
    .command('audit')
    .command('verify [receipts...]')
    .description(
      'Check the change events, their signed checkpoints and the whole erasure log of each tenant, and compare them with ' +
        'the records. For each receipt file, also check that the log still has the position in the receipt ' +
        '(verify-receipt checks the signature). A file with an earlier output of this command with --json also counts: ' +
        'its checkpoints must still be there.',
    )
    .option('--tenant <tenant>', 'only this tenant', toTenantId);
  withStorage(command).action(async (files: readonly string[], options) => {
    const witnesses = readWitnesses(files, options.tenant);
    const services = await open(options);
    const all = await tenantsToCheck(services, witnesses, options.tenant);
    const { results, unseen } = await eachTenant(all, (id) => verifyTenant(services, id, witnesses));
    const { value, lines } = summary([...results.values()], witnesses.receipts.length);
    const unchecked = unseen.map((tenant) => `${tenant}  not checked: the database failed`);
    print(
      { ...value, unchecked: unseen },
      [...value.findings.map(inWords), ...unchecked, ...lines].join('\n'),
      value.findings.length + unseen.length > 0 ? 1 : 0,
    );
  });
}

/** @throws CommandError if there is no such tenant, or a witness is of a tenant that is not checked */
async function tenantsToCheck({ tenants }: OpenServices, { receipts, checkpoints }: Witnesses, only?: TenantId) {
  const all = (await tenants.list()).map(({ id }) => id).filter((id) => id === (only ?? id));
  if (all.length === 0 && only !== undefined) throw new CommandError(`there is no tenant ${only}`);
  for (const [what, witnesses] of [['receipt', receipts] as const, ['checkpoint', checkpoints] as const]) {
    const stranger = witnesses.find(({ tenant }) => !all.includes(tenant));
    if (stranger !== undefined)
      throw new CommandError(`a ${what} is of tenant ${stranger.tenant}, which is not checked`);
  }
  return all;
}

interface Verified {
  readonly log: AuditReport;
  readonly feed: EventAuditReport;
}

async function verifyTenant(
  { maintenance, eventAudit }: OpenServices,
  id: TenantId,
  { receipts, checkpoints }: Witnesses,
): Promise<Verified> {
  const positions = receipts.filter(({ tenant }) => tenant === id).map(({ position }) => position);
  const witnesses = checkpoints.filter(({ tenant }) => tenant === id);
  return {
    log: await unlessUnreadable(() => maintenance.verifyErasureLog(id, positions), {
      entries: 0,
      findings: [{ kind: 'unreadable_log', tenant: id }],
    }),
    feed: await unlessUnreadable(() => eventAudit.verify(id, witnesses), {
      events: 0,
      uncovered: 0,
      findings: [{ kind: 'unreadable_events', tenant: id }],
    }),
  };
}

/** A value that no program has stored may end a check: that is a finding, and the other checks go on. */
async function unlessUnreadable<Report>(check: () => Promise<Report>, unreadable: Report): Promise<Report> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof DatabaseFailure) throw error;
    process.stderr.write(`c2a: ${(error as Error).message}\n`);
    return unreadable;
  }
}

function summary(reports: readonly Verified[], receipts: number) {
  const sum = (count: (report: Verified) => number) => reports.reduce((total, report) => total + count(report), 0);
  const entries = sum(({ log }) => log.entries);
  const events = sum(({ feed }) => feed.events);
  const uncovered = sum(({ feed }) => feed.uncovered);
  const findings: (AuditFinding | EventFinding)[] = reports.flatMap(({ log, feed }) => [
    ...log.findings,
    ...feed.findings,
  ]);
  // The newest of each tenant: kept elsewhere, it is a witness of all events up to it.
  const checkpoints = reports.flatMap(({ feed }) => feed.newest ?? []);
  return {
    value: { tenants: reports.length, entries, receipts, events, uncovered, checkpoints, findings },
    lines: [
      `checked ${events} change events; no checkpoint covers ${uncovered} of them yet`,
      `checked ${entries} entries and ${receipts} receipts`,
    ],
  };
}

function inWords(finding: AuditFinding | EventFinding): string {
  const { kind, tenant, sequence, number, checkpoint, position, was, count, customerUrn, version } = {
    number: undefined,
    checkpoint: undefined,
    position: undefined,
    was: undefined,
    count: undefined,
    customerUrn: undefined,
    version: undefined,
    ...finding,
  };
  const words = [
    tenant,
    kind,
    checkpoint && `checkpoint ${checkpoint}`,
    sequence && `entry ${sequence}`,
    number && `customer ${number}`,
    position && `position ${position}`,
    was && `was ${was}`,
    count && `count ${count}`,
    customerUrn && `customer ${customerUrn}`,
    version && `version ${version}`,
  ];
  return words.filter(Boolean).join('  ');
}

/** @param only keeps the checkpoints of this tenant: an earlier output may have those of all */
function readWitnesses(files: readonly string[], only: TenantId | undefined): Witnesses {
  const read = files.map((file) => readCheckpoints(file) ?? readPosition(file));
  return {
    receipts: read.flatMap((witness) => ('position' in witness ? witness : [])),
    checkpoints: read
      .flatMap((witness) => ('position' in witness ? [] : witness))
      .filter(({ tenant }) => tenant === (only ?? tenant)),
  };
}

/** The checkpoints in an earlier output of `audit verify --json`; undefined if the file is none. */
function readCheckpoints(file: string): readonly CheckpointWitness[] | undefined {
  const text = readText(file, '<receipts>');
  try {
    const { checkpoints } = JSON.parse(text);
    if (Array.isArray(checkpoints) && checkpoints.every(isWitness)) return checkpoints;
  } catch {
    // Not JSON: `readPosition` says so.
  }
  return undefined;
}

const isWitness = ({ tenant, sequence, hash }: Record<string, unknown>): boolean =>
  typeof tenant === 'string' && typeof sequence === 'number' && typeof hash === 'string';

/** The tenant, and the position in the erasure log, that the receipt in a file states. */
function readPosition(file: string) {
  const { tenant, erasureLog: position } = readReceipt(file, '<receipts>').receipt;
  if (position == null) throw new CommandError(`${file} is not a receipt with a position in the erasure log`);
  return { tenant, position };
}
