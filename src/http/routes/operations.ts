/** `/healthz`, `/readyz` and `/metrics`. They need no authentication: they name no tenant and no person. */
import { Type } from '@sinclair/typebox';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { closedObject } from '../field-schemas.ts';
import { openOperation, openRefusals, openResponse } from '../operation-schemas.ts';

export interface OperationsDependencies {
  /** Whether the storage accepts writes now. */
  readonly canWrite: () => Promise<boolean>;
  readonly metrics: { readonly contentType: string; render(): Promise<string> };
}

const jsonType = 'application/json; charset=utf-8';
const probe = (description: string, status: string) =>
  openResponse(description, jsonType, closedObject({ status: Type.Literal(status) }));

const alive = {
  ...openOperation,
  operationId: 'liveness',
  summary: 'Does the process answer?',
  description: 'For the operator. Does not touch the storage.',
  response: { 200: probe('It does.', 'alive'), ...openRefusals },
};

const notReady = probe('The storage does not accept writes.', 'cannot write');
const { 503: unavailable } = openRefusals;
const ready = {
  ...openOperation,
  operationId: 'readiness',
  summary: 'Does the storage accept writes?',
  description: 'For the operator and load balancers. The storage is asked at most once a second.',
  response: {
    200: probe('It does.', 'ready'),
    ...openRefusals,
    503: {
      ...unavailable,
      description: `${notReady.description} With the envelope: ${unavailable.description}`,
      content: { ...notReady.content, ...unavailable.content },
    },
  },
};

const scrape = {
  ...openOperation,
  operationId: 'metrics',
  summary: 'Metrics in the text format of Prometheus',
  description: 'For the operator. No metric names a tenant or a person.',
  response: { 200: openResponse('The metrics.', 'text/plain', Type.String()), ...openRefusals },
};

export function operationsRoutes(app: FastifyInstance, { canWrite, metrics }: OperationsDependencies): void {
  const config = { forOperators: true };
  const isReady = askedOncePerSecond(canWrite);

  app.get('/healthz', { schema: alive, config }, async (_, reply) => json(reply, { status: 'alive' }));
  app.get('/readyz', { schema: ready, config }, async (_, reply) =>
    (await isReady()) ? json(reply, { status: 'ready' }) : json(reply.code(503), { status: 'cannot write' }),
  );
  app.get('/metrics', { schema: scrape, config }, async (_, reply) =>
    reply.type(metrics.contentType).send(await metrics.render()),
  );
}

const json = (reply: FastifyReply, body: object) => reply.type(jsonType).send(body);

/** Caches the result for a second, so that probes cannot overload the storage. */
function askedOncePerSecond(ask: () => Promise<boolean>): () => Promise<boolean> {
  let asked: Promise<boolean> | undefined;
  return () => {
    if (asked === undefined) {
      asked = ask();
      setTimeout(() => {
        asked = undefined;
      }, 1000).unref();
    }
    return asked;
  };
}
