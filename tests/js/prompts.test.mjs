// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  NO_PROMPTS, chooseMask, corrects, encodePrompts, isEmpty, sameAnswer, samePrompts, withBox, withClick,
} from '../../static/js/masks/prompts.js';
import { fitFrame } from './helpers.mjs';

const frame = fitFrame(2048, 1024);
const click = withClick(NO_PROMPTS, [100, 50], 1);

test('clicks without a box end in one padding point', () => {
  const { coords, labels } = encodePrompts(withClick(click, [200, 60], 0), frame);
  assert.deepEqual([...coords], [50, 25, 100, 30, 0, 0]);
  assert.deepEqual([...labels], [1, 0, -1]);
});

test('a box adds its two corners and no padding', () => {
  const { coords, labels } = encodePrompts(withBox(click, [0, 0, 2048, 1024]), frame);
  assert.deepEqual([...coords], [50, 25, 0, 0, 1024, 512]);
  assert.deepEqual([...labels], [1, 2, 3]);
});

test('a box alone is two points', () => {
  assert.deepEqual([...encodePrompts(withBox(NO_PROMPTS, [2, 4, 6, 8]), frame).labels], [2, 3]);
});

test('one click alone takes the best of the three multimask tokens', () => {
  assert.equal(chooseMask(click, [0.99, 0.2, 0.7, 0.6]), 2);
  assert.equal(chooseMask(withClick(NO_PROMPTS, [1, 1], 0), [0.99, 0.9, 0.7, 0.6]), 1);
});

test('more than one click, or a box, takes the single-mask token', () => {
  const iou = [0.1, 0.9, 0.9, 0.9];
  assert.equal(chooseMask(withClick(click, [1, 1], 0), iou), 0);
  assert.equal(chooseMask(withBox(NO_PROMPTS, [0, 0, 5, 5]), iou), 0);
  assert.equal(chooseMask(withBox(click, [0, 0, 5, 5]), iou), 0);
});

test('a second box replaces the first', () => {
  assert.deepEqual(withBox(withBox(click, [0, 0, 5, 5]), [1, 1, 2, 2]).box, [1, 1, 2, 2]);
});

test('prompts are compared by value', () => {
  assert.ok(samePrompts(click, withClick(NO_PROMPTS, [100, 50], 1)));
  assert.ok(!samePrompts(click, withClick(NO_PROMPTS, [100, 50], 0)));
  assert.ok(!samePrompts(click, null));
  assert.ok(isEmpty(NO_PROMPTS) && !isEmpty(click));
});

test('a click corrects what was answered before, a box does not', () => {
  assert.ok(corrects(withClick(click, [1, 1], 0), click));
  assert.ok(corrects(withClick(withBox(NO_PROMPTS, [0, 0, 5, 5]), [1, 1], 0), withBox(NO_PROMPTS, [0, 0, 5, 5])));
  assert.ok(!corrects(withBox(click, [0, 0, 5, 5]), click));
  assert.ok(!corrects(click, NO_PROMPTS));
});

test('questions have the same answer only with the same mask fed back', () => {
  const feedback = new Float32Array(1);
  assert.ok(sameAnswer({ prompts: click, feedback }, { prompts: { ...click }, feedback }));
  assert.ok(!sameAnswer({ prompts: click, feedback }, { prompts: click, feedback: null }));
});
