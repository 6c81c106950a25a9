// @ts-check
/** Brush and eraser: strokes on the mask, which the next click then feeds to the model. */

/** @import { Point } from '../masks/geometry.js' */
/** @import { Stroke, Tool, ToolContext } from './tool.js' */

/** @type {Tool} */
export const brush = {
  id: 'brush',
  name: 'Brush',
  hint: 'Paint what belongs to the object; Shift or the right button takes away. Snap lets the model redraw the edge.',
  key: 'B',
  icon: 'M16 4 9.500 10.500M9 10.200c-2.400-.3-3.800 1.300-4 3.300-.1 1.200-.8 2-1.500 2.500 3.500.8 7.200-.1 7.600-3.300.1-1.300-.8-2.400-2.100-2.500Z',
  cursor: 'none',
  startsAtOnce: true,
  use: (context) => paintWith(context, true),
};

/** @type {Tool} */
export const eraser = {
  id: 'eraser',
  name: 'Eraser',
  hint: 'Rub out what does not belong to the object.',
  key: 'E',
  icon: 'M8 15.500 4 11.500l7-7 5 5-6 6ZM7.500 8l5 5M8 15.500h8.500',
  cursor: 'none',
  startsAtOnce: true,
  use: (context) => paintWith(context, false),
};

/**
 * @param {ToolContext} context
 * @param {boolean} adds
 */
function paintWith({ actions, state, pixels }, adds) {
  /** @type {Point | null} */
  let last = null;

  /** @param {Stroke} stroke */
  function draw({ from, to, opposite, pressure }) {
    const radius = pixels((state().brush / 2) * (0.4 + 1.2 * pressure));
    actions.paint(last ?? from, to, radius, adds !== opposite);
    last = to;
  }

  return {
    start: draw,
    move: draw,
    /** @param {Stroke} stroke */
    end(stroke) {
      draw(stroke);
      last = null;
      actions.keepDraft();
    },
    cancel() {
      last = null;
      actions.dropDraft();
    },
  };
}
