// @ts-check
/** What of the page's state goes home: pictures with their objects, as the worker is told of them. */

/** @import { Runs } from '../export/runs.js' */
/** @import { Frame } from '../masks/geometry.js' */
/** @import { Picture, State } from '../state/state.js' */
/** @import { Thing } from '../state/work.js' */
import { isKept } from '../state/questions.js';
import { pictureFrame, strip, workOf } from '../state/selectors.js';
import { shownField } from '../state/specks.js';
import { selectedThings } from '../state/work.js';

/** @typedef {Pick<Thing, 'label' | 'colour' | 'visible' | 'iou' | 'steps' | 'shape' | 'frame'> & {exact?: Thing['exact']}} Item */
/** @typedef {{name: string, blob: Blob, frame: Frame, items: readonly Item[]}} Parcel objects lowest first */
/** @typedef {{pictures: 'one' | 'all', objects: 'all' | 'selected'}} Scope */

/** What a sketch that is no object yet is called and painted. */
const SKETCH = { label: 'mask', colour: '#ffffff', visible: true, steps: [] };

/**
 * Everything in a scope; an error if there is nothing.
 * @param {State} state
 * @param {Scope} scope
 * @returns {Parcel[]}
 */
export function luggageOf(state, { pictures, objects }) {
  const chosen = pictures === 'all' ? strip(state) : state.picture ? [state.picture] : [];
  const names = new Set();
  const parcels = chosen.flatMap((picture) => {
    const { things } = picture.timeline.work;
    const taken = objects === 'selected' && picture === state.picture ? selectedThings(workOf(state)) : things;
    return taken.length > 0 ? [parcelOf(state, picture, things.filter((thing) => taken.includes(thing)), names)] : [];
  });
  if (parcels.length === 0) throw new Error('There is no object to take home yet. Keep a mask first (N).');
  return parcels;
}

/**
 * The one mask that the quick buttons mean: the sketch's, else the selected object's.
 * @param {State} state
 * @returns {Parcel[]}
 */
export function maskInHand(state) {
  const { picture, mask } = state;
  const [thing] = selectedThings(workOf(state));
  if (!picture) throw new Error('There is no mask to save.');
  if (isKept(state) && mask) {
    const shape = Float32Array.from(shownField(state, mask));
    return [parcelOf(state, picture, [{ ...SKETCH, iou: mask.iou, shape, frame: mask.question.frame }], new Set())];
  }
  if (!thing) throw new Error('There is no mask to save.');
  return [parcelOf(state, picture, [{ ...thing, visible: true }], new Set())];
}

/**
 * @param {State} state
 * @param {Picture} picture
 * @param {readonly Item[]} items topmost first
 * @param {Set<string>} names that are taken; files need different ones
 * @returns {Parcel}
 */
function parcelOf(state, picture, items, names) {
  const frame = pictureFrame({ ...state, picture });
  if (!frame) throw new Error(`${picture.name} is still being read. Try again in a moment.`);
  return { name: ownName(picture.name, names), blob: picture.blob, frame, items: [...items].reverse() };
}

/** @param {string} name @param {Set<string>} names @returns {string} */
function ownName(name, names) {
  const [, stem, suffix] = /** @type {RegExpExecArray} */ (/^(.*?)(\.[^.]*)?$/s.exec(name));
  for (let number = 1; ; number += 1) {
    const bare = number === 1 ? stem : `${stem}-${number}`;
    if (names.has(bare)) continue;
    names.add(bare);
    return `${bare}${suffix ?? ''}`;
  }
}

/**
 * The exact mask of an object that came in as one, for as long as its shape is what was made of that.
 * @param {Item} item
 * @returns {Runs | null}
 */
export function exactMask({ exact, shape }) {
  return exact?.of === shape ? exact.mask : null;
}

/**
 * What asked for an object, to be asked again; nothing for what was painted.
 * @param {Item} item
 */
export function promptsOf({ steps }) {
  if (steps.length === 0 || steps.some(({ painted }) => painted)) return null;
  return { steps: steps.map(({ prompts, feeds, pick, frame }) => ({ prompts, feeds, pick, ...(frame && { frame }) })) };
}

