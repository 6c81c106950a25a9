// @ts-check
/** The tools beside the picture, and what the tool in use needs. */

/** @import { Actions } from '../actions/index.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Tool } from '../tools/tool.js' */
import { byId, create, find, icon } from '../dom.js';
import { workOf } from '../state/selectors.js';
import { watch } from '../state/store.js';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {readonly Tool[]} tools
 */
export function mountTools(store, actions, tools) {
  const bar = byId('tools', HTMLElement);
  const buttons = tools.map(({ id, name, hint, key, icon: path }) => {
    const title = `${name} (${key}). ${hint}`;
    const button = create('button', { type: 'button', title, ariaLabel: name }, [icon(path)]);
    button.dataset.tool = id;
    button.addEventListener('click', () => actions.chooseTool(id));
    return button;
  });
  bar.replaceChildren(...buttons);
  bar.addEventListener('keydown', (event) => moveFocus(buttons, event));
  watch(store, ({ tool }) => tool, (tool) => {
    for (const button of buttons) {
      button.setAttribute('aria-pressed', String(button.dataset.tool === tool));
      button.tabIndex = button.dataset.tool === tool ? 0 : -1;
    }
  });
  mountBrush(store, actions, tools);
  mountSnap(store, actions);
}

/** @param {Store<State>} store @param {Actions} actions @param {readonly Tool[]} tools */
function mountBrush(store, actions, tools) {
  const size = byId('brush-size', HTMLElement);
  const input = /** @type {HTMLInputElement} */ (find(size, 'input'));
  input.addEventListener('input', () => actions.setBrush(Number(input.value)));
  watch(store, ({ brush }) => brush, (brush) => {
    input.value = String(brush);
    find(size, 'output').textContent = `${brush} px`;
  });
  watch(store, ({ tool }) => tool, (tool) => {
    size.hidden = tools.find(({ id }) => id === tool)?.cursor !== 'none';
  });
}

/** @param {Store<State>} store @param {Actions} actions */
function mountSnap(store, actions) {
  const button = byId('snap', HTMLButtonElement);
  button.addEventListener('click', actions.snap);
  watch(store, (state) => {
    const { sketch, selected } = workOf(state);
    return sketch.at(-1)?.painted ?? (sketch.length === 0 && selected.length === 1);
  }, (offered) => {
    button.hidden = !offered;
  });
}

/**
 * A toolbar is one stop for Tab; the arrows move within.
 * @param {readonly HTMLButtonElement[]} buttons
 * @param {KeyboardEvent} event
 */
function moveFocus(buttons, event) {
  const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target));
  if (by === undefined || at < 0) return;
  event.preventDefault();
  buttons[(at + by + buttons.length) % buttons.length].focus();
}
