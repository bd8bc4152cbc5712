import { uniqueKeysOf } from '../../domain/customer.ts';
import type { ReferenceData } from '../../domain/reference-data.ts';
import type { CustomerReference, StoredCustomer } from '../ports/customer-repository.ts';
import { idName, type NamedRequest, namesOf, type WriteRequest } from './requests.ts';

/** The maximum number of requests that are carried out at once. */
const maxWave = 256;

/**
 * Names the customers of the requests of a batch, so that requests about one customer have a name in common. A customer
 * that has several names, or may get another one by a request, gets all of them: its CustomerUrn, its ExternalId, its
 * aliases, and what other requests call it. A sync by an ExternalId is about that one only: by an alias it is refused.
 */
export async function named(
  requests: readonly WriteRequest[],
  find: (by: CustomerReference) => Promise<StoredCustomer | undefined>,
): Promise<NamedRequest[]> {
  const namesByUrn = new Map<string, Set<string>>();
  const names = await Promise.all(
    requests.map(async (request): Promise<Iterable<string>> => {
      const { by, kind } = request;
      if (kind === 'sync' && 'externalId' in by) return namesOf(request);
      const { customer } = (await find(by)) ?? {};
      const urn = customer?.customerUrn ?? ('urn' in by ? by.urn : undefined);
      if (urn === undefined) return namesOf(request);
      const all = namesByUrn.get(urn) ?? new Set([urn, ...(customer ? [idName(customer.externalIdentifier)] : [])]);
      namesByUrn.set(urn, all);
      for (const name of namesOf(request)) all.add(name);
      return all;
    }),
  );
  return requests.map((request, index) => ({ request, names: [...(names[index] ?? [])] }));
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
  const taken = new Set<string>();
  for (const row of rows) {
    const own = [...row.names, ...contactsOf(row.request, referenceData)];
    const isOfOtherKind = wave[0] !== undefined && wave[0].request.kind !== row.request.kind;
    if (wave.length === maxWave || isOfOtherKind || own.some((one) => taken.has(one))) {
      yield wave;
      wave = [];
      taken.clear();
    }
    wave.push(row);
    for (const one of own) taken.add(one);
  }
  if (wave.length > 0) yield wave;
}

function contactsOf(request: WriteRequest, referenceData: ReferenceData): string[] {
  if (request.kind === 'delete') return [];
  const { email, phoneNumber } = uniqueKeysOf(request.content, referenceData) ?? {};
  return [...(email === undefined ? [] : [`email ${email}`]), ...(phoneNumber === undefined ? [] : [phoneNumber])];
}
