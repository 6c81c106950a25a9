// @ts-check
/** Keys that work anywhere on the page, except while something is being typed, and the list of them. */

/** @import { Key } from './keymap.js' */
import { byId, create, find } from '../dom.js';
import { keyOf } from './keymap.js';

const TYPED = '[contenteditable="plaintext-only"], input:not([type="range"])';
const GESTURES = [
  ['Click, tap', 'Add a point; on a point, remove it'],
  ['Right-click, Shift-click, long press', 'Add the opposite point'],
  ['Drag', 'Draw a box; move a point or a box'],
  ['Two clicks, two taps', 'Edit the object that was kept there'],
  ['Wheel, pinch', 'Zoom at the pointer'],
  ['Middle button, two fingers', 'Move the picture'],
];
const BY_TOUCH = matchMedia('(hover: none)').matches;

/**
 * @param {Document} target
 * @param {readonly Key[]} keymap
 */
export function useShortcuts(target, keymap) {
  const help = mountHelp(keymap);
  const table = new Map(keymap.flatMap((entry) => entry.keys.map((key) => /** @type {const} */ ([key, entry]))));

  target.addEventListener('keydown', (event) => {
    const key = keyOf(event);
    if (event.altKey || isTyped(event.target) || help.open) return;
    if (key === '?') return help.showModal();
    const entry = table.get(key);
    if (!entry?.run || (key === 'Escape' && target.querySelector(':popover-open'))) return;
    if (entry.release && event.repeat) return;
    event.preventDefault();
    entry.run();
  });
  target.addEventListener('keyup', (event) => table.get(keyOf(event))?.release?.());
}

/** @param {readonly Key[]} keymap */
function mountHelp(keymap) {
  const dialog = byId('help', HTMLDialogElement);
  const groups = [...new Set(keymap.map(({ group }) => group))];
  const rows = (/** @type {string} */ group) => keymap.filter((key) => key.group === group && group !== 'Labels');
  const sections = groups.filter((group) => group !== 'Labels').map((group) =>
    helpGroup(group, rows(group).map(({ keys, says }) => helpRow(keys.map((key) => create('kbd', { textContent: key })), says))));
  const labels = helpRow([create('kbd', { textContent: '1' }), '–', create('kbd', { textContent: '9' })], 'Use a label');
  sections[groups.indexOf('Objects')].querySelector('dl')?.append(labels);
  const gestures = helpGroup('Mouse and touch', GESTURES.map(([gesture, says]) => helpRow([gesture], says)));
  find(dialog, '.help-groups').replaceChildren(...(BY_TOUCH ? [gestures, ...sections] : [...sections, gestures]));
  find(dialog, 'button').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  byId('help-button', HTMLButtonElement).addEventListener('click', () => dialog.showModal());
  return dialog;
}

/** @param {string} title @param {readonly Node[]} rows */
function helpGroup(title, rows) {
  return create('section', {}, [create('h3', { textContent: title }), create('dl', {}, rows)]);
}

/** @param {readonly (Node | string)[]} keys @param {string} says */
function helpRow(keys, says) {
  return create('div', {}, [create('dt', {}, keys), create('dd', { textContent: says })]);
}

/** @param {EventTarget | null} target */
function isTyped(target) {
  return target instanceof Element && target.closest(TYPED) !== null;
}
