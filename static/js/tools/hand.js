// @ts-check
/** The hand: a drag moves the picture, a tap selects the object beneath, two take it up again. */

/** @import { Stroke, Tool, ToolContext } from './tool.js' */
import { objectAt } from './marks.js';

/** @type {Tool} */
export const hand = {
  id: 'hand',
  name: 'Move',
  hint: 'Drag the picture. Click an object to select it, twice to edit it.',
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
    tap({ from, opposite, again }) {
      const id = objectAt(state(), from);
      if (id === null) actions.clear();
      else if (again && !opposite) actions.edit(id);
      else actions.select(id, opposite);
    },
  };
}
