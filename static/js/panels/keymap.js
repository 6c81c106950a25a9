// @ts-check
/** Every key of the page with what it does: the one table behind the shortcuts and the help. */

/** @import { Actions } from '../actions/index.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Tool } from '../tools/tool.js' */

/**
 * @typedef {object} Key
 * @property {string} group
 * @property {readonly string[]} keys as `keyOf` spells them; several do the same
 * @property {string} says
 * @property {() => void} [run] none for what other modules listen to
 * @property {() => void} [release]
 */

const ZOOM = 1.5;
const BRUSH = 1.25;
const LABEL_KEYS = 9;

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {readonly Tool[]} tools
 * @returns {readonly Key[]}
 */
export function createKeymap(store, actions, tools) {
  const { get } = store;
  const labels = Array.from({ length: LABEL_KEYS }, (_, index) => {
    return { keys: [String(index + 1)], says: `Label ${index + 1}`, run: () => actions.useLabel(index) };
  });

  return [
    ...inGroup('Tools', tools.map(({ id, name, key }) => ({ keys: [key], says: name, run: () => actions.chooseTool(id) }))),
    ...inGroup('Mask', [
      { keys: ['Enter'], says: 'Add a point where the pointer is; with Shift the opposite' },
      { keys: ['Arrows'], says: 'Move the pointer; with Shift in larger steps' },
      { keys: ['M'], says: 'Press the pointer down, and let it go: boxes, points, strokes' },
      { keys: ['J'], says: 'Pointer to the next point or corner' },
      { keys: ['X'], says: 'Swap Include and Exclude', run: () => actions.chooseLabel(get().label ? 0 : 1) },
      { keys: ['C'], says: 'Next of the four masks', run: () => actions.cyclePick(1) },
      { keys: ['Shift+C'], says: 'The one before', run: () => actions.cyclePick(-1) },
      { keys: ['P'], says: 'Snap the edge to the picture', run: actions.snap },
      { keys: ['N'], says: 'Keep as an object', run: actions.keep },
      { keys: ['['], says: 'Smaller brush', run: () => actions.setBrush(get().brush / BRUSH) },
      { keys: [']'], says: 'Larger brush', run: () => actions.setBrush(get().brush * BRUSH + 1) },
    ]),
    ...inGroup('Objects', [
      { keys: ['A'], says: 'Find everything', run: actions.findEverything },
      { keys: ['Shift+A'], says: 'Take all that was found', run: actions.takeAllFound },
      { keys: ['U'], says: 'Merge', run: () => actions.combine('unite') },
      { keys: ['D'], says: 'Subtract', run: () => actions.combine('subtract') },
      { keys: ['I'], says: 'Intersect', run: () => actions.combine('intersect') },
      { keys: ['Ctrl+A'], says: 'Select all', run: actions.selectAll },
      { keys: ['Delete', 'Backspace'], says: 'Remove the selected', run: actions.removeSelected },
    ]),
    ...inGroup('Labels', labels),
    ...inGroup('View', [
      { keys: ['+', '='], says: 'Zoom in', run: () => actions.zoom(ZOOM) },
      { keys: ['-'], says: 'Zoom out', run: () => actions.zoom(1 / ZOOM) },
      { keys: ['F'], says: 'Fit the picture', run: actions.fit },
      { keys: ['Space'], says: 'Hold and drag to move the picture' },
      { keys: ['O'], says: 'Colour, outline, cut-out, picture', run: actions.nextDisplay },
      { keys: ['\\'], says: 'Hold for the picture as it was', run: () => actions.compare(true), release: () => actions.compare(false) },
      { keys: ['PageUp'], says: 'Picture before', run: () => actions.neighbour(-1) },
      { keys: ['PageDown'], says: 'Next picture', run: () => actions.neighbour(1) },
    ]),
    ...inGroup('Always', [
      { keys: ['Ctrl+Z'], says: 'Undo', run: actions.undo },
      { keys: ['Ctrl+Shift+Z', 'Ctrl+Y'], says: 'Redo', run: actions.redo },
      { keys: ['Escape'], says: 'Step back', run: actions.clear },
      { keys: ['?'], says: 'This list' },
    ]),
  ];
}

/**
 * How an event's key is spelled in the table.
 * @param {Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey'>} event
 */
export function keyOf({ key, ctrlKey, metaKey, shiftKey }) {
  const letter = /^[a-z]$/i.test(key);
  const name = letter ? key.toUpperCase() : key;
  const shift = shiftKey && (letter || key.length > 1);
  return `${ctrlKey || metaKey ? 'Ctrl+' : ''}${shift ? 'Shift+' : ''}${name}`;
}

/** @param {string} group @param {readonly Omit<Key, 'group'>[]} keys @returns {Key[]} */
function inGroup(group, keys) {
  return keys.map((key) => ({ group, ...key }));
}
