import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** The caller's own request id where it is a sane one, else a new one. */
export function requestIdOf(request: Pick<IncomingMessage, 'headers'> | undefined): string {
  const given = request?.headers['x-request-id'];
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
}
