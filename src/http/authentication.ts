import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction, RequestPayload } from 'fastify';
import { refusal } from '../application/outcome.ts';
import type { Tenants } from '../application/tenants.ts';
import { answer, wrapped } from './envelope.ts';

/** The same for every way to fail. */
const challenge = 'ApiKey realm="c2a-customers", Bearer realm="c2a-customers"';

/**
 * Refusals leave this long after their request came: how far a credential was right cannot be told from the time that
 * it took to refuse it. It also slows down guessing.
 */
const refusalMs = 20;

/**
 * Runs before the body is read. What fails gets a 401 that tells nothing: no body, the same headers whatever was
 * wrong.
 */
export function authenticate({ recall, authenticate }: Pick<Tenants, 'recall' | 'authenticate'>) {
  return function onRequest(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    const credentials = credentialsOf(request);
    const known = recall(credentials);
    if (known !== undefined) {
      request.caller = known;
      done();
      return;
    }
    // Set before anything is looked at: a timer ticks in milliseconds from when it is set, so one that is set later
    // would leave a tick later the more often, the longer the refusal took.
    const release = releaseAfter(refusalMs);
    authenticate(credentials).then((caller) => {
      if (caller === undefined) {
        release.call(() => refuseUnknown(reply));
        return;
      }
      release.cancel();
      request.caller = caller;
      done();
    }, done);
  };
}

export const refuseUnknown = (reply: FastifyReply): FastifyReply =>
  reply.code(401).header('www-authenticate', challenge).send();

export const credentialsOf = ({ raw: { headers } }: FastifyRequest): Parameters<Tenants['authenticate']>[0] => ({
  tenant: one(headers['x-tn']),
  apiKey: one(headers['x-api-key']),
  authorization: headers.authorization,
});

/**
 * Of routes that write: 403 where the key's role does not allow it; before the body is read, and counted like any other
 * request.
 */
export function requireFullRole(
  request: FastifyRequest,
  reply: FastifyReply,
  payload: RequestPayload,
  done: (error: Error | null, payload?: RequestPayload) => void,
): void {
  if (request.caller.role === 'full') done(null, payload);
  else reply.send(answer(reply, refusal('FORBIDDEN'), request.routeOptions.config.shape ?? wrapped));
}

/** A moment that is fixed now, for what is decided on the way there. What is decided late is called at once. */
function releaseAfter(ms: number) {
  let passed = false;
  let action: (() => void) | undefined;
  const timer = setTimeout(() => {
    passed = true;
    action?.();
  }, ms);
  return {
    call(decided: () => void) {
      if (passed) decided();
      else action = decided;
    },
    cancel: () => clearTimeout(timer),
  };
}

const one = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : undefined;
