/**
 * Removes what a program does not need to run from an ELF file (64 bits, little-endian): all that follows its last loaded
 * segment, which is symbols for debuggers and the table of sections. (`strip` would do, and comes with a compiler.)
 */
export function stripped(file: Buffer): Buffer {
  const isElf = file.readUInt32BE(0) === 0x7f454c46 && file[4] === 2 && file[5] === 1;
  if (!isElf) throw new Error('this is no ELF file of 64 bits, little-endian');
  const programHeaders = Number(file.readBigUInt64LE(0x20));
  const [size, count] = [file.readUInt16LE(0x36), file.readUInt16LE(0x38)];
  let end = 0;
  for (let index = 0; index < count; index += 1) {
    const at = programHeaders + index * size;
    const [offset, length] = [file.readBigUInt64LE(at + 0x08), file.readBigUInt64LE(at + 0x20)];
    end = Math.max(end, Number(offset + length));
  }
  const kept = Buffer.from(file.subarray(0, end));
  kept.writeBigUInt64LE(0n, 0x28); // where the sections are described
  kept.fill(0, 0x3c, 0x40); // how many there are, and which holds their names
  return kept;
}
