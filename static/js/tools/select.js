// @ts-check
/** The tool that asks the model: a tap adds a point, a drag draws a box; what was placed can be moved and removed. */

/** @import { Point } from '../masks/geometry.js' */
/** @import { Stroke, Tool, ToolContext } from './tool.js' */
import { boxBetween, isInside, positionIn } from '../masks/geometry.js';
import { committedPrompts, foundAt, workOf } from '../state/selectors.js';
import { movedBox, objectAt, partAt } from './marks.js';

const REACH = 12;

/** @type {Tool} */
export const select = {
  id: 'select',
  name: 'Select',
  hint: 'Click an object, or drag a box around it. Right-click or a long press takes away. Two quick clicks edit what you kept.',
  key: 'S',
  icon: 'M5 3.5 15.5 10l-4.700 1.200L8.300 15.800Z',
  cursor: 'crosshair',
  use,
};

/** @param {ToolContext} context */
function use({ actions, state, size, pixels }) {
  /** @type {import('./marks.js').Part | null} */
  let held = null;

  /** @param {Point} at */
  const partUnder = (at) => partAt(committedPrompts(state()), at, pixels(REACH));

  /** @param {Stroke} stroke */
  function boxOf({ from, to }) {
    if (held && held.kind !== 'point') return movedBox(held, from, to, size());
    const box = boxBetween(size(), from, to);
    return box[2] > box[0] && box[3] > box[1] ? box : null;
  }

  /** @param {Stroke} stroke */
  function draw(stroke) {
    if (held?.kind === 'point') actions.draftClick(held.index, positionIn(size(), stroke.to));
    else actions.draftBox(boxOf(stroke));
  }

  /** Whether the first of two quick taps found nothing in hand: then both meant the object beneath. */
  function startedByLastTap() {
    const { sketch, editing } = workOf(state());
    return sketch.length === 1 && editing === null && sketch[0].prompts.clicks.length === 1 && !sketch[0].prompts.box;
  }

  return {
    /** @param {Stroke} stroke */
    tap({ from, opposite, again }) {
      const kept = again && !opposite && startedByLastTap() ? objectAt(state(), from) : null;
      if (kept !== null) return actions.editInstead(kept);
      const found = foundAt(state(), from);
      if (found && !opposite) return actions.takeFound(found);
      const part = partUnder(from);
      if (part?.kind === 'point' && !opposite) actions.removeClick(part.index);
      else if (isInside(size(), from)) actions.click(positionIn(size(), from), opposite && !found);
    },
    /** @param {Stroke} stroke */
    start(stroke) {
      held = partUnder(stroke.from);
      draw(stroke);
    },
    move: draw,
    /** @param {Stroke} stroke */
    end(stroke) {
      draw(stroke);
      held = null;
      actions.keepDraft();
    },
    cancel() {
      held = null;
      actions.dropDraft();
    },
  };
}
