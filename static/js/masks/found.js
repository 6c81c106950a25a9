// @ts-check
/** Pure: what everything mode has found in a picture, what of it lies under a point, and as a field of an object. */

/** @import { Problem } from '../state/state.js' */
/** @import { Thing } from '../state/work.js' */
/** @import { Field } from './fields.js' */
/** @import { Box, Frame, Point, Size } from './geometry.js' */
import { decompressCounts } from '../export/runs.js';
import { GRID, gridRegion } from './geometry.js';

/** @typedef {'few' | 'balanced' | 'fine'} Preset */
/** @typedef {'whole' | 'part'} Grain what of a tree of objects is meant */

/**
 * @typedef {object} FoundObject
 * @property {number} id
 * @property {Uint32Array} bounds where its runs begin and end in turn, counted column by column; a last one alone ends the picture
 * @property {number} score the predicted IoU
 * @property {number} area in pixels
 * @property {Box} box
 */

/**
 * One search and what it shows.
 * @typedef {object} Found
 * @property {string} search its name, which no other has
 * @property {number} key of the picture
 * @property {'running' | 'done' | 'stopped' | 'failed'} status
 * @property {number} startedAt by `performance.now`
 * @property {number} done points asked, of `total`
 * @property {number} total 0 while unknown
 * @property {number | null} eta seconds to come
 * @property {ReadonlyMap<number, FoundObject>} objects
 * @property {Readonly<Record<number, number>>} parents the smallest object around each that is part of one
 * @property {Problem | null} problem
 */

/** @typedef {{id: number, mask: {size: number[], counts: string}, score: number, area: number, box: Box}} SentObject */
/** @typedef {{added: SentObject[], retracted: number[], parents: Record<number, number>, done: number, total: number, eta_s: number | null}} Update */

/** Logits at full coverage; the decoder's own masks are as sure inside. */
const SURE = 8;

/**
 * @param {Found} found
 * @param {Update} update as the server sends it
 * @returns {Found}
 */
export function withUpdate(found, { added, retracted, parents, done, total, eta_s: eta }) {
  const objects = new Map(found.objects);
  for (const id of retracted) objects.delete(id);
  for (const { id, mask, score, area, box } of added) objects.set(id, { id, bounds: boundsOf(mask.counts), score, area, box });
  return { ...found, objects, parents, done, total, eta };
}

/** @param {string} text COCO's compressed run lengths @returns {Uint32Array} */
export function boundsOf(text) {
  let place = 0;
  return Uint32Array.from(decompressCounts(text), (count) => (place += count));
}

/** @param {Uint32Array} bounds @returns {number[]} COCO's run lengths */
export function countsOf(bounds) {
  return Array.from(bounds, (bound, at) => bound - (bounds[at - 1] ?? 0));
}

/** @param {Found} found @param {number} id the name that an object carries once it is taken */
export function originOf({ search }, id) {
  return `${search}/${id}`;
}

/**
 * What can still be taken, smallest first: parts lie on their wholes.
 * @param {Found} found
 * @param {readonly Thing[]} things
 * @returns {FoundObject[]}
 */
export function offered(found, things) {
  const taken = new Set(things.map(({ origin }) => origin));
  return [...found.objects.values()].filter(({ id }) => !taken.has(originOf(found, id))).sort((a, b) => a.area - b.area);
}

/**
 * What a click takes.
 * @param {Found} found
 * @param {readonly FoundObject[]} choice smallest first
 * @param {Grain} grain
 * @param {Size} size of the picture
 * @param {Point} at
 * @returns {FoundObject | null}
 */
export function foundUnder(found, choice, grain, size, at) {
  const part = choice.find((object) => covers(object, size, at)) ?? null;
  return grain === 'whole' && part ? wholeOf(found, choice, part) : part;
}

/**
 * The outermost of those to choose from around an object.
 * @param {Found} found
 * @param {readonly FoundObject[]} choice
 * @param {FoundObject} object
 */
function wholeOf({ parents }, choice, object) {
  let whole = object;
  for (let id = parents[object.id]; id !== undefined; id = parents[id]) whole = choice.find((each) => each.id === id) ?? whole;
  return whole;
}

/**
 * What "all" means: the wholes, or every object with parts before their wholes.
 * @param {Found} found
 * @param {readonly FoundObject[]} choice smallest first
 * @param {Grain} grain
 */
export function allOf(found, choice, grain) {
  return grain === 'whole' ? choice.filter((object) => wholeOf(found, choice, object) === object) : choice;
}

/**
 * @param {FoundObject} object
 * @param {Size} size of the picture
 * @param {Point} at
 */
function covers({ bounds, box: [left, top, right, bottom] }, { height }, [x, y]) {
  if (x < left || x >= right || y < top || y >= bottom) return false;
  const place = Math.floor(x) * height + Math.floor(y);
  let [low, high] = [0, bounds.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bounds[middle] <= place) low = middle + 1;
    else high = middle;
  }
  return low % 2 === 1;
}

/**
 * Visit the mask column by column, as pieces that end with their column.
 * @param {Uint32Array} bounds
 * @param {number} height of the picture
 * @param {(x: number, top: number, bottom: number) => void} visit
 */
export function eachPiece(bounds, height, visit) {
  for (let i = 0; i + 1 < bounds.length; i += 2) {
    for (let from = bounds[i]; from < bounds[i + 1]; ) {
      const x = Math.floor(from / height);
      const to = Math.min(bounds[i + 1], (x + 1) * height);
      visit(x, from - x * height, to - x * height);
      from = to;
    }
  }
}

/**
 * The mask as a field: how much of each cell it covers, so that the edge keeps its place between cells.
 * @param {Uint32Array} bounds
 * @param {Frame} frame
 * @returns {Field}
 */
export function fieldOf(bounds, frame) {
  const { width, height } = frame.original;
  const region = gridRegion(frame, GRID);
  const [across, down] = [region.width / width, region.height / height];
  const cover = new Float32Array(GRID * GRID);
  eachPiece(bounds, height, (x, top, bottom) => {
    eachCell(x * across, (x + 1) * across, (column, breadth) => {
      eachCell(top * down, bottom * down, (row, length) => (cover[row * GRID + column] += breadth * length));
    });
  });
  return cover.map((covered, at) => {
    const full = within(at % GRID, region.width) * within(Math.floor(at / GRID), region.height);
    return full > 0 ? (2 * covered / full - 1) * SURE : -SURE;
  });
}

/** How much of a cell the picture fills along one axis. @param {number} cell @param {number} extent */
function within(cell, extent) {
  return Math.min(Math.max(extent - cell, 0), 1);
}

/**
 * @param {number} from
 * @param {number} to
 * @param {(cell: number, share: number) => void} visit with the length of the stretch that lies in the cell
 */
function eachCell(from, to, visit) {
  const last = Math.min(Math.ceil(to), GRID);
  for (let cell = Math.floor(from); cell < last; cell += 1) visit(cell, Math.min(to, cell + 1) - Math.max(from, cell));
}
