// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  boxBetween, createFrame, fitView, frameToPicture, gridRegion, pictureToFrame, pictureToStage, positionIn, stageToPicture,
} from '../../static/js/masks/geometry.js';
import { fitFrame, randomFrom, randomSize } from './helpers.mjs';

const random = randomFrom(7);

/** @param {readonly number[]} actual @param {readonly number[]} expected @param {number} tolerance */
function near(actual, expected, tolerance = 1e-6) {
  actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= tolerance, `${actual} is not near ${expected}`));
}

test('points survive the round trip from picture to frame at any size', () => {
  for (let i = 0; i < 500; i += 1) {
    const { width, height } = randomSize(random);
    const frame = fitFrame(width, height);
    const point = /** @type {[number, number]} */ ([random() * width, random() * height]);
    near(frameToPicture(frame, pictureToFrame(frame, point)), point, 1e-6 * Math.max(width, height));
  }
});

test('points survive the round trip from picture to stage at any size', () => {
  for (let i = 0; i < 500; i += 1) {
    const picture = randomSize(random);
    const view = fitView(picture, { width: 100 + random() * 2000, height: 100 + random() * 1000 });
    const point = /** @type {[number, number]} */ ([random() * picture.width, random() * picture.height]);
    near(stageToPicture(view, picture, pictureToStage(view, picture, point)), point, 1e-6 * Math.max(picture.width, picture.height));
  }
});

test('each axis is scaled by its own ratio', () => {
  const frame = createFrame({ width: 1000, height: 333 }, { width: 1024, height: 341 }, 1024);
  near(pictureToFrame(frame, [1000, 333]), [1024, 341]);
});

test('the far corner of a picture is the far corner of its grid region', () => {
  for (let i = 0; i < 200; i += 1) {
    const { width, height } = randomSize(random);
    const frame = fitFrame(width, height);
    const [x, y] = pictureToFrame(frame, [width, height]);
    const region = gridRegion(frame, 256);
    near([region.width, region.height], [x / 4, y / 4]);
  }
});

test('a fitted picture lies inside the stage, centred, with its own aspect', () => {
  const view = fitView({ width: 400, height: 100 }, { width: 1000, height: 600 });
  assert.deepEqual(view, { x: 0, y: 175, width: 1000, height: 250 });
});

test('a tiny picture is enlarged only as far as allowed', () => {
  const view = fitView({ width: 10, height: 10 }, { width: 1000, height: 600 }, 8);
  assert.deepEqual(view, { x: 460, y: 260, width: 80, height: 80 });
});

test('a position never lies outside the picture', () => {
  assert.deepEqual(positionIn({ width: 10, height: 5 }, [10.2, -3]), [10, 0]);
});

test('a position tells a low-resolution cell apart even in a picture of a few pixels', () => {
  const size = { width: 8, height: 8 };
  const cell = 8 / 256;
  for (const x of [0.4, 3.99, 6.05]) assert.ok(Math.abs(positionIn(size, [x, 1])[0] - x) < cell / 2);
});

test('a box drawn in any direction is ordered and cut to the picture', () => {
  const size = { width: 100, height: 50 };
  assert.deepEqual(boxBetween(size, [90.5, 70], [-5, 10.25]), [0, 10.25, 90.5, 50]);
});

test('a resized picture larger than its frame is refused with both numbers', () => {
  assert.throws(() => createFrame({ width: 10, height: 10 }, { width: 2000, height: 2000 }, 1024), /2000 x 2000.*1024/);
});
