import type { CustomerUrn } from '../../domain/identity.ts';
import type { StoredEvent } from '../ports/audit-trail.ts';
import { digestBytes } from './checkpoints.ts';
import type { EventDifference } from './findings.ts';

/** How many differences are named: more than this many are kept in memory by no audit. */
const maxNamed = 10_000;

interface Misplaced {
  readonly position: number;
  readonly digest: string;
  readonly isCovered: boolean;
  readonly customerUrn: CustomerUrn;
  readonly version: number;
}

const noEvent = new Uint8Array(digestBytes);

/** Collects the differences of a tenant's whole feed, because an event may have been moved to any position. */
export class EventDifferences {
  /** The digests that were not found at their positions. */
  readonly #lost = new Map<string, number>();
  readonly #misplaced: Misplaced[] = [];
  readonly #gaps: EventDifference[] = [];
  #unnamedFrom: number | undefined;

  /** Compares the event at a position, if there is one, with its digest in a checkpoint. */
  covered(
    position: number,
    expected: Uint8Array,
    event: StoredEvent | undefined,
    digest: Uint8Array | undefined,
  ): void {
    const isGap = isEqual(expected, noEvent);
    if (event === undefined) {
      if (isGap) this.gap(position, 1);
      else this.#lose(position, expected);
    } else if (digest === undefined || !isEqual(digest, expected)) {
      if (!isGap) this.#lose(position, expected);
      this.#misplace(event, digest ?? noEvent, true);
    }
  }

  /** An event that no checkpoint covers; it may have been moved there. */
  uncovered(event: StoredEvent, digest: () => Uint8Array): void {
    if (this.#lost.size > 0) this.#misplace(event, digest(), false);
  }

  /** Positions without an event, which no checkpoint covers. */
  gap(position: number, count: number): void {
    if (this.#hasRoom(position)) this.#gaps.push({ kind: 'position_gap', position, count });
  }

  /** All differences, by position. */
  list(): EventDifference[] {
    const moved: (Misplaced & { was: number })[] = [];
    const others: Misplaced[] = [];
    const found = new Set<number>();
    for (const event of this.#misplaced) {
      const was = this.#lost.get(event.digest);
      if (was === undefined || found.has(was)) others.push(event);
      else {
        moved.push({ ...event, was });
        found.add(was);
      }
    }
    const lost = new Set([...this.#lost.values()].filter((position) => !found.has(position)));
    const changed: EventDifference[] = [];
    for (const { position, customerUrn, version, isCovered } of others) {
      if (!isCovered) continue;
      // An event with other content, at the position of one that is nowhere now.
      const kind = lost.delete(position) ? 'event_changed' : 'event_inserted';
      changed.push({ kind, position, customerUrn, version });
    }
    const removed = [...lost].map((position): EventDifference => ({ kind: 'event_removed', position }));
    const named = [...this.#gaps, ...removed, ...changed, ...inRuns(moved)];
    named.sort((one, other) => one.position - other.position);
    const from = this.#unnamedFrom;
    return from === undefined ? named : [...named, { kind: 'more_events_differ', position: from }];
  }

  #lose(position: number, digest: Uint8Array): void {
    if (this.#hasRoom(position)) this.#lost.set(hex(digest), position);
  }

  #misplace({ position, customerUrn, version }: StoredEvent, digest: Uint8Array, isCovered: boolean): void {
    const key = hex(digest);
    if (!(isCovered || this.#lost.has(key))) return;
    if (this.#hasRoom(position)) this.#misplaced.push({ position, digest: key, isCovered, customerUrn, version });
  }

  #hasRoom(position: number): boolean {
    const count = this.#lost.size + this.#misplaced.length + this.#gaps.length;
    if (count >= maxNamed) this.#unnamedFrom ??= position;
    return this.#unnamedFrom === undefined;
  }
}

/** One difference for each run of events that were moved by the same distance. */
function inRuns(moved: readonly (Misplaced & { readonly was: number })[]): EventDifference[] {
  const runs: (EventDifference & { was: number; count: number })[] = [];
  for (const { position, was, customerUrn, version } of moved) {
    const run = runs.at(-1);
    if (run !== undefined && position === run.position + run.count && was === run.was + run.count) {
      runs[runs.length - 1] = { ...run, count: run.count + 1 };
    } else runs.push({ kind: 'event_reordered', position, was, count: 1, customerUrn, version });
  }
  return runs;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;
