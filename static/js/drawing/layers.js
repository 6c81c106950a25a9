// @ts-check
/**
 * Many objects for one look: for each square between four values of the grid, the objects that a pixel in it may
 * belong to, topmost first, with their four values there. However many objects there are, a pixel asks one or two.
 *
 * The squares are those of all of the picture. An object of a closer view has cells of its own: squares only name it,
 * and its values are a piece of its field.
 */

/** @import { Frame, Size } from '../masks/geometry.js' */
import { boundsOf, cellsToPicture, extentOf } from '../masks/fields.js';
import { clamp, GRID, gridRegion } from '../masks/geometry.js';

/** Squares along a side: one before the first value and one behind the last, where the outermost value goes on. */
export const SQUARES = GRID + 1;
/** Cells from an object to where its outline may still be seen, on the smallest screens. */
const REACH = 2;
const [NEAR, COVERED] = [1, 2];
/** The most objects that a square can name. */
const CROWD = 255;

/**
 * Squares from the top left, row by row. A square's candidates are `count` from `start` on.
 * @typedef {object} Squares
 * @property {Uint32Array} heads start * 256 + count, by square
 * @property {Float32Array} corners four values of each candidate: top left, top right, bottom left, bottom right
 * @property {Uint16Array} owners of the candidates, by their place among the objects
 */

/**
 * What is near an object of a closer view.
 * @typedef {object} Piece
 * @property {readonly [number, number, number, number]} grid shifts, then scales: from shares of the picture to its cells
 * @property {number} columns
 * @property {number} rows
 * @property {Float32Array} values row by row
 */

/** Cells of a piece around its object. */
const PIECE_MARGIN = 4;

/** @type {WeakMap<Float32Array, Uint8Array>} */
const REACHES = new WeakMap();

/**
 * @param {readonly Float32Array[]} fields of the objects, topmost first
 * @param {readonly Uint8Array[]} [reaches] squares near each
 * @returns {Squares}
 */
export function squaresOf(fields, reaches = fields.map(reachOf)) {
  const counts = countCandidates(reaches);
  const heads = new Uint32Array(SQUARES * SQUARES);
  let total = 0;
  for (let at = 0; at < heads.length; at += 1) {
    heads[at] = total * 256 + counts[at];
    total += counts[at];
  }
  const corners = new Float32Array(4 * total);
  const owners = new Uint16Array(total);
  const filled = new Uint8Array(heads.length);
  fields.forEach((field, owner) => {
    const reach = reaches[owner];
    for (let at = 0; at < reach.length; at += 1) {
      if (reach[at] === 0 || filled[at] === counts[at]) continue;
      const place = (heads[at] >>> 8) + filled[at];
      filled[at] += 1;
      owners[place] = owner;
      cornersAt(field, at, corners, 4 * place);
    }
  });
  return { heads, corners, owners };
}

/**
 * How shares of the picture become cells of a view: shifts, then scales.
 * @param {Frame} frame
 * @param {Size} size of the picture
 * @returns {[number, number, number, number]}
 */
export function gridOf({ origin: [x, y], original: { width, height }, resized, side }, size) {
  const region = gridRegion({ resized, side }, GRID);
  const [across, down] = [region.width / width, region.height / height];
  return [-x * across, -y * down, size.width * across, size.height * down];
}

/**
 * @param {Float32Array} field
 * @param {Frame} frame
 * @param {Size} size of the picture
 * @returns {Piece}
 */
export function pieceOf(field, frame, size) {
  const extent = extentOf(frame);
  const [left, top, right, bottom] = boundsOf(field, extent) ?? [0, 0, 1, 1];
  const [x, y] = [Math.max(left - PIECE_MARGIN, 0), Math.max(top - PIECE_MARGIN, 0)];
  const columns = Math.min(right + PIECE_MARGIN, extent.columns) - x;
  const rows = Math.min(bottom + PIECE_MARGIN, extent.rows) - y;
  const values = Float32Array.from({ length: columns * rows }, (_, at) =>
    field[(y + Math.floor(at / columns)) * GRID + x + (at % columns)]);
  const [shiftX, shiftY, ...scale] = gridOf(frame, size);
  return { grid: [shiftX - x, shiftY - y, ...scale], columns, rows, values };
}

/**
 * The squares near an object of a closer view, row of cells by row.
 * @param {Float32Array} field
 * @param {Frame} frame
 * @param {Size} size of the picture
 * @param {Size} region that the picture fills of the grid
 */
export function reachIn(field, frame, size, region) {
  const reach = new Uint8Array(SQUARES * SQUARES);
  const { columns, rows } = extentOf(frame);
  const square = (/** @type {number} */ at) => clamp(at, 0, SQUARES - 1);
  for (let row = 0; row < rows; row += 1) {
    const line = field.subarray(row * GRID, row * GRID + columns);
    const first = line.findIndex((value) => value > 0);
    if (first < 0) continue;
    let end = columns;
    while (!(line[end - 1] > 0)) end -= 1;
    const [left, top, right, bottom] = cellsToPicture([first, row, end, row + 1], frame);
    const from = square(Math.floor((left * region.width) / size.width) - REACH);
    const to = square(Math.ceil((right * region.width) / size.width) + REACH) + 1;
    const last = square(Math.ceil((bottom * region.height) / size.height) + REACH);
    for (let y = square(Math.floor((top * region.height) / size.height) - REACH); y <= last; y += 1) {
      reach.fill(NEAR, y * SQUARES + from, y * SQUARES + to);
    }
  }
  return reach;
}

/**
 * How many objects each square names: none beneath one that covers it.
 * @param {readonly Uint8Array[]} reaches
 */
function countCandidates(reaches) {
  const counts = new Uint8Array(SQUARES * SQUARES);
  const closed = new Uint8Array(SQUARES * SQUARES);
  for (const reach of reaches) {
    for (let at = 0; at < reach.length; at += 1) {
      if (reach[at] === 0 || closed[at]) continue;
      counts[at] += 1;
      if (reach[at] === COVERED || counts[at] === CROWD) closed[at] = 1;
    }
  }
  return counts;
}

/**
 * Where an object covers a square wholly, and where it is near enough for its outline to be seen.
 * @param {Float32Array} field
 */
export function reachOf(field) {
  let reach = REACHES.get(field);
  if (!reach) REACHES.set(field, (reach = findReach(field)));
  return reach;
}

/** @param {Float32Array} field */
function findReach(field) {
  const reach = new Uint8Array(SQUARES * SQUARES);
  const row = new Uint8Array(SQUARES);
  for (let y = 0; y < GRID; y += 1) {
    if (!nearInRow(field, y, row)) continue;
    const last = Math.min(y + 1 + REACH, SQUARES - 1);
    for (let square = Math.max(y - REACH, 0); square <= last; square += 1) {
      const start = square * SQUARES;
      for (let x = 0; x < SQUARES; x += 1) reach[start + x] |= row[x];
    }
  }
  const four = new Float32Array(4);
  for (let at = 0; at < reach.length; at += 1) {
    if (reach[at] !== NEAR) continue;
    cornersAt(field, at, four, 0);
    if (Math.min(four[0], four[1], four[2], four[3]) > 0) reach[at] = COVERED;
  }
  return reach;
}

/**
 * @param {Float32Array} field
 * @param {number} y
 * @param {Uint8Array} row out: which squares are near a value inside, in this row
 * @returns {boolean} whether any is
 */
function nearInRow(field, y, row) {
  let some = false;
  row.fill(0);
  for (let x = 0, at = y * GRID; x < GRID; x += 1, at += 1) {
    if (!(field[at] > 0)) continue;
    some = true;
    row.fill(NEAR, Math.max(x - REACH, 0), Math.min(x + 2 + REACH, SQUARES));
  }
  return some;
}

/**
 * @param {Float32Array} field
 * @param {number} square
 * @param {Float32Array} into
 * @param {number} place
 */
function cornersAt(field, square, into, place) {
  const x = square % SQUARES;
  const y = (square - x) / SQUARES;
  const [left, right] = [Math.max(x - 1, 0), Math.min(x, GRID - 1)];
  const [top, bottom] = [Math.max(y - 1, 0) * GRID, Math.min(y, GRID - 1) * GRID];
  into[place] = field[top + left];
  into[place + 1] = field[top + right];
  into[place + 2] = field[bottom + left];
  into[place + 3] = field[bottom + right];
}
