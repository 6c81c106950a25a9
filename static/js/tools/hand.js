// @ts-check
/** The hand: a drag moves the picture, a tap selects the object beneath. */

/** @import { Stroke, Tool, ToolContext } from './tool.js' */
import { pictureToCells } from '../fields.js';
import { GRID } from '../protocol.js';
import { pictureFrame, workOf } from '../store.js';

/** @type {Tool} */
export const hand = {
  id: 'hand',
  name: 'Move',
  hint: 'Drag the picture. Click an object to select it.',
  key: 'H',
  icon: 'M10 3v14M3 10h14M10 3 8 5m2-2 2 2M10 17l-2-2m2 2 2-2M3 10l2-2m-2 2 2 2M17 10l-2-2m2 2-2 2',
  cursor: 'grab',
  pans: true,
  use,
};

/** @param {ToolContext} context */
function use({ actions, state }) {
  return {
    /** @param {Stroke} stroke */
    tap({ from, opposite }) {
      const frame = pictureFrame(state());
      if (!frame) return;
      const [x, y] = pictureToCells(from, frame);
      const at = Math.floor(y) * GRID + Math.floor(x);
      const thing = workOf(state()).things.find(({ shape, visible }) => visible && shape[at] > 0);
      if (thing) actions.select(thing.id, opposite);
      else actions.clear();
    },
  };
}
