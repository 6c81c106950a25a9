// @ts-check
/**
 * Pure arithmetic on fields: masks as GRID x GRID numbers, positive inside, whose zero line is the edge.
 *
 * A decoder's logits are a field, and so is a distance to an edge in cells. Sampled between cells they have a smooth
 * edge at any zoom, so objects are stored, painted and combined as fields and become pixels only where they are shown.
 * A field is of all of a picture or of a closer view; its frame tells.
 */

/** @import { Box, Frame, Point, Size } from './geometry.js' */
import { boxOf, clamp, GRID, gridRegion, pictureToFrame, sameFrame } from './geometry.js';
import { regionsOf } from './regions.js';

/** @typedef {Float32Array<ArrayBuffer>} Field */
/** @typedef {{columns: number, rows: number}} Extent of the grid that the picture fills, in whole cells */
/** @typedef {'unite' | 'subtract' | 'intersect'} Combination */

/**
 * How a field is tidied, without loss: all of it can be taken back.
 * @typedef {object} Finish
 * @property {number} holes those up to this share of the picture are filled
 * @property {number} islands those up to this share of the picture are removed
 * @property {number} smooth radius in cells
 * @property {number} grow cells outwards, or inwards where negative
 */

/** Logits per cell of distance: what the model's own masks have at their edges. */
const SLOPE = 4;
const CELLS = GRID * GRID;
const FAR = 1e9;
const PASSES = 3;
const FAINT = SLOPE;
/** Cells from an edge of its view at which a mask was probably cut by it. */
const CUT_CELLS = 2;
/** From a cell to its eight neighbours. */
const AROUND = [-GRID - 1, -GRID, -GRID + 1, -1, 1, GRID - 1, GRID, GRID + 1];

/** @type {Finish} */
export const NO_FINISH = Object.freeze({ holes: 0, islands: 0, smooth: 0, grow: 0 });

/** @type {Record<Combination, (a: number, b: number) => number>} */
const COMBINE = { unite: Math.max, subtract: (a, b) => Math.min(a, -b), intersect: Math.min };

/** @param {number} [value] */
export function emptyField(value = -4 * SLOPE) {
  return new Float32Array(CELLS).fill(value);
}

/** @param {Frame} frame @returns {Extent} */
export function extentOf(frame) {
  const { width, height } = gridRegion(frame, GRID);
  return { columns: clamp(Math.ceil(width), 1, GRID), rows: clamp(Math.ceil(height), 1, GRID) };
}

/**
 * @param {readonly Float32Array[]} fields the first with all the others, in their order
 * @param {Combination} how
 * @returns {Field}
 */
export function combine(fields, how) {
  const [first, ...others] = fields;
  const result = Float32Array.from(first);
  for (const other of others) for (let i = 0; i < CELLS; i += 1) result[i] = COMBINE[how](result[i], other[i]);
  return result;
}

/**
 * The share of the picture that is inside.
 * @param {Float32Array} field
 * @param {Extent} extent
 */
export function coverage(field, { columns, rows }) {
  let inside = 0;
  eachCell({ columns, rows }, (at) => (inside += field[at] > 0 ? 1 : 0));
  return inside / (columns * rows);
}

/**
 * How little the mask depends on the threshold: its IoU between a threshold one higher and one lower.
 * @param {Float32Array} logits
 */
export function stability(logits) {
  let [strict, loose] = [0, 0];
  for (let i = 0; i < logits.length; i += 1) {
    if (logits[i] > 1) strict += 1;
    if (logits[i] > -1) loose += 1;
  }
  return loose > 0 ? strict / loose : 0;
}

/**
 * The cells that hold the inside and its edge, [left, top, right, bottom) in cells; null when nothing is inside.
 * @param {Float32Array} field
 * @param {Extent} [extent]
 * @returns {Box | null}
 */
export function boundsOf(field, extent = { columns: GRID, rows: GRID }) {
  let [left, top, right, bottom] = [GRID, GRID, -1, -1];
  eachCell(extent, (at, x, y) => {
    if (field[at] <= 0) return;
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = y;
  });
  return right < 0 ? null : [left, top, right + 1, bottom + 1];
}

/**
 * A box of cells as a box of the picture's pixels.
 * @param {Box} cells
 * @param {Frame} frame
 * @returns {Box}
 */
export function cellsToPicture([left, top, right, bottom], frame) {
  const { origin, original: { width, height } } = frame;
  const region = gridRegion(frame, GRID);
  const across = (/** @type {number} */ x) => origin[0] + clamp((x * width) / region.width, 0, width);
  const down = (/** @type {number} */ y) => origin[1] + clamp((y * height) / region.height, 0, height);
  return [across(left), down(top), across(right), down(bottom)];
}

/**
 * A position in the picture in cells, and how many cells one of its pixels measures.
 * @param {Point} point
 * @param {Frame} frame
 * @returns {Point}
 */
export function pictureToCells(point, frame) {
  const [x, y] = pictureToFrame(frame, point);
  return [(x * GRID) / frame.side, (y * GRID) / frame.side];
}

/**
 * Whether a position in the picture is inside.
 * @param {Float32Array} field
 * @param {Frame} frame
 * @param {Point} point
 */
export function covers(field, frame, point) {
  const { columns, rows } = extentOf(frame);
  const [x, y] = pictureToCells(point, frame).map(Math.floor);
  return x >= 0 && y >= 0 && x < columns && y < rows && field[y * GRID + x] > 0;
}

/**
 * The inside with its edge as a box of the picture's pixels; null when nothing is inside.
 * @param {Float32Array} field
 * @param {Frame} frame
 */
export function pictureBounds(field, frame) {
  const cells = boundsOf(field, extentOf(frame));
  return cells && cellsToPicture(cells, frame);
}

/**
 * Whether a mask comes so near to an edge of its view inside the picture that it was probably cut.
 * @param {Float32Array} field
 * @param {Frame} frame
 * @param {Size} size of the picture
 */
export function isCut(field, frame, { width, height }) {
  const bounds = pictureBounds(field, frame);
  const [view, far] = [boxOf(frame), CUT_CELLS / cellsPerPixel(frame)];
  const inside = [view[0] > 0, view[1] > 0, view[2] < width, view[3] < height];
  return bounds !== null && inside.some((within, edge) => within && Math.abs(bounds[edge] - view[edge]) <= far);
}

/**
 * Between the cells' middles.
 * @param {Field} field
 * @param {number} x
 * @param {number} y
 * @param {Extent} extent
 */
function valueAt(field, x, y, { columns, rows }) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const cell = (/** @type {number} */ column, /** @type {number} */ row) =>
    field[clamp(row, 0, rows - 1) * GRID + clamp(column, 0, columns - 1)];
  const across = (/** @type {number} */ row) => cell(left, row) + (x - left) * (cell(left + 1, row) - cell(left, row));
  return across(top) + (y - top) * (across(top + 1) - across(top));
}

/** @type {WeakMap<Float32Array, {to: Frame, field: Field}>} the last answer for each field */
const RESAMPLED = new WeakMap();

/**
 * A field of one view as a field of another; nothing is inside where it was not seen.
 * @param {Field} field
 * @param {Frame} from
 * @param {Frame} to
 * @returns {Field} the same array each time, and the field itself where the views are the same
 */
export function resampled(field, from, to) {
  if (sameFrame(from, to)) return field;
  const known = RESAMPLED.get(field);
  if (known && sameFrame(known.to, to)) return known.field;
  const result = emptyField();
  const [left, top] = pictureToCells(to.origin, from);
  const [right, bottom] = pictureToCells([to.origin[0] + to.original.width, to.origin[1] + to.original.height], from);
  const [seen, own] = [gridRegion(from, GRID), gridRegion(to, GRID)];
  eachCell(extentOf(to), (at, column, row) => {
    const x = left + ((column + 0.5) * (right - left)) / own.width;
    const y = top + ((row + 0.5) * (bottom - top)) / own.height;
    if (x >= 0 && y >= 0 && x <= seen.width && y <= seen.height) result[at] = valueAt(field, x - 0.5, y - 0.5, extentOf(from));
  });
  RESAMPLED.set(field, { to, field: result });
  return result;
}

/** @param {Frame} frame cells per pixel of the picture */
export function cellsPerPixel(frame) {
  return gridRegion(frame, GRID).width / frame.original.width;
}

/**
 * A round brush drawn from one point to another.
 * @param {Float32Array} field
 * @param {Point} from in cells, as is the radius
 * @param {Point} to
 * @param {number} radius
 * @param {boolean} adds or takes away
 * @returns {Field}
 */
export function paintLine(field, from, to, radius, adds) {
  const result = Float32Array.from(field);
  const reach = radius + 4;
  const columns = cellsBetween(from[0], to[0], reach);
  const rows = cellsBetween(from[1], to[1], reach);
  for (let y = rows.first; y <= rows.last; y += 1) {
    for (let x = columns.first; x <= columns.last; x += 1) {
      const inside = (radius - distanceToSegment([x + 0.5, y + 0.5], from, to)) * SLOPE;
      const at = y * GRID + x;
      result[at] = adds ? Math.max(result[at], inside) : Math.min(result[at], -inside);
    }
  }
  return result;
}

/**
 * @param {Float32Array} field
 * @param {readonly Point[]} corners of a closed line, in cells
 * @param {boolean} adds or takes away
 * @returns {Field}
 */
export function paintPolygon(field, corners, adds) {
  const result = Float32Array.from(field);
  if (corners.length < 3) return result;
  for (let y = 0; y < GRID; y += 1) {
    for (let x = 0; x < GRID; x += 1) {
      const at = y * GRID + x;
      const distance = signedDistance([x + 0.5, y + 0.5], corners);
      result[at] = adds ? Math.max(result[at], distance * SLOPE) : Math.min(result[at], -distance * SLOPE);
    }
  }
  return result;
}

/**
 * @param {Float32Array} field
 * @param {Finish} finish
 * @param {Extent} extent
 * @param {readonly number[]} [anchors] cells that a person pointed at: their regions stay as they are
 * @returns {Field}
 */
export function finished(field, { holes, islands, smooth, grow }, extent, anchors = []) {
  const area = extent.columns * extent.rows;
  let result = new Float32Array(field);
  if (islands > 0) removeIslands(result, extent, islands * area, anchors);
  if (holes > 0) fillHoles(result, extent, holes * area, anchors);
  if (islands > 0 || holes > 0) raiseFaint(result, extent);
  if (smooth > 0 || grow !== 0) {
    result = distances(result, extent);
    for (let pass = 0; pass < 3 && smooth > 0; pass += 1) result = blurred(result, extent, smooth);
    for (let i = 0; i < CELLS; i += 1) result[i] = (result[i] + grow) * SLOPE;
  }
  return result;
}

/** @param {Finish} finish */
export function changesNothing({ holes, islands, smooth, grow }) {
  return holes === 0 && islands === 0 && smooth === 0 && grow === 0;
}

/**
 * Islands up to so many cells are removed; the largest stays, or nothing would be left of a small object.
 * @param {Float32Array} field changed
 * @param {Extent} extent
 * @param {number} most
 * @param {readonly number[]} anchors
 */
function removeIslands(field, extent, most, anchors) {
  const regions = regionsOf(field, extent, true, anchors);
  const largest = Math.max(...regions.map(({ cells }) => cells.length));
  for (const { cells, anchored } of regions) {
    if (anchored || cells.length > most || cells.length === largest) continue;
    flip(field, cells, -1);
  }
}

/**
 * Holes up to so many cells are filled; what touches the picture's border is no hole.
 * @param {Float32Array} field changed
 * @param {Extent} extent
 * @param {number} most
 * @param {readonly number[]} anchors
 */
function fillHoles(field, extent, most, anchors) {
  for (const { cells, touches, anchored } of regionsOf(field, extent, false, anchors)) {
    if (anchored || touches || cells.length > most) continue;
    flip(field, cells, 1);
  }
}

/**
 * Give a region to the other side, with the values around it: a step in the field would be drawn as an edge.
 * @param {Float32Array} field changed
 * @param {Int32Array} cells that no cell of their own side touches
 * @param {1 | -1} side
 */
function flip(field, cells, side) {
  for (let pass = 0; pass < PASSES; pass += 1) {
    for (const at of cells) {
      let sum = 0;
      for (const step of AROUND) sum += Math.abs(field[at + step] ?? 0);
      field[at] = (side * sum) / AROUND.length;
    }
  }
}

/**
 * A value near zero beside a large one is drawn as an edge. Away from edges it becomes half of the largest beside it.
 * @param {Float32Array} field changed, but no cell changes sides
 * @param {Extent} extent
 */
function raiseFaint(field, { columns, rows }) {
  for (let y = 1; y < rows - 1; y += 1) {
    for (let x = 1, at = y * GRID + 1; x < columns - 1; x += 1, at += 1) {
      const value = field[at];
      if (Math.abs(value) < FAINT) field[at] = raised(field, at, value > 0 ? 1 : -1);
    }
  }
}

/** @param {Float32Array} field @param {number} at @param {1 | -1} side */
function raised(field, at, side) {
  let most = 0;
  for (let step = 0; step < AROUND.length; step += 1) {
    const value = side * field[at + AROUND[step]];
    if (!(value > 0)) return field[at];
    if (value > most) most = value;
  }
  return side * Math.max(side * field[at], most / 2);
}

/**
 * The distance of each cell's centre to the edge, in cells, positive inside.
 * @param {Float32Array} field
 * @param {Extent} extent
 * @param {number} [side] cells of a row
 * @returns {Field}
 */
export function distances(field, extent, side = GRID) {
  const [within, without] = [squaredDistances(field, extent, side, true), squaredDistances(field, extent, side, false)];
  return Float32Array.from(field, (value, at) => {
    const far = Math.min(Math.sqrt(value > 0 ? without[at] : within[at]) - 0.5, side);
    return value > 0 ? far : -far;
  });
}

/**
 * Squared distances to the nearest cell of one side: a parabola's lower envelope along the columns, then the rows
 * (Felzenszwalb and Huttenlocher, 2012).
 * @param {Float32Array} field
 * @param {Extent} extent
 * @param {number} side
 * @param {boolean} inside
 */
function squaredDistances(field, { columns, rows }, side, inside) {
  const result = new Float64Array(field.length).fill(FAR);
  eachCell({ columns, rows }, (at) => (result[at] = field[at] > 0 === inside ? 0 : FAR), side);
  const longest = Math.max(columns, rows);
  const [line, feet, borders] = [new Float64Array(longest), new Int32Array(longest), new Float64Array(longest + 1)];
  for (let x = 0; x < columns; x += 1) envelope(result, x, side, rows, line, feet, borders);
  for (let y = 0; y < rows; y += 1) envelope(result, y * side, 1, columns, line, feet, borders);
  return result;
}

/**
 * @param {Float64Array} values changed along one line
 * @param {number} start
 * @param {number} stride
 * @param {number} length
 * @param {Float64Array} line scratch, as are the two below
 * @param {Int32Array} feet
 * @param {Float64Array} borders
 */
function envelope(values, start, stride, length, line, feet, borders) {
  for (let i = 0; i < length; i += 1) line[i] = values[start + i * stride];
  const meet = (/** @type {number} */ p, /** @type {number} */ q) => (line[q] + q * q - line[p] - p * p) / (2 * (q - p));
  let last = 0;
  feet[0] = 0;
  [borders[0], borders[1]] = [-Infinity, Infinity];
  for (let q = 1; q < length; q += 1) {
    let border = meet(feet[last], q);
    while (border <= borders[last]) border = meet(feet[(last -= 1)], q);
    feet[(last += 1)] = q;
    [borders[last], borders[last + 1]] = [border, Infinity];
  }
  for (let i = 0, k = 0; i < length; i += 1) {
    while (borders[k + 1] < i) k += 1;
    values[start + i * stride] = Math.min(FAR, (i - feet[k]) ** 2 + line[feet[k]]);
  }
}

/**
 * A box blur of both axes; three of them are close to a Gaussian.
 * @param {Field} field
 * @param {Extent} extent
 * @param {number} radius
 */
function blurred(field, { columns, rows }, radius) {
  const across = Float32Array.from(field);
  for (let y = 0; y < rows; y += 1) blurLine(field, across, y * GRID, 1, columns, radius);
  const result = Float32Array.from(across);
  for (let x = 0; x < columns; x += 1) blurLine(across, result, x, GRID, rows, radius);
  return result;
}

/**
 * @param {Field} from
 * @param {Field} to changed along one line
 * @param {number} start
 * @param {number} stride
 * @param {number} length
 * @param {number} radius
 */
function blurLine(from, to, start, stride, length, radius) {
  const reach = Math.floor(radius);
  const part = radius - reach;
  const value = (/** @type {number} */ i) => from[start + clamp(i, 0, length - 1) * stride];
  for (let i = 0; i < length; i += 1) {
    let sum = part * (value(i - reach - 1) + value(i + reach + 1));
    for (let j = i - reach; j <= i + reach; j += 1) sum += value(j);
    to[start + i * stride] = sum / (2 * radius + 1);
  }
}

/**
 * @param {Extent} extent
 * @param {(at: number, x: number, y: number) => void} visit
 * @param {number} [side]
 */
function eachCell({ columns, rows }, visit, side = GRID) {
  for (let y = 0; y < rows; y += 1) for (let x = 0; x < columns; x += 1) visit(y * side + x, x, y);
}

/**
 * @param {number} from
 * @param {number} to
 * @param {number} reach
 */
function cellsBetween(from, to, reach) {
  const first = clamp(Math.floor(Math.min(from, to) - reach), 0, GRID - 1);
  return { first, last: clamp(Math.ceil(Math.max(from, to) + reach), 0, GRID - 1) };
}

/** @param {Point} point @param {Point} from @param {Point} to */
function distanceToSegment([x, y], [fromX, fromY], [toX, toY]) {
  const [dx, dy] = [toX - fromX, toY - fromY];
  const length = dx * dx + dy * dy;
  const share = length > 0 ? clamp(((x - fromX) * dx + (y - fromY) * dy) / length, 0, 1) : 0;
  return Math.hypot(x - fromX - share * dx, y - fromY - share * dy);
}

/** @param {Point} point @param {readonly Point[]} corners */
function signedDistance(point, corners) {
  const [x, y] = point;
  let inside = false;
  let nearest = Infinity;
  for (let i = 0, before = corners.length - 1; i < corners.length; before = i, i += 1) {
    const [a, b] = [corners[before], corners[i]];
    nearest = Math.min(nearest, distanceToSegment(point, a, b));
    if (a[1] > y !== b[1] > y && x < ((b[0] - a[0]) * (y - a[1])) / (b[1] - a[1]) + a[0]) inside = !inside;
  }
  return inside ? nearest : -nearest;
}
