import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyRequest } from 'fastify';
import type { Customers, Snapshot, WriteConditions } from '../../application/customers.ts';
import { andThen } from '../../application/maybe-promise.ts';
import type { Outcome } from '../../application/outcome.ts';
import type { PrivacyReports } from '../../application/privacy-reports.ts';
import type { Tenants } from '../../application/tenants.ts';
import { authenticate, requireFullRole } from '../authentication.ts';
import { answer, bare, wrapped, writtenOnce } from '../envelope.ts';
import { operations } from '../schemas.ts';

interface Dependencies {
  readonly customers: Customers;
  readonly erasures: Pick<PrivacyReports, 'show'>;
  readonly tenants: Pick<Tenants, 'recall' | 'authenticate'>;
  /** Left out of the documentation: the same routes under another base. */
  readonly hidden: boolean;
}

/** The endpoints, each one line: the use case knows the rules, `answer` knows HTTP. */
export const customerRoutes: FastifyPluginAsyncTypebox<Dependencies> = async (
  app,
  { customers, erasures, tenants, hidden },
) => {
  app.addHook('onRequest', authenticate(tenants));
  const snapshotText = writtenOnce<Outcome<Snapshot>, ReturnType<typeof wrapped<Snapshot>>>(wrapped);

  app.post(
    '/validate',
    { schema: { ...operations.validate, hide: hidden }, config: { shape: bare } },
    (request, reply) =>
      andThen(customers.validate(request.caller, request.body), (outcome) => answer(reply, outcome, bare)),
  );
  app.post(
    '/store',
    { schema: { ...operations.store, hide: hidden }, config: { shape: wrapped }, preParsing: requireFullRole },
    async (request, reply) =>
      answer(reply, await customers.store(request.caller, request.body, conditionsOf(request)), wrapped),
  );
  app.post(
    '/delete',
    { schema: { ...operations.delete, hide: hidden }, config: { shape: bare }, preParsing: requireFullRole },
    async (request, reply) =>
      answer(reply, await customers.remove(request.caller, request.body, conditionsOf(request)), bare),
  );
  app.post(
    '/update',
    { schema: { ...operations.update, hide: hidden }, config: { shape: wrapped }, preParsing: requireFullRole },
    async (request, reply) =>
      answer(reply, await customers.update(request.caller, request.body, conditionsOf(request)), wrapped),
  );
  app.get('/info', { schema: { ...operations.info, hide: hidden }, config: { shape: wrapped } }, (request, reply) =>
    andThen(customers.info(request.caller, request.query as Record<string, unknown>), (outcome) =>
      answer(reply, outcome, snapshotText),
    ),
  );
  app.get(
    '/erasure',
    { schema: { ...operations.erasure, hide: hidden }, config: { shape: wrapped } },
    async (request, reply) =>
      answer(reply, await erasures.show(request.caller, request.query as Record<string, unknown>), wrapped),
  );
};

function conditionsOf({ id, headers }: FastifyRequest): WriteConditions {
  const text = headers['if-match'];
  return {
    requestId: id,
    idempotencyKey: headers['idempotency-key'] as string | undefined,
    ifMatch: text === undefined ? undefined : { text, accepts: accepting(text) },
  };
}

/** RFC 9110 section 13.1.1: `*`, or a list of strong entity tags; what is no tag of ours matches nothing. */
function accepting(ifMatch: string): (version: number) => boolean {
  if (ifMatch.trim() === '*') return () => true;
  if (!/^\s*(?:(?:W\/)?"[^"]*"\s*(?:,\s*|$))+$/.test(ifMatch)) return () => false;
  // A tag may hold commas, and a weak one never matches.
  const tags: readonly string[] = ifMatch.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return (version) => tags.includes(`"${version}"`);
}
