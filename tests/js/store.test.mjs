// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_PROMPTS, withBox, withClick } from '../../static/js/prompts.js';
import { INITIAL_STATE, activePrompts, createStore, isKept, pictureView, quantile, watch } from '../../static/js/store.js';

/** @type {import('../../static/js/store.js').Picture} */
const PICTURE = {
  key: 1, name: 'cat.jpg', blob: new Blob(), phase: { status: 'ready' }, size: { width: 200, height: 100 },
  bitmap: null, record: null, encodeSeconds: null,
};
const READY = { ...INITIAL_STATE, picture: PICTURE };
const CLICK = withClick(NO_PROMPTS, [5, 6], 1);

test('subscribers hear of changes, and of nothing after they leave', () => {
  const store = createStore({ a: 1, b: 1 });
  /** @type {number[]} */
  const heard = [];
  const stop = store.subscribe(({ a }) => heard.push(a));
  store.patch({ a: 2 });
  stop();
  store.patch({ a: 3 });
  assert.deepEqual(heard, [2]);
});

test('setting the same value is no change', () => {
  const store = createStore({ a: 1 });
  store.subscribe(() => assert.fail('nothing changed'));
  store.set(store.get());
});

test('a watcher is called at once and then only when its part changes', () => {
  const store = createStore({ a: 1, b: 1 });
  /** @type {number[]} */
  const heard = [];
  watch(store, ({ a }) => a, (a) => heard.push(a));
  store.patch({ b: 2 });
  store.patch({ a: 5 });
  assert.deepEqual(heard, [1, 5]);
});

test('nothing is asked before the picture is ready', () => {
  const encoding = { ...PICTURE, phase: /** @type {const} */ ({ status: 'encoding', progress: null, ahead: 0 }) };
  assert.equal(activePrompts({ ...INITIAL_STATE, picture: encoding, hover: [1, 1] }), null);
});

test('the hover asks as one positive click', () => {
  assert.deepEqual(activePrompts({ ...READY, hover: [5, 6] }), CLICK);
  assert.equal(activePrompts(READY), null);
});

test('what is committed outranks the hover, and a box being drawn joins it', () => {
  const state = { ...READY, history: [CLICK], hover: /** @type {const} */ ([9, 9]) };
  assert.equal(activePrompts(state), CLICK);
  assert.deepEqual(activePrompts({ ...state, draft: [0, 0, 3, 3] }), withBox(CLICK, [0, 0, 3, 3]));
});

test('a mask counts as kept only when it answers the committed prompts', () => {
  const mask = { pictureKey: 1, prompts: CLICK, logits: new Float32Array(1), index: 1, iou: 0.9, milliseconds: 1 };
  assert.ok(!isKept({ ...READY, mask }));
  assert.ok(isKept({ ...READY, mask, history: [withClick(NO_PROMPTS, [5, 6], 1)] }));
  assert.ok(!isKept({ ...READY, mask, history: [CLICK, withClick(CLICK, [1, 1], 0)] }));
});

test('the view keeps the aspect of the picture and waits for a stage', () => {
  assert.equal(pictureView(READY), null);
  assert.deepEqual(pictureView({ ...READY, stage: { width: 400, height: 400 } }), { x: 0, y: 100, width: 400, height: 200 });
});

test('a quantile of nothing is unknown', () => {
  assert.equal(quantile([], 0.5), null);
  assert.equal(quantile([3, 1, 2], 0.5), 2);
});
