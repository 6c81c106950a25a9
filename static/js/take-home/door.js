// @ts-check
/** The button that opens the panel, which is loaded then; and what went wrong with files that came in. */

/** @import { Actions } from '../actions/index.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { TakeHomePanel } from './panel.js' */
import { byId, create, find } from '../dom.js';
import { watch } from '../state/store.js';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 * @returns {() => Promise<void>} opens and closes the panel
 */
export function mountTakeHome(store, actions) {
  /** @type {Promise<TakeHomePanel> | null} */
  let loading = null;
  const toggle = async () => {
    loading ??= import('./panel.js').then(({ createPanel }) => createPanel(store, actions));
    const panel = await loading.catch(() => null);
    if (panel) return panel.toggle();
    loading = null;
    actions.say('Take home could not be loaded. Check the connection, then press the button again.');
  };
  byId('take-home-button', HTMLButtonElement).addEventListener('click', toggle);

  const popover = byId('file-problems', HTMLElement);
  find(popover, 'button').addEventListener('click', actions.clearProblems);
  watch(store, ({ problems }) => problems, (problems) => {
    find(popover, 'ul').replaceChildren(...problems.map((text) => create('li', {}, [create('span', { textContent: text })])));
    popover.togglePopover(problems.length > 0);
  });
  return toggle;
}
