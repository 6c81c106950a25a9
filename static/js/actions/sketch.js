// @ts-check
/** What happens to the sketch, the object in the making: clicks, boxes, paint, candidates, answers, undo. */

/** @import { Answer } from '../decoding/client.js' */
/** @import { Field } from '../masks/fields.js' */
/** @import { Box, Frame, Point } from '../masks/geometry.js' */
/** @import { Label, Prompts, Question } from '../masks/prompts.js' */
/** @import { State } from '../state/state.js' */
/** @import { Mask, Step } from '../state/work.js' */
/** @import { Changes } from './changes.js' */
import { holds } from '../masks/closer-views.js';
import {
  cellsPerPixel, covers, emptyField, isCut, paintLine, paintPolygon, pictureBounds, pictureToCells, resampled,
} from '../masks/fields.js';
import { GRID } from '../masks/geometry.js';
import { NO_PROMPTS, chooseMask, corrects, isAmbiguous, sameQuestion, withBox, withClick } from '../masks/prompts.js';
import { frameFor, openQuestion } from '../state/questions.js';
import { frameOf, pictureFrame, pictureSize } from '../state/selectors.js';
import { shownField, shownLogits } from '../state/specks.js';
import { promptsOf, redone, selectedThings, undone, withClickAt, withPick, withStep } from '../state/work.js';

const LATENCIES_KEPT = 60;

/** @param {Changes} changes */
export function createSketchActions({ get, change, changeTimeline, work, step }) {
  /**
   * @param {Prompts} prompts
   * @param {boolean} [feeds]
   */
  function ask(prompts, feeds = false) {
    step({ sketch: [...work().sketch, { prompts, feeds, painted: false, pick: null, answer: null, frame: frameFor(get(), prompts) }] });
  }

  /**
   * What a stroke draws on: the sketch, else the one selected object, else nothing.
   * @param {Point | null} start paint that starts beside the selected object starts another
   * @returns {{field: Field, frame?: Frame | null, editing: number | null}}
   */
  function canvas(start = null) {
    const { sketch, editing, selected } = work();
    const { draft } = get();
    if (draft && 'painted' in draft) {
      const { logits, question } = draft.painted;
      return { field: logits, frame: question.frame, editing: draft.editing };
    }
    const answer = sketch.at(-1)?.answer;
    if (answer) return { field: shownField(get(), answer), frame: answer.question.frame, editing };
    const [thing] = selectedThings(work());
    const taken = sketch.length === 0 && selected.length === 1 && thing && !thing.locked;
    const frame = taken && frameOf(get(), thing);
    const beside = frame && start && !covers(thing.shape, frame, start);
    if (taken && !beside) return { field: thing.shape, frame: thing.frame, editing: thing.id };
    return { field: emptyField(), frame: start && frameFor(get(), withClick(NO_PROMPTS, start, 1)), editing };
  }

  /**
   * Draw on what is there; beyond the edges of its closer view, on all of the picture.
   * @param {readonly Point[]} line in the picture
   * @param {number} radius around it
   * @param {boolean} adds
   * @param {(field: Field, cells: Point[], frame: Frame) => Field} draw
   */
  function drawOn(line, radius, adds, draw) {
    const { picture } = get();
    const [whole, size] = [pictureFrame(get()), picture && pictureSize(picture)];
    if (!whole || !size || picture?.phase.status !== 'ready') return;
    const { field, frame, editing } = canvas(adds ? line[0] : null);
    const fits = !frame || line.every(([x, y]) => holds(frame, { clicks: [], box: [x - radius, y - radius, x + radius, y + radius] }, size));
    const [from, to] = [frame ?? whole, (fits && frame) || whole];
    const drawn = draw(resampled(field, from, to), line.map((point) => pictureToCells(point, to)), to);
    change({ draft: draftOf(drawn, editing, fits ? frame : null) });
  }

  /** @param {Field} field @param {number | null} editing @param {Frame | null} [frame] @returns {{painted: Mask, editing: number | null}} */
  function draftOf(field, editing, frame) {
    const question = { prompts: promptsOf(work()), feedback: null, purpose: /** @type {const} */ ('step'), frame };
    return { painted: { question, logits: field, index: 0, iou: 1, milliseconds: 0, candidates: [] }, editing };
  }

  /** Whether an answer goes on beyond the closer view in which it was seen. @param {Question} question @param {Field} logits */
  function isCutOff(question, logits) {
    const { picture } = get();
    const size = picture && pictureSize(picture);
    return question.frame && size ? isCut(shownLogits(get(), logits, question), question.frame, size) : false;
  }

  /** @param {number} index of the candidate; single clicks are answered by it from now on, until it is let go */
  function pick(index) {
    const { sketch } = work();
    const last = sketch.at(-1);
    if (!last?.answer || last.answer.candidates.length === 0) return;
    const { level } = get();
    const remembered = isAmbiguous(last.prompts) ? (level === index ? null : index) : level;
    if (last.answer.index === index) return change({ level: remembered });
    const cut = isCutOff(last.answer.question, last.answer.candidates[index].logits);
    const picked = { ...last, pick: index, ...(cut ? { frame: null, answer: null } : { answer: withPick(last.answer, index) }) };
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
      const { prompts } = draft.painted.question;
      step({ sketch: [...work().sketch, { ...paintedStep(draft.painted), prompts }], editing: draft.editing });
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
    paint: (from, to, radius, adds) =>
      drawOn([from, to], radius, adds, (field, [start, end], frame) =>
        paintLine(field, start, end, Math.max(0.5, radius * cellsPerPixel(frame)), adds)),
    /**
     * @param {readonly Point[]} corners in the picture
     * @param {boolean} adds
     */
    paintArea(corners, adds) {
      change({ draft: null });
      drawOn(corners, 0, adds, (field, cells) => paintPolygon(field, cells, adds));
    },
    /** Let the model redraw what was painted: the mask goes in as it is, with the box around it. */
    snap() {
      const { field, frame, editing } = canvas();
      const { sketch } = work();
      const place = frameOf(get(), { frame });
      const box = place && pictureBounds(field, place);
      if (!box) return;
      const before = sketch.length > 0 ? sketch : [paintedStep(draftOf(Float32Array.from(field), editing, frame).painted)];
      /** @type {Step} */
      const next = { prompts: { ...NO_PROMPTS, box }, feeds: true, painted: false, pick: null, answer: null, frame };
      step({ sketch: [...before, next], editing });
    },

    pick,
    /** @param {number} by */
    cyclePick(by) {
      const answer = work().sketch.at(-1)?.answer;
      const count = answer?.candidates.length ?? 0;
      if (answer && count > 0) pick((answer.index + by + count) % count);
    },

    /** Where the pointer rests there may be something smaller than what the closer view cut. */
    lookAgain: () => change({ cut: null }),
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
      const remembered = state.mask?.logits.buffer === logits.buffer;
      const latencies = remembered ? state.latencies : [...state.latencies, milliseconds].slice(-LATENCIES_KEPT);
      const cut = isCutOff(question, mask.logits);
      if (cut && question.purpose === 'hover') change({ cut: mask });
      else if (cut && question.purpose === 'step' && pending) replaceStep(state, pending, { ...pending, frame: null });
      else if (question.purpose === 'preview') change({ preview: mask, latencies });
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
  function answerStep(state, pending, mask, latencies) {
    replaceStep(state, pending, { ...pending, answer: mask }, { mask, latencies });
  }

  /**
   * @param {State} state
   * @param {Step} before
   * @param {Step} after
   * @param {Partial<State>} [more]
   */
  function replaceStep({ picture }, before, after, more) {
    if (picture) change({ picture: { ...picture, timeline: withStep(picture.timeline, before, after) }, ...more });
  }
}

/** @param {Mask} mask @returns {Step} */
export function paintedStep(mask) {
  return { prompts: NO_PROMPTS, feeds: false, painted: true, pick: null, answer: mask, frame: mask.question.frame };
}

/**
 * @param {Field} logits of all
 * @param {ArrayLike<number>} iou
 */
function candidatesOf(logits, iou) {
  return Array.from(iou, (each, index) => {
    return { index, iou: each, logits: logits.subarray(index * GRID * GRID, (index + 1) * GRID * GRID) };
  });
}
