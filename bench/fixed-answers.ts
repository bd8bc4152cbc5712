import Fastify, { type FastifyRequest, type HTTPMethods } from 'fastify';
import { mediaType } from '../src/http/envelope.ts';

/** The service's answers: a body for each `<method> <path>`. */
export type Answers = Readonly<Record<string, string>>;
/** What a server does for a request before it sends the answer, by the last part of the path. */
export type Work = Readonly<Record<string, (request: FastifyRequest) => Promise<void> | undefined>>;

const headers = {
  'content-type': mediaType,
  'cache-control': 'no-store',
  'x-request-id': '00000000-0000-4000-8000-000000000000',
  etag: '"1"',
};

/** Starts a bare Fastify that sends the same bytes as the service, headers included, and prints its URL. */
export async function serveAnswers(answers: Answers, work: Work = {}): Promise<void> {
  const app = Fastify();
  for (const [route, text] of Object.entries(answers)) {
    const [method, url] = route.split(' ') as [HTTPMethods, string];
    const before = work[url.split('/').at(-1) as string];
    app.route({
      method,
      url,
      handler(request, reply) {
        const done = before?.(request);
        if (done === undefined) return reply.headers(headers).send(text);
        return done.then(() => reply.headers(headers).send(text));
      },
    });
  }
  console.log(await app.listen({ host: '127.0.0.1', port: 0 }));
}

/** The number of the URN `cu.00.<number>`, and of the ExternalId `crm-<number>`. */
export const numberOfUrn = (urn: string): number => Number(urn.slice('cu.00.'.length));
export const numberOfExternalId = (externalId: string): number => Number(externalId.slice('crm-'.length));

/** The members that `load.lua` sends, each in the bodies of one operation. */
interface Body {
  readonly externalId: string;
  readonly customerUuid: string;
  readonly customer: { readonly customerUrn: string };
}
export const bodyOf = (request: FastifyRequest) => request.body as Body;
