import type { FastifyPluginCallback, FastifyReply } from 'fastify';

export interface OperationsNeeds {
  /** Whether the storage takes writes right now. */
  readonly canWrite: () => Promise<boolean>;
  readonly erasures: { publicKey(): string };
  readonly metrics: { readonly contentType: string; render(): Promise<string> };
}

/** What an orchestrator and Prometheus ask. No authentication: nothing here names a tenant or a person. */
export const operationsRoutes: FastifyPluginCallback<OperationsNeeds> = (
  app,
  { canWrite, erasures, metrics },
  done,
) => {
  const options = { schema: { hide: true }, config: { forOperators: true } };

  app.get('/healthz', options, async (_, reply) => json(reply, { status: 'alive' }));

  const ready = fresh(canWrite);
  app.get('/readyz', options, async (_, reply) =>
    (await ready()) ? json(reply, { status: 'ready' }) : json(reply.code(503), { status: 'cannot write' }),
  );

  app.get('/.well-known/c2a-receipts', options, async (_, reply) =>
    json(reply, { algorithm: 'Ed25519', publicKey: erasures.publicKey() }),
  );

  app.get('/metrics', options, async (_, reply) => reply.type(metrics.contentType).send(await metrics.render()));
  done();
};

const json = (reply: FastifyReply, body: object) => reply.type('application/json; charset=utf-8').send(body);

/** Asks once a second at most, whoever knocks. */
function fresh(ask: () => Promise<boolean>): () => Promise<boolean> {
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
