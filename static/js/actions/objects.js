// @ts-check
/** What happens to objects: keep, edit, name, order, combine, tidy, remove. */

/** @import { Combination, Extent, Finish } from '../masks/fields.js' */
/** @import { Frame } from '../masks/geometry.js' */
/** @import { Mask, Step, Thing, Work } from '../state/work.js' */
/** @import { Changes } from './changes.js' */
import { holds } from '../masks/closer-views.js';
import { NO_FINISH, changesNothing, combine, extentOf, finished, pictureBounds, resampled } from '../masks/fields.js';
import { GRID } from '../masks/geometry.js';
import { frameOf, pictureSize, strip } from '../state/selectors.js';
import { anchorsOf, finishFor, sourceOf } from '../state/specks.js';
import {
  advance, moved, nextColour, nextId, selectedThings, undone, withChange, withThing, without,
} from '../state/work.js';
import { paintedStep } from './sketch.js';

/** @type {Extent} */
const WHOLE = { columns: GRID, rows: GRID };
const VERBS = { unite: 'Merged', subtract: 'Subtracted', intersect: 'Intersected' };

/** @param {Changes} changes */
export function createObjectActions({ get, change, changePicture, changeTimeline, work, step, amend }) {
  /**
   * @param {Pick<Thing, 'source' | 'frame'>} made
   * @param {Finish} finish
   * @param {readonly Step[]} steps
   */
  function shapeOf({ source, frame }, finish, steps) {
    const place = frameOf(get(), { frame });
    const prompts = steps.at(-1)?.prompts;
    const extent = place ? extentOf(place) : WHOLE;
    const anchors = place && prompts ? anchorsOf(prompts, place) : [];
    return changesNothing(finish) ? source : finished(source, finish, extent, anchors);
  }

  /**
   * The view with the finest cells among those of some objects and all of the picture, of those that hold certain ones.
   * @param {readonly Thing[]} things
   * @param {readonly Thing[]} held
   */
  function finestFor(things, held) {
    const bounds = held.flatMap((thing) => {
      const frame = frameOf(get(), thing);
      return (frame && [pictureBounds(thing.shape, frame)]) ?? [];
    });
    const frames = things.flatMap(({ frame }) => frame ?? []);
    const { picture } = get();
    const size = picture && pictureSize(picture);
    const holding = frames.filter((frame) => size && bounds.every((box) => holds(frame, { clicks: [], box }, size)));
    return holding.reduce((/** @type {Frame | null} */ best, each) => (best && areaOf(best) <= areaOf(each) ? best : each), null);
  }

  /** The sketch becomes an object, or takes the place of the one that it edits. */
  function keep() {
    const { nextLabel } = get();
    const now = work();
    const last = now.sketch.at(-1);
    if (!last?.answer) return null;
    const { frame } = last.answer.question;
    const place = frameOf(get(), { frame });
    const source = trimmed(sourceOf(get(), last.answer), place ? extentOf(place) : WHOLE);
    const finish = now.things.find(({ id }) => id === now.editing)?.finish ?? finishFor(get(), last.answer);
    const id = nextId(now);
    const next = withThing(now, {
      id,
      label: nextLabel || `Object ${id}`,
      colour: labelColour(nextLabel) ?? nextColour(now),
      source,
      finish,
      shape: shapeOf({ source, frame }, finish, now.sketch),
      frame,
      iou: last.painted ? null : last.answer.iou,
      steps: now.sketch,
    });
    step(next);
    const [{ label }] = selectedThings(next);
    change({ notice: `${label} kept. The next click starts another object.` });
    return next;
  }

  /** @param {string} name */
  function labelColour(name) {
    return get().labels.find((each) => each.name === name)?.colour ?? null;
  }

  /** @param {string} name known from now on */
  function learnLabel(name) {
    const { labels } = get();
    if (!name || labels.some((each) => each.name === name)) return;
    change({ labels: [...labels, { name, colour: nextColour(work()) }] });
  }

  /** The selected objects that may be changed. */
  function changeable() {
    return selectedThings(work()).filter(({ locked }) => !locked);
  }

  /** @param {readonly number[]} ids @param {string} name */
  function nameObjects(ids, name) {
    const label = name.trim();
    if (!label) return;
    learnLabel(label);
    const colour = labelColour(label);
    step(ids.reduce((now, id) => withChange(now, id, { label, ...(colour && { colour }) }), work()));
  }

  /** @param {number} id to be taken up again, from the prompts that made it */
  function edit(id) {
    if (work().editing === id) return;
    if (work().sketch.length > 0) keep();
    const thing = work().things.find((each) => each.id === id);
    if (!thing) return;
    if (thing.locked) return change({ notice: `${thing.label} is locked. Unlock it in the list of objects.` });
    const sketch = thing.steps.length > 0 ? thing.steps : [paintedStep(asMask(thing))];
    step({ sketch, editing: id, selected: [id] }, { tool: 'select' });
  }

  return {
    keep,
    edit,
    /** Take back the last step, which was not meant, and edit. @param {number} id */
    editInstead(id) {
      changeTimeline(undone);
      edit(id);
    },
    /**
     * @param {number} id
     * @param {boolean} [adds] to the selection, or takes it out
     */
    select(id, adds = false) {
      const { selected } = work();
      const others = selected.filter((each) => each !== id);
      if (!adds) amend({ selected: [id] });
      else amend({ selected: selected.includes(id) ? others : [...others, id] });
    },
    selectAll: () => amend({ selected: work().things.map(({ id }) => id) }),
    /** @param {number} id @param {Partial<Pick<Thing, 'visible' | 'locked' | 'colour'>>} part */
    changeObject: (id, part) => step(withChange(work(), id, part)),
    nameObjects,
    /** @param {number} index in the label set: for the selected objects, else for the one to come */
    useLabel(index) {
      const label = get().labels[index];
      if (!label) return;
      const { selected, sketch } = work();
      if (selected.length > 0 && sketch.length === 0) nameObjects(selected, label.name);
      else change({ nextLabel: label.name, notice: `The next object is called ${label.name}.` });
    },
    /** @param {readonly import('../state/state.js').LabelName[]} labels */
    setLabels: (labels) => change({ labels }),
    /** @param {string} name */
    setNextLabel(name) {
      learnLabel(name.trim());
      change({ nextLabel: name.trim() });
    },
    /** @param {string} name */
    forgetLabel(name) {
      const { labels, nextLabel } = get();
      change({ labels: labels.filter((each) => each.name !== name), nextLabel: nextLabel === name ? '' : nextLabel });
    },
    /**
     * Objects onto one of the pictures, as one step.
     * @param {number} key
     * @param {(work: Work) => readonly Thing[]} lay
     */
    layObjects(key, lay) {
      const { timeline } = strip(get()).find((picture) => picture.key === key) ?? {};
      if (!timeline) return;
      changePicture(key, { timeline: advance(timeline, { ...timeline.work, things: lay(timeline.work) }) });
    },
    /** @param {number} id @param {number} places upwards */
    move(id, places) {
      const next = moved(work(), id, places);
      if (next !== work()) step(next);
    },
    removeSelected() {
      const gone = changeable();
      if (gone.length === 0) return;
      step(without(work(), work().selected));
      change({ notice: gone.length === 1 ? `${gone[0].label} removed.` : `${gone.length} objects removed.` });
    },
    /** @param {Combination} how the first object selected with the others */
    combine(how) {
      const parts = changeable();
      if (parts.length < 2) return change({ notice: 'Select two objects or more: Shift-click them in the list.' });
      const [first, ...others] = parts;
      const frame = finestFor(parts, how === 'unite' ? parts : [first]);
      const place = frameOf(get(), { frame });
      const fields = parts.map((part) => {
        const own = frameOf(get(), part);
        return own && place ? resampled(part.shape, own, place) : part.shape;
      });
      const source = combine(fields, how);
      const made = { source, shape: source, frame, finish: NO_FINISH, steps: [], iou: null };
      const changed = { ...withChange(work(), first.id, made), selected: [first.id] };
      step(how === 'subtract' ? changed : without(changed, others.map(({ id }) => id)));
      change({ notice: `${VERBS[how]}.` });
    },
    /**
     * @param {number} id
     * @param {Partial<Finish>} part
     * @param {boolean} goesOn whether this is the same movement of a slider as before
     */
    tidy(id, part, goesOn) {
      const thing = work().things.find((each) => each.id === id);
      if (!thing || thing.locked) return;
      const finish = { ...thing.finish, ...part };
      const next = withChange(work(), id, { finish, shape: shapeOf(thing, finish, thing.steps) });
      if (goesOn) amend(next);
      else step(next);
    },
  };
}

/** @param {Frame} frame */
function areaOf({ original: { width, height } }) {
  return width * height;
}

/**
 * A field without what lies beyond the picture.
 * @param {Float32Array} field
 * @param {Extent} extent
 */
function trimmed(field, { columns, rows }) {
  return Float32Array.from(field, (value, at) => {
    const beyond = at % GRID > columns || Math.floor(at / GRID) > rows;
    return beyond ? Math.min(value, -1) : value;
  });
}

/** @param {Thing} thing @returns {Mask} */
function asMask({ shape, frame }) {
  const question = { prompts: { clicks: [], box: null }, feedback: null, purpose: /** @type {const} */ ('step'), frame };
  return { question, logits: shape, index: 0, iou: 1, milliseconds: 0, candidates: [] };
}
