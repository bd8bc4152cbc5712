import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { refusal } from '../application/outcome.ts';
import { answer, type RefusalShape, wrapped } from './envelope.ts';

/**
 * Answers requests that match no route: 405 with `Allow` if the path has routes with other methods, else 404. Call it before
 * the first route is registered, because it collects the methods of each path.
 */
export function unmatchedRoutes(app: FastifyInstance) {
  const routes = new Map<string, { readonly methods: readonly string[]; readonly shape: RefusalShape }>();
  app.addHook('onRoute', ({ method, url, config }) => {
    const methods = [...(routes.get(url)?.methods ?? []), ...[method].flat()];
    routes.set(url, { methods, shape: config?.shape ?? wrapped });
  });

  return function refuseUnmatched(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const route = routes.get(canonicalPath(request.url));
    if (route === undefined) return reply.send(answer(reply, refusal('NOT_FOUND'), wrapped));
    reply.header('allow', route.methods.join(', '));
    return reply.send(answer(reply, refusal('METHOD_NOT_ALLOWED'), route.shape));
  };
}

/** The path of a URL as the router compares it: without origin, query and trailing slash, decoded, in lower case. */
export function canonicalPath(url: string): string {
  const path = url
    .replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
    .replace(/[?#].*$/s, '')
    .replace(/(?<=.)\/$/, '')
    .toLowerCase();
  try {
    // decodeURI does not decode %2F, because an encoded slash does not separate segments.
    return decodeURI(path).toLowerCase();
  } catch {
    return path;
  }
}
