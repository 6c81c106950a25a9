// @ts-check
/**
 * Soft edges: how much of each pixel near a mask's edge is object, told by the picture's colours there.
 *
 * sam/mattes.py is its twin, and has the model and its source. For a large picture give a crop around the object.
 */

/** @typedef {{width: number, height: number, data: Uint8ClampedArray | Uint8Array}} Pixels RGBA, row by row */
/** @typedef {Record<'count' | 'red' | 'green' | 'blue' | 'squares', Float64Array>} Sums around each pixel */

const LEAST_CONTRAST = 12;
const SPREAD = 25;
const CERTAIN = 2;
const SNAP = 0.06;
const MOST_RADIUS = 64;

/**
 * @param {Pixels} image
 * @param {Uint8Array} mask 0 or 1, row by row
 * @param {number} [radius] pixels to each side of the edge that may become soft, 1 to 64
 * @param {Float32Array | null} [logits] of the mask, if known: where they doubt, up to twice as far
 * @returns {Float32Array} alpha, 0 to 1
 */
export function matte(image, mask, radius = 6, logits = null) {
  const { width, height } = image;
  if (mask.length !== width * height) {
    throw new RangeError(`the picture is ${width} x ${height}, the mask has ${mask.length} pixels`);
  }
  if (!(radius >= 1 && radius <= MOST_RADIUS)) throw new RangeError(`the radius is ${radius} pixels; give 1 to 64`);
  const sure = known(mask, width, height, radius, 1, logits);
  const sureNot = known(mask, width, height, radius, 0, logits);
  const reach = (logits ? 6 : 3) * radius;
  const [inner, outer] = [sure, sureNot].map((part) => colourSums(image, part, reach));
  return Float32Array.from(mask, (value, i) => {
    if (sure[i]) return 1;
    return sureNot[i] ? 0 : between(image.data, i, value, inner, outer);
  });
}

/**
 * Where a pixel's colour lies between the background's and the object's around it, as far as that can be trusted.
 * @param {Uint8ClampedArray | Uint8Array} data
 * @param {number} i
 * @param {number} hard what the mask says
 * @param {Sums} inner
 * @param {Sums} outer
 */
function between(data, i, hard, inner, outer) {
  if (inner.count[i] === 0 || outer.count[i] === 0) return hard;
  const [object, ground] = [meanOf(inner, i), meanOf(outer, i)];
  const line = object.colour.map((value, channel) => value - ground.colour[channel]);
  const apart = ground.colour.map((value, channel) => data[4 * i + channel] - value);
  const length = dot(line, line);
  const along = dot(apart, line) / Math.max(length, 1e-6);
  const near = clip(along);
  const off = apart.map((value, channel) => value - near * line[channel]); // a third colour is no mixture
  const doubt = LEAST_CONTRAST ** 2 + SPREAD * (object.spread + ground.spread) + 4 * dot(off, off);
  const trust = clip((2 * length) / (length + doubt) - 0.5);
  return trust * clip((along - SNAP) / (1 - 2 * SNAP)) + (1 - trust) * hard;
}

/** @param {Sums} sums @param {number} i */
function meanOf({ count, red, green, blue, squares }, i) {
  const colour = [red[i] / count[i], green[i] / count[i], blue[i] / count[i]];
  return { colour, spread: Math.max(squares[i] / count[i] - dot(colour, colour), 0) };
}

/** @param {number[]} a @param {number[]} b */
function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** @param {number} value */
function clip(value) {
  return Math.min(Math.max(value, 0), 1);
}

/**
 * Pixels that surely have a value: none of the other within `radius`, or within twice that where the logits doubt.
 * @param {Uint8Array} mask
 * @param {number} width
 * @param {number} height
 * @param {number} radius
 * @param {0 | 1} value
 * @param {Float32Array | null} logits
 */
function known(mask, width, height, radius, value, logits) {
  const other = Float64Array.from(mask, (found) => (found === value ? 0 : 1));
  const near = boxSum(other, width, height, radius);
  const wide = logits && boxSum(other, width, height, 2 * radius);
  const side = value === 1 ? 1 : -1;
  return Uint8Array.from(mask, (_, i) => (
    near[i] < 0.5 && (!logits || !wide || side * logits[i] > CERTAIN || wide[i] < 0.5) ? 1 : 0));
}

/** @param {Pixels} image @param {Uint8Array} part @param {number} reach @returns {Sums} */
function colourSums({ data, width, height }, part, reach) {
  const sum = (/** @type {(at: number) => number} */ value) => (
    boxSum(Float64Array.from(part, (found, i) => (found ? value(4 * i) : 0)), width, height, reach));
  return {
    count: sum(() => 1), red: sum((at) => data[at]), green: sum((at) => data[at + 1]), blue: sum((at) => data[at + 2]),
    squares: sum((at) => data[at] ** 2 + data[at + 1] ** 2 + data[at + 2] ** 2),
  };
}

/**
 * Sum of a square of 2 * reach + 1 pixels around each one; nothing lies outside.
 * @param {Float64Array} values
 * @param {number} width
 * @param {number} height
 * @param {number} reach
 */
function boxSum(values, width, height, reach) {
  const sums = new Float64Array(values.length);
  for (let y = 0; y < height; y += 1) slide(values, sums, y * width, 1, width, reach);
  const found = new Float64Array(values.length);
  for (let x = 0; x < width; x += 1) slide(sums, found, x, width, height, reach);
  return found;
}

/**
 * @param {Float64Array} from
 * @param {Float64Array} to
 * @param {number} start
 * @param {number} step
 * @param {number} length
 * @param {number} reach
 */
function slide(from, to, start, step, length, reach) {
  let sum = 0;
  for (let i = -reach; i < length; i += 1) {
    if (i + reach < length) sum += from[start + (i + reach) * step];
    if (i > reach) sum -= from[start + (i - reach - 1) * step];
    if (i >= 0) to[start + i * step] = sum;
  }
}
