// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axisTaps, pictureMask, sampleRows } from '../../static/js/masks.js';
import { fitFrame, randomFrom, randomSize } from './helpers.mjs';

const GRID = 256;
const random = randomFrom(11);

/** @param {(x: number, y: number) => number} value at a cell's centre, in cells */
function logitsOf(value) {
  return Float32Array.from({ length: GRID * GRID }, (_, i) => value((i % GRID) + 0.5, Math.floor(i / GRID) + 0.5));
}

/** One axis of torch.nn.functional.interpolate(mode="bilinear", align_corners=False). @param {number[]} line @param {number} length */
function interpolate(line, length) {
  return Array.from({ length }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * line.length) / length - 0.5);
    const low = Math.min(Math.floor(at), line.length - 1);
    return line[low] * (1 - at + low) + line[Math.min(low + 1, line.length - 1)] * (at - low);
  });
}

test('one axis equals the two bilinear steps of PyTorch', () => {
  const line = Array.from({ length: GRID }, () => random() * 20 - 10);
  for (const [original, resized] of [[3, 1024], [512, 1024], [640, 427], [5000, 1024], [1023, 333], [1, 1]]) {
    const expected = interpolate(interpolate(line, 1024).slice(0, resized), original);
    const { index, weight } = axisTaps(original, resized, 1024, GRID);
    for (let i = 0; i < original; i += 1) {
      let value = 0;
      for (let t = 4 * i; t < 4 * i + 4; t += 1) value += line[index[t]] * weight[t];
      assert.ok(Math.abs(value - expected[i]) < 1e-4, `pixel ${i} of ${original}: ${value} is not ${expected[i]}`);
    }
  }
});

test('an edge lands within one low-resolution pixel at any aspect ratio', () => {
  for (let i = 0; i < 30; i += 1) {
    const { width, height } = { width: 16 + randomSize(random).width / 8, height: 16 + randomSize(random).height / 8 };
    const frame = fitFrame(Math.round(width), Math.round(height));
    const edge = (0.2 + 0.6 * random()) * frame.original.width;
    const cell = (edge * frame.resized.width) / frame.original.width / 4;
    const mask = pictureMask(logitsOf((x) => cell - x), GRID, frame, 0);
    const covered = mask.subarray(0, frame.original.width).reduce((sum, value) => sum + value, 0);
    const lowResPixel = (4 * frame.original.width) / frame.resized.width;
    assert.ok(Math.abs(covered - edge) <= Math.max(1, lowResPixel), `${covered} is not near ${edge}`);
  }
});

test('the threshold itself is outside', () => {
  const frame = fitFrame(8, 8);
  assert.ok(pictureMask(logitsOf(() => 0), GRID, frame, 0).every((value) => value === 0));
  assert.ok(pictureMask(logitsOf(() => 0.1), GRID, frame, 0).every((value) => value === 1));
});

test('rows are visited once each, in order', () => {
  /** @type {number[]} */
  const seen = [];
  sampleRows(logitsOf((_, y) => y), GRID, fitFrame(100, 50), { width: 3, height: 5 }, (row, y) => {
    assert.equal(row.length, 3);
    seen.push(y);
  });
  assert.deepEqual(seen, [0, 1, 2, 3, 4]);
});
