// @ts-check
/** The page's only state: one immutable value, its subscribers, and the questions asked of it. */

/** @import { GalleryItem, ImageRecord, ModelInfo, ModelOffer } from './api.js' */
/** @import { CloserView, Sight, Window } from './closer-views.js' */
/** @import { PictureForDecoder } from './decoder-backends.js' */
/** @import { Found, FoundObject, Grain, Preset } from './found.js' */
/** @import { Frame, Lens, Point, Size, View } from './geometry.js' */
/** @import { Label, Prompts, Question } from './prompts.js' */
/** @import { Refusal, Tier } from './tiers.js' */
/** @import { Mask, Timeline } from './work.js' */
import { holds, sideOf, sightOf, viewFor, windowAround, windowOf } from './closer-views.js';
import { covers, resampled } from './fields.js';
import { createFrame, fitView, lensView, sameFrame } from './geometry.js';
import { foundUnder, offered } from './found.js';
import { NO_PROMPTS, withClick } from './prompts.js';
import { NO_WORK, promptsOf } from './work.js';

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
 * The models to choose from, and where the choice is.
 * @typedef {object} Models
 * @property {readonly ModelOffer[]} offers
 * @property {string | null} chosen by its id; null for the server's default
 * @property {string | null} coming the one that is being downloaded or loaded
 * @property {number | null} share of the download that has arrived, from 0 to 1
 * @property {string | null} asked the one whose download waits for a yes
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
 * @property {PictureForDecoder | null} decodable what the decoder is given, once it is there
 * @property {readonly CloserView[]} views closer ones that are there, the newest first
 * @property {string | null} thumbnail address of a small picture
 * @property {Lens | null} lens where it is looked at; null shows all of it
 * @property {Timeline} timeline what was made of it
 */

/**
 * What is being drawn: prompts to ask with, or a mask, perhaps of an object that is there already.
 * @typedef {{prompts: Prompts} | {painted: Mask, editing: number | null}} Draft
 */
/** @typedef {'fill' | 'outline' | 'cutout' | 'original'} Display */
/** @typedef {{name: string, colour: string}} LabelName */

/**
 * @typedef {object} State
 * @property {Service} service
 * @property {'here' | 'away'} server
 * @property {Models} models
 * @property {Decoder} decoder
 * @property {readonly GalleryItem[]} gallery
 * @property {Size} stage drawing area in CSS pixels
 * @property {Picture | null} picture the one in hand
 * @property {readonly Picture[]} shelf the others, each with its work
 * @property {string} tool by its id
 * @property {Label} label what a plain click adds
 * @property {number | null} level the candidate that answers single clicks; null for the best
 * @property {boolean} refines whether a click feeds the mask before it back
 * @property {boolean} tidies whether specks are left out of what the model made
 * @property {number} brush diameter in CSS pixels
 * @property {Point | null} hover position under the pointer, in the picture
 * @property {'mouse' | 'keys'} pointer what moved the hover last
 * @property {Draft | null} draft
 * @property {Mask | null} mask the one shown
 * @property {Mask | null} preview what the next click would make of it
 * @property {Mask | null} cut the last that a closer view cut: where it lies, all of the picture answers the pointer
 * @property {Display} display
 * @property {boolean} before whether the picture is shown as it was, for as long as that is held
 * @property {number} opacity of the objects' colours, from 0 to 1
 * @property {readonly LabelName[]} labels in the order of their keys
 * @property {string} nextLabel the label of the object to come
 * @property {readonly number[]} latencies of the last hovers, in milliseconds
 * @property {Found | null} found by everything mode, in one of the pictures
 * @property {Preset} preset how much everything mode looks for
 * @property {Grain} grain what a click on what was found takes
 * @property {string | null} notice a passing message
 * @property {readonly string[]} problems with files that came in, each named
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
/** In CSS pixels from a point that is there: nearer, a click takes the point itself. */
const PREVIEW_DISTANCE = 14;

/** @type {State} */
export const INITIAL_STATE = {
  service: { status: 'loading' },
  server: 'here',
  models: { offers: [], chosen: null, coming: null, share: null, asked: null },
  decoder: { status: 'loading', tier: null, progress: null, refused: [] },
  gallery: [],
  stage: { width: 0, height: 0 },
  picture: null,
  shelf: [],
  tool: 'select',
  label: 1,
  level: null,
  refines: true,
  tidies: true,
  brush: 32,
  hover: null,
  pointer: 'mouse',
  draft: null,
  mask: null,
  preview: null,
  cut: null,
  display: 'fill',
  before: false,
  opacity: 0.5,
  labels: [],
  nextLabel: '',
  latencies: [],
  found: null,
  preset: 'balanced',
  grain: 'whole',
  notice: null,
  problems: [],
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

/**
 * The first state that fulfils a condition, perhaps the present one.
 * @template T
 * @param {Store<T>} store
 * @param {(state: T) => unknown} fulfils
 * @returns {Promise<T>}
 */
export function until(store, fulfils) {
  return new Promise((resolve) => {
    const stop = store.subscribe(look);
    look(store.get());

    /** @param {T} state */
    function look(state) {
      if (!fulfils(state)) return;
      stop();
      resolve(state);
    }
  });
}

/** @param {State} state what was made of the picture in hand */
export function workOf({ picture }) {
  return picture?.timeline.work ?? NO_WORK;
}

/** @param {State} state the committed prompts */
export function committedPrompts(state) {
  return promptsOf(workOf(state));
}

/** @param {State} state what was found in the picture in hand */
export function foundHere({ found, picture }) {
  return found && found.key === picture?.key ? found : null;
}

/** @param {State} state what was found and not yet taken, smallest first */
export function offeredHere(state) {
  const found = foundHere(state);
  return found ? offered(found, workOf(state).things) : [];
}

/**
 * The found object that a click would take: none while something is being made, because clicks then belong to that.
 * @param {State} state
 * @param {Point} at
 * @returns {FoundObject | null}
 */
export function foundAt(state, at) {
  const { picture, tool, draft, grain } = state;
  const [found, size] = [foundHere(state), picture && pictureSize(picture)];
  if (!found || !size || tool !== 'select' || draft || workOf(state).sketch.length > 0) return null;
  return foundUnder(found, offeredHere(state), grain, size, at);
}

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

/** @param {State} state every picture, in the order of opening */
export function strip({ picture, shelf }) {
  return [...shelf, ...(picture ? [picture] : [])].sort((a, b) => a.key - b.key);
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
 * Where in the picture something was seen that says so: a mask, an object, a question.
 * @param {State} state
 * @param {{frame?: Frame | null}} seen
 */
export function frameOf(state, { frame }) {
  return frame ?? pictureFrame(state);
}

/**
 * Where all of the picture lies on the stage; tiny pictures are not blown up beyond recognition.
 * @param {State} state
 * @returns {View | null}
 */
export function wholeView({ picture, stage }) {
  const size = picture && pictureSize(picture);
  if (!size || stage.width < 1 || stage.height < 1) return null;
  return fitView(size, stage, Math.max(1, LARGEST_VIEW / Math.max(size.width, size.height)));
}

/**
 * Where the picture lies on the stage, as it is looked at.
 * @param {State} state
 * @returns {View | null}
 */
export function pictureView(state) {
  const { picture, stage } = state;
  const size = picture && pictureSize(picture);
  return picture?.lens && size ? lensView(size, stage, picture.lens) : wholeView(state);
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
