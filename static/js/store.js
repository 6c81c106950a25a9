// @ts-check
/** The page's only state: one immutable value, its subscribers, and the questions asked of it. */

/** @import { GalleryItem, ImageRecord, ModelInfo } from './api.js' */
/** @import { Box, Frame, Point, Size, View } from './geometry.js' */
/** @import { Label, Prompts, Question } from './prompts.js' */
/** @import { Refusal, Tier } from './tiers.js' */
import { createFrame, fitView } from './geometry.js';
import { NO_PROMPTS, corrects, withBox, withClick } from './prompts.js';

/** @typedef {{title: string, detail: string}} Problem what went wrong, in the user's words */

/**
 * @typedef {{status: 'loading'}
 *   | {status: 'ready', info: ModelInfo}
 *   | {status: 'failed', problem: Problem}} Service
 */

/**
 * @typedef {{status: 'loading', tier: Tier | null, progress: number | null, refused: readonly Refusal[]}
 *   | {status: 'ready', tier: Tier, threads: number, precision: string, refused: readonly Refusal[]}
 *   | {status: 'failed', problem: Problem, refused: readonly Refusal[]}} Decoder
 */

/**
 * Where a picture is on its way; progress runs from 0 to 1 and is null while unknown.
 * @typedef {{status: 'reading'}
 *   | {status: 'uploading' | 'downloading', progress: number | null}
 *   | {status: 'encoding', progress: number | null, ahead: number}
 *   | {status: 'ready'}
 *   | {status: 'failed', problem: Problem}} Phase
 */

/**
 * @typedef {object} Picture
 * @property {number} key tells this opening of a picture from any other
 * @property {string} name
 * @property {Blob} blob
 * @property {Phase} phase
 * @property {Size | null} size as the browser decodes it, until the server's record is there
 * @property {ImageBitmap | null} bitmap possibly smaller than the picture; whoever draws it takes it away
 * @property {ImageRecord | null} record
 * @property {number | null} encodeSeconds
 */

/**
 * A decoded mask with the question that it answers.
 * @typedef {object} Mask
 * @property {Question} question
 * @property {Float32Array} logits of the chosen candidate
 * @property {number} index of the chosen candidate
 * @property {number} iou as predicted
 * @property {number} milliseconds from question to answer
 */

/**
 * One committed step and its answer, which is null while it is awaited.
 * @typedef {{readonly prompts: Prompts, readonly answer: Mask | null}} Step
 */

/**
 * @typedef {object} State
 * @property {Service} service
 * @property {Decoder} decoder
 * @property {readonly GalleryItem[]} gallery
 * @property {Size} stage drawing area in CSS pixels
 * @property {Picture | null} picture
 * @property {readonly Step[]} history oldest first
 * @property {Label} label what a plain click adds
 * @property {Point | null} hover position under the pointer, in the picture
 * @property {'mouse' | 'keys'} pointer what moved the hover last
 * @property {Box | null} draft box being drawn
 * @property {Mask | null} mask the one shown
 * @property {readonly number[]} latencies of the last hovers, in milliseconds
 * @property {string | null} notice a passing message
 */

/**
 * @template T
 * @typedef {object} Store
 * @property {() => T} get
 * @property {(next: T) => void} set
 * @property {(part: Partial<T>) => void} patch
 * @property {(listener: (state: T) => void) => () => void} subscribe
 */

const LARGEST_VIEW = 2048;

/** @type {State} */
export const INITIAL_STATE = {
  service: { status: 'loading' },
  decoder: { status: 'loading', tier: null, progress: null, refused: [] },
  gallery: [],
  stage: { width: 0, height: 0 },
  picture: null,
  history: [],
  label: 1,
  hover: null,
  pointer: 'mouse',
  draft: null,
  mask: null,
  latencies: [],
  notice: null,
};

/**
 * @template {object} T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let state = initial;
  /** @type {Set<(state: T) => void>} */
  const listeners = new Set();

  /** @param {T} next */
  function set(next) {
    if (next === state) return;
    state = next;
    for (const listener of [...listeners]) listener(state);
  }

  return {
    get: () => state,
    set,
    patch: (part) => set({ ...state, ...part }),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * Call `react` now and whenever the selected value changes.
 * @template T, V
 * @param {Store<T>} store
 * @param {(state: T) => V} select
 * @param {(value: V, state: T) => void} react
 * @param {(a: V, b: V) => boolean} [same]
 */
export function watch(store, select, react, same = Object.is) {
  let value = select(store.get());
  react(value, store.get());
  return store.subscribe((state) => {
    const next = select(state);
    if (same(value, next)) return;
    value = next;
    react(value, state);
  });
}

/** @param {State} state the committed prompts */
export function committedPrompts({ history }) {
  return history.at(-1)?.prompts ?? NO_PROMPTS;
}

/**
 * What to ask the decoder: for a box being drawn, for the first step without an answer, or for the pointer's position;
 * null when there is nothing to ask. Steps are answered in order, because each is asked with the answer before it.
 * @param {State} state
 * @returns {Question | null}
 */
export function openQuestion(state) {
  const { picture, history, draft, hover } = state;
  if (picture?.phase.status !== 'ready') return null;
  const next = history.findIndex(({ answer }) => answer === null);
  if (next >= 0) return { prompts: history[next].prompts, feedback: feedbackFor(history, next), purpose: 'step' };
  if (draft) return { prompts: withBox(committedPrompts(state), draft), feedback: null, purpose: 'draft' };
  if (history.length > 0 || !hover) return null;
  return { prompts: withClick(NO_PROMPTS, hover, 1), feedback: null, purpose: 'hover' };
}

/**
 * The logits that one step feeds back to the decoder: the answer before it, where it corrects that.
 * @param {readonly Step[]} history
 * @param {number} index
 */
function feedbackFor(history, index) {
  const before = history[index - 1];
  return before?.answer && corrects(history[index].prompts, before.prompts) ? before.answer.logits : null;
}

/**
 * The logits that a click would feed back now; null while there is nothing to correct.
 * @param {State} state
 */
export function nextFeedback({ picture, history }) {
  return picture?.phase.status === 'ready' ? (history.at(-1)?.answer?.logits ?? null) : null;
}

/**
 * The mask to show: the last step's, unless a box is being drawn or the step is still awaited; else the hover's.
 * @param {State} state
 */
export function shownMask(state) {
  const { history, draft, hover, mask, picture } = state;
  if (picture?.phase.status !== 'ready') return null;
  if (draft || (history.length > 0 && !history.at(-1)?.answer)) return mask;
  return history.at(-1)?.answer ?? (hover && mask);
}

/** @param {State} state whether the mask shown answers what was committed, not a hover or a box being drawn */
export function isKept({ mask, history }) {
  return mask !== null && history.some(({ answer }) => answer === mask);
}

/**
 * The size of the picture, the server's as soon as it is known.
 * @param {Picture} picture
 * @returns {Size | null}
 */
export function pictureSize({ record, size }) {
  return record ? { width: record.width, height: record.height } : size;
}

/**
 * @param {State} state
 * @returns {Frame | null}
 */
export function pictureFrame({ picture, service }) {
  if (!picture?.record || service.status !== 'ready') return null;
  const { width, height, resized_width, resized_height } = picture.record;
  return createFrame({ width, height }, { width: resized_width, height: resized_height }, service.info.prompt_frame);
}

/**
 * Where the picture lies on the stage; tiny pictures are not blown up beyond recognition.
 * @param {State} state
 * @returns {View | null}
 */
export function pictureView({ picture, stage }) {
  const size = picture && pictureSize(picture);
  if (!size || stage.width < 1 || stage.height < 1) return null;
  return fitView(size, stage, Math.max(1, LARGEST_VIEW / Math.max(size.width, size.height)));
}

/**
 * @param {readonly number[]} values
 * @param {number} share 0.5 is the median
 * @returns {number | null}
 */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
