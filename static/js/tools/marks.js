// @ts-check
/** Pure: which placed point, box side, corner or object lies under a position, and the box that a drag makes of it. */

/** @import { Box, Point, Size } from '../masks/geometry.js' */
/** @import { Prompts } from '../masks/prompts.js' */
/** @import { State } from '../state/state.js' */
/** @import { Thing } from '../state/work.js' */
import { covers } from '../masks/fields.js';
import { clamp } from '../masks/geometry.js';
import { frameOf, workOf } from '../state/selectors.js';

/**
 * A point by its index, or a box with the sides that a drag moves: -1 the left or upper, 1 the right or lower, 0 neither.
 * The whole box moves where both are 0.
 * @typedef {{kind: 'point', index: number} | {kind: 'box', box: Box, across: -1 | 0 | 1, down: -1 | 0 | 1}} Part
 */

/**
 * @param {Prompts} prompts
 * @param {Point} at
 * @param {number} reach in the picture's pixels
 * @returns {Part | null} points first; a box only by its frame, because inside it a drag draws another
 */
export function partAt({ clicks, box }, [x, y], reach) {
  const near = clicks.map((click) => Math.hypot(click.x - x, click.y - y) <= reach);
  if (near.includes(true)) return { kind: 'point', index: near.lastIndexOf(true) };
  if (!box) return null;
  const [x0, y0, x1, y1] = box;
  const within = x >= x0 - reach && x <= x1 + reach && y >= y0 - reach && y <= y1 + reach;
  if (!within) return null;
  const across = sideAt(x, x0, x1, reach);
  const down = sideAt(y, y0, y1, reach);
  if (across !== 0 && down !== 0) return { kind: 'box', box, across, down };
  const handle = (/** @type {number} */ at, /** @type {number} */ low, /** @type {number} */ high) =>
    Math.abs(at - (low + high) / 2) <= reach;
  if (across !== 0 && handle(y, y0, y1)) return { kind: 'box', box, across, down: 0 };
  if (down !== 0 && handle(x, x0, x1)) return { kind: 'box', box, across: 0, down };
  return across !== 0 || down !== 0 ? { kind: 'box', box, across: 0, down: 0 } : null;
}

/**
 * @param {State} state
 * @param {Point} point in the picture
 * @returns {number | null} the id of the topmost object there that is shown
 */
export function objectAt(state, point) {
  const lies = (/** @type {Thing} */ thing) => {
    const frame = frameOf(state, thing);
    return frame !== null && covers(thing.shape, frame, point);
  };
  return workOf(state).things.find((thing) => thing.visible && lies(thing))?.id ?? null;
}

/**
 * The points and the box's corners, one after the other, for a pointer without a mouse.
 * @param {Prompts} prompts
 * @returns {Point[]}
 */
export function placesOf({ clicks, box }) {
  const points = clicks.map(({ x, y }) => /** @type {Point} */ ([x, y]));
  if (!box) return points;
  const [x0, y0, x1, y1] = box;
  return [...points, [x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

/**
 * @param {Extract<Part, {kind: 'box'}>} part
 * @param {Point} from
 * @param {Point} to
 * @param {Size} size of the picture
 * @returns {Box | null} null for one without an area
 */
export function movedBox({ box: [x0, y0, x1, y1], across, down }, from, to, { width, height }) {
  const whole = across === 0 && down === 0;
  const dx = whole ? clamp(to[0] - from[0], -x0, width - x1) : clamp(to[0], 0, width);
  const dy = whole ? clamp(to[1] - from[1], -y0, height - y1) : clamp(to[1], 0, height);
  if (whole) return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
  const [left, right] = ordered(across === -1 ? dx : x0, across === 1 ? dx : x1);
  const [top, bottom] = ordered(down === -1 ? dy : y0, down === 1 ? dy : y1);
  return right > left && bottom > top ? [left, top, right, bottom] : null;
}

/** @param {number} at @param {number} low @param {number} high @param {number} reach @returns {-1 | 0 | 1} */
function sideAt(at, low, high, reach) {
  if (Math.abs(at - high) <= reach) return 1;
  return Math.abs(at - low) <= reach ? -1 : 0;
}

/** @param {number} a @param {number} b */
function ordered(a, b) {
  return a < b ? [a, b] : [b, a];
}
