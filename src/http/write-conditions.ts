import type { FastifyRequest } from 'fastify';
import type { WriteConditions } from '../application/write-requests.ts';

/** The request id, Idempotency-Key and If-Match of a write. */
export function conditionsOf({ id, headers }: FastifyRequest): WriteConditions {
  const text = headers['if-match'];
  return {
    requestId: id,
    idempotencyKey: headers['idempotency-key'] as string | undefined,
    // `*` matches every version (RFC 9110 section 13.1.1).
    ifMatch: text === undefined || text.trim() === '*' ? undefined : { text, accepts: accepting(text) },
  };
}

/** RFC 9110 section 13.1.1: a list of entity tags. A malformed header matches no version. */
function accepting(ifMatch: string): (version: number) => boolean {
  if (!/^\s*(?:(?:W\/)?"[^"]*"\s*(?:,\s*|$))+$/.test(ifMatch)) return () => false;
  // A tag may contain commas, so `split` cannot be used. A weak tag never equals a strong one.
  const tags: readonly string[] = ifMatch.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return (version) => tags.includes(`"${version}"`);
}
