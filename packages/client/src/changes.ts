import type { Api } from './api.ts';
import { outcomeOf } from './attempts.ts';
import { RefusedError } from './errors.ts';
import type { operations } from './openapi.ts';
import type { ChangeEvent, Outcome } from './outcome.ts';

export interface ChangesOptions {
  /** The `next` of an earlier page; `start` (the default): the beginning; `end`: only what comes from now on. */
  readonly after?: string | undefined;
  /** At most this many events a page, 1 to 1000. Default: 1000. */
  readonly limit?: number | undefined;
  /** Waits for events at the end of the feed, up to this many seconds (1 to 30) a request, and goes on for ever. */
  readonly wait?: number | undefined;
  readonly signal?: AbortSignal | undefined;
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
  { after, limit, wait, signal }: ChangesOptions,
): AsyncGenerator<ChangesPage, void> {
  const query: object = { after, limit, wait };
  for (;;) {
    const answer: Outcome<'changes'> = await outcomeOf<operations['changes']>(transport, signal, () =>
      http.GET('/changes', {
        params: { query },
        fetch: (request) => transport.send(request, signal, (wait ?? 0) * 1_000),
      }),
    );
    if (answer.messageCode !== 'SUCCESS') throw new RefusedError(answer);
    const { changes, next } = answer.result;
    yield { changes, next };
    if (!wait && changes.length === 0) return;
    Object.assign(query, { after: next });
  }
}
