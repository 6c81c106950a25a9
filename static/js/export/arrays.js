// @ts-check
/** NumPy: one .npz that `numpy.load` reads without pickle. sam/formats/arrays.py is its twin and says what is in it. */

/** @import { Files, Session } from './session.js' */
import { pack } from './archive.js';
import { joined } from './bytes.js';
import { intoLayers } from './shapes.js';
import { stem } from './text.js';
import { NO_REPORT } from './work.js';

const MOST_IDS = 65535;
const ALIGNMENT = 64;

/**
 * NAME.npz.
 * @param {Session} session
 * @returns {Promise<Files>}
 */
export async function write({ picture, objects }, _options = {}, work = NO_REPORT) {
  const { ids, layer, id } = await intoLayers(objects, picture, MOST_IDS, work.part(0, 0.5));
  const count = objects.length;
  const scores = Float64Array.from(objects, ({ score }) => score ?? NaN);
  return {
    [`${stem(picture.name)}.npz`]: await pack({
      'ids.npy': npy('<u2', [ids.length, picture.height, picture.width], ids),
      'layer.npy': npy('<u2', [count], [Uint16Array.from(layer)]),
      'id.npy': npy('<u2', [count], [Uint16Array.from(id)]),
      'labels.npy': textNpy(objects.map(({ label }) => label)),
      'colours.npy': textNpy(objects.map(({ colour }) => colour)),
      'scores.npy': npy('<f8', [count], [scores]),
      'visible.npy': npy('|b1', [count], [Uint8Array.from(objects, ({ visible }) => Number(visible))]),
    }, work.part(0.5, 1)),
  };
}

/** @param {string[]} texts as UTF-32, all as long as the longest */
function textNpy(texts) {
  const length = Math.max(1, ...texts.map((text) => [...text].length));
  const codes = new Uint32Array(texts.length * length);
  texts.forEach((text, row) => {
    [...text].forEach((character, i) => { codes[row * length + i] = character.codePointAt(0) ?? 0; });
  });
  return npy(`<U${length}`, [texts.length], [codes]);
}

/**
 * The contents of an .npy file, version 1.0; little-endian, as every browser is.
 * @param {string} type
 * @param {readonly number[]} shape
 * @param {readonly ArrayBufferView[]} parts
 */
export function npy(type, shape, parts) {
  const dimensions = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': ${dimensions}, }`;
  const length = Math.ceil((10 + header.length + 1) / ALIGNMENT) * ALIGNMENT - 10;
  const text = new TextEncoder().encode(`${header.padEnd(length - 1)}\n`);
  const start = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, length & 255, length >> 8);
  const bytes = parts.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength));
  return joined([start, text, ...bytes]);
}
