import createOpenApiClient, { type Client } from 'openapi-fetch';
import type { paths } from './openapi.ts';
import { createTransport, type Transport, type TransportOptions } from './transport.ts';

export interface ClientOptions extends TransportOptions {
  /** Where the service is, without `/api/…`: `https://customers.example.com`. */
  readonly baseUrl: string;
}

const baseRoute = '/api/c2a/customer';

/** The operations by their path below the base route, and the path of the others. */
export type Paths = {
  [Path in keyof paths as Path extends `${typeof baseRoute}${infer Rest}` ? Rest : Path]: paths[Path];
};

/** The operations of the API as openapi-fetch calls them. */
export interface Api {
  readonly http: Client<Paths>;
  readonly transport: Transport;
}

/** @throws TypeError if `baseUrl` is no URL, or a credential no value of a header */
export function openApi({ baseUrl, ...options }: ClientOptions): Api {
  const transport = createTransport(options);
  const http = createOpenApiClient<Paths>({
    baseUrl: new URL(baseUrl).href.replace(/\/$/, baseRoute),
    // A redirect would lead the credentials, which are headers, to another server.
    redirect: 'manual',
    fetch: (request) => transport.send(request),
  });
  return { http, transport };
}
