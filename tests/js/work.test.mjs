// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_FINISH } from '../../static/js/masks/fields.js';
import { NO_PROMPTS } from '../../static/js/masks/prompts.js';
import { movedBox, partAt } from '../../static/js/tools/marks.js';
import {
  NEW_TIMELINE, NO_WORK, advance, moved, nextColour, nextId, redone, unanswered, undone, withChange, withStep, withThing, without,
} from '../../static/js/state/work.js';

/** @import { Step, Thing } from '../../static/js/state/work.js' */
/** @import { Prompts } from '../../static/js/masks/prompts.js' */

const FIELD = new Float32Array(1);
/** @type {Step} */
const STEP = { prompts: NO_PROMPTS, feeds: false, painted: false, pick: null, answer: null };

/** @param {number} id @param {Partial<Thing>} [part] */
function made(id, part = {}) {
  return { id, label: `Object ${id}`, colour: '#123456', source: FIELD, finish: NO_FINISH, shape: FIELD, iou: 0.9, steps: [STEP], ...part };
}

/** @param {readonly { label: string }[]} things */
const labels = (things) => things.map(({ label }) => label);

test('undo and redo walk the same way back and forth, and a new step forgets the future', () => {
  const one = advance(NEW_TIMELINE, { ...NO_WORK, sketch: [STEP] });
  const back = undone(one);
  assert.equal(back.work, NO_WORK);
  assert.equal(redone(back).work, one.work);
  assert.equal(undone(back).work, NO_WORK, 'there is nothing before the beginning');
  const other = advance(back, withThing(NO_WORK, made(1)));
  assert.deepEqual(other.future, []);
});

test('an answer reaches the step wherever it stands in time', () => {
  const one = advance(NEW_TIMELINE, { ...NO_WORK, sketch: [STEP] });
  const two = advance(one, { ...NO_WORK, sketch: [STEP, { ...STEP }] });
  const answered = { ...STEP, pick: 2 };
  const { past, work } = withStep(two, STEP, answered);
  assert.equal(past[1].sketch[0], answered);
  assert.equal(work.sketch[0], answered);
  assert.notEqual(work.sketch[1], answered);
});

test('another model is asked every decoded step again, in every time, and what was painted stays', () => {
  const mask = /** @type {any} */ ({ logits: FIELD });
  const [decoded, painted] = [{ ...STEP, answer: mask, pick: 2 }, { ...STEP, painted: true, answer: mask }];
  const kept = withThing(NO_WORK, made(1));
  const one = advance(advance(NEW_TIMELINE, { ...kept, sketch: [decoded] }), { ...kept, sketch: [decoded, painted] });
  const { past, work } = unanswered(one);
  assert.equal(past[0], NO_WORK);
  assert.deepEqual(work.sketch.map(({ answer }) => answer), [null, mask]);
  assert.equal(work.sketch[0].pick, 2, 'the choice among its candidates is remembered');
  assert.equal(past[1].sketch[0], work.sketch[0], 'one answer serves all times');
  assert.equal(work.things, kept.things);
});

test('what is kept lies on top and the sketch is done', () => {
  const both = withThing(withThing({ ...NO_WORK, sketch: [STEP] }, made(1)), made(2));
  assert.deepEqual(labels(both.things), ['Object 2', 'Object 1']);
  assert.deepEqual(both.sketch, []);
  assert.deepEqual(both.selected, [2]);
  assert.equal(nextId(both), 3);
});

test('an object that was edited keeps its name, colour and place', () => {
  const two = withThing(withThing(NO_WORK, made(1, { label: 'cup', colour: '#ffffff' })), made(2));
  const edited = withThing({ ...two, editing: 1 }, made(3, { iou: 0.5 }));
  assert.deepEqual(labels(edited.things), ['Object 2', 'cup']);
  assert.equal(edited.things[1].iou, 0.5);
  assert.equal(edited.editing, null);
});

test('order changes by places and stops at the ends', () => {
  const three = [1, 2, 3].reduce((work, id) => withThing(work, made(id)), NO_WORK);
  assert.deepEqual(labels(moved(three, 1, 1).things), ['Object 3', 'Object 1', 'Object 2']);
  assert.deepEqual(labels(moved(three, 3, -9).things), ['Object 2', 'Object 1', 'Object 3']);
  assert.equal(moved(three, 3, 1), three);
});

test('a locked object is not removed', () => {
  const two = withChange(withThing(withThing(NO_WORK, made(1)), made(2)), 1, { locked: true });
  assert.deepEqual(labels(without(two, [1, 2]).things), ['Object 1']);
});

test('the next colour is one that is not in use', () => {
  const one = withThing(NO_WORK, made(1, { colour: nextColour(NO_WORK) }));
  assert.notEqual(nextColour(one), one.things[0].colour);
});

/** @type {Prompts} */
const PROMPTS = { clicks: [{ x: 10, y: 10, label: 1 }, { x: 12, y: 10, label: 0 }], box: [100, 100, 200, 180] };
const SIZE = { width: 300, height: 200 };

test('of two points under the pointer the later one is taken, and a box by its frame', () => {
  assert.deepEqual(partAt(PROMPTS, [11, 10], 5), { kind: 'point', index: 1 });
  assert.equal(partAt(PROMPTS, [150, 140], 5), null);
  assert.equal(partAt(PROMPTS, [50, 50], 5), null);
  const [corner, side, frame] = [[199, 181], [150, 101], [120, 180]].map(([x, y]) => partAt(PROMPTS, [x, y], 5));
  assert.deepEqual([corner, side, frame].map((part) => part?.kind === 'box' && [part.across, part.down]), [[1, 1], [0, -1], [0, 0]]);
});

test('a corner resizes the box, the frame moves it inside the picture', () => {
  const box = /** @type {const} */ ({ kind: 'box', box: [100, 100, 200, 180] });
  assert.deepEqual(movedBox({ ...box, across: 1, down: 1 }, [200, 180], [250, 500], SIZE), [100, 100, 250, 200]);
  assert.deepEqual(movedBox({ ...box, across: 1, down: 1 }, [200, 180], [50, 190], SIZE), [50, 100, 100, 190]);
  assert.deepEqual(movedBox({ ...box, across: 0, down: 0 }, [120, 180], [420, 185], SIZE), [200, 105, 300, 185]);
});
