// @ts-check
/**
 * Pure: which closer view to have encoded for what is looked at, and which of those that are there answers prompts.
 *
 * Views halve down to `LEAST_SIDE` pixels and lie on a grid of half their side, as the server encodes them
 * (sam/large/picker.py is the twin).
 */

/** @import { PictureForDecoder } from '../decoding/backends.js' */
/** @import { Frame, Point, Size, View as Place } from './geometry.js' */
/** @import { Prompts } from './prompts.js' */
import { boxOf, clamp } from './geometry.js';

/** @typedef {readonly [x: number, y: number, width: number, height: number]} Window in the picture's pixels */
/** @typedef {PictureForDecoder & {seconds: number}} CloserView and how long its encode took */
/** @typedef {{side: number, middle: Point}} Sight the longer side of what is on the screen, and its middle */

const LEAST_SIDE = 128;
/** How many times closer than all of the picture a view is, or it is not worth an encode. */
const LEAST_GAIN = 1.5;
/** An object needs what surrounds it: how much of a view's side prompts keep from its edges inside the picture. */
const MARGIN = 1 / 8;

/**
 * What of a picture is on the stage.
 * @param {Place} view
 * @param {Size} size of the picture
 * @param {Size} stage
 * @returns {Sight}
 */
export function sightOf(view, size, stage) {
  const scale = view.width / size.width;
  const [left, right] = seen(view.x, stage.width, scale, size.width);
  const [top, bottom] = seen(view.y, stage.height, scale, size.height);
  return { side: Math.max(right - left, bottom - top), middle: [(left + right) / 2, (top + bottom) / 2] };
}

/**
 * The view around a point that is as large as what is on the screen.
 * @param {Size} size of the picture
 * @param {Sight} sight
 * @param {Point} at
 * @returns {Window | null} null where all of the picture does as well
 */
export function windowAround({ width, height }, { side: shown }, [x, y]) {
  let side = LEAST_SIDE;
  while (side < shown) side *= 2;
  if (side * LEAST_GAIN > Math.max(width, height)) return null;
  const [left, wide] = span(x, side, width);
  const [top, tall] = span(y, side, height);
  return [left, top, wide, tall];
}

/**
 * The closest of the views that are no smaller than what is on the screen and hold the prompts with what is around them.
 * @template {{frame: Frame}} V
 * @param {readonly V[]} views the newest first
 * @param {Size} size of the picture
 * @param {Sight} sight
 * @param {Prompts} prompts
 * @returns {V | null}
 */
export function viewFor(views, size, sight, prompts) {
  const fit = views.filter(({ frame }) => sideOf(frame) >= sight.side && holds(frame, prompts, size, MARGIN));
  return fit.reduce((/** @type {V | null} */ best, each) => (best && sideOf(best.frame) <= sideOf(each.frame) ? best : each), null);
}

/**
 * Whether a view holds prompts, with so much of its side around them as the picture has.
 * @param {Frame} frame
 * @param {Prompts} prompts
 * @param {Size} size of the picture
 * @param {number} [margin]
 */
export function holds(frame, { clicks, box }, { width, height }, margin = 0) {
  const [left, top, right, bottom] = boxOf(frame);
  const room = margin * sideOf(frame);
  const within = (/** @type {number} */ x, /** @type {number} */ y) =>
    (x >= left + room || left === 0) && (x <= right - room || right === width) &&
    (y >= top + room || top === 0) && (y <= bottom - room || bottom === height);
  const corners = box ? [[box[0], box[1]], [box[2], box[3]]] : [];
  return [...clicks.map(({ x, y }) => [x, y]), ...corners].every(([x, y]) => within(x, y));
}

/** @param {Frame} frame @returns {Window} */
export function windowOf({ origin, original }) {
  return [...origin, original.width, original.height];
}

/** @param {Frame} frame the longer side in the picture's pixels */
export function sideOf({ original: { width, height } }) {
  return Math.max(width, height);
}

/** One axis of what is seen. @param {number} start @param {number} stage @param {number} scale @param {number} length */
function seen(start, stage, scale, length) {
  return [clamp(-start / scale, 0, length), clamp((stage - start) / scale, 0, length)];
}

/** One axis of a view. @param {number} middle @param {number} side @param {number} length @returns {[number, number]} */
function span(middle, side, length) {
  const extent = Math.min(side, length);
  const step = side / 2;
  return [clamp(Math.round((middle - extent / 2) / step) * step, 0, length - extent), extent];
}
