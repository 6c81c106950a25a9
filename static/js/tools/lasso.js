// @ts-check
/** The lasso: a line around an area, which becomes mask; Shift or the right button takes it away. */

/** @import { Point } from '../masks/geometry.js' */
/** @import { Stroke, Tool, ToolContext } from './tool.js' */

const STEP = 3;

/** @type {Tool} */
export const lasso = {
  id: 'lasso',
  name: 'Lasso',
  hint: 'Draw around the object. Snap then lets the model redraw the edge.',
  key: 'L',
  icon: 'M10 4c3.600 0 6.500 1.900 6.500 4.300s-2.900 4.300-6.500 4.300-6.500-1.900-6.500-4.300S6.400 4 10 4ZM6 12c-1.500 1-1.500 3 .3 3.200 1.300.1 1.700-1.200 1-2.300-.2 2.300.3 3.400 1.400 3.900',
  cursor: 'crosshair',
  startsAtOnce: true,
  use,
};

/** @param {ToolContext} context */
function use({ actions, pixels }) {
  /** @type {Point[]} */
  let line = [];

  /** @param {Stroke} stroke */
  function draw({ from, to, opposite }) {
    const [x, y] = line.at(-1) ?? from;
    if (line.length === 0) line.push(from);
    if (Math.hypot(to[0] - x, to[1] - y) < pixels(STEP)) return;
    line.push(to);
    actions.paintArea(line, !opposite);
  }

  return {
    start: draw,
    move: draw,
    /** @param {Stroke} stroke */
    end(stroke) {
      draw(stroke);
      line = [];
      actions.keepDraft();
    },
    cancel() {
      line = [];
      actions.dropDraft();
    },
  };
}
