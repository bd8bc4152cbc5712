import type { Api } from './api.ts';
import type { Customer } from './outcome.ts';
import { broken, linesOf, resuming } from './streams.ts';

export interface ExportOptions {
  /** Continues after this CustomerUrn. */
  readonly after?: string;
  /** Whether erased customers are exported too. Default: false. */
  readonly includeAnonymized?: boolean;
  readonly signal?: AbortSignal;
}

/** See `Client.export`. */
export function exportCustomers({ http, transport }: Api, options: ExportOptions): AsyncGenerator<Customer, void> {
  const { includeAnonymized = false, signal } = options;
  let { after } = options;
  return resuming(transport, signal, async function* (retries) {
    const answer = http.GET('/export', {
      params: { query: { includeAnonymized: `${includeAnonymized}`, ...(after && { after }) } },
      parseAs: 'stream',
      fetch: (request) => transport.exchange(request),
      signal: signal ?? null,
    });
    for await (const customer of linesOf<Customer | { readonly next: null }>(answer)) {
      if ('next' in customer) return;
      after = customer.customerUrn;
      retries.reset();
      yield customer;
    }
    broken();
  });
}
