// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_PROMPTS, withBox, withClick } from '../../static/js/prompts.js';
import {
  INITIAL_STATE, createStore, isKept, nextFeedback, openQuestion, pictureView, quantile, shownMask, watch,
} from '../../static/js/store.js';
import { NEW_TIMELINE } from '../../static/js/work.js';

/** @import { Prompts } from '../../static/js/prompts.js' */
/** @import { Mask, Step } from '../../static/js/work.js' */

/** @type {import('../../static/js/store.js').Picture} */
const PICTURE = {
  key: 1, name: 'cat.jpg', blob: new Blob(), phase: { status: 'ready' }, size: { width: 200, height: 100 },
  bitmap: null, record: null, encodeSeconds: null, decodable: null, views: [], thumbnail: null, lens: null, timeline: NEW_TIMELINE,
};
const READY = { ...INITIAL_STATE, picture: PICTURE };
const CLICK = withClick(NO_PROMPTS, [5, 6], 1);
const BOTH = withClick(CLICK, [1, 1], 0);

/** @param {Prompts} prompts @returns {Mask} */
function maskOf(prompts) {
  const question = { prompts, feedback: null, purpose: /** @type {const} */ ('step') };
  return { question, logits: new Float32Array(1), index: 1, iou: 0.9, milliseconds: 1, candidates: [] };
}

/** @param {Prompts} prompts @param {boolean} [feeds] */
const asked = (prompts, feeds = false) => ({ prompts, feeds, painted: false, pick: null, answer: null });
/** @param {Prompts} prompts */
const answered = (prompts) => ({ ...asked(prompts), answer: maskOf(prompts) });
/** @param {Step[]} sketch @returns {import('../../static/js/store.js').State} */
function readyWith(...sketch) {
  return { ...READY, picture: { ...PICTURE, timeline: { ...NEW_TIMELINE, work: { ...NEW_TIMELINE.work, sketch } } } };
}

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
  assert.equal(openQuestion({ ...INITIAL_STATE, picture: encoding, hover: [1, 1] }), null);
});

test('the hover asks as one positive click', () => {
  assert.deepEqual(openQuestion({ ...READY, hover: [5, 6] }), { prompts: CLICK, feedback: null, purpose: 'hover', frame: null });
  assert.equal(openQuestion(READY), null);
});

test('what is committed outranks the hover, and is asked once', () => {
  const state = { ...readyWith(asked(CLICK)), hover: /** @type {const} */ ([9, 9]) };
  assert.deepEqual(openQuestion(state), { prompts: CLICK, feedback: null, purpose: 'step', frame: null });
  assert.equal(openQuestion(readyWith(answered(CLICK))), null);
});

test('a click that follows a step feeds that step\'s logits back', () => {
  const first = answered(CLICK);
  const question = openQuestion(readyWith(first, asked(BOTH, true)));
  assert.deepEqual(question?.prompts, BOTH);
  assert.equal(question?.feedback, first.answer.logits);
});

test('a second click waits for the first one\'s answer', () => {
  assert.equal(openQuestion(readyWith(asked(CLICK), asked(BOTH, true)))?.prompts, CLICK);
});

test('a box being drawn is asked with the points that are there, and nothing is fed back', () => {
  const box = withBox(CLICK, [0, 0, 3, 3]);
  const drawing = { ...readyWith(answered(CLICK)), draft: { prompts: box } };
  assert.deepEqual(openQuestion(drawing), { prompts: box, feedback: null, purpose: 'draft', frame: null });
  assert.equal(openQuestion(readyWith(answered(CLICK), asked(box)))?.feedback, null);
});

test('over a kept mask the pointer asks what the next click would make of it', () => {
  const first = answered(CLICK);
  const state = { ...readyWith(first), stage: { width: 200, height: 100 } };
  const question = openQuestion({ ...state, hover: [60, 50] });
  assert.deepEqual(question?.prompts, withClick(CLICK, [60, 50], 1));
  assert.equal(question?.purpose, 'preview');
  assert.equal(question?.feedback, first.answer.logits);
  assert.equal(openQuestion({ ...state, hover: [6, 7] }), null, 'on a point the click takes the point itself');
  assert.equal(openQuestion({ ...state, hover: [60, 50], refines: false })?.feedback, null);
});

test('with another tool the pointer asks nothing', () => {
  assert.equal(openQuestion({ ...READY, hover: [5, 6], tool: 'brush' }), null);
});

test('undo brings back the mask before, which the next click feeds back', () => {
  const [first, second] = [answered(CLICK), answered(BOTH)];
  const undone = { ...readyWith(first), mask: second.answer };
  assert.equal(shownMask(undone), first.answer);
  assert.equal(nextFeedback(undone), first.answer.logits);
});

test('an answered step is shown wherever the pointer goes, the one before it while it is awaited', () => {
  const first = answered(CLICK);
  assert.equal(shownMask({ ...readyWith(first), mask: maskOf(BOTH), hover: [9, 9] }), first.answer);
  assert.equal(shownMask({ ...readyWith(first, asked(BOTH)), mask: first.answer }), first.answer);
  assert.equal(shownMask({ ...READY, mask: first.answer, hover: null }), null);
});

test('a mask counts as kept only when it answers a step', () => {
  const { answer } = answered(CLICK);
  assert.ok(!isKept({ ...READY, mask: answer }));
  assert.ok(isKept({ ...readyWith({ ...asked(CLICK), answer }), mask: answer }));
  assert.ok(!isKept({ ...readyWith({ ...asked(CLICK), answer }), mask: maskOf(CLICK) }));
});

test('the view keeps the aspect of the picture and waits for a stage', () => {
  assert.equal(pictureView(READY), null);
  assert.deepEqual(pictureView({ ...READY, stage: { width: 400, height: 400 } }), { x: 0, y: 100, width: 400, height: 200 });
});

test('a quantile of nothing is unknown', () => {
  assert.equal(quantile([], 0.5), null);
  assert.equal(quantile([3, 1, 2], 0.5), 2);
});
