// @ts-check
/** What happens to the sketch, the object in the making: clicks, boxes, paint, candidates, answers, undo. */

/** @import { Changes } from './changes.js' */
/** @import { Answer } from './decoder-client.js' */
/** @import { Field } from './fields.js' */
/** @import { Box, Point } from './geometry.js' */
/** @import { Label, Prompts } from './prompts.js' */
/** @import { State } from './store.js' */
/** @import { Mask, Step } from './work.js' */
import {
  boundsOf, cellsPerPixel, cellsToPicture, emptyField, extentOf, paintLine, paintPolygon, pictureToCells,
} from './fields.js';
import { NO_PROMPTS, chooseMask, corrects, isAmbiguous, sameQuestion, withBox, withClick } from './prompts.js';
import { GRID } from './protocol.js';
import { shownField } from './specks.js';
import { openQuestion, pictureFrame } from './store.js';
import { promptsOf, redone, selectedThings, undone, withClickAt, withPick, withStep } from './work.js';

const LATENCIES_KEPT = 60;

/** @param {Changes} changes */
export function createSketchActions({ get, change, changeTimeline, work, step }) {
  /**
   * @param {Prompts} prompts
   * @param {boolean} [feeds]
   */
  function ask(prompts, feeds = false) {
    step({ sketch: [...work().sketch, { prompts, feeds, painted: false, pick: null, answer: null }] });
  }

  /**
   * What a stroke draws on: the sketch, else the one selected object, else nothing.
   * @param {Point | null} start in cells; paint that starts beside the selected object starts another
   */
  function canvas(start = null) {
    const { sketch, editing, selected } = work();
    const { draft } = get();
    if (draft && 'painted' in draft) return { field: draft.painted.logits, editing: draft.editing };
    const answer = sketch.at(-1)?.answer;
    if (answer) return { field: shownField(get(), answer), editing };
    const [thing] = selectedThings(work());
    const taken = sketch.length === 0 && selected.length === 1 && thing && !thing.locked;
    const beside = taken && start && !(thing.shape[Math.floor(start[1]) * GRID + Math.floor(start[0])] > 0);
    return taken && !beside ? { field: thing.shape, editing: thing.id } : { field: emptyField(), editing };
  }

  /** @param {Field} field @param {number | null} editing @returns {{painted: Mask, editing: number | null}} */
  function draftOf(field, editing) {
    const question = { prompts: promptsOf(work()), feedback: null, purpose: /** @type {const} */ ('step') };
    return { painted: { question, logits: field, index: 0, iou: 1, milliseconds: 0, candidates: [] }, editing };
  }

  /** @param {number} index of the candidate; single clicks are answered by it from now on, until it is let go */
  function pick(index) {
    const { sketch } = work();
    const last = sketch.at(-1);
    if (!last?.answer || last.answer.candidates.length === 0) return;
    const { level } = get();
    const remembered = isAmbiguous(last.prompts) ? (level === index ? null : index) : level;
    if (last.answer.index === index) return change({ level: remembered });
    const picked = { ...last, pick: index, answer: withPick(last.answer, index) };
    step({ sketch: [...sketch.slice(0, -1), picked] }, { level: remembered });
  }

  return {
    /**
     * @param {Point} position
     * @param {boolean} opposite of the chosen label
     */
    click(position, opposite) {
      const { label, refines } = get();
      const before = work().sketch.at(-1);
      const given = /** @type {Label} */ (opposite ? 1 - label : label);
      const prompts = withClick(promptsOf(work()), position, given);
      ask(prompts, refines && !!before && (before.painted || corrects(prompts, before.prompts)));
    },
    /** @param {Box} box */
    keepBox: (box) => ask(withBox(promptsOf(work()), box)),
    /** @param {Box | null} box being drawn */
    draftBox: (box) => change({ draft: box && { prompts: withBox(promptsOf(work()), box) } }),
    /** @param {number} index @param {Point} to where a point is being dragged */
    draftClick(index, [x, y]) {
      const prompts = promptsOf(work());
      change({ draft: { prompts: withClickAt(prompts, index, { ...prompts.clicks[index], x, y }) } });
    },
    keepDraft() {
      const { draft } = get();
      if (!draft) return;
      if ('prompts' in draft) return ask(draft.prompts);
      const painted = { prompts: draft.painted.question.prompts, feeds: false, painted: true, pick: null, answer: draft.painted };
      step({ sketch: [...work().sketch, painted], editing: draft.editing });
    },
    dropDraft: () => change({ draft: null }),
    /** @param {number} index */
    removeClick(index) {
      const prompts = withClickAt(promptsOf(work()), index, null);
      if (prompts.clicks.length > 0 || prompts.box) ask(prompts);
      else step({ sketch: [] });
    },
    removeBox() {
      const prompts = { ...promptsOf(work()), box: null };
      if (prompts.clicks.length > 0) ask(prompts);
      else step({ sketch: [] });
    },

    /**
     * Draw on with a round brush, on what was drawn so far.
     * @param {Point} from in the picture
     * @param {Point} to
     * @param {number} radius in the picture's pixels
     * @param {boolean} adds
     */
    paint(from, to, radius, adds) {
      const state = get();
      const frame = pictureFrame(state);
      if (!frame || state.picture?.phase.status !== 'ready') return;
      const [start, end] = [from, to].map((point) => pictureToCells(point, frame));
      const { field, editing } = canvas(adds ? start : null);
      const reach = Math.max(0.5, radius * cellsPerPixel(frame));
      change({ draft: draftOf(paintLine(field, start, end, reach, adds), editing) });
    },
    /**
     * @param {readonly Point[]} corners in the picture
     * @param {boolean} adds
     */
    paintArea(corners, adds) {
      const frame = pictureFrame(get());
      if (!frame || get().picture?.phase.status !== 'ready') return;
      const cells = corners.map((corner) => pictureToCells(corner, frame));
      change({ draft: null });
      const { field, editing } = canvas(adds ? cells[0] : null);
      change({ draft: draftOf(paintPolygon(field, cells, adds), editing) });
    },
    /** Let the model redraw what was painted: the mask goes in as it is, with the box around it. */
    snap() {
      const frame = pictureFrame(get());
      const { field, editing } = canvas();
      const { sketch } = work();
      const bounds = frame && boundsOf(field, extentOf(frame));
      if (!bounds) return;
      const box = cellsToPicture(bounds, frame);
      const before = sketch.length > 0 ? sketch : [paintedStep(draftOf(Float32Array.from(field), editing).painted)];
      /** @type {Step} */
      const next = { prompts: { ...NO_PROMPTS, box }, feeds: true, painted: false, pick: null, answer: null };
      step({ sketch: [...before, next], editing });
    },

    pick,
    /** @param {number} by */
    cyclePick(by) {
      const answer = work().sketch.at(-1)?.answer;
      const count = answer?.candidates.length ?? 0;
      if (answer && count > 0) pick((answer.index + by + count) % count);
    },

    undo: () => changeTimeline(undone),
    redo: () => changeTimeline(redone),
    /** Step back from what is going on: the drawing, the sketch, the selection, what was found. */
    clear() {
      const { sketch, selected, editing } = work();
      if (get().draft) change({ draft: null });
      else if (sketch.length > 0) step({ sketch: [], editing: null });
      else if (selected.length > 0 || editing !== null) step({ selected: [], editing: null });
      else change({ found: null });
    },

    /** @param {Answer} answer to what is asked now; to where the pointer was a moment ago will do */
    maskArrived({ picture, question, logits, iou, milliseconds }) {
      const state = get();
      const open = openQuestion(state);
      if (state.picture?.key !== picture.key || open?.purpose !== question.purpose) return;
      const pending = work().sketch.find(({ answer }) => answer === null);
      const candidates = candidatesOf(logits, iou);
      const index = (question.purpose === 'step' ? pending?.pick : null) ?? chooseMask(question.prompts, iou, state.level);
      const mask = withPick({ question, ...candidates[index], milliseconds, candidates }, index);
      const latencies = [...state.latencies, milliseconds].slice(-LATENCIES_KEPT);
      if (question.purpose === 'preview') change({ preview: mask, latencies });
      else if (question.purpose !== 'step') change({ mask, latencies });
      else if (pending && sameQuestion(open, question)) answerStep(state, pending, mask, latencies);
    },
  };

  /**
   * @param {State} state
   * @param {Step} pending
   * @param {Mask} mask
   * @param {readonly number[]} latencies
   */
  function answerStep({ picture }, pending, mask, latencies) {
    if (!picture) return;
    const timeline = withStep(picture.timeline, pending, { ...pending, answer: mask });
    change({ picture: { ...picture, timeline }, mask, latencies });
  }
}

/** @param {Mask} mask @returns {Step} */
export function paintedStep(mask) {
  return { prompts: NO_PROMPTS, feeds: false, painted: true, pick: null, answer: mask };
}

/**
 * @param {Float32Array} logits of all
 * @param {ArrayLike<number>} iou
 */
function candidatesOf(logits, iou) {
  return Array.from(iou, (each, index) => {
    return { index, iou: each, logits: logits.subarray(index * GRID * GRID, (index + 1) * GRID * GRID) };
  });
}
