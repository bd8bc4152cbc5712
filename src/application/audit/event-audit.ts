import type { TenantId } from '../../domain/identity.ts';
import { nextTurn } from '../next-turn.ts';
import type { AuditTrail, StoredEvent } from '../ports/audit-trail.ts';
import type { Checkpoint, Checkpoints } from '../ports/checkpoints.ts';
import type { CustomerRepository } from '../ports/customer-repository.ts';
import type { LogPosition } from '../ports/erasures.ts';
import type { Signer } from '../ports/signer.ts';
import {
  base64url,
  checkpointHash,
  digestBytes,
  digestOf,
  eventsPerCheckpoint,
  isSignedCheckpoint,
  startOf,
} from './checkpoints.ts';
import { customerFindings } from './customer-audit.ts';
import { EventDifferences } from './differences.ts';
import type { EventFinding } from './findings.ts';

/** A checkpoint in the form in which it is kept elsewhere. Signature and hash are base64url. */
export interface CheckpointWitness {
  readonly tenant: TenantId;
  readonly sequence: number;
  readonly through: number;
  readonly hash: string;
  readonly signature: string;
}

export interface EventAuditReport {
  /** The position of the last event. */
  readonly events: number;
  /** How many of them no sound checkpoint covers. */
  readonly uncovered: number;
  readonly newest?: CheckpointWitness;
  readonly findings: readonly EventFinding[];
}

interface Dependencies {
  readonly repository: Pick<CustomerRepository, 'lastChange'>;
  readonly trail: AuditTrail;
  readonly checkpoints: Pick<Checkpoints, 'list'>;
  readonly signer: Pick<Signer, 'hash' | 'verify'>;
}

/** How many checkpoints are read at once: 800 KiB. */
const checkpointsAtOnce = 50;

/** Where a walk over a tenant's checkpoints is. */
interface Walk {
  readonly tenant: TenantId;
  readonly findings: EventFinding[];
  readonly differences: EventDifferences;
  /** The hashes of the checkpoints that were recorded elsewhere, by sequence. */
  readonly witnesses: Map<number, Set<string>>;
  sequence: number;
  /** The hash of the last checkpoint; undefined after a broken or missing one. */
  hash: string | undefined;
  /** The last position that was compared. */
  through: number;
  covered: number;
  erasureLog: LogPosition | undefined;
  newest: CheckpointWitness | undefined;
}

/**
 * Checks a tenant's change events against its checkpoints, and its records and erasure log against its events. Right also
 * while others write. Reads in pages.
 */
export class EventAudit {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** @param witnesses checkpoints that were recorded elsewhere: they must still be there */
  async verify(tenant: TenantId, witnesses: readonly CheckpointWitness[] = []): Promise<EventAuditReport> {
    const { repository, trail } = this.#dependencies;
    // First, so that it does not run away from the audit: events up to it can no longer change.
    const last = await trail.lastPosition(tenant);
    const feedEnd = await repository.lastChange(tenant);
    const end = Math.max(last, feedEnd);
    const walk = newWalk(tenant, witnesses);
    if (last > feedEnd) walk.findings.push({ kind: 'feed_end_mismatch', tenant, position: last });
    await this.#checkCheckpoints(walk);
    await this.#walkUncovered(walk, Math.max(end, walk.through));
    for (const [checkpoint, hashes] of walk.witnesses) {
      for (const _ of hashes) walk.findings.push({ kind: 'checkpoint_witness_mismatch', tenant, checkpoint });
    }
    const differences = walk.differences.list().map((difference) => ({ tenant, ...difference }));
    const customers = await customerFindings({ trail, repository }, tenant);
    const { findings, newest, covered, through } = walk;
    return {
      events: Math.max(end, through),
      uncovered: Math.max(end, through) - covered,
      ...(newest !== undefined && { newest }),
      findings: [...findings, ...differences, ...customers],
    };
  }

  async #checkCheckpoints(walk: Walk): Promise<void> {
    const { checkpoints } = this.#dependencies;
    for (;;) {
      const page = await checkpoints.list(walk.tenant, walk.sequence, checkpointsAtOnce);
      for (const checkpoint of page) await this.#checkCheckpoint(walk, checkpoint);
      if (page.length === 0) return;
    }
  }

  async #checkCheckpoint(walk: Walk, checkpoint: Checkpoint): Promise<void> {
    const { signer } = this.#dependencies;
    const { tenant, findings } = walk;
    const { sequence, through, previous, digests } = checkpoint;
    const missing = sequence - walk.sequence - 1;
    if (missing > 0) {
      findings.push({ kind: 'checkpoint_missing', tenant, checkpoint: walk.sequence + 1, count: missing });
      walk.hash = undefined;
    }
    walk.sequence = sequence;
    const hash = checkpointHash(signer, tenant, checkpoint);
    if (!isSignedCheckpoint(signer, hash, checkpoint) || digests.length % digestBytes > 0) {
      findings.push({ kind: 'broken_checkpoint', tenant, checkpoint: sequence });
      walk.hash = undefined;
      return;
    }
    const start = startOf(checkpoint);
    const isLinked = walk.hash === undefined ? start >= walk.through : previous === walk.hash && start === walk.through;
    if (!isLinked) findings.push({ kind: 'broken_checkpoint_link', tenant, checkpoint: sequence });
    walk.hash = hash;
    walk.newest = { tenant, sequence, through, hash, signature: base64url(checkpoint.signature) };
    walk.witnesses.get(sequence)?.delete(hash);
    await this.#checkErasureLog(walk, checkpoint);
    await this.#walkUncovered(walk, start);
    if (start >= walk.through) await this.#compare(walk, checkpoint, start);
  }

  async #checkErasureLog(walk: Walk, { sequence: checkpoint, erasureLog }: Checkpoint): Promise<void> {
    const { tenant } = walk;
    if (erasureLog === undefined || isSame(erasureLog, walk.erasureLog)) return;
    walk.erasureLog = erasureLog;
    if (await this.#dependencies.trail.hasErasureAt(tenant, erasureLog)) return;
    walk.findings.push({ kind: 'checkpoint_erasure_mismatch', tenant, checkpoint, sequence: erasureLog.sequence });
  }

  /** Compares the events of a checkpoint with its digests. */
  async #compare(walk: Walk, { through, digests }: Checkpoint, start: number): Promise<void> {
    const { signer, trail } = this.#dependencies;
    const events = await trail.events(walk.tenant, start, through - start);
    const at = new Map(events.map((event) => [event.position, event]));
    for (let position = start + 1; position <= through; position += 1) {
      const offset = (position - start - 1) * digestBytes;
      const event = at.get(position);
      const digest = event && digestOf(signer, event);
      walk.differences.covered(position, digests.subarray(offset, offset + digestBytes), event, digest);
    }
    walk.covered += through - start;
    walk.through = through;
    await nextTurn();
  }

  /** Looks for gaps in the events from the last one that was compared up to `end`. */
  async #walkUncovered(walk: Walk, end: number): Promise<void> {
    const { signer, trail } = this.#dependencies;
    let isOver = walk.through >= end;
    while (!isOver) {
      const page = await trail.events(walk.tenant, walk.through, eventsPerCheckpoint);
      const events: readonly StoredEvent[] = page.filter(({ position }) => position <= end);
      for (const event of events) {
        const skipped = event.position - walk.through - 1;
        if (skipped > 0) walk.differences.gap(walk.through + 1, skipped);
        walk.differences.uncovered(event, () => digestOf(signer, event));
        walk.through = event.position;
      }
      isOver = events.length < eventsPerCheckpoint;
      await nextTurn();
    }
    if (walk.through < end) walk.differences.gap(walk.through + 1, end - walk.through);
    walk.through = Math.max(walk.through, end);
  }
}

function newWalk(tenant: TenantId, witnesses: readonly CheckpointWitness[]): Walk {
  const hashes = new Map<number, Set<string>>();
  for (const { sequence, hash } of witnesses) hashes.set(sequence, (hashes.get(sequence) ?? new Set()).add(hash));
  return {
    tenant,
    findings: [],
    differences: new EventDifferences(),
    witnesses: hashes,
    sequence: 0,
    hash: '',
    through: 0,
    covered: 0,
    erasureLog: undefined,
    newest: undefined,
  };
}

const isSame = (one: LogPosition, other: LogPosition | undefined): boolean =>
  one.sequence === other?.sequence && one.chain === other.chain;
