// @ts-check
/**
 * A mask as a PNG of 0 and 255, packed here and not by the platform: in it nearly all is runs of zeros, so the time
 * goes with the edges. Forty megapixels take milliseconds instead of seconds. Sources: RFC 1950 and 1951.
 */

/** @import { Crop } from './runs.js' */
import { pngOf } from './png.js';

/** @typedef {{code: number, bits: number}} Word a code, first bit lowest */

const [END, FIRST_LENGTH, LONGEST] = [256, 257, 258];
const MODULUS = 65521;
/**
 * Bits of each symbol. Literals are the filters 0 and 2, and the rises 1 and 255 of a row to the next; most of a file
 * is the longest run, so it has one bit.
 */
const LENGTHS = Array.from({ length: 286 }, (_, symbol) => {
  if (symbol === 285) return 1;
  if (symbol >= END) return symbol < END + 3 ? 6 : 7;
  return [0, 1, 2, 255].includes(symbol) ? 4 : 0;
});
const WORDS = wordsOf(LENGTHS);
/** The order in which a block tells its codes' lengths' lengths, and those: of 0, 1, 4, 6, 7 and "many zeros". */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1];
const MANY = 18;
const LENGTH_BITS = Array.from({ length: 19 }, (_, symbol) => ({ 0: 3, 1: 3, 4: 2, 6: 3, 7: 2, [MANY]: 3 })[symbol] ?? 0);

/**
 * @param {Crop} crop
 * @param {{width: number, height: number}} size of the picture that it lies in
 */
export function encodeBilevel(crop, size) {
  return pngOf(size, 'grey', packed(crop, size));
}

/** Rows filtered by the one above, in one block of zlib's format. @param {Crop} crop @param {{width: number, height: number}} size */
function packed({ x, y, width, height, data }, size) {
  const bits = createBits();
  bits.bytes(0x78, 0x9c);
  writeHead(bits);
  let [low, high, zeros] = [1, 0, 0];
  const flush = () => {
    if (zeros === 0) return;
    high = (high + zeros * low) % MODULUS;
    writeZeros(bits, zeros);
    zeros = 0;
  };
  const literal = (/** @type {number} */ value) => {
    flush();
    bits.word(WORDS[value]);
    low = (low + value) % MODULUS;
    high = (high + low) % MODULUS;
  };
  zeros += y * (size.width + 1);
  for (let row = 0; row <= height && y + row < size.height; row += 1) {
    literal(2);
    zeros += x;
    const above = row === 0 ? -1 : (row - 1) * width;
    const here = row === height ? -1 : row * width;
    for (let column = 0; column < width; column += 1) {
      const rise = (here < 0 ? 0 : data[here + column]) - (above < 0 ? 0 : data[above + column]);
      if (rise === 0) zeros += 1;
      else literal(rise > 0 ? 255 : 1);
    }
    zeros += size.width - x - width;
  }
  zeros += Math.max(size.height - y - height - 1, 0) * (size.width + 1);
  flush();
  bits.word(WORDS[END]);
  bits.align();
  bits.bytes(high >> 8, high & 255, low >> 8, low & 255);
  return bits.all();
}

/** One block, the last, with its own codes; distances have one of one bit: the byte before. @param {ReturnType<typeof createBits>} bits */
function writeHead(bits) {
  bits.put(1, 1);
  bits.put(2, 2);
  bits.put(286 - 257, 5);
  bits.put(0, 5);
  bits.put(ORDER.length - 4, 4);
  for (const symbol of ORDER) bits.put(LENGTH_BITS[symbol], 3);
  const words = wordsOf(LENGTH_BITS);
  const lengths = [...LENGTHS, 1];
  for (let at = 0; at < lengths.length; ) {
    const end = lengths.findIndex((length, i) => i >= at && length > 0);
    const zeros = Math.min(end - at, 138);
    if (zeros < 11) bits.word(words[lengths[at]]);
    else {
      bits.word(words[MANY]);
      bits.put(zeros - 11, 7);
    }
    at += zeros < 11 ? 1 : zeros;
  }
}

/** @param {ReturnType<typeof createBits>} bits @param {number} count */
function writeZeros(bits, count) {
  bits.word(WORDS[0]);
  let left = count - 1;
  for (; left >= LONGEST; left -= LONGEST) bits.put(WORDS[285].code, 2); // and the distance's bit, 0
  if (left >= 3) writeLength(bits, left);
  else for (; left > 0; left -= 1) bits.word(WORDS[0]);
}

/** A run of 3 to 257 of the byte before. @param {ReturnType<typeof createBits>} bits @param {number} length */
function writeLength(bits, length) {
  const from = length - 3;
  const extra = from < 8 ? 0 : 29 - Math.clz32(from);
  const symbol = FIRST_LENGTH + (from < 8 ? from : 4 * extra + (from >> extra));
  bits.word(WORDS[symbol]);
  bits.put(from & ((1 << extra) - 1), extra);
  bits.put(0, 1);
}

/** Canonical codes of these lengths. @param {readonly number[]} lengths @returns {Word[]} */
function wordsOf(lengths) {
  /** @type {Word[]} */
  const words = lengths.map((bits) => ({ code: 0, bits }));
  let code = 0;
  for (let bits = 1; bits < 16; bits += 1) {
    for (const word of words.filter((each) => each.bits === bits)) word.code = reversed(code++, bits);
    code <<= 1;
  }
  return words;
}

/** @param {number} code @param {number} bits */
function reversed(code, bits) {
  let result = 0;
  for (let bit = 0; bit < bits; bit += 1) result |= ((code >> bit) & 1) << (bits - 1 - bit);
  return result;
}

/** Bytes that are filled bit by bit, lowest first. */
function createBits() {
  let data = new Uint8Array(1 << 16);
  let [length, held, count] = [0, 0, 0];

  /** @param {number} value @param {number} bits up to 16 */
  function put(value, bits) {
    held |= value << count;
    count += bits;
    for (; count >= 8; count -= 8, held >>>= 8) byte(held & 255);
  }

  /** @param {number} value */
  function byte(value) {
    if (length === data.length) {
      const larger = new Uint8Array(2 * length);
      larger.set(data);
      data = larger;
    }
    data[length++] = value;
  }

  return {
    put,
    /** @param {Word} word */
    word: ({ code, bits }) => put(code, bits),
    align: () => count > 0 && put(0, 8 - count),
    /** @param {number[]} values */
    bytes: (...values) => values.forEach(byte),
    all: () => data.subarray(0, length),
  };
}
