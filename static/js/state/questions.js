// @ts-check
/** What to ask the decoder next, in which view of the picture, and which of its answers to show. */

/** @import { PictureForDecoder } from '../decoding/backends.js' */
/** @import { Sight, Window } from '../masks/closer-views.js' */
/** @import { Frame, Point } from '../masks/geometry.js' */
/** @import { Prompts, Question } from '../masks/prompts.js' */
/** @import { State } from './state.js' */
/** @import { Mask } from './work.js' */
import { holds, sideOf, sightOf, viewFor, windowAround, windowOf } from '../masks/closer-views.js';
import { covers, resampled } from '../masks/fields.js';
import { sameFrame } from '../masks/geometry.js';
import { NO_PROMPTS, withClick } from '../masks/prompts.js';
import { committedPrompts, foundAt, frameOf, pictureSize, pictureView, workOf } from './selectors.js';

/** In CSS pixels from a point that is there: nearer, a click takes the point itself. */
const PREVIEW_DISTANCE = 14;

/**
 * What to ask the decoder: for the first step without an answer, for prompts being drawn, or for the pointer's
 * position unless something found lies there; null when there is nothing to ask. Steps are answered in order, because one may correct the one before.
 * @param {State} state
 * @returns {Question | null}
 */
export function openQuestion(state) {
  const question = questionOf(state);
  return question?.frame && !decodableFor(state, question) ? null : question;
}

/** @param {State} state @returns {Question | null} */
function questionOf(state) {
  const { picture, draft, hover, tool } = state;
  if (picture?.phase.status !== 'ready') return null;
  const { sketch } = workOf(state);
  const next = sketch.findIndex(({ answer }) => answer === null);
  if (next >= 0) {
    const { prompts, frame = null } = sketch[next];
    return { prompts, feedback: feedbackFor(state, next), purpose: 'step', frame };
  }
  if (draft) {
    if (!('prompts' in draft)) return null;
    return { prompts: draft.prompts, feedback: null, purpose: 'draft', frame: frameFor(state, draft.prompts) };
  }
  if (!hover || tool !== 'select' || foundAt(state, hover)) return null;
  if (sketch.length > 0) return previewQuestion(state, hover);
  const prompts = withClick(NO_PROMPTS, hover, 1);
  const frame = frameFor(state, prompts);
  return { prompts, feedback: null, purpose: 'hover', frame: isCutAt(state, frame, hover) ? null : frame };
}

/**
 * What the decoder is given for a question: all of the picture, or the closer view, if that is there.
 * @param {State} state
 * @param {Pick<Question, 'frame'>} question
 * @returns {PictureForDecoder | null}
 */
export function decodableFor({ picture }, { frame }) {
  if (!frame) return picture?.decodable ?? null;
  return picture?.views.find((view) => sameFrame(view.frame, frame)) ?? null;
}

/**
 * Where prompts are answered: in the view that the sketch began in, as long as it holds them, else in the closest that
 * is there; null for all of the picture.
 * @param {State} state
 * @param {Prompts} prompts
 * @returns {Frame | null}
 */
export function frameFor(state, prompts) {
  const size = state.picture && pictureSize(state.picture);
  const sight = sightHere(state);
  if (!state.picture || !size || !sight) return null;
  const last = workOf(state).sketch.at(-1);
  if (last) return last.frame && holds(last.frame, prompts, size) ? last.frame : null;
  return viewFor(state.picture.views, size, sight, prompts)?.frame ?? null;
}

/** @param {State} state the closer view that is in use where the pointer is, or would be in the middle */
export function viewInUse(state) {
  const [last, sight] = [workOf(state).sketch.at(-1), sightHere(state)];
  const frame = last ? last.frame : sight && frameFor(state, withClick(NO_PROMPTS, state.hover ?? sight.middle, 1));
  return state.picture?.views.find((view) => sameFrame(view.frame, frame)) ?? null;
}

/**
 * The closer view that is missing: the one that the sketch began in, else one around the pointer or the middle of what
 * is on the screen. Whoever waits for it is urgent.
 * @param {State} state
 * @returns {{key: number, window: Window, urgent: boolean} | null}
 */
export function missingView(state) {
  const { picture, hover } = state;
  const size = picture && pictureSize(picture);
  const sight = sightHere(state);
  if (!size || !sight || picture.phase.status !== 'ready' || !picture.decodable) return null;
  const { key, views } = picture;
  const { sketch } = workOf(state);
  const begun = sketch.find(({ answer }) => !answer) ?? sketch.at(-1);
  if (begun) {
    return begun.frame && !decodableFor(state, begun) ? { key, window: windowOf(begun.frame), urgent: !begun.answer } : null;
  }
  const at = hover ?? sight.middle;
  const window = windowAround(size, sight, at);
  const there = viewFor(views, size, sight, withClick(NO_PROMPTS, at, 1));
  const close = there && window && sideOf(there.frame) <= Math.max(window[2], window[3]);
  return window && !close ? { key, window, urgent: false } : null;
}

/** @param {State} state @returns {Sight | null} how closely the picture in hand is looked at */
function sightHere(state) {
  const view = pictureView(state);
  const size = state.picture && pictureSize(state.picture);
  return view && size && sightOf(view, size, state.stage);
}

/**
 * Whether the pointer is where a mask lay that the view cut.
 * @param {State} state
 * @param {Frame | null} frame
 * @param {Point} at
 */
function isCutAt({ cut }, frame, [x, y]) {
  if (!cut || !frame || !sameFrame(cut.question.frame, frame)) return false;
  const [click] = cut.question.prompts.clicks;
  return (click.x === x && click.y === y) || covers(cut.logits, frame, [x, y]);
}

/**
 * What the next click would ask; nothing on a point that is there already.
 * @param {State} state
 * @param {Point} hover
 * @returns {Question | null}
 */
function previewQuestion(state, hover) {
  const prompts = committedPrompts(state);
  const view = pictureView(state);
  const size = state.picture && pictureSize(state.picture);
  if (!view || !size) return null;
  const reach = (PREVIEW_DISTANCE * size.width) / view.width;
  if (prompts.clicks.some(({ x, y }) => Math.hypot(x - hover[0], y - hover[1]) < reach)) return null;
  const next = withClick(prompts, hover, state.label);
  const [frame, before] = [frameFor(state, next), nextFeedback(state) && workOf(state).sketch.at(-1)?.answer];
  return { prompts: next, feedback: before ? seenIn(state, before, frame) : null, purpose: 'preview', frame };
}

/**
 * The logits that one step feeds back to the decoder.
 * @param {State} state
 * @param {number} index
 */
function feedbackFor(state, index) {
  const { sketch } = workOf(state);
  const before = sketch[index].feeds ? sketch[index - 1]?.answer : null;
  return before ? seenIn(state, before, sketch[index].frame) : null;
}

/**
 * A mask's logits in a view.
 * @param {State} state
 * @param {Mask} mask
 * @param {Frame | null} [frame]
 */
function seenIn(state, { logits, question }, frame) {
  const [from, to] = [frameOf(state, question), frameOf(state, { frame })];
  return from && to ? resampled(logits, from, to) : logits;
}

/**
 * The logits that a click would feed back now; null while there is nothing to correct.
 * @param {State} state
 */
export function nextFeedback(state) {
  if (!state.refines || state.picture?.phase.status !== 'ready') return null;
  return workOf(state).sketch.at(-1)?.answer?.logits ?? null;
}

/**
 * The mask to show: what is being painted; the last step's, unless prompts are being drawn or the step is still
 * awaited; else the hover's.
 * @param {State} state
 */
export function shownMask(state) {
  const { draft, hover, mask, picture } = state;
  if (picture?.phase.status !== 'ready') return null;
  if (draft) return 'painted' in draft ? draft.painted : mask;
  const last = workOf(state).sketch.at(-1);
  if (last) return last.answer ?? mask;
  return state.tool === 'select' && hover && mask?.question.purpose === 'hover' && !foundAt(state, hover) ? mask : null;
}

/** @param {State} state the preview, as long as it is what is being asked */
export function shownPreview(state) {
  return openQuestion(state)?.purpose === 'preview' ? state.preview : null;
}

/** @param {State} state whether the mask shown answers what was committed, not a hover or a box being drawn */
export function isKept(state) {
  return state.mask !== null && workOf(state).sketch.some(({ answer }) => answer === state.mask);
}
