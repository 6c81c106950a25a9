// @ts-check
/** Prompts as values: clicks and a box in picture pixels, their tensors, and the mask they ask for. */

/** @import { Box, Frame, Point } from './geometry.js' */
import { pictureToFrame, sameFrame } from './geometry.js';

/** @typedef {0 | 1} Label 1 belongs to the object, 0 does not */
/** @typedef {{readonly x: number, readonly y: number, readonly label: Label}} Click */
/** @typedef {{readonly clicks: readonly Click[], readonly box: Box | null}} Prompts */

/**
 * What the decoder is asked: prompts, and the logits of the answer that they correct, if they correct one. The purpose
 * says whose mask it is: of the pointer's position, of the click that would come next, of prompts being drawn, of a step
 * that was taken.
 * @typedef {object} Question
 * @property {Prompts} prompts
 * @property {Float32Array | null} feedback
 * @property {'hover' | 'preview' | 'draft' | 'step'} purpose
 * @property {Frame | null} [frame] of the closer view that is asked, and that the logits are of; none for all of the picture
 */

const PADDING_LABEL = -1;
const BOX_LABELS = [2, 3];

/** @type {Prompts} */
export const NO_PROMPTS = Object.freeze({ clicks: Object.freeze([]), box: null });

/**
 * @param {Prompts} prompts
 * @param {Point} position
 * @param {Label} label
 * @returns {Prompts}
 */
export function withClick(prompts, [x, y], label) {
  return { ...prompts, clicks: [...prompts.clicks, { x, y, label }] };
}

/**
 * @param {Prompts} prompts
 * @param {Box} box replaces an earlier one: the model takes one box
 * @returns {Prompts}
 */
export function withBox(prompts, box) {
  return { ...prompts, box };
}

/** @param {Prompts} prompts */
export function isEmpty({ clicks, box }) {
  return clicks.length === 0 && box === null;
}

/** @param {Prompts} prompts whether they may mean a part, an object or a group */
export function isAmbiguous({ clicks, box }) {
  return clicks.length === 1 && box === null;
}

/**
 * @param {Prompts | null} a
 * @param {Prompts | null} b
 */
export function samePrompts(a, b) {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/**
 * Whether two questions have the same answer.
 * @param {Omit<Question, 'purpose'>} a
 * @param {Omit<Question, 'purpose'>} b
 */
export function sameAnswer(a, b) {
  return a.feedback === b.feedback && sameFrame(a.frame, b.frame) && samePrompts(a.prompts, b.prompts);
}

/**
 * @param {Question | null} a
 * @param {Question | null} b
 */
export function sameQuestion(a, b) {
  return a === b || (a !== null && b !== null && a.purpose === b.purpose && sameAnswer(a, b));
}

/**
 * Whether prompts correct an earlier answer, which is then fed back, as the model is trained: a click after others or
 * after a box does. A first prompt and a new box start from the picture.
 * @param {Prompts} prompts
 * @param {Prompts} earlier
 */
export function corrects({ clicks, box }, earlier) {
  const sameBox = JSON.stringify(box) === JSON.stringify(earlier.box);
  return sameBox && !isEmpty(earlier) && clicks.length > earlier.clicks.length;
}

/**
 * The decoder's inputs, following Meta's client: without a box one padding point is appended, with a box its
 * two corners.
 * @param {Prompts} prompts
 * @param {Frame} frame
 * @returns {{coords: Float32Array<ArrayBuffer>, labels: Float32Array<ArrayBuffer>}} coords are frame pixels, x then y
 */
export function encodePrompts({ clicks, box }, frame) {
  /** @type {Point[]} */
  const points = clicks.map(({ x, y }) => pictureToFrame(frame, [x, y]));
  /** @type {number[]} */
  const labels = clicks.map(({ label }) => label);
  if (box) {
    points.push(pictureToFrame(frame, [box[0], box[1]]), pictureToFrame(frame, [box[2], box[3]]));
    labels.push(...BOX_LABELS);
  } else {
    points.push([0, 0]);
    labels.push(PADDING_LABEL);
  }
  return { coords: Float32Array.from(points.flat()), labels: Float32Array.from(labels) };
}

/**
 * Which of the four masks to show: one click alone is ambiguous, so the best of the three multimask tokens;
 * anything else is answered by token 0.
 * @param {Prompts} prompts
 * @param {ArrayLike<number>} iou four predictions
 * @param {number | null} [level] the candidate that a person prefers for single clicks
 * @returns {number}
 */
export function chooseMask(prompts, iou, level = null) {
  if (!isAmbiguous(prompts)) return 0;
  if (level !== null) return level;
  let best = 1;
  for (let index = 2; index < iou.length; index += 1) if (iou[index] > iou[best]) best = index;
  return best;
}
