// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  NO_FINISH, boundsOf, cellsToPicture, combine, coverage, distances, emptyField, extentOf, finished, paintLine,
  paintPolygon, pictureToCells, stability,
} from '../../static/js/masks/fields.js';
import { fitFrame } from './helpers.mjs';

/** @import { Field } from '../../static/js/masks/fields.js' */
/** @import { Point } from '../../static/js/masks/geometry.js' */

const GRID = 256;
const WHOLE = { columns: GRID, rows: GRID };

/** @param {Point} middle @param {number} radius @returns {Field} */
function disc([x, y], radius) {
  return Float32Array.from({ length: GRID * GRID }, (_, at) =>
    radius - Math.hypot((at % GRID) + 0.5 - x, Math.floor(at / GRID) + 0.5 - y));
}

/** @param {Field} field */
const area = (field) => field.reduce((sum, value) => sum + (value > 0 ? 1 : 0), 0);
/** @param {Field} field @param {number} x @param {number} y */
const inside = (field, x, y) => field[y * GRID + x] > 0;

test('two discs unite, subtract and intersect as sets', () => {
  const [a, b] = [disc([100, 100], 30), disc([120, 100], 30)];
  const [all, rest, common] = [combine([a, b], 'unite'), combine([a, b], 'subtract'), combine([a, b], 'intersect')];
  assert.equal(area(all), area(a) + area(b) - area(common));
  assert.ok(Math.abs(area(rest) - (area(a) - area(common))) <= 1);
  assert.ok(inside(all, 145, 100) && !inside(rest, 110, 100) && inside(common, 110, 100));
});

test('coverage counts the cells of the picture alone', () => {
  assert.equal(coverage(emptyField(1), { columns: 128, rows: 64 }), 1);
  assert.equal(coverage(emptyField(), WHOLE), 0);
});

test('distances are those to the edge', () => {
  const field = distances(disc([128, 128], 40), WHOLE);
  assert.ok(Math.abs(field[128 * GRID + 128] - 40) < 1.5);
  assert.ok(Math.abs(field[128 * GRID + 188] + 20) < 1);
});

test('growing and shrinking move the edge by as many cells', () => {
  const field = disc([128, 128], 40);
  const width = (/** @type {Field} */ of) => {
    const [left, , right] = boundsOf(of) ?? [0, 0, 0, 0];
    return right - left;
  };
  assert.ok(Math.abs(width(finished(field, { ...NO_FINISH, grow: 5 }, WHOLE)) - 90) <= 1);
  assert.ok(Math.abs(width(finished(field, { ...NO_FINISH, grow: -10 }, WHOLE)) - 60) <= 1);
});

test('holes are filled up to the size that was asked for, and surroundings are no hole', () => {
  const field = combine([disc([128, 128], 60), disc([100, 128], 5), disc([160, 128], 15)], 'subtract');
  const small = finished(field, { ...NO_FINISH, holes: 200 / GRID ** 2 }, WHOLE);
  assert.ok(inside(small, 100, 128) && !inside(small, 160, 128) && !inside(small, 5, 5));
  const large = finished(field, { ...NO_FINISH, holes: 1 }, WHOLE);
  assert.ok(inside(large, 160, 128) && !inside(large, 5, 5));
});

test('islands are removed up to the size that was asked for', () => {
  const field = combine([disc([128, 128], 60), disc([20, 20], 5)], 'unite');
  const rest = finished(field, { ...NO_FINISH, islands: 0.01 }, WHOLE);
  assert.ok(!inside(rest, 20, 20) && inside(rest, 128, 128));
});

test('smoothing takes corners off and keeps the size', () => {
  const square = paintPolygon(emptyField(), [[80, 80], [180, 80], [180, 180], [80, 180]], true);
  const smooth = finished(square, { ...NO_FINISH, smooth: 6 }, WHOLE);
  assert.ok(inside(square, 81, 81) && !inside(smooth, 81, 81));
  assert.ok(Math.abs(area(smooth) / area(square) - 1) < 0.05);
});

test('finishing nothing changes nothing', () => {
  const field = disc([128, 128], 40);
  assert.deepEqual(finished(field, NO_FINISH, WHOLE), field);
});

test('a brush paints where it goes, and the eraser takes it back', () => {
  const line = paintLine(emptyField(), [50, 50], [150, 50], 8, true);
  assert.ok(inside(line, 50, 50) && inside(line, 100, 56) && !inside(line, 100, 60));
  const cut = paintLine(line, [100, 20], [100, 80], 5, false);
  assert.ok(!inside(cut, 100, 50) && inside(cut, 80, 50));
});

test('a lasso encloses its area, also where it is not convex', () => {
  const field = paintPolygon(emptyField(), [[50, 50], [150, 50], [150, 150], [100, 80], [50, 150]], true);
  assert.ok(inside(field, 60, 120) && inside(field, 140, 120) && !inside(field, 100, 120) && inside(field, 100, 60));
});

test('stability is the IoU of two thresholds', () => {
  assert.equal(stability(Float32Array.of(5, 0.5, -0.5, -5)), 1 / 3);
  assert.equal(stability(Float32Array.of(-5)), 0);
});

test('cells and pixels of the picture name the same places', () => {
  const frame = fitFrame(640, 427);
  const { columns, rows } = extentOf(frame);
  assert.deepEqual([columns, rows], [256, 171]);
  const [x, y] = pictureToCells([320, 213.5], frame);
  const [left, top] = cellsToPicture([x, y, columns, rows], frame);
  assert.ok(Math.abs(left - 320) < 1e-6 && Math.abs(top - 213.5) < 1e-6);
});

test('islands and holes with an anchor stay, and so does the largest island', () => {
  const field = emptyField();
  const set = (/** @type {number} */ x, /** @type {number} */ y, value = 8) => (field[y * GRID + x] = value);
  for (let y = 20; y < 60; y += 1) for (let x = 20; x < 60; x += 1) set(x, y);
  for (const [x, y] of [[100, 100], [120, 100]]) set(x, y);
  for (const [x, y] of [[30, 30], [40, 40]]) set(x, y, -8);
  const speckless = { ...NO_FINISH, islands: 0.001, holes: 0.001 };
  const pointed = finished(field, speckless, WHOLE, [100 * GRID + 100, 40 * GRID + 40]);
  const inside = [[100, 100], [120, 100], [30, 30], [40, 40]].map(([x, y]) => pointed[y * GRID + x] > 0);
  assert.deepEqual(inside, [true, false, true, false]);
  assert.ok(finished(field, { ...NO_FINISH, islands: 1 }, WHOLE)[30 * GRID + 25] > 0, 'the largest island');
});
