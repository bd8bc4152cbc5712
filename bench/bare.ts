/**
 * The limit of the stack: a Fastify that answers the service's bytes without doing anything. Started by `run.ts` as
 * `node bare.ts '{"<method> <path>": "<body>", …}'`; prints its URL.
 */
import Fastify, { type HTTPMethods } from 'fastify';
import { mediaType } from '../src/http/envelope.ts';

const app = Fastify();
for (const [route, text] of Object.entries(JSON.parse(process.argv[2] as string) as Record<string, string>)) {
  const [method, url] = route.split(' ') as [HTTPMethods, string];
  app.route({ method, url, handler: (_, reply) => reply.header('content-type', mediaType).send(text) });
}
console.log(await app.listen({ host: '127.0.0.1', port: 0 }));
