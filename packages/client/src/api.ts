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

/** The operations of the API as openapi-fetch calls them. A call without a `fetch` of its own cannot be made. */
export interface Api {
  readonly http: Client<Paths>;
  /** The URL of the service. */
  readonly root: string;
  readonly transport: Transport;
}

/** @throws TypeError if `baseUrl` is no URL, or a credential is missing or not valid */
export function openApi({ baseUrl, ...options }: ClientOptions): Api {
  const { origin, pathname } = new URL(baseUrl);
  if (!origin.startsWith('http')) throw new TypeError('baseUrl must be an http(s) URL');
  // Without a user name and password, which `fetch` refuses with an error that contains them.
  const root = origin + pathname.replace(/\/*$/, '');
  const http = createOpenApiClient<Paths>({
    baseUrl: root + baseRoute,
    // A redirect would lead the credentials, which are headers, to another server.
    redirect: 'manual',
  });
  return { http, root, transport: createTransport(options) };
}
