// @ts-check
/**
 * PNG files of 8 bits, written and read: grey, indexed and with transparency. Source: https://www.w3.org/TR/png-3/
 *
 * The canvas cannot do this: it neither writes palettes nor gives back the ids of an indexed file.
 */

import { crc32, deflate, inflate, joined } from './bytes.js';
import { channelsOf, paletteColour } from './session.js';
import { NO_REPORT } from './work.js';

/** @typedef {'grey' | 'indexed' | 'rgba'} Kind */

/**
 * A decoded file: one number a pixel, the id of an indexed or grey file, the alpha of one with transparency.
 * @typedef {object} Decoded
 * @property {number} width
 * @property {number} height
 * @property {Uint16Array} values row by row
 * @property {'grey' | 'indexed' | 'alpha'} kind
 * @property {number} depth bits of a value
 * @property {Record<string, string>} text
 */

/** Channels by colour type. @type {Record<number, number>} */
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const TYPES = { grey: 0, indexed: 3, rgba: 6 };
const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
/** Pixels that this reads at most: 16384 x 16384. */
const MOST_PIXELS = 2 ** 28;
const STRIP = 1 << 20;

/**
 * @param {{width: number, height: number}} size
 * @param {Kind} kind
 * @param {(y: number, row: Uint8Array) => void} paint fills one row, which is zero before
 * @param {{palette?: readonly string[], text?: Record<string, string>}} [more] as of `pngOf`
 */
export async function encodePng({ width, height }, kind, paint, more = {}, work = NO_REPORT) {
  const data = await deflate(rows(width * CHANNELS[TYPES[kind]], height, paint, work), 'deflate');
  return pngOf({ width, height }, kind, data, more);
}

/**
 * A file around rows that are filtered and packed already.
 * @param {{width: number, height: number}} size
 * @param {Kind} kind
 * @param {Uint8Array} data in zlib's format
 * @param {{palette?: readonly string[], text?: Record<string, string>}} [more] colours of ids; 0 is transparent
 */
export function pngOf({ width, height }, kind, data, { palette, text = {} } = {}) {
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header.set([8, TYPES[kind], 0, 0, 0], 8);
  const channels = Uint8Array.from((palette ?? []).flatMap(channelsOf));
  const colours = palette ? [chunk('PLTE', channels), chunk('tRNS', Uint8Array.of(0))] : [];
  return joined([
    SIGNATURE, chunk('IHDR', header), ...colours, ...Object.entries(text).map(textChunk), chunk('IDAT', data),
    chunk('IEND', new Uint8Array(0)),
  ]);
}

/** Pascal VOC's 256 colours, with others where given. @param {Map<number, string>} [others] */
export function paletteOf(others = new Map()) {
  return Array.from({ length: 256 }, (_, index) => others.get(index) ?? paletteColour(index));
}

/**
 * Filtered rows, in strips: each row less the one above it, which suits masks.
 * @param {number} length bytes of a row
 * @param {number} height
 * @param {(y: number, row: Uint8Array) => void} paint
 * @param {import('./work.js').Work} work
 */
async function* rows(length, height, paint, work) {
  let [above, row] = [new Uint8Array(length), new Uint8Array(length)];
  const many = Math.max(1, Math.floor(STRIP / (length + 1)));
  for (let y = 0; y < height; ) {
    const strip = new Uint8Array(Math.min(many, height - y) * (length + 1));
    for (let at = 0; at < strip.length; at += length + 1, y += 1) {
      row.fill(0);
      paint(y, row);
      strip[at] = 2;
      for (let x = 0; x < length; x += 1) strip[at + 1 + x] = row[x] - above[x];
      [above, row] = [row, above];
    }
    yield strip;
    await work.step(y / height);
  }
}

/** @param {string} type @param {Uint8Array} data */
function chunk(type, data) {
  const whole = new Uint8Array(12 + data.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, data.length);
  whole.set(new TextEncoder().encode(type), 4);
  whole.set(data, 8);
  view.setUint32(8 + data.length, crc32(whole.subarray(4, 8 + data.length)));
  return whole;
}

/** @param {[string, string]} entry */
function textChunk([key, value]) {
  return chunk('iTXt', new TextEncoder().encode(`${key}\0\0\0\0\0${value}`));
}

/**
 * @param {Uint8Array} data
 * @returns {Promise<Decoded>} an error says why it cannot be read, or that it is a picture and no mask
 */
export async function decodePng(data) {
  const chunks = readChunks(data);
  const header = chunks.find(({ type }) => type === 'IHDR')?.body;
  if (!header || header.length !== 13) throw new RangeError('not a PNG that can be read; export it again');
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height, depth, type] = [view.getUint32(0), view.getUint32(4), header[8], header[9]];
  if (width * height > MOST_PIXELS) throw new RangeError(`a PNG of ${width} x ${height} pixels is too large`);
  const channels = CHANNELS[type];
  if (!channels || type === 2) {
    throw new RangeError('its pixels are RGB colours; a mask is an indexed or grey PNG, or one with transparency');
  }
  if (header[12] !== 0) throw new RangeError('an interlaced PNG, which this does not read; save it without');
  const length = Math.ceil((width * channels * depth) / 8);
  const body = joined(chunks.filter((item) => item.type === 'IDAT').map((item) => item.body));
  const packed = await inflate(body, 'deflate', (length + 1) * height);
  if (packed.length !== (length + 1) * height) throw new RangeError('a PNG that breaks off; export it again');
  unfilter(packed, length, height, Math.max(1, (channels * depth) / 8));
  return {
    width, height, depth, values: lastChannel(packed, width, height, length, channels, depth),
    kind: type === 3 ? 'indexed' : channels === 1 ? 'grey' : 'alpha', text: textsOf(chunks),
  };
}

/** @param {Uint8Array} data */
function readChunks(data) {
  if (!SIGNATURE.every((byte, i) => data[i] === byte)) {
    throw new RangeError('not a PNG that can be read; export it again');
  }
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const chunks = [];
  for (let at = 8; at + 12 <= data.length; ) {
    const length = view.getUint32(at);
    if (at + 12 + length > data.length) break;
    const type = String.fromCharCode(...data.subarray(at + 4, at + 8));
    chunks.push({ type, body: data.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  if (chunks.at(-1)?.type !== 'IEND') {
    throw new RangeError('not a PNG that can be read: it breaks off; export it again');
  }
  return chunks;
}

/**
 * Rows become what they were before their filters, in place.
 * @param {Uint8Array} rows each after its filter's number
 * @param {number} length
 * @param {number} height
 * @param {number} back bytes to the pixel on the left
 */
function unfilter(rows, length, height, back) {
  for (let y = 0; y < height; y += 1) {
    const at = y * (length + 1) + 1;
    const filter = rows[at - 1];
    for (let x = 0; filter > 0 && x < length; x += 1) {
      const left = x >= back ? rows[at + x - back] : 0;
      const above = y > 0 ? rows[at + x - length - 1] : 0;
      const corner = x >= back && y > 0 ? rows[at + x - length - 1 - back] : 0;
      rows[at + x] += [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter];
    }
  }
}

/** @param {number} left @param {number} above @param {number} corner */
function paeth(left, above, corner) {
  const guess = left + above - corner;
  const [toLeft, toAbove, toCorner] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/**
 * @param {Uint8Array} rows
 * @param {number} width
 * @param {number} height
 * @param {number} length
 * @param {number} channels
 * @param {number} depth
 */
function lastChannel(rows, width, height, length, channels, depth) {
  const values = new Uint16Array(width * height);
  for (let y = 0, to = 0; y < height; y += 1) {
    const start = y * (length + 1) + 1;
    for (let x = 0; x < width; x += 1, to += 1) {
      const bit = (x * channels + channels - 1) * depth;
      const at = start + (bit >> 3);
      if (depth === 16) values[to] = rows[at] * 256 + rows[at + 1];
      else values[to] = (rows[at] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
    }
  }
  return values;
}

/** Uncompressed texts. @param {{type: string, body: Uint8Array}[]} chunks */
function textsOf(chunks) {
  /** @type {Record<string, string>} */
  const texts = {};
  for (const { type, body } of chunks) {
    if (type !== 'iTXt') continue;
    const match = /^([^\0]*)\0\0\0[^\0]*\0[^\0]*\0([^]*)$/.exec(new TextDecoder().decode(body));
    if (match) texts[match[1]] = match[2];
  }
  return texts;
}
