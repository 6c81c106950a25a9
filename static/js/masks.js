// @ts-check
/** Pure mask arithmetic: low-resolution logits to pixels. */

/** @import { Frame, Size } from './geometry.js' */

/** Weighted taps into one axis of the low-resolution grid, four for each output pixel. */
/** @typedef {{index: Uint16Array, weight: Float32Array, length: number}} Taps */

const TAPS = 4;

/**
 * The mask of the whole picture, exactly as PyTorch makes it: bilinear to the frame, cropped, bilinear to the
 * picture, thresholded.
 * @param {Float32Array} logits grid x grid
 * @param {number} grid
 * @param {Frame} frame
 * @param {number} threshold
 * @returns {Uint8Array<ArrayBuffer>} 0 or 1, row by row
 */
export function pictureMask(logits, grid, frame, threshold) {
  const { width, height } = frame.original;
  const mask = new Uint8Array(width * height);
  sampleRows(logits, grid, frame, frame.original, (row, y) => {
    for (let x = 0, at = y * width; x < width; x += 1, at += 1) mask[at] = row[x] > threshold ? 1 : 0;
  });
  return mask;
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
    for (let x = 0, t = 0; x < size.width; x += 1, t += TAPS) {
      row[x] =
        line[columns.index[t]] * columns.weight[t] + line[columns.index[t + 1]] * columns.weight[t + 1] +
        line[columns.index[t + 2]] * columns.weight[t + 2] + line[columns.index[t + 3]] * columns.weight[t + 3];
    }
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
