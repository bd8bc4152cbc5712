/**
 * Strips a 64-bit little-endian ELF file: removes everything after its last loaded segment, that is, debug symbols and
 * the section table. (The program `strip` is not used, since it comes with a compiler.)
 */
export function stripped(file: Buffer): Buffer {
  const isElf = file.readUInt32BE(0) === 0x7f454c46 && file[4] === 2 && file[5] === 1;
  if (!isElf) throw new Error('not a 64-bit little-endian ELF file');
  const programHeaders = Number(file.readBigUInt64LE(0x20));
  const [size, count] = [file.readUInt16LE(0x36), file.readUInt16LE(0x38)];
  let end = 0;
  for (let index = 0; index < count; index += 1) {
    const at = programHeaders + index * size;
    const [offset, length] = [file.readBigUInt64LE(at + 0x08), file.readBigUInt64LE(at + 0x20)];
    end = Math.max(end, Number(offset + length));
  }
  const kept = Buffer.from(file.subarray(0, end));
  kept.writeBigUInt64LE(0n, 0x28); // e_shoff
  kept.fill(0, 0x3c, 0x40); // e_shnum and e_shstrndx
  return kept;
}
