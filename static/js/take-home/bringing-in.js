// @ts-check
/** Files become objects: read by the worker, given fields, and laid above what is there, as one step to undo. */

/** @import { Actions } from '../actions/index.js' */
/** @import { MaskObject } from '../export/session.js' */
/** @import { Field } from '../masks/fields.js' */
/** @import { Frame } from '../masks/geometry.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Step, Thing } from '../state/work.js' */
/** @import { Arrival } from './reading.js' */
import { NO_FINISH } from '../masks/fields.js';
import { pictureFrame, pictureSize, strip } from '../state/selectors.js';
import { until } from '../state/store.js';
import { nextId } from '../state/work.js';
import { MOST_OBJECTS } from './choices.js';
import { hireClerk } from './clerk.js';

/**
 * Objects out of files onto their pictures.
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {readonly File[]} files
 * @returns {Promise<string[]>} what went wrong, file by file
 */
export async function bringIn(store, actions, files) {
  const state = await until(store, (now) => strip(now).every((picture) => pictureSize(picture) || picture.phase.status === 'failed'));
  const open = strip(state).filter(pictureSize);
  const sizes = open.map((picture) => ({ name: picture.name, ...pictureSize(picture) }));
  const clerk = hireClerk();
  try {
    const inHand = open.findIndex(({ key }) => key === state.picture?.key);
    const { arrivals, problems, pictures } = await clerk.read(files, /** @type {any} */ (sizes), inHand);
    const photographs = files.filter(({ name }) => pictures.includes(name));
    if (photographs.length > 0) actions.openPictures(photographs.map((blob) => ({ blob, name: blob.name })));
    const opened = openAll(arrivals.filter(({ image }) => image));
    let count = 0;
    for (const arrival of arrivals) {
      try {
        count += await lay(open[arrival.open]?.key ?? /** @type {number} */ (opened.shift()), arrival);
      } catch (error) {
        problems.push(`${arrival.file}: ${error instanceof Error ? error.message : error}`);
      }
    }
    if (count > 0) actions.say(`${count} object${count === 1 ? '' : 's'} came in.`);
    return problems;
  } finally {
    clerk.dispose();
  }

  /** Pictures that came with their objects. @param {readonly Arrival[]} arrivals @returns {number[]} their keys */
  function openAll(arrivals) {
    actions.openPictures(arrivals.map(({ session: { picture }, image }) => ({ name: picture.name, blob: /** @type {Blob} */ (image) })));
    return arrivals.length > 0 ? strip(store.get()).slice(-arrivals.length).map(({ key }) => key) : [];
  }

  /**
   * @param {number} key
   * @param {Arrival} arrival
   */
  async function lay(key, { session: { objects } }) {
    const find = (/** @type {State} */ now) => strip(now).find((picture) => picture.key === key);
    const ready = await until(store, (now) => find(now)?.record || find(now)?.phase.status === 'failed' || !find(now));
    const picture = find(ready);
    const frame = picture && pictureFrame({ ...ready, picture });
    if (!frame) throw new Error('its picture could not be opened');
    const held = picture.timeline.work.things.length;
    if (held + objects.length > MOST_OBJECTS) {
      throw new Error(`its ${objects.length} objects and the ${held} that are there are more than ${MOST_OBJECTS}`);
    }
    const fields = await clerk.fields(objects.map(({ mask }) => mask), frame);
    actions.layObjects(key, (work) => {
      const first = nextId(work);
      const things = objects.map((object, at) => thingOf(object, fields[at], first + at));
      return [...things.reverse(), ...work.things];
    });
    return objects.length;
  }
}

/**
 * @param {MaskObject} object
 * @param {Field} field
 * @param {number} id
 * @returns {Thing}
 */
function thingOf({ label, colour, visible, score, prompts, mask }, field, id) {
  return {
    id, label, colour, visible, locked: false, source: field, shape: field, finish: NO_FINISH, iou: score,
    steps: stepsOf(prompts), exact: { of: field, mask },
  };
}

/** @param {any} prompts of a session; whatever is not ours is left out @returns {Step[]} */
function stepsOf(prompts) {
  const steps = Array.isArray(prompts?.steps) ? prompts.steps : [];
  const known = steps.every((/** @type {any} */ step) => (
    Array.isArray(step?.prompts?.clicks) && typeof step.feeds === 'boolean' && (step.pick === null || step.pick >= 0)));
  return known ? steps.map((/** @type {Step} */ { prompts: asked, feeds, pick, frame }) => (
    { prompts: asked, feeds, pick, painted: false, answer: null, frame: isFrame(frame) ? frame : null })) : [];
}

/** @param {any} frame of a closer view @returns {frame is Frame} */
function isFrame(frame) {
  const { origin = [], original = {}, resized = {}, side } = frame ?? {};
  return [...origin, original.width, original.height, resized.width, resized.height, side].every(Number.isInteger) && origin.length === 2;
}
