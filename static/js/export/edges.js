// @ts-check
/** Edges of cut-outs: feathered by distance, or softened by the picture's colours. sam/formats/png.py is its twin. */

/** @import { Pixels } from './matte.js' */
/** @import { Crop, Window } from './runs.js' */
import { matte } from './matte.js';
import { NO_REPORT } from './work.js';

/** @typedef {(window: Window) => Pixels} Source of a picture's pixels, so that never all of them need be held */

const MOST_FEATHER = 64;
/** Side of the squares that are softened by themselves, and how far the matte looks around, in radii. */
const [TILE, REACH] = [384, 4];

/** @param {Pixels} image @returns {Source} */
export function sourceOf(image) {
  return ({ x, y, width, height }) => {
    const data = new Uint8ClampedArray(4 * width * height);
    for (let row = 0; row < height; row += 1) {
      const start = 4 * ((y + row) * image.width + x);
      data.set(image.data.subarray(start, start + 4 * width), 4 * row * width);
    }
    return { width, height, data };
  };
}

/** @param {number} feather */
export function checkFeather(feather) {
  if (feather >= 0 && feather <= MOST_FEATHER) return;
  throw new RangeError(`the feather is ${feather} pixels; give 0 to 64`);
}

/**
 * Alpha of a mask's window, rising from its edge inwards over `feather` pixels, by the chamfer metric.
 * @param {Crop} crop
 * @param {number} feather 0 to 64
 */
export function feathered(crop, feather) {
  checkFeather(feather);
  if (feather === 0) return crop.data.map((value) => 255 * value);
  const depth = depthOf(crop, Math.ceil(feather) + 1);
  return crop.data.map((value, i) => (
    value * Math.min(Math.max(Math.floor((255 * (depth[i] / 5 - 0.5)) / feather + 0.5), 0), 255)));
}

/**
 * Alpha of a mask's window, `radius` pixels wider, by the picture's colours (matte.js). Tile by tile, each with what
 * lies around it, which gives the same as all at once; tiles without an edge are left alone.
 * @param {Crop} crop
 * @param {{width: number, height: number}} picture
 * @param {Source} source
 * @param {number} radius 1 to 64
 * @returns {Promise<Crop>} with 0 to 255
 */
export async function softened(crop, picture, source, radius, work = NO_REPORT) {
  const window = widened(crop, radius, picture);
  const data = new Uint8Array(window.width * window.height);
  for (let y = window.y; y < window.y + window.height; y += TILE) {
    for (let x = window.x; x < window.x + window.width; x += TILE) {
      const width = Math.min(TILE, window.x + window.width - x);
      const tile = { x, y, width, height: Math.min(TILE, window.y + window.height - y) };
      put(alphaOf(tile, crop, picture, source, radius), tile, window, data);
      await work.step((y - window.y) / window.height);
    }
  }
  return { ...window, data };
}

/**
 * @param {Window} tile
 * @param {Crop} crop
 * @param {{width: number, height: number}} picture
 * @param {Source} source
 * @param {number} radius
 */
function alphaOf(tile, crop, picture, source, radius) {
  const around = widened(tile, REACH * radius, picture);
  const mask = cut(crop, around);
  const isMixed = mask.includes(1) && mask.includes(0);
  const alpha = isMixed ? matte(source(around), mask, radius) : mask;
  return cut({ ...around, data: Uint8Array.from(alpha, (value) => Math.floor(255 * value + 0.5)) }, tile);
}

/** @param {Window} window @param {number} by pixels, within the picture @param {{width: number, height: number}} picture @returns {Window} */
export function widened({ x, y, width, height }, by, picture) {
  const [left, top] = [Math.max(x - by, 0), Math.max(y - by, 0)];
  const [right, bottom] = [Math.min(x + width + by, picture.width), Math.min(y + height + by, picture.height)];
  return { x: left, y: top, width: right - left, height: bottom - top };
}

/** The pixels of a window, 0 where the crop has none. @param {Crop} crop @param {Window} window */
function cut(crop, { x, y, width, height }) {
  const data = new Uint8Array(width * height);
  const [left, right] = [Math.max(crop.x, x), Math.min(crop.x + crop.width, x + width)];
  const [top, bottom] = [Math.max(crop.y, y), Math.min(crop.y + crop.height, y + height)];
  for (let row = top; row < bottom && left < right; row += 1) {
    const start = (row - crop.y) * crop.width - crop.x;
    data.set(crop.data.subarray(start + left, start + right), (row - y) * width + left - x);
  }
  return data;
}

/** @param {Uint8Array} values @param {Window} tile @param {Window} window @param {Uint8Array} data changed */
function put(values, tile, window, data) {
  for (let row = 0; row < tile.height; row += 1) {
    const at = (tile.y - window.y + row) * window.width + tile.x - window.x;
    data.set(values.subarray(row * tile.width, (row + 1) * tile.width), at);
  }
}

/**
 * Fifths of a pixel to the nearest pixel that is not mask, exact up to `most` pixels: two sweeps (Borgefors 1986).
 * @param {Crop} crop
 * @param {number} most
 */
function depthOf({ data, width, height }, most) {
  const depth = Int32Array.from(data, (value) => (value ? 7 * (most + 1) : 0));
  const at = (/** @type {number} */ x, /** @type {number} */ y) => (
    x < 0 || y < 0 || x >= width || y >= height ? 0 : depth[y * width + x]);
  const relax = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ way) => {
    depth[y * width + x] = Math.min(depth[y * width + x], at(x - way, y) + 5, at(x, y - way) + 5,
      at(x - way, y - way) + 7, at(x + way, y - way) + 7);
  };
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) relax(x, y, 1);
  for (let y = height - 1; y >= 0; y -= 1) for (let x = width - 1; x >= 0; x -= 1) relax(x, y, -1);
  return depth;
}

