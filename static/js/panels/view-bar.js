// @ts-check
/** Zoom and display: the controls that change how the picture is looked at. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Display, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { byId, find, setText } from '../dom.js';
import { pictureSize, pictureView } from '../state/selectors.js';
import { watch } from '../state/store.js';

const ZOOM = 1.5;

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountViewBar(store, actions) {
  const button = (/** @type {string} */ id) => byId(id, HTMLButtonElement);
  button('zoom-in').addEventListener('click', () => actions.zoom(ZOOM));
  button('zoom-out').addEventListener('click', () => actions.zoom(1 / ZOOM));
  button('zoom-fit').addEventListener('click', actions.fit);
  watch(store, scaleText, (text) => setText(button('zoom-fit'), text));
  watch(store, ({ picture }) => picture?.lens === null, (whole) => (button('zoom-out').disabled = whole));

  const menu = byId('display-menu', HTMLElement);
  const choices = /** @type {HTMLButtonElement[]} */ ([...menu.querySelectorAll('[data-display]')]);
  mountCompare(button('compare'), actions);
  const opacity = byId('opacity', HTMLInputElement);
  for (const choice of choices) {
    choice.addEventListener('click', () => actions.setDisplay(/** @type {Display} */ (choice.dataset.display)));
  }
  opacity.addEventListener('input', () => actions.setOpacity(Number(opacity.value) / 100));
  watch(store, ({ display }) => display, (display) => {
    for (const choice of choices) choice.setAttribute('aria-pressed', String(choice.dataset.display === display));
  });
  watch(store, ({ opacity: share }) => share, (share) => {
    opacity.value = String(Math.round(share * 100));
    setText(find(menu, 'output'), `${Math.round(share * 100)} %`);
  });
}

/**
 * The picture as it was, for as long as the button is held.
 * @param {HTMLButtonElement} button
 * @param {Actions} actions
 */
function mountCompare(button, actions) {
  button.addEventListener('pointerdown', () => actions.compare(true));
  button.addEventListener('keydown', ({ key }) => [' ', 'Enter'].includes(key) && actions.compare(true));
  for (const ends of ['pointerup', 'pointercancel', 'pointerleave', 'keyup', 'blur']) {
    button.addEventListener(ends, () => actions.compare(false));
  }
}

/** @param {State} state */
function scaleText(state) {
  const view = pictureView(state);
  const size = state.picture && pictureSize(state.picture);
  if (!view || !size || !state.picture?.lens) return 'Fit';
  return `${Math.round((100 * view.width) / size.width)} %`;
}
