// @ts-check
/** Between run lengths and what formats hold: outlines, shapes painted onto the picture, layers of ids. */

/** @import { Frame, Outline, Ring } from './polygons.js' */
/** @import { Runs } from './runs.js' */
/** @import { MaskObject, Picture } from './session.js' */
import { draw, fillEvenOdd, outline } from './polygons.js';
import { cropRuns, placeCrop } from './runs.js';
import { NO_REPORT } from './work.js';

/** @typedef {{ids: Uint16Array[], layer: number[], id: number[]}} Layers object k is where ids[layer[k]] is id[k] */

/**
 * An object's polygons, in the picture's pixels.
 * @param {MaskObject} item
 * @param {number | null} tolerance
 * @param {Frame} [frame]
 * @returns {Outline}
 */
export function objectOutline({ mask }, tolerance, frame = 'edges') {
  const crop = cropRuns(mask);
  const { polygons, error } = outline(crop, tolerance, frame);
  return { polygons: polygons.map((polygon) => polygon.map((ring) => moved(ring, crop.x, crop.y))), error };
}

/** @param {Ring} ring @param {number} dx @param {number} dy @returns {Ring} */
export function moved(ring, dx, dy) {
  return ring.map((value, i) => value + (i % 2 === 0 ? dx : dy));
}

/** The points of a ring. @param {Ring} ring @returns {[x: number, y: number][]} */
export function pointsOf(ring) {
  return Array.from({ length: ring.length / 2 }, (_, i) => [ring[2 * i], ring[2 * i + 1]]);
}

/**
 * The union of rings on the picture. What reaches over its border is cut off; an error if nothing is left.
 * @param {readonly Ring[]} rings
 * @param {Picture} picture
 * @param {(ring: Ring, width: number, height: number) => Uint8Array} [painter]
 * @returns {Runs}
 */
export function painted(rings, picture, painter = fillEvenOdd) {
  const [low, high] = [extreme(rings, Math.min), extreme(rings, Math.max)];
  const [x, y] = [within(Math.floor(low[0]), picture.width), within(Math.floor(low[1]), picture.height)];
  const width = within(Math.floor(high[0]) + 1, picture.width) - x;
  const height = within(Math.floor(high[1]) + 1, picture.height) - y;
  const data = new Uint8Array(Math.max(width, 0) * Math.max(height, 0));
  for (const ring of data.length > 0 ? rings : []) {
    painter(moved(ring, -x, -y), width, height).forEach((value, i) => { data[i] |= value; });
  }
  if (!data.includes(1)) {
    const reach = `from ${low} to ${high}`;
    throw new RangeError(`a polygon ${reach} covers no pixel of the picture of ${picture.width} x ${picture.height}`);
  }
  return placeCrop({ x, y, width, height, data }, [picture.height, picture.width]);
}

/**
 * As `painted`, the way OpenCV and Pillow draw: fractions dropped, the outline's pixels in.
 * @param {readonly Ring[]} rings
 * @param {Picture} picture
 */
export function drawn(rings, picture) {
  return painted(rings, picture, draw);
}

/** @param {readonly Ring[]} rings @param {(a: number, b: number) => number} choose */
function extreme(rings, choose) {
  const found = [rings[0][0], rings[0][1]];
  for (const ring of rings) ring.forEach((value, i) => { found[i % 2] = choose(found[i % 2], value); });
  return found;
}

/** @param {number} value @param {number} length */
function within(value, length) {
  return Math.min(Math.max(value, 0), length);
}

/**
 * Points [[x, y], ...] or numbers [x, y, x, y, ...] of a file as a ring; an error for anything else, and for points
 * further outside than the picture is large.
 * @param {any} values
 * @param {Picture} picture
 * @returns {Ring}
 */
export function ringOf(values, { width, height }) {
  const flat = Array.isArray(values) ? values.flat() : [];
  const isNested = flat.length > values?.length;
  const isPairs = isNested ? values.every((/** @type {any} */ pair) => pair.length === 2) : flat.length % 2 === 0;
  if (!isPairs || flat.length < 6 || !flat.every((value) => typeof value === 'number')) {
    throw new RangeError('a polygon is a list of at least three points x, y');
  }
  const reach = Math.max(width, height);
  const far = flat.find((value) => !(value >= -reach && value <= 2 * reach));
  if (far !== undefined) {
    throw new RangeError(`a polygon has a point far outside of the picture of ${width} x ${height}: ${far}`);
  }
  return Float64Array.from(flat);
}

/**
 * Every object into the first layer where it covers no other, `most` in each.
 * @param {readonly MaskObject[]} objects
 * @param {Picture} picture
 * @param {number} most
 * @returns {Promise<Layers>}
 */
export async function intoLayers(objects, { width, height }, most, work = NO_REPORT) {
  const ids = [new Uint16Array(width * height)];
  const used = [0];
  /** @type {Layers} */
  const layers = { ids, layer: [], id: [] };
  for (const [order, { mask }] of objects.entries()) {
    const places = pixelsOf(mask, width);
    let index = ids.findIndex((pixels, layer) => used[layer] < most && places.every((at) => pixels[at] === 0));
    if (index < 0) {
      index = ids.push(new Uint16Array(width * height)) - 1;
      used.push(0);
    }
    used[index] += 1;
    for (const at of places) ids[index][at] = used[index];
    layers.layer.push(index);
    layers.id.push(used[index]);
    await work.step((order + 1) / objects.length);
  }
  return layers;
}

/**
 * One picture of ids: where objects overlap the later one, which lies above, wins.
 * @param {readonly MaskObject[]} objects
 * @param {Picture} picture
 * @param {readonly number[]} values
 * @returns {Promise<Uint8Array>}
 */
export async function flatten(objects, { width, height }, values, work = NO_REPORT) {
  const ids = new Uint8Array(width * height);
  for (const [index, { mask }] of objects.entries()) {
    for (const at of pixelsOf(mask, width)) ids[at] = values[index];
    await work.step((index + 1) / objects.length);
  }
  return ids;
}

/**
 * Where a mask's pixels are, row by row.
 * @param {Runs} mask
 * @param {number} width
 * @returns {Uint32Array}
 */
function pixelsOf(mask, width) {
  const crop = cropRuns(mask);
  const places = new Uint32Array(crop.data.reduce((sum, value) => sum + value, 0));
  let next = 0;
  crop.data.forEach((value, i) => {
    if (value === 1) places[next++] = (crop.y + Math.floor(i / crop.width)) * width + crop.x + (i % crop.width);
  });
  return places;
}
