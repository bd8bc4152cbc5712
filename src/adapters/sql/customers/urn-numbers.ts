import { type CustomerUrn, customerUrn } from '../../../domain/identity.ts';

/** Below 2^53 for every partition, so that the number is exact in JavaScript as in SQL. */
export const sequencesPerPartition = 10 ** 13;

/** A URN as one number: partition × 10^13 + sequence. Undefined for one that is beyond what we ever hand out. */
export function toNumber(urn: CustomerUrn): number | undefined {
  const [, partition, sequence] = urn.split('.');
  const number = Number(sequence);
  return number < sequencesPerPartition ? Number(partition) * sequencesPerPartition + number : undefined;
}

export function toUrn(number: number): CustomerUrn {
  const partition = Math.floor(number / sequencesPerPartition);
  return customerUrn(String(partition).padStart(2, '0'), number % sequencesPerPartition);
}
