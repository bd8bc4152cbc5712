import type { TenantId } from '../../domain/identity.ts';
import type { AuditTrail, StoredEvent } from '../ports/audit-trail.ts';
import type { Checkpoint, Checkpoints } from '../ports/checkpoints.ts';
import type { Clock } from '../ports/clock.ts';
import type { CustomerRepository } from '../ports/customer-repository.ts';
import type { Signer } from '../ports/signer.ts';

/** The length of an event's digest: the first half of a SHA-256. */
export const digestBytes = 16;
/** How many events one checkpoint covers at most: 16 KiB of digests. */
export const eventsPerCheckpoint = 1_000;

type Unsigned = Omit<Checkpoint, 'signature'>;

/**
 * The digest of an event: all that the feed shows of it, without its position, so that an event that was moved is told
 * from one that was changed.
 */
export const digestOf = (signer: Pick<Signer, 'hash'>, { customerUrn, version, id, at, body }: StoredEvent) =>
  signer.hash(JSON.stringify([customerUrn, version, id, at, body])).subarray(0, digestBytes);

/** The hash of a checkpoint, base64url: SHA-256 over the tenant and all of the checkpoint but its signature. */
export function checkpointHash(
  signer: Pick<Signer, 'hash'>,
  tenant: TenantId,
  { sequence, through, digests, previous, erasureLog, at }: Unsigned,
): string {
  const log = erasureLog === undefined ? null : { sequence: erasureLog.sequence, chain: erasureLog.chain };
  const content = { checkpointVersion: 1, tenant, sequence, through, previous, erasureLog: log, at };
  return base64url(signer.hash(JSON.stringify({ ...content, digests: base64url(digests) })));
}

/** Whether a checkpoint has the signature of this deployment. @param hash that of {@link checkpointHash} */
export const isSignedCheckpoint = (signer: Pick<Signer, 'verify'>, hash: string, { signature }: Checkpoint): boolean =>
  signer.verify(hash, signature);

/** The position before the first event that a checkpoint covers. */
export const startOf = ({ through, digests }: Pick<Checkpoint, 'through' | 'digests'>): number =>
  through - digests.length / digestBytes;

export const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');

interface Dependencies {
  readonly repository: Pick<CustomerRepository, 'lastChange'>;
  readonly trail: Pick<AuditTrail, 'events' | 'lastErasure'>;
  readonly checkpoints: Checkpoints;
  readonly signer: Signer;
  readonly clock: Clock;
}

/** Makes the checkpoints. */
export class AuditCheckpoints {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Makes checkpoints over the tenant's events since the last one, until all that were stored before the call are
   * covered. Makes none if there are no new events. A job calls it for each tenant.
   *
   * @param isOver ends it after the present checkpoint once this returns true
   * @returns `gap` if the feed lacks so many events that nothing after them can be covered; else `done`
   */
  async make(tenant: TenantId, isOver: () => boolean = () => false): Promise<'done' | 'gap'> {
    const { repository, checkpoints } = this.#dependencies;
    const end = await repository.lastChange(tenant);
    let last = await checkpoints.last(tenant);
    while ((last?.through ?? 0) < end && !isOver()) {
      const next = await this.#next(tenant, last);
      if (next === undefined) return 'gap';
      // Another process has made it, and goes on.
      if (!(await checkpoints.add(tenant, next))) return 'done';
      last = next;
    }
    return 'done';
  }

  async #next(tenant: TenantId, last: Checkpoint | undefined): Promise<Checkpoint | undefined> {
    const { trail, signer, clock } = this.#dependencies;
    const start = last?.through ?? 0;
    const page = await trail.events(tenant, start, eventsPerCheckpoint);
    const events = page.filter(({ position }) => position <= start + eventsPerCheckpoint);
    const through = events.at(-1)?.position;
    if (through === undefined) return undefined;
    // A position without an event keeps a digest of zeros: the audit names it for ever, and later events are covered.
    const digests = new Uint8Array((through - start) * digestBytes);
    for (const event of events) digests.set(digestOf(signer, event), (event.position - start - 1) * digestBytes);
    const erasureLog = await trail.lastErasure(tenant);
    const checkpoint = {
      sequence: (last?.sequence ?? 0) + 1,
      through,
      digests,
      previous: last === undefined ? '' : checkpointHash(signer, tenant, last),
      ...(erasureLog !== undefined && { erasureLog }),
      at: clock(),
    };
    return { ...checkpoint, signature: signer.sign(checkpointHash(signer, tenant, checkpoint)) };
  }
}
