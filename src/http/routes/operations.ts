/** `/healthz`, `/readyz` and `/metrics`. They need no authentication: they name no tenant and no person. */
import type { FastifyInstance, FastifyReply } from 'fastify';

export interface OperationsDependencies {
  /** Whether the storage accepts writes now. */
  readonly canWrite: () => Promise<boolean>;
  readonly metrics: { readonly contentType: string; render(): Promise<string> };
}

export function operationsRoutes(app: FastifyInstance, { canWrite, metrics }: OperationsDependencies): void {
  const options = { config: { forOperators: true } };
  const isReady = askedOncePerSecond(canWrite);

  app.get('/healthz', options, async (_, reply) => json(reply, { status: 'alive' }));
  app.get('/readyz', options, async (_, reply) =>
    (await isReady()) ? json(reply, { status: 'ready' }) : json(reply.code(503), { status: 'cannot write' }),
  );
  app.get('/metrics', options, async (_, reply) => reply.type(metrics.contentType).send(await metrics.render()));
}

const json = (reply: FastifyReply, body: object) => reply.type('application/json; charset=utf-8').send(body);

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
