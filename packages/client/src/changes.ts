import type { Api } from './api.ts';
import { RefusedError } from './errors.ts';
import type { operations } from './openapi.ts';
import { type ChangeEvent, type Outcome, outcomeOf } from './outcome.ts';

export interface ChangesOptions {
  /** The `next` of an earlier page; `start` (the default): the beginning; `end`: only what comes from now on. */
  readonly after?: string;
  /** At most this many events a page, 1 to 1000. Default: 1000. */
  readonly limit?: number;
  /** Waits for events at the end of the feed, up to this many seconds (1 to 30) a request, and goes on for ever. */
  readonly wait?: number;
  readonly signal?: AbortSignal;
}

export interface ChangesPage {
  /** The events; none at the end of the feed. */
  readonly changes: readonly ChangeEvent[];
  /** The cursor after these events: store it together with what you did with them. */
  readonly next: string;
}

/** See `Client.changes`. */
export async function* followChanges(
  { http, transport }: Api,
  { after = 'start', limit = 1_000, wait = 0, signal }: ChangesOptions,
): AsyncGenerator<ChangesPage, void> {
  for (let cursor = after, isEnd = false; !isEnd; ) {
    const answer: Outcome<'changes'> = await outcomeOf<operations['changes']>(
      http.GET('/changes', {
        params: { query: { after: cursor, limit, wait } },
        fetch: (request) => transport.send(request, wait * 1_000),
        signal: signal ?? null,
      }),
    );
    if (answer.messageCode !== 'SUCCESS') throw new RefusedError(answer);
    yield answer.result;
    cursor = answer.result.next;
    isEnd = !wait && answer.result.changes.length === 0;
  }
}
