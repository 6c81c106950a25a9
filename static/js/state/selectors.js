// @ts-check
/** What follows from the state, and is therefore never stored in it. */

/** @import { FoundObject } from '../masks/found.js' */
/** @import { Frame, Point, Size, View } from '../masks/geometry.js' */
/** @import { Picture, State } from './state.js' */
import { foundUnder, offered } from '../masks/found.js';
import { createFrame, fitView, lensView } from '../masks/geometry.js';
import { NO_WORK, promptsOf } from './work.js';

const LARGEST_VIEW = 2048;

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
