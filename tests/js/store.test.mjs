// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_PROMPTS, withBox, withClick } from '../../static/js/masks/prompts.js';
import { INITIAL_STATE } from '../../static/js/state/state.js';
import { createStore, watch } from '../../static/js/state/store.js';
import {
  decodableFor, frameFor, isKept, missingView, nextFeedback, openQuestion, shownMask, viewInUse,
} from '../../static/js/state/questions.js';
import { pictureView, quantile } from '../../static/js/state/selectors.js';
import { createFrame, GRID, sameFrame } from '../../static/js/masks/geometry.js';
import { NEW_TIMELINE } from '../../static/js/state/work.js';
import { fitFrame } from './helpers.mjs';

/** @import { Prompts } from '../../static/js/masks/prompts.js' */
/** @import { Mask, Step } from '../../static/js/state/work.js' */

/** @type {import('../../static/js/state/state.js').Picture} */
const PICTURE = {
  key: 1, name: 'cat.jpg', blob: new Blob(), phase: { status: 'ready' }, size: { width: 200, height: 100 },
  bitmap: null, record: null, encodeSeconds: null, decodable: null, views: [], thumbnail: null, lens: null, from: null, timeline: NEW_TIMELINE,
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
/** @param {Step[]} sketch @returns {import('../../static/js/state/state.js').State} */
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

// ---- closer views

const RECORD = /** @type {any} */ ({ width: 1000, height: 800, resized_width: 1024, resized_height: 819 });
const WHOLE = { key: 1, frame: fitFrame(1000, 800), record: RECORD, embedding: null };
/** @param {number} x @param {number} y @param {number} [side] */
function closerView(x, y, side = 256) {
  const { original, resized } = fitFrame(side, side);
  return { ...WHOLE, frame: createFrame(original, resized, 1024, [x, y]), seconds: 0.5 };
}
const NEAR = closerView(256, 256);
const SERVICE = /** @type {any} */ ({ status: 'ready', info: { prompt_frame: 1024, mask_threshold: 0 } });

/** Zoomed in, so that 200 x 160 pixels around the middle are on the stage. @param {Partial<import('../../static/js/state/state.js').Picture>} [part] */
function zoomedIn(part) {
  const lens = { scale: 4, middle: /** @type {[number, number]} */ ([384, 384]) };
  const picture = { ...PICTURE, size: null, record: RECORD, decodable: WHOLE, lens, ...part };
  return { ...READY, service: SERVICE, stage: { width: 800, height: 640 }, picture };
}

test('all of the picture answers until a closer view is there, and that one is missed', () => {
  const state = { ...zoomedIn(), hover: /** @type {[number, number]} */ ([400, 390]) };
  assert.equal(openQuestion(state)?.frame, null);
  assert.deepEqual(missingView(state), { key: 1, window: [256, 256, 256, 256], urgent: false });
  const seen = zoomedIn({ views: [NEAR] });
  assert.equal(missingView(seen), null);
  assert.equal(openQuestion({ ...seen, hover: [400, 390] })?.frame, NEAR.frame);
  assert.equal(viewInUse(seen), NEAR);
});

test('zoomed in further, a closer one is missed while the one that is there answers', () => {
  const state = zoomedIn({ views: [NEAR], lens: { scale: 9, middle: [400, 390] } });
  assert.deepEqual(missingView(state)?.window, [320, 320, 128, 128]);
  assert.equal(viewInUse(state), NEAR);
});

test('zoomed out, the closer view that is there is not asked, and none is missed', () => {
  const state = zoomedIn({ views: [NEAR], lens: null });
  assert.equal(openQuestion({ ...state, hover: [400, 390] })?.frame, null);
  assert.equal(missingView(state), null);
});

test('where a view cut the mask, all of the picture answers; beside it the view does', () => {
  const logits = Float32Array.from({ length: GRID * GRID }, (_, at) => (at % GRID < 100 ? 1 : -1));
  const question = { prompts: CLICK, feedback: null, purpose: /** @type {const} */ ('hover'), frame: NEAR.frame };
  const cut = { ...maskOf(CLICK), logits, question };
  const state = { ...zoomedIn({ views: [NEAR] }), cut };
  assert.equal(openQuestion({ ...state, hover: [340, 390] })?.frame, null);
  assert.equal(openQuestion({ ...state, hover: [400, 390] })?.frame, NEAR.frame);
});

test('a sketch stays in the view that it began in, and whoever waits for that is urgent', () => {
  const inside = withClick(NO_PROMPTS, [400, 390], 1);
  const step = { ...asked(inside), frame: NEAR.frame };
  const timeline = { ...NEW_TIMELINE, work: { ...NEW_TIMELINE.work, sketch: [step] } };
  const far = zoomedIn({ timeline, lens: null });
  assert.equal(openQuestion(far), null, 'nobody could answer it');
  assert.deepEqual(missingView(far), { key: 1, window: [256, 256, 256, 256], urgent: true });
  const there = zoomedIn({ timeline, lens: null, views: [NEAR] });
  const question = openQuestion(there);
  assert.equal(question?.frame, NEAR.frame);
  assert.equal(question && decodableFor(there, question), NEAR);
  assert.ok(sameFrame(frameFor(there, withClick(inside, [300, 300], 0)), NEAR.frame));
  assert.equal(frameFor(there, withClick(inside, [30, 30], 0)), null, 'the view does not hold it');
});
