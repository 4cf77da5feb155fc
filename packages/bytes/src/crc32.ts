// CRC-32 with the reversed polynomial 0xEDB88320 (GPT, gzip: RFC 1952 section 8), eight bytes a step ("slicing by 8"),
// and CRC-32C (0x82F63B78, EROFS and ext4) from the same code.

function makeTables(polynomial: number): Uint32Array {
  const tables = new Uint32Array(8 * 256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ polynomial : c >>> 1;
    tables[i] = c;
  }
  for (let i = 256; i < tables.length; i++) {
    const previous = tables[i - 256] ?? 0;
    tables[i] = (previous >>> 8) ^ (tables[previous & 0xff] ?? 0);
  }
  return tables;
}

function run(tables: Uint32Array, bytes: Uint8Array, state: number): number {
  const t = tables;
  let crc = state;
  let i = 0;
  const whole = bytes.length - (bytes.length % 8);
  // The assertions are true by construction: every index is masked to its table of 256.
  while (i < whole) {
    const low = crc ^ ((bytes[i] as number) | ((bytes[i + 1] as number) << 8) | ((bytes[i + 2] as number) << 16) | ((bytes[i + 3] as number) << 24));
    crc =
      (t[1792 + (low & 0xff)] as number) ^
      (t[1536 + ((low >>> 8) & 0xff)] as number) ^
      (t[1280 + ((low >>> 16) & 0xff)] as number) ^
      (t[1024 + (low >>> 24)] as number) ^
      (t[768 + (bytes[i + 4] as number)] as number) ^
      (t[512 + (bytes[i + 5] as number)] as number) ^
      (t[256 + (bytes[i + 6] as number)] as number) ^
      (t[bytes[i + 7] as number] as number);
    i += 8;
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[i] as number)) & 0xff] as number);
  return crc;
}

let ieee: Uint32Array | undefined;
let castagnoli: Uint32Array | undefined;

/** CRC-32 of the bytes, continuing from `previous` (the CRC of what came before; 0 at the start). Unsigned 32 bits. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  ieee ??= makeTables(0xedb88320);
  return ~run(ieee, bytes, ~previous) >>> 0;
}

/**
 * CRC-32C register after the bytes, from the register `state`, with no inversion before or after: EROFS seeds with
 * 0xFFFFFFFF and stores the register as it is.
 */
export function crc32cRaw(bytes: Uint8Array, state: number): number {
  castagnoli ??= makeTables(0x82f63b78);
  return run(castagnoli, bytes, state) >>> 0;
}
