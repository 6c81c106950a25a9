// @ts-check
/** Pure mask arithmetic: low-resolution fields to the picture's pixels, and back. */

/** @import { Crop, Runs } from '../export/runs.js' */
/** @import { Field } from './fields.js' */
/** @import { Frame, Size } from './geometry.js' */
import { boundsOf, distances } from './fields.js';
import { GRID, gridRegion } from './geometry.js';

/** Weighted taps into one axis of the low-resolution grid, four for each output pixel. */
/** @typedef {{index: Uint16Array, weight: Float32Array, length: number}} Taps */
/** @typedef {{from: number, to: number, low: number, high: number}} Stretch of pixels between the same cells */

const TAPS = 4;
/** Logits per cell of distance, as fields.js has it, and the least and most of them in a mask's field. */
const [SLOPE, MOST] = [4, 16];
/** Points a cell at which a mask is measured, and cells around it that are. */
const [FINE, MARGIN] = [4, 5];

/**
 * The mask of the whole picture, exactly as PyTorch makes it: bilinear to the frame, cropped, bilinear to the
 * picture, thresholded at zero. Only where a column crosses the edge are pixels computed: interpolation never leaves
 * the range of the cells around, so between cells of one side every pixel is on that side. The time goes with the
 * length of the edge, not with the picture's area.
 * @param {Float32Array} field
 * @param {Frame} frame
 * @param {Size} [picture] of which the frame is a closer view
 * @returns {Runs} column by column
 */
export function fieldRuns(field, { origin, original, resized, side }, picture = original) {
  const { width, height } = original;
  const columns = axisTaps(width, resized.width, side, GRID);
  const rows = axisTaps(height, resized.height, side, GRID);
  const bounds = boundsOf(field);
  const stretches = stretchesOf(rows).filter(({ low, high }) => bounds && high >= bounds[1] && low < bounds[3]);
  const [top, bottom] = [stretches[0]?.from ?? 0, stretches.at(-1)?.to ?? 0];
  const line = new Float32Array(GRID);
  /** @type {number[]} */
  const counts = [];
  let [value, from] = [0, 0];
  const become = (/** @type {number} */ next, /** @type {number} */ at) => {
    if (next === value) return;
    counts.push(at - from);
    [value, from] = [next, at];
  };
  for (let x = 0; bounds && x < width; x += 1) {
    const start = (origin[0] + x) * picture.height + origin[1];
    if (height < picture.height) become(0, start - origin[1]);
    if (!touches(columns, x, bounds[0], bounds[2])) {
      become(0, start);
      continue;
    }
    mixColumns(field, columns, x, bounds[1], bounds[3], line);
    if (top > 0) become(0, start);
    for (const { from: first, to: last, low, high } of stretches) {
      const found = sideOf(line, low, high);
      if (found !== null) become(found, start + first);
      else for (let y = first; y < last; y += 1) become(valueAt(line, rows, y) > 0 ? 1 : 0, start + y);
    }
    if (bottom < picture.height) become(0, start + bottom);
  }
  const end = (origin[0] + width) * picture.height;
  if (width < picture.width) become(0, end);
  if (from < picture.width * picture.height || counts.length === 0) counts.push(picture.width * picture.height - from);
  return { size: [picture.height, picture.width], counts };
}

/**
 * The field whose edge runs along a mask's: distances in cells, measured at `FINE` points a cell. What is thinner than
 * a cell may be missing in it, but never all of a mask.
 * @param {Crop} crop of the picture, not empty
 * @param {Frame} frame
 * @returns {Field}
 */
export function maskField(crop, frame) {
  const { width, height } = frame.original;
  const region = gridRegion(frame, GRID);
  const across = spanOf(crop.x, crop.width, region.width / width);
  const down = spanOf(crop.y, crop.height, region.height / height);
  const columns = Int32Array.from({ length: across.length * FINE }, (_, i) => pixelAt(across.from, i, width, region.width));
  const rows = Int32Array.from({ length: down.length * FINE }, (_, i) => pixelAt(down.from, i, height, region.height));
  const fine = new Float32Array(columns.length * rows.length);
  rows.forEach((y, row) => columns.forEach((x, column) => {
    fine[row * columns.length + column] = isInside(crop, x, y) ? 1 : -1;
  }));
  const far = distances(fine, { columns: columns.length, rows: rows.length }, columns.length);
  const field = new Float32Array(GRID * GRID).fill(-MOST);
  let most = -Infinity;
  for (let y = 0; y < down.length; y += 1) {
    for (let x = 0; x < across.length; x += 1) {
      const at = (y * FINE + FINE / 2) * columns.length + x * FINE + FINE / 2;
      const middle = (far[at] + far[at - 1] + far[at - columns.length] + far[at - columns.length - 1]) / 4;
      const value = Math.min(Math.max((middle / FINE) * SLOPE, -MOST), MOST);
      field[(down.from + y) * GRID + across.from + x] = value;
      most = Math.max(most, value);
    }
  }
  if (most <= 0) field[cellOf(crop, region, frame.original)] = MOST;
  return field;
}

/**
 * Logits at `size` pixels spread evenly over the picture, one row at a time.
 * @param {Float32Array} logits
 * @param {number} grid
 * @param {Frame} frame
 * @param {Size} size
 * @param {(row: Float32Array, y: number) => void} visit the row is reused
 */
export function sampleRows(logits, grid, frame, size, visit) {
  const { resized, side } = frame;
  const columns = axisTaps(size.width, resized.width, side, grid);
  const rows = axisTaps(size.height, resized.height, side, grid);
  const line = new Float32Array(grid);
  const row = new Float32Array(size.width);
  for (let y = 0; y < size.height; y += 1) {
    mixRows(logits, grid, rows, y, line);
    for (let x = 0; x < size.width; x += 1) row[x] = valueAt(line, columns, x);
    visit(row, y);
  }
}

/**
 * Two bilinear steps along one axis as one sparse step: output pixel -> two frame pixels -> two grid cells each.
 * @param {number} output pixels wanted
 * @param {number} resized frame pixels that the picture fills
 * @param {number} side of the frame
 * @param {number} grid
 * @returns {Taps}
 */
export function axisTaps(output, resized, side, grid) {
  const index = new Uint16Array(output * TAPS);
  const weight = new Float32Array(output * TAPS);
  for (let i = 0, t = 0; i < output; i += 1) {
    for (const [pixel, share] of neighbours(((i + 0.5) * resized) / output - 0.5, resized)) {
      for (const [cell, part] of neighbours(((pixel + 0.5) * grid) / side - 0.5, grid)) {
        index[t] = cell;
        weight[t] = share * part;
        t += 1;
      }
    }
  }
  return { index, weight, length: output };
}

/** The cells around a stretch of pixels. @param {number} from @param {number} length @param {number} scale */
function spanOf(from, length, scale) {
  const first = Math.max(Math.floor(from * scale) - MARGIN, 0);
  return { from: first, length: Math.min(Math.ceil((from + length) * scale) + MARGIN, GRID) - first };
}

/** The pixel at a fine point; beyond the picture its last one. @param {number} from @param {number} i @param {number} length @param {number} cells */
function pixelAt(from, i, length, cells) {
  return Math.min(Math.floor(((from + (i + 0.5) / FINE) * length) / cells), length - 1);
}

/** @param {Crop} crop @param {number} x @param {number} y */
function isInside({ x: left, y: top, width, height, data }, x, y) {
  const [column, row] = [x - left, y - top];
  return column >= 0 && row >= 0 && column < width && row < height && data[row * width + column] === 1;
}

/** The cell of a mask's first pixel. @param {Crop} crop @param {Size} region @param {Size} size */
function cellOf({ x, y, width, data }, region, size) {
  const first = data.indexOf(1);
  const column = Math.floor(((x + (first % width) + 0.5) * region.width) / size.width);
  const row = Math.floor(((y + Math.floor(first / width) + 0.5) * region.height) / size.height);
  return row * GRID + column;
}

/** @param {Taps} rows @returns {Stretch[]} */
function stretchesOf({ index, length }) {
  /** @type {Stretch[]} */
  const stretches = [];
  for (let y = 0; y < length; y += 1) {
    const [low, high] = [index[y * TAPS], index[y * TAPS + TAPS - 1]];
    const last = stretches.at(-1);
    if (last?.low === low && last.high === high) last.to = y + 1;
    else stretches.push({ from: y, to: y + 1, low, high });
  }
  return stretches;
}

/** Whether a pixel lies between cells of a range. @param {Taps} taps @param {number} at @param {number} first @param {number} end */
function touches({ index }, at, first, end) {
  return index[at * TAPS + TAPS - 1] >= first && index[at * TAPS] < end;
}

/** The side that all these cells are on; null where they differ. @param {Float32Array} line @param {number} low @param {number} high */
function sideOf(line, low, high) {
  const side = line[low] > 0;
  for (let cell = low + 1; cell <= high; cell += 1) if (line[cell] > 0 !== side) return null;
  return side ? 1 : 0;
}

/** @param {Float32Array} line @param {Taps} taps @param {number} at */
function valueAt(line, { index, weight }, at) {
  const t = at * TAPS;
  return (
    line[index[t]] * weight[t] + line[index[t + 1]] * weight[t + 1] +
    line[index[t + 2]] * weight[t + 2] + line[index[t + 3]] * weight[t + 3]
  );
}

/**
 * One column of pixels at the cells' rows, from the one before `top` to the one after `bottom`.
 * @param {Float32Array} field
 * @param {Taps} columns
 * @param {number} x
 * @param {number} top
 * @param {number} bottom
 * @param {Float32Array} line out
 */
function mixColumns(field, { index, weight }, x, top, bottom, line) {
  const t = x * TAPS;
  for (let y = Math.max(top - 2, 0); y < Math.min(bottom + 2, GRID); y += 1) {
    const at = y * GRID;
    line[y] =
      field[at + index[t]] * weight[t] + field[at + index[t + 1]] * weight[t + 1] +
      field[at + index[t + 2]] * weight[t + 2] + field[at + index[t + 3]] * weight[t + 3];
  }
}

/**
 * The two samples around a position and their shares, as in bilinear interpolation without aligned corners.
 * @param {number} position
 * @param {number} length
 */
function neighbours(position, length) {
  const from = Math.max(position, 0);
  const low = Math.min(Math.floor(from), length - 1);
  const high = Math.min(low + 1, length - 1);
  const share = from - low;
  return [[low, 1 - share], [high, share]];
}

/**
 * @param {Float32Array} logits
 * @param {number} grid
 * @param {Taps} rows
 * @param {number} y
 * @param {Float32Array} line out
 */
function mixRows(logits, grid, rows, y, line) {
  line.fill(0);
  for (let t = y * TAPS; t < (y + 1) * TAPS; t += 1) {
    const share = rows.weight[t];
    if (share === 0) continue;
    for (let x = 0, at = rows.index[t] * grid; x < grid; x += 1, at += 1) line[x] += logits[at] * share;
  }
}
