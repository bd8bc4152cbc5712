import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest, onRequestHookHandler, preParsingHookHandler, RouteOptions } from 'fastify';
import type { Authentication, Credentials } from '../application/authentication.ts';
import { refusal } from '../application/outcome.ts';
import { type Role, roles } from '../application/ports/tenant-directory.ts';
import { answer, wrapped } from './envelope.ts';

/** Sent with every 401. It does not depend on the reason, because callers must not learn the reason. */
const challenge = 'ApiKey realm="c2a-customers", Bearer realm="c2a-customers"';

/** Every 401 is sent this many milliseconds after its request, so that the time does not reveal which check failed. */
const refusalMs = 20;

/**
 * The `onRequest` hook of the API: sets `request.caller`, or answers 401 before the body is read. A 401 has no body and
 * the same headers for every reason.
 */
export function authenticate(
  authentication: Pick<Authentication, 'recall' | 'authenticate' | 'claimsOf'>,
): onRequestHookHandler {
  return (request, reply, done) => {
    const credentials = credentialsOf(request);
    const recalled = authentication.recall(credentials);
    if (recalled !== undefined) {
      request.caller = recalled;
      done();
      return;
    }
    // Started before the look-up. A timer for the rest of the time, started after a slow look-up, would end late more
    // often, because timers have a resolution of a millisecond.
    const released = delay(refusalMs);
    authentication.authenticate(credentials).then(async (caller) => {
      if (caller === undefined) {
        // Before the wait, which hides the time that this takes.
        request.claims = authentication.claimsOf(credentials);
        await released;
        refuseCredentials(reply);
        return;
      }
      request.caller = caller;
      done();
    }, done);
  };
}

/** The API key of a request in progress is no longer valid. */
export class NoLongerAuthenticated extends Error {}

/**
 * For a request that takes long: call it again and again, at least every second. A revoked or expired API key then ends
 * the request: it throws NoLongerAuthenticated.
 */
export async function stayAuthenticated(
  authentication: Pick<Authentication, 'isKeyValid'>,
  request: FastifyRequest,
): Promise<void> {
  if (!(await isStillAuthenticated(authentication, request))) throw new NoLongerAuthenticated();
}

/** Whether the API key of a request in progress is neither revoked nor expired. */
export const isStillAuthenticated = (
  authentication: Pick<Authentication, 'isKeyValid'>,
  request: FastifyRequest,
): Promise<boolean> => authentication.isKeyValid(credentialsOf(request));

/** Answers 401. The response has no body, and the same headers for every reason, also if others were set before. */
export function refuseCredentials(reply: FastifyReply): FastifyReply {
  for (const name in reply.getHeaders()) if (!['x-request-id', 'connection'].includes(name)) reply.removeHeader(name);
  return reply.code(401).header('www-authenticate', challenge).send();
}

const credentialsOf = ({ raw: { headers } }: FastifyRequest): Credentials => ({
  tenant: single(headers['x-tn']),
  apiKey: single(headers['x-api-key']),
  authorization: headers.authorization,
});

/** The roles whose API keys may use a route; a function if they depend on the query. */
export type AllowedRoles = readonly Role[] | ((query: unknown) => readonly Role[]);

export const writers: readonly Role[] = ['full'];
export const readers: readonly Role[] = ['full', 'read'];

/**
 * The `onRoute` hook of the API: adds the check of the API key's role to a route. A key of another role gets 403 before
 * the body is read. A route states its roles in its config; without them it is for `writers`, a GET for `readers`.
 */
export function checkRoles(route: RouteOptions): void {
  const isGet = [route.method].flat().every((method) => method === 'GET' || method === 'HEAD');
  const { shape = wrapped, roles: allowed = isGet ? readers : writers } = route.config ?? {};
  // A hook costs every request a microsecond, so a route for all roles has none.
  if (typeof allowed !== 'function' && roles.every((role) => allowed.includes(role))) return;
  const check: preParsingHookHandler = ({ caller, query }, reply, payload, done) => {
    const mayUse = typeof allowed === 'function' ? allowed(query) : allowed;
    if (mayUse.includes(caller.role)) done(null, payload);
    else reply.send(answer(reply, refusal('FORBIDDEN'), shape));
  };
  route.preParsing = [check, ...[route.preParsing ?? []].flat()];
}

const single = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : undefined;
