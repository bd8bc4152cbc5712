import { format, readObject } from '../domain/field-schema.ts';
import type { TenantId } from '../domain/identity.ts';
import type { ReferenceData } from '../domain/reference-data.ts';
import { mustBeCursor } from '../domain/text-formats.ts';
import { violation } from '../domain/violations.ts';
import type { Caller } from './authentication.ts';
import { type ShownEvent, showEvent } from './change-event-view.ts';
import { FeedWatch } from './feed-watch.ts';
import { completed, invalid, type Outcome, refusal } from './outcome.ts';
import type { FeedEvent } from './ports/change-events.ts';
import type { CustomerRepository } from './ports/customer-repository.ts';

/** The query of `changes`. */
export const changesFields = {
  after: format(
    'cursor',
    'Opaque: the `next` of an earlier answer; or `end`, the end of the feed. Absent: its beginning.',
  ),
  limit: format('eventLimit', 'How many events to return at most, 1 to 1000. Absent: 1000.'),
  wait: format('waitSeconds', 'If there is no event: how many seconds to wait for one, 0 to 30. Absent: 0.'),
} as const;

/** Some events of a feed. */
export interface ChangesPage {
  readonly changes: readonly ShownEvent[];
  /** The `after` of the next request. */
  readonly next: string;
}

/** An event after which a consumer continues. The id tells it from another event at that position after a restore. */
interface Cursor {
  readonly position: number;
  readonly id: string;
}

const beginning: Cursor = { position: 0, id: '' };
const defaultLimit = 1_000;
/** How many requests of one tenant may wait in one process: each keeps a connection. */
const maxWaiting = 100;

interface Dependencies {
  readonly repository: Pick<CustomerRepository, 'changes' | 'lastChange'>;
  readonly referenceData: ReferenceData;
}

/** Reads the change feed of a tenant. */
export class Changes {
  readonly #dependencies: Dependencies;
  readonly #watch: FeedWatch;
  /** The reads in progress of woken requests. */
  readonly #reading = new Map<string, Promise<readonly FeedEvent[] | undefined>>();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#watch = new FeedWatch(dependencies.repository);
  }

  /**
   * The change events after a cursor, in the order of the feed. Refusals: INVALID_REQUEST; CURSOR_FROM_BEFORE_A_RESTORE;
   * TOO_MANY_REQUESTS, if as many requests of the tenant wait already.
   *
   * @param query as sent
   * @param signal aborted when the client has gone
   */
  async list(
    { tenant: { id: tenant } }: Pick<Caller, 'tenant'>,
    query: Readonly<Record<string, unknown>>,
    signal?: AbortSignal,
  ): Promise<Outcome<ChangesPage>> {
    const { after, limit, wait } = query;
    const given = readObject(changesFields, { after, limit, wait }, this.#dependencies.referenceData);
    if (!given.ok) return invalid(given.violations);
    const { value } = given;
    const from = value.after === 'end' ? await this.#end(tenant) : parseCursor(value.after ?? 'start');
    if (from === undefined) return invalid([violation('after', 'invalid_format', mustBeCursor)]);
    const count = Number(value.limit ?? defaultLimit);
    const events = await this.#read(tenant, from, count);
    const waitMs = Number(value.wait ?? 0) * 1_000;
    if (events?.length !== 0 || waitMs === 0) return page(from, events);
    if (this.#watch.countOf(tenant) >= maxWaiting) return refusal('TOO_MANY_REQUESTS');
    await this.#watch.wait(tenant, from.position, waitMs, signal);
    return page(from, await this.#readOnce(tenant, from, count));
  }

  /** Answers all waiting requests, at the shutdown of the server. */
  stop(): void {
    this.#watch.stop();
  }

  /** The events after a cursor. Undefined if the feed does not have the event of the cursor. */
  async #read(tenant: TenantId, from: Cursor, limit: number): Promise<readonly FeedEvent[] | undefined> {
    const { repository } = this.#dependencies;
    if (from.position === 0) return repository.changes(tenant, 0, limit);
    const [event, ...events] = await repository.changes(tenant, from.position - 1, limit + 1);
    return event?.id === from.id ? events : undefined;
  }

  /** Like `#read`; requests that were woken together share one read. */
  #readOnce(tenant: TenantId, from: Cursor, limit: number): Promise<readonly FeedEvent[] | undefined> {
    const key = JSON.stringify([tenant, from.position, from.id, limit]);
    const reading = this.#reading.get(key) ?? this.#read(tenant, from, limit).finally(() => this.#reading.delete(key));
    this.#reading.set(key, reading);
    return reading;
  }

  async #end(tenant: TenantId): Promise<Cursor> {
    const { repository } = this.#dependencies;
    const last = await repository.lastChange(tenant);
    return last === 0 ? beginning : ((await repository.changes(tenant, last - 1, 1))[0] ?? beginning);
  }
}

function page(from: Cursor, events: readonly FeedEvent[] | undefined): Outcome<ChangesPage> {
  if (events === undefined) return refusal('CURSOR_FROM_BEFORE_A_RESTORE');
  const last = events.at(-1) ?? from;
  return completed({ changes: events.map(showEvent), next: cursorText(last) });
}

const cursorText = ({ position, id }: Cursor): string =>
  position === 0 ? 'start' : Buffer.from(`${position}.${id}`).toString('base64url');

/** The cursor in a text; undefined if the text is no cursor. */
function parseCursor(text: string): Cursor | undefined {
  if (text === 'start') return beginning;
  const [, position, id] = /^([1-9]\d{0,14})\.([\da-f-]{36})$/.exec(Buffer.from(text, 'base64url').toString()) ?? [];
  return id === undefined ? undefined : { position: Number(position), id };
}
