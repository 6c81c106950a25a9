// @ts-check
/** Bytes: joined, checked, deflated and inflated by the platform's own streams. */

/** @typedef {'deflate' | 'deflate-raw'} Packing zlib's, as PNG has it, or bare, as zip has it */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** The checksum of PNG and zip. @param {Uint8Array} data */
export function crc32(data) {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i += 1) value = TABLE[(value ^ data[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** @param {readonly Uint8Array[]} parts @returns {Uint8Array<ArrayBuffer>} */
export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * @param {Iterable<Uint8Array> | AsyncIterable<Uint8Array>} parts made one after the other, as they are taken
 * @param {Packing} packing
 */
export function deflate(parts, packing) {
  return through(parts, new CompressionStream(packing), Infinity);
}

/**
 * @param {Uint8Array} data
 * @param {Packing} packing
 * @param {number} most bytes that may come out, so that a small file cannot fill the memory
 */
export async function inflate(data, packing, most) {
  try {
    return await through([data], new DecompressionStream(packing), most);
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new RangeError('its compressed data are damaged or cut off; export it again');
  }
}

/**
 * @param {Iterable<Uint8Array> | AsyncIterable<Uint8Array>} parts
 * @param {CompressionStream | DecompressionStream} stream
 * @param {number} most
 */
async function through(parts, stream, most) {
  const writer = stream.writable.getWriter();
  const feeding = feed(parts, writer);
  feeding.catch(() => {}); // told below, once the reader has ended
  /** @type {Uint8Array[]} */
  const found = [];
  const reader = stream.readable.getReader();
  let size = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    size += next.value.length;
    if (size > most) {
      await reader.cancel();
      throw new RangeError(`it unpacks to more than ${most} bytes`);
    }
    found.push(next.value);
  }
  await feeding;
  return joined(found);
}

/** @param {Iterable<Uint8Array> | AsyncIterable<Uint8Array>} parts @param {WritableStreamDefaultWriter} writer */
async function feed(parts, writer) {
  try {
    for await (const part of parts) {
      await writer.ready;
      writer.write(part).catch(() => {}); // the reader hears of it
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => {});
    throw error;
  }
}
