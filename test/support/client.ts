/** A client of the API. A function sends its requests: with `inject` (service.ts) or with `fetch` (`overHttp`). */

import type { Snapshot } from '../../src/application/snapshot.ts';
import { ndjsonType } from '../../src/http/streaming.ts';

export const base = '/api/c2a/customer';
export const claimedRegion = { countryCode: 'DE', languageCode: 'de' };
export type Headers = Record<string, string>;
export type Route =
  | 'validate'
  | 'store'
  | 'update'
  | 'delete'
  | 'find'
  | 'merge'
  | 'references'
  | 'subject-export'
  | 'sync';

/** The body of a store. */
export const storing = (customer: object, region: object = claimedRegion) => ({ customer, claimedRegion: region });

export interface Answer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** The parsed body, or the list of the parsed lines of NDJSON; undefined if it is neither. */
  // biome-ignore lint/suspicious/noExplicitAny: assertions say what it must be.
  readonly body: any;
  /** Status and message code, e.g. `409 CUSTOMER_ALREADY_STORED`; an answer without an envelope has no code. */
  readonly outcome: string;
  /** `field: code` of every violation, in the order of the answer. */
  readonly violations: readonly string[];
  /** The `result` of the envelope, if it has one. */
  readonly result: Snapshot;
}

export function toAnswer(status: number, headers: Answer['headers'], text: string): Answer {
  const body = parsed(headers['content-type'], text);
  const errors = (body?.status?.errors ?? []) as { field: string; code: string }[];
  return {
    status,
    headers,
    text,
    body,
    outcome: [status, body?.status?.messageCode].join(' ').trim(),
    violations: errors.map(({ field, code }) => `${field}: ${code}`),
    result: body?.result,
  };
}

// biome-ignore lint/suspicious/noExplicitAny: see `Answer.body`.
function parsed(type: unknown, text: string): any {
  if (type !== ndjsonType) return /^[{[]/.test(text) ? JSON.parse(text) : undefined;
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

export interface Request {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers: Headers;
  readonly payload?: string | Buffer;
}

/** The requests of one caller. */
export function client(send: (request: Request) => Promise<Answer>, credentials: Readonly<Headers>) {
  const get = (url: string, headers: Headers = {}) =>
    send({ method: 'GET', url, headers: { ...credentials, ...headers } });
  return {
    get,
    post: (route: Route, body: unknown, headers: Headers = {}) =>
      send({
        method: 'POST',
        url: `${base}/${route}`,
        headers: { ...credentials, 'content-type': 'application/json', ...headers },
        payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      }),
    info(query: Record<string, string | readonly string[]>) {
      const pairs = Object.entries(query).flatMap(([name, value]) =>
        [value].flat().map((one): [string, string] => [name, one]),
      );
      return get(`${base}/info?${new URLSearchParams(pairs)}`);
    },
    changes: (query: Record<string, string> = {}) => get(`${base}/changes?${new URLSearchParams(query)}`),
    history: (query: Record<string, string>) => get(`${base}/history?${new URLSearchParams(query)}`),
    references: (query: Record<string, string>) => get(`${base}/references?${new URLSearchParams(query)}`),
    export: (query: Record<string, string> = {}) => get(`${base}/export?${new URLSearchParams(query)}`),
    /** Imports rows, given as text or as objects; the body of the answer is its lines. */
    import: (rows: string | Buffer | readonly object[], query: Record<string, string> = {}, headers: Headers = {}) =>
      send({
        method: 'POST',
        url: `${base}/import?${new URLSearchParams(query)}`,
        headers: { ...credentials, 'content-type': ndjsonType, ...headers },
        payload:
          typeof rows === 'string' || Buffer.isBuffer(rows)
            ? rows
            : rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
      }),
    receipt: (urn: string) => get(`${base}/erasure?${new URLSearchParams({ urn })}`),
  };
}

/** Sends requests to a server at this URL. */
export const overHttp =
  (server: string) =>
  async ({ method, url, headers, payload }: Request): Promise<Answer> => {
    const response = await fetch(server + url, { method, headers, ...(payload !== undefined && { body: payload }) });
    return toAnswer(response.status, Object.fromEntries(response.headers), await response.text());
  };
