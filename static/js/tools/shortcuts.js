// @ts-check
/** Keys that work anywhere on the page. */

/** @import { Actions } from '../actions.js' */

/**
 * @param {Document} target
 * @param {Actions} actions
 */
export function useShortcuts(target, actions) {
  target.addEventListener('keydown', (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (command && !event.shiftKey && event.key.toLowerCase() === 'z') {
      event.preventDefault();
      actions.undo();
    } else if (event.key === 'Escape' && !target.querySelector(':popover-open')) {
      actions.clear();
    }
  });
}
