// @ts-check
/** What several tests need: reproducible chance, frames as the server fits them, bodies in the wire's layout. */

import { createFrame } from '../../static/js/masks/geometry.js';

/**
 * A small linear congruential generator, so that a failure repeats.
 * @param {number} seed
 * @returns {() => number} from 0 up to 1
 */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Meta's rule: long side to `side`, rounded half up.
 * @param {number} width
 * @param {number} height
 */
export function fitFrame(width, height, side = 1024) {
  const scale = side / Math.max(width, height);
  const fit = (/** @type {number} */ length) => Math.max(1, Math.floor(length * scale + 0.5));
  return createFrame({ width, height }, { width: fit(width), height: fit(height) }, side);
}

/** @param {() => number} random */
export function randomSize(random) {
  const side = () => Math.ceil(2 ** (random() * 13));
  return { width: side(), height: side() };
}

/**
 * @param {Record<string, unknown>} header
 * @param {Uint8Array} data
 * @returns {ArrayBuffer}
 */
export function tensorFile(header, data) {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const body = new Uint8Array(8 + json.length + data.length);
  new DataView(body.buffer).setBigUint64(0, BigInt(json.length), true);
  body.set(json, 8);
  body.set(data, 8 + json.length);
  return body.buffer;
}

/** Let every promise that can settle do so. */
export function settled() {
  return new Promise((resolve) => setTimeout(resolve, 5));
}
