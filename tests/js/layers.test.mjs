// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { SQUARES, squaresOf } from '../../static/js/drawing/layers.js';
import { GRID } from '../../static/js/masks/geometry.js';

/** @param {number} seed @returns {() => number} from 0 to 1, the same for the same seed */
function randomly(seed) {
  let state = seed;
  return () => (state = (state * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}

/** @param {() => number} random @returns {Float32Array} a disc with a rough edge, anywhere */
function blob(random) {
  const [x0, y0, radius] = [random() * GRID, random() * GRID, 2 + random() * 60];
  return Float32Array.from({ length: GRID * GRID }, (_, at) =>
    radius - Math.hypot((at % GRID) - x0, Math.floor(at / GRID) - y0) + 4 * random());
}

/** @param {Float32Array} field @param {number} square */
function around(field, square) {
  const [x, y] = [square % SQUARES, Math.floor(square / SQUARES)];
  const inside = (/** @type {number} */ at) => Math.min(Math.max(at, 0), GRID - 1);
  return [[x - 1, y - 1], [x, y - 1], [x - 1, y], [x, y]].map(([column, row]) => field[inside(row) * GRID + inside(column)]);
}

/** @param {import('../../static/js/drawing/layers.js').Squares} squares @param {number} square */
function candidates({ heads, corners, owners }, square) {
  const [start, count] = [heads[square] >>> 8, heads[square] & 255];
  return Array.from({ length: count }, (_, index) => {
    const place = start + index;
    return { owner: owners[place], corners: [...corners.subarray(4 * place, 4 * place + 4)] };
  });
}

test('every object that a pixel may belong to is named in order with its own values', () => {
  const random = randomly(7);
  const fields = Array.from({ length: 12 }, () => blob(random));
  const squares = squaresOf(fields);
  for (let square = 0; square < SQUARES ** 2; square += 1) {
    const named = candidates(squares, square);
    assert.deepEqual(named.map(({ owner }) => owner), named.map(({ owner }) => owner).sort((a, b) => a - b));
    for (const { owner, corners } of named) assert.deepEqual(corners, around(fields[owner], square));
    const covering = fields.findIndex((field) => Math.min(...around(field, square)) > 0);
    const needed = fields.map((_, at) => at).filter((at) =>
      (covering < 0 || at <= covering) && Math.max(...around(fields[at], square)) > 0);
    for (const owner of needed) assert.ok(named.some((each) => each.owner === owner), `square ${square} lacks ${owner}`);
  }
});

test('an outline that reaches over the edge of its object is still found', () => {
  const field = new Float32Array(GRID * GRID).fill(-1);
  field[100 * GRID + 100] = 1;
  const squares = squaresOf([field]);
  assert.equal(candidates(squares, 102 * SQUARES + 102).length, 1);
  assert.equal(candidates(squares, 110 * SQUARES + 100).length, 0);
});

test('what lies beneath a covering object costs nothing', () => {
  const whole = new Float32Array(GRID * GRID).fill(3);
  const squares = squaresOf([whole, ...Array.from({ length: 49 }, () => new Float32Array(GRID * GRID).fill(2))]);
  assert.equal(squares.owners.length, SQUARES ** 2);
  assert.ok(squares.owners.every((owner) => owner === 0));
});

test('no objects are no candidates', () => {
  const { heads, owners } = squaresOf([]);
  assert.ok(heads.every((head) => head === 0) && owners.length === 0);
});
