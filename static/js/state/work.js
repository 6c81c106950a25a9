// @ts-check
/** What a person makes of one picture, as values: objects, the sketch of the next one, and the way back and forth. */

/** @import { Runs } from '../export/runs.js' */
/** @import { Field, Finish } from '../masks/fields.js' */
/** @import { Frame } from '../masks/geometry.js' */
/** @import { Click, Prompts, Question } from '../masks/prompts.js' */
import { NO_PROMPTS } from '../masks/prompts.js';

/** @typedef {{index: number, iou: number, logits: Field}} Candidate one of the decoder's four masks */

/**
 * A mask with the question that it answers.
 * @typedef {object} Mask
 * @property {Question} question
 * @property {Field} logits of the chosen candidate
 * @property {number} index of the chosen candidate
 * @property {number} iou as predicted; 1 for what was painted
 * @property {number} milliseconds from question to answer
 * @property {readonly Candidate[]} candidates none for what was painted
 */

/**
 * One committed step and its answer, which is null while it is awaited.
 * @typedef {object} Step
 * @property {Prompts} prompts
 * @property {boolean} feeds whether it corrects the answer before it, which is then fed back
 * @property {boolean} painted whether the answer was drawn by hand rather than decoded
 * @property {number | null} pick the candidate that was chosen by hand
 * @property {Mask | null} answer
 * @property {Frame | null} [frame] of the closer view that it is asked in
 */

/**
 * A finished object. `source` is as decoded, painted or combined; `shape` is that with its finish.
 * @typedef {object} Thing
 * @property {number} id
 * @property {string} label
 * @property {string} colour as #rrggbb
 * @property {boolean} visible
 * @property {boolean} locked
 * @property {Field} source
 * @property {Finish} finish
 * @property {Field} shape
 * @property {Frame | null} [frame] of the closer view that both are fields of; none for all of the picture
 * @property {number | null} iou as predicted, if the model made it
 * @property {readonly Step[]} steps that made it, to be taken up again; none for what was combined
 * @property {string} [origin] where everything mode found it (see masks/found.js)
 * @property {{of: Field, mask: Runs}} [exact] the mask that came in from a file, as long as `shape` is `of`, its field
 */

/**
 * @typedef {object} Work
 * @property {readonly Thing[]} things topmost first; where they overlap the upper one has the pixels
 * @property {readonly Step[]} sketch of the next object, oldest step first
 * @property {number | null} editing the object that the sketch will replace
 * @property {readonly number[]} selected in the order of selection
 */

/** @typedef {{readonly past: readonly Work[], readonly work: Work, readonly future: readonly Work[]}} Timeline */

const STEPS_BACK = 200;

/** @type {Work} */
export const NO_WORK = Object.freeze({ things: [], sketch: [], editing: null, selected: [] });
/** @type {Timeline} */
export const NEW_TIMELINE = Object.freeze({ past: [], work: NO_WORK, future: [] });

/** Twelve colours that differ for most eyes and on most pictures. */
export const PALETTE = [
  '#e6432f', '#1f9d61', '#2f6fed', '#d99a00', '#8d4de8', '#0aa3b5',
  '#d6409f', '#7a9a01', '#f07b2b', '#4b5bd7', '#a8583b', '#3f8f8a',
];

/**
 * @param {Timeline} timeline
 * @param {Work} work the next present
 * @returns {Timeline}
 */
export function advance({ past, work: before }, work) {
  return { past: [...past, before].slice(-STEPS_BACK), work, future: [] };
}

/** @param {Timeline} timeline @returns {Timeline} */
export function undone({ past, work, future }) {
  const before = past.at(-1);
  return before ? { past: past.slice(0, -1), work: before, future: [work, ...future] } : { past, work, future };
}

/** @param {Timeline} timeline @returns {Timeline} */
export function redone({ past, work, future }) {
  return future.length > 0 ? { past: [...past, work], work: future[0], future: future.slice(1) } : { past, work, future };
}

/**
 * Put another step in a step's place, wherever it stands: an answer belongs to the past and the future as well.
 * @param {Timeline} timeline
 * @param {Step} before
 * @param {Step} after
 * @returns {Timeline}
 */
export function withStep({ past, work, future }, before, after) {
  const replace = (/** @type {Work} */ each) =>
    each.sketch.includes(before) ? { ...each, sketch: each.sketch.map((step) => (step === before ? after : step)) } : each;
  return { past: past.map(replace), work: replace(work), future: future.map(replace) };
}

/** @param {Work} work the committed prompts */
export function promptsOf({ sketch }) {
  return sketch.at(-1)?.prompts ?? NO_PROMPTS;
}

/**
 * The same prompts, to be answered anew by another model, in all of the picture; what was painted stays.
 * @param {Timeline} timeline
 * @returns {Timeline}
 */
export function unanswered({ past, work, future }) {
  /** @type {Map<Step, Step>} a step may belong to many works */
  const renewed = new Map();
  const renew = (/** @type {Step} */ step) => {
    if (!renewed.has(step)) renewed.set(step, step.painted ? step : { ...step, answer: null, frame: null });
    return renewed.get(step) ?? step;
  };
  const open = (/** @type {Work} */ each) => (each.sketch.length > 0 ? { ...each, sketch: each.sketch.map(renew) } : each);
  return { past: past.map(open), work: open(work), future: future.map(open) };
}

/**
 * @param {Mask} mask
 * @param {number} index
 * @returns {Mask} with another candidate chosen
 */
export function withPick(mask, index) {
  const candidate = mask.candidates[index];
  return candidate ? { ...mask, index, logits: candidate.logits, iou: candidate.iou } : mask;
}

/**
 * @param {Work} work
 * @param {Omit<Thing, 'visible' | 'locked'>} made
 * @returns {Work} with the object on top, or in the place of the one being edited; the sketch is done
 */
export function withThing(work, made) {
  const { things, editing } = work;
  const edited = things.find(({ id }) => id === editing);
  /** @type {Thing} */
  const thing = edited
    ? { ...edited, source: made.source, finish: made.finish, shape: made.shape, frame: made.frame, iou: made.iou, steps: made.steps }
    : { ...made, visible: true, locked: false };
  const next = edited ? things.map((each) => (each === edited ? thing : each)) : [thing, ...things];
  return { things: next, sketch: [], editing: null, selected: [thing.id] };
}

/**
 * @param {Work} work
 * @param {number} id
 * @param {Partial<Thing>} part
 * @returns {Work}
 */
export function withChange(work, id, part) {
  return { ...work, things: work.things.map((thing) => (thing.id === id ? { ...thing, ...part } : thing)) };
}

/**
 * @param {Work} work
 * @param {readonly number[]} ids
 * @returns {Work} without these objects, unless they are locked
 */
export function without(work, ids) {
  const things = work.things.filter(({ id, locked }) => locked || !ids.includes(id));
  const stays = (/** @type {number} */ id) => things.some((thing) => thing.id === id);
  return { ...work, things, selected: work.selected.filter(stays) };
}

/**
 * @param {Work} work
 * @param {number} id
 * @param {number} places upwards, or downwards where negative
 * @returns {Work}
 */
export function moved(work, id, places) {
  const from = work.things.findIndex((thing) => thing.id === id);
  const to = Math.min(Math.max(from - places, 0), work.things.length - 1);
  if (from < 0 || from === to) return work;
  const things = work.things.filter((_, index) => index !== from);
  things.splice(to, 0, work.things[from]);
  return { ...work, things };
}

/** @param {Work} work the objects selected, in the order of selection */
export function selectedThings({ things, selected }) {
  return selected.flatMap((id) => things.find((thing) => thing.id === id) ?? []);
}

/** @param {Work} work an id that no object of it has had */
export function nextId({ things }) {
  return Math.max(0, ...things.map(({ id }) => id)) + 1;
}

/** @param {Work} work the colour that is used least */
export function nextColour({ things }) {
  const uses = PALETTE.map((colour) => things.filter((thing) => thing.colour === colour).length);
  return PALETTE[uses.indexOf(Math.min(...uses))];
}

/**
 * A click without the one at `index`, or with it somewhere else.
 * @param {Prompts} prompts
 * @param {number} index
 * @param {Click | null} click
 * @returns {Prompts}
 */
export function withClickAt(prompts, index, click) {
  const clicks = prompts.clicks.flatMap((each, at) => (at === index ? (click ?? []) : each));
  return { ...prompts, clicks };
}
