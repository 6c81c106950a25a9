// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { framewise } from '../../static/js/tools/framewise.js';

/** A handler, and frames that the test draws by hand. */
function drawing() {
  /** @type {(() => void)[]} */
  const frames = [];
  /** @type {number[]} */
  const handled = [];
  const inputs = framewise((/** @type {number} */ value) => handled.push(value), (callback) => frames.push(callback));
  return { inputs, handled, frames, draw: () => frames.splice(0).forEach((callback) => callback()) };
}

test('of all inputs within a frame only the newest is handled, in one callback', () => {
  const { inputs, handled, frames, draw } = drawing();
  [1, 2, 3].forEach(inputs.push);
  assert.equal(frames.length, 1);
  draw();
  assert.deepEqual(handled, [3]);
  inputs.push(4);
  draw();
  assert.deepEqual(handled, [3, 4]);
});

test('an input that was cleared is not handled, the next one is', () => {
  const { inputs, handled, draw } = drawing();
  inputs.push(1);
  inputs.clear();
  draw();
  inputs.push(2);
  draw();
  assert.deepEqual(handled, [2]);
});
