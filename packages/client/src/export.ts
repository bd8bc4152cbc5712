import type { Api } from './api.ts';
import { linesOf, repeating } from './attempts.ts';
import type { Customer } from './outcome.ts';
import { broken } from './transport.ts';

export interface ExportOptions {
  /** Continues after this CustomerUrn. */
  readonly after?: string | undefined;
  /** Whether erased customers are exported too. Default: false. */
  readonly includeAnonymized?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** See `Client.export`. */
export function exportCustomers({ http, transport }: Api, options: ExportOptions): AsyncGenerator<Customer, void> {
  const { includeAnonymized, signal } = options;
  let { after } = options;
  return repeating(transport, signal, async function* (retries) {
    const answer = http.GET('/export', {
      params: { query: { includeAnonymized, after } as object },
      parseAs: 'stream',
      fetch: (request) => transport.send(request, signal),
    });
    for await (const customer of linesOf<Customer | { readonly next: null }>(answer, signal)) {
      if ('next' in customer) return;
      after = customer.customerUrn;
      retries.reset();
      yield customer;
    }
    broken();
  });
}
