import { uniqueKeysOf } from '../../domain/customer.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import type { CustomerReference, StoredCustomer } from '../ports/customer-repository.ts';
import { idName, type NamedRequest, namesOf, type WriteRequest } from './requests.ts';

/** The maximum number of requests that are carried out at once. */
const maxWave = 256;

/**
 * Names the customers of the requests of a batch. A request that names its customer by CustomerUrn also gets the
 * ExternalIds that the customer may have while the batch is carried out: the stored one, and those of other requests with
 * the CustomerUrn. So requests about one customer have a name in common, whichever of its names they use.
 */
export async function named(
  requests: readonly WriteRequest[],
  find: (by: CustomerReference) => Promise<StoredCustomer | undefined>,
): Promise<NamedRequest[]> {
  const namesByUrn = new Map<string, Set<string>>();
  await Promise.all(
    requests.map(async (request) => {
      const { by } = request;
      if (!('urn' in by)) return;
      const names = namesByUrn.get(by.urn) ?? new Set();
      namesByUrn.set(by.urn, names);
      for (const name of namesOf(request)) names.add(name);
      const stored = await find(by);
      if (stored !== undefined) names.add(idName(stored.customer.externalIdentifier));
    }),
  );
  return requests.map((request) => ({
    request,
    names: 'urn' in request.by ? [...(namesByUrn.get(request.by.urn) ?? [])] : namesOf(request),
  }));
}

/**
 * Splits requests into groups that are carried out one after the other, in their order. Within a group no two requests are
 * about the same customer or want the same unique value, and there are only syncs or only erasures: an erasure is slower,
 * and would free its values only after the syncs behind it.
 */
export function* wavesOf<Row extends NamedRequest>(
  rows: readonly Row[],
  referenceData: ReferenceData,
): Generator<readonly Row[]> {
  let wave: Row[] = [];
  const traces = new Set<string>();
  for (const row of rows) {
    const own = [...row.names, ...contactsOf(row.request, referenceData)];
    const isOfOtherKind = wave[0] !== undefined && wave[0].request.kind !== row.request.kind;
    if (wave.length === maxWave || isOfOtherKind || own.some((trace) => traces.has(trace))) {
      yield wave;
      wave = [];
      traces.clear();
    }
    wave.push(row);
    for (const trace of own) traces.add(trace);
  }
  if (wave.length > 0) yield wave;
}

function contactsOf(request: WriteRequest, referenceData: ReferenceData): string[] {
  if (request.kind === 'delete') return [];
  const { email, phoneNumber } = uniqueKeysOf(request.content, referenceData) ?? {};
  return [...(email === undefined ? [] : [`email ${email}`]), ...(phoneNumber === undefined ? [] : [phoneNumber])];
}
