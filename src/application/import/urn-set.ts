import type { CustomerUrn } from '../../domain/identity.ts';

/** How many sequences share one bitmap of 8 KiB. */
const chunkSize = 65_536;

/** A set of CustomerUrns as bitmaps: a million URNs that were issued in a row take 125 kB. */
export class UrnSet {
  readonly #chunks = new Map<string, Uint8Array>();

  add(urn: CustomerUrn): void {
    const { chunk, byte, mask } = placeOf(urn);
    const bits = this.#chunks.get(chunk) ?? new Uint8Array(chunkSize / 8);
    this.#chunks.set(chunk, bits);
    bits[byte] = (bits[byte] as number) | mask;
  }

  has(urn: CustomerUrn): boolean {
    const { chunk, byte, mask } = placeOf(urn);
    return ((this.#chunks.get(chunk)?.[byte] ?? 0) & mask) !== 0;
  }
}

function placeOf(urn: CustomerUrn): { chunk: string; byte: number; mask: number } {
  const at = urn.lastIndexOf('.');
  const sequence = Number(urn.slice(at + 1));
  const bit = sequence % chunkSize;
  return { chunk: `${urn.slice(0, at)}.${Math.floor(sequence / chunkSize)}`, byte: bit >> 3, mask: 1 << (bit & 7) };
}
