// @ts-check
/** Masks as run lengths, COCO's, column by column; large pictures' masks as crops. sam/masks.py is its twin. */

/** @typedef {{size: [height: number, width: number], counts: number[]}} Runs nothing and mask in turn, nothing first */
/** @typedef {{x: number, y: number, width: number, height: number}} Window in whole pixels of the picture */
/** @typedef {Window & {data: Uint8Array}} Crop pixels of a window, row by row, 0 or 1 */

/** Characters of a compressed number that this reads: 30 bits. */
const MOST_DIGITS = 6;

/**
 * @param {Uint8Array} mask 0 or 1, row by row
 * @param {number} width
 * @param {number} height
 * @returns {Runs}
 */
export function encodeRuns(mask, width, height) {
  return placeCrop({ x: 0, y: 0, width, height, data: mask }, [height, width]);
}

/**
 * @param {Runs} runs
 * @returns {Uint8Array} 0 or 1, row by row
 */
export function decodeRuns(runs) {
  const [height, width] = runs.size;
  const { x, y, width: wide, height: tall, data } = cropRuns(runs);
  const mask = new Uint8Array(width * height);
  for (let row = 0; row < tall; row += 1) mask.set(data.subarray(row * wide, (row + 1) * wide), (y + row) * width + x);
  return mask;
}

/**
 * Run lengths of a picture with a crop in it, and nothing elsewhere.
 * @param {Crop} crop
 * @param {readonly [height: number, width: number]} size
 * @returns {Runs}
 */
export function placeCrop({ x, y, width, height, data }, [tall, wide]) {
  if (Math.min(x, y) < 0 || x + width > wide || y + height > tall) {
    const place = `a crop of ${width} x ${height} at ${x}, ${y}`;
    throw new RangeError(`${place} does not lie inside a picture of ${wide} x ${tall}`);
  }
  /** @type {number[]} */
  const counts = [];
  let [value, from] = [0, 0];
  const change = (/** @type {number} */ at) => {
    counts.push(at - from);
    [value, from] = [1 - value, at];
  };
  for (let column = 0; column < width; column += 1) {
    for (let row = 0, at = column, pixel = (x + column) * tall + y; row < height; row += 1, at += width, pixel += 1) {
      if (data[at] !== value) change(pixel);
    }
    if (value === 1 && y + height < tall) change((x + column) * tall + y + height);
    else if (value === 1 && y > 0 && column + 1 < width) change((x + column + 1) * tall);
  }
  if (value === 1) change((x + width - 1) * tall + y + height);
  if (from < wide * tall || counts.length === 0) counts.push(wide * tall - from);
  return { size: [tall, wide], counts };
}

/**
 * The mask inside its window.
 * @param {Runs} runs
 * @returns {Crop}
 */
export function cropRuns(runs) {
  const tall = runs.size[0];
  const { x, y, width, height } = windowOf(runs);
  const data = new Uint8Array(width * height);
  eachRun(runs, (start, end) => {
    let [column, row] = [Math.floor(start / tall) - x, (start % tall) - y];
    for (let left = end - start; left > 0; left -= 1) {
      data[row * width + column] = 1;
      row += 1;
      if (row + y === tall) [column, row] = [column + 1, -y];
    }
  });
  return { x, y, width, height, data };
}

/**
 * The smallest window around a mask; zeros for an empty one.
 * @param {Runs} runs
 * @returns {Window}
 */
export function windowOf(runs) {
  const tall = runs.size[0];
  let [left, right, top, bottom] = [Infinity, 0, tall, 0];
  eachRun(runs, (start, end) => {
    const [first, last] = [Math.floor(start / tall), Math.floor((end - 1) / tall)];
    const spans = last > first; // a run that goes on in the next column touches both borders
    [left, right] = [Math.min(left, first), Math.max(right, last + 1)];
    [top, bottom] = [Math.min(top, spans ? 0 : start % tall), Math.max(bottom, spans ? tall : ((end - 1) % tall) + 1)];
  });
  if (right === 0) return { x: 0, y: 0, width: 0, height: 0 };
  return { x: left, y: top, width: right - left, height: bottom - top };
}

/** @param {Runs} runs */
export function areaOf({ counts }) {
  let area = 0;
  for (let i = 1; i < counts.length; i += 2) area += counts[i];
  return area;
}

/**
 * @param {Runs} runs
 * @param {(start: number, end: number) => void} visit every run of mask that is not empty, in order
 */
function eachRun({ counts }, visit) {
  let at = 0;
  counts.forEach((count, index) => {
    if (index % 2 === 1 && count > 0) visit(at, at + count);
    at += count;
  });
}

/**
 * COCO's compressed form: five bits a character from "0" on, lowest first; a sixth says that more follow, and the last
 * one's fifth is the sign. From the fourth on, numbers are differences to the last run of that colour.
 * @param {readonly number[]} counts
 */
export function compressCounts(counts) {
  let text = '';
  counts.forEach((count, index) => {
    let value = index > 2 ? count - counts[index - 2] : count;
    for (let more = true; more; ) {
      const digit = value & 31;
      value >>= 5;
      more = value !== (digit & 16 ? -1 : 0);
      text += String.fromCharCode(48 + (more ? digit | 32 : digit));
    }
  });
  return text;
}

/**
 * @param {string} text
 * @returns {number[]}
 */
export function decompressCounts(text) {
  /** @type {number[]} */
  const counts = [];
  for (let at = 0; at < text.length; ) {
    let [value, digits, code] = [0, 0, 32];
    for (; code & 32; digits += 1, at += 1) {
      code = text.charCodeAt(at) - 48;
      if (!(code >= 0 && code < 64)) {
        throw new RangeError(`compressed run lengths "${text.slice(0, 20)}" are damaged or cut off`);
      }
      if (digits === MOST_DIGITS) {
        throw new RangeError(`compressed run lengths "${text.slice(0, 20)}" hold a number too large`);
      }
      value |= (code & 31) << (5 * digits);
    }
    if (code & 16) value -= 2 ** (5 * digits);
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  if (counts.length === 0) throw new RangeError('compressed run lengths are empty');
  return counts;
}
