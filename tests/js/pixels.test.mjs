// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { iou } from '../../static/js/export/polygons.js';
import { cropRuns, decodeRuns, encodeRuns } from '../../static/js/export/runs.js';
import { axisTaps, fieldRuns, maskField, sampleRows } from '../../static/js/masks/pixels.js';
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
    const mask = decodeRuns(fieldRuns(logitsOf((x) => cell - x), frame));
    const covered = mask.subarray(0, frame.original.width).reduce((sum, value) => sum + value, 0);
    const lowResPixel = (4 * frame.original.width) / frame.resized.width;
    assert.ok(Math.abs(covered - edge) <= Math.max(1, lowResPixel), `${covered} is not near ${edge}`);
  }
});

test('the threshold itself is outside', () => {
  const frame = fitFrame(8, 8);
  assert.ok(decodeRuns(fieldRuns(logitsOf(() => 0), frame)).every((value) => value === 0));
  assert.ok(decodeRuns(fieldRuns(logitsOf(() => 0.1), frame)).every((value) => value === 1));
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

/** Blobs of any kind: waves of random lengths. */
function waves() {
  const [a, b, c, d] = Array.from({ length: 4 }, () => random() * 0.2);
  const shift = random() * 1.2 - 0.6;
  return logitsOf((x, y) => 5 * (Math.sin(a * x + b * y) + Math.sin(c * x - d * y) + shift));
}

test('run lengths are the same pixels as every row thresholded, at any size', () => {
  for (let i = 0; i < 24; i += 1) {
    const size = i < 4 ? [[1, 1], [1, 300], [2000, 3], [257, 256]][i] : Object.values(randomSize(random)).map((side) => Math.ceil(side / 6));
    const frame = fitFrame(size[0], size[1]);
    const field = waves();
    const { width, height } = frame.original;
    const mask = decodeRuns(fieldRuns(field, frame));
    sampleRows(field, GRID, frame, frame.original, (row, y) => row.forEach((value, x) => {
      if (Math.abs(value) < 1e-4) return;
      assert.equal(mask[y * width + x], value > 0 ? 1 : 0, `${x}, ${y} of ${width} x ${height}: ${value}`);
    }));
  }
});

test('a mask becomes a field whose edge runs along it', () => {
  for (const [width, height, least] of [[640, 427, 0.985], [300, 900, 0.985], [4000, 3000, 0.985], [97, 61, 0.985]]) {
    const frame = fitFrame(width, height);
    const shape = Uint8Array.from({ length: width * height }, (_, i) => {
      const [x, y] = [((i % width) + 0.5) / width - 0.5, (Math.floor(i / width) + 0.5) / height - 0.5];
      return Math.hypot(x, y) < 0.4 * (1 + 0.2 * Math.sin(5 * Math.atan2(y, x))) || x > 0.45 ? 1 : 0;
    });
    const field = maskField(cropRuns(encodeRuns(shape, width, height)), frame);
    const again = decodeRuns(fieldRuns(field, frame));
    assert.ok(iou(again, shape) >= least, `${width} x ${height}: ${iou(again, shape)}`);
  }
});

test('the smallest mask is seen', () => {
  const frame = fitFrame(4000, 3000);
  const dot = new Uint8Array(4000 * 3000);
  dot[1234 * 4000 + 2345] = 1;
  const field = maskField(cropRuns(encodeRuns(dot, 4000, 3000)), frame);
  assert.equal(field.filter((value) => value > 0).length, 1);
  assert.equal(cropRuns(fieldRuns(field, frame)).data.includes(1), true);
});
