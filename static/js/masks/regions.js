// @ts-check
/** The connected regions of a field: its islands, or the holes and surroundings between them. Runs for every hover. */

/** @import { Extent } from './fields.js' */
import { GRID } from './geometry.js';

/**
 * @typedef {object} Region
 * @property {Int32Array} cells
 * @property {boolean} touches the picture's border
 * @property {boolean} anchored holds one of the anchors
 */

const STEPS = [-1, 1, -GRID, GRID];
const [TAKEN, OPEN, ANCHOR] = [0, 1, 2];

/**
 * Cells of one side that share an edge are one region.
 * @param {Float32Array} field
 * @param {Extent} extent
 * @param {boolean} inside which side
 * @param {readonly number[]} anchors cells
 * @returns {Region[]}
 */
export function regionsOf(field, { columns, rows }, inside, anchors) {
  const state = new Uint8Array(GRID * GRID);
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0, at = y * GRID; x < columns; x += 1, at += 1) state[at] = field[at] > 0 === inside ? OPEN : TAKEN;
  }
  for (const at of anchors) if (state[at] === OPEN) state[at] = ANCHOR;

  const queue = new Int32Array(columns * rows);
  let end = 0;

  /** @param {number} start @returns {Region} */
  function regionFrom(start) {
    const from = end;
    let touches = false;
    let anchored = state[start] === ANCHOR;
    state[start] = TAKEN;
    queue[end++] = start;
    for (let next = from; next < end; next += 1) {
      const at = queue[next];
      const x = at % GRID;
      const y = (at - x) / GRID;
      touches ||= x === 0 || y === 0 || x === columns - 1 || y === rows - 1;
      for (let side = 0; side < 4; side += 1) {
        if (side === 0 ? x === 0 : side === 1 ? x === columns - 1 : side === 2 ? y === 0 : y === rows - 1) continue;
        const beside = at + STEPS[side];
        if (state[beside] === TAKEN) continue;
        anchored ||= state[beside] === ANCHOR;
        state[beside] = TAKEN;
        queue[end++] = beside;
      }
    }
    return { cells: queue.subarray(from, end), touches, anchored };
  }

  const regions = [];
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0, at = y * GRID; x < columns; x += 1, at += 1) if (state[at] !== TAKEN) regions.push(regionFrom(at));
  }
  return regions;
}
