// @ts-check
/** The list of kept objects: labels, colours, visibility, locks, order, and what tidies the selected one. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Combination } from '../masks/fields.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Thing } from '../state/work.js' */
import { byId, create, find, icon, setText } from '../dom.js';
import { cellsPerPixel } from '../masks/fields.js';
import { frameOf, pictureFrame, workOf } from '../state/selectors.js';
import { shareOf } from '../state/specks.js';
import { watch } from '../state/store.js';
import { selectedThings } from '../state/work.js';
import { orderByDragging } from './drag-order.js';
import { createLabelField } from './label-field.js';

const ICONS = {
  edit: 'm12.500 4.500 3 3L8 15l-3.700.7.700-3.700Z',
  shown: 'M2.500 10S5.200 5.200 10 5.200 17.500 10 17.500 10 14.800 14.800 10 14.800 2.500 10 2.500 10ZM10 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z',
  hidden: 'M2.500 8.500c1.600 2.400 4.200 4 7.500 4s5.900-1.600 7.500-4M5.500 11.300 4 13.500M10 12.500v2.700M14.500 11.300l1.500 2.200',
  locked: 'M6 9V7a4 4 0 0 1 8 0v2M5 9h10v7H5Z',
  open: 'M6 9V7a4 4 0 0 1 7.700-1.500M5 9h10v7H5Z',
  up: 'm6 12 4-4 4 4',
  down: 'm6 8 4 4 4-4',
  grip: 'M8 5v.1M12 5v.1M8 10v.1M12 10v.1M8 15v.1M12 15v.1',
  remove: 'M5 6.500h10M8.500 6V4.500h3V6M6.200 6.500 7 16h6l.8-9.500',
};

const CROSS = 'm6.500 6.500 7 7m0-7-7 7';

/** The sliders' full ranges; shares grow with the square, because small regions matter most. */
const RANGES = { holes: 0.05, islands: 0.05, smooth: 6, grow: 10 };
/** @typedef {keyof typeof RANGES} Tidying */
/** @typedef {{element: HTMLLIElement, name: ReturnType<typeof createLabelField>}} Row */

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountObjects(store, actions) {
  mountList(store, actions);
  mountLabels(store, actions);
  mountTidy(store, actions);
  mountSheet(store);
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountList(store, actions) {
  const section = byId('objects', HTMLElement);
  const list = byId('object-list', HTMLUListElement);
  /** @type {Map<number, Row>} */
  const rows = new Map();
  orderByDragging(list, (element, places) => {
    for (const [id, row] of rows) if (row.element === element) actions.move(id, -places);
  });

  watch(store, workOf, ({ things, selected, editing }, state) => {
    for (const [id, { element }] of rows) {
      if (things.some((thing) => thing.id === id)) continue;
      element.remove();
      rows.delete(id);
    }
    things.forEach((thing, index) => {
      const row = rows.get(thing.id) ?? objectRow(thing.id, store, actions);
      rows.set(thing.id, row);
      if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null);
      showRow(row, thing, selected.includes(thing.id), editing === thing.id, state);
    });
    section.classList.toggle('is-made', things.length > 0);
    setText(byId('object-count', HTMLElement), things.length > 0 ? String(things.length) : '');
    setText(byId('open-panel-count', HTMLElement), things.length > 0 ? String(things.length) : '');
    byId('open-panel', HTMLElement).ariaLabel = `Objects ${things.length || ''}`.trim();
  });
}

/**
 * @param {number} id
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function objectRow(id, store, actions) {
  const thing = () => workOf(store.get()).things.find((each) => each.id === id);
  const colour = create('input', { type: 'color', className: 'swatch' });
  colour.addEventListener('change', () => actions.changeObject(id, { colour: colour.value }));
  const name = createLabelField({
    says: 'Label',
    known: () => store.get().labels.map((label) => label.name),
    onCommit: (label) => actions.nameObjects([id], label),
    onFocus: () => workOf(store.get()).selected.includes(id) || actions.select(id),
  });
  const facts = create('button', { type: 'button', className: 'pick' });
  facts.addEventListener('click', (event) => actions.select(id, event.shiftKey || event.ctrlKey || event.metaKey));
  /** @param {string} className @param {string} path @param {() => void} run */
  const tool = (className, path, run) => {
    const button = create('button', { type: 'button', className: `square ${className}` }, [icon(path)]);
    button.addEventListener('click', run);
    return button;
  };
  const edit = tool('edit', ICONS.edit, () => actions.edit(id));
  const show = tool('show', ICONS.shown, () => actions.changeObject(id, { visible: !thing()?.visible }));
  const lock = tool('lock', ICONS.open, () => actions.changeObject(id, { locked: !thing()?.locked }));
  const up = tool('up', ICONS.up, () => actions.move(id, 1));
  const down = tool('down', ICONS.down, () => actions.move(id, -1));
  const remove = tool('remove', ICONS.remove, () => {
    actions.select(id);
    actions.removeSelected();
  });
  const tools = create('div', { className: 'row-tools' }, [edit, up, down, show, lock, remove]);
  const grip = create('span', { className: 'grip', title: 'Drag into another place' }, [icon(ICONS.grip)]);
  const element = create('li', {}, [grip, colour, name.element, facts, tools]);
  element.addEventListener('dblclick', (event) => event.target === facts && actions.edit(id));
  return { element, name };
}

/**
 * @param {Row} row
 * @param {Thing} thing
 * @param {boolean} selected
 * @param {boolean} edited
 * @param {State} state
 */
function showRow({ element: row, name }, thing, selected, edited, state) {
  const { label, colour, visible, locked } = thing;
  const said = `${row.dataset.said}`;
  const swatch = /** @type {HTMLInputElement} */ (find(row, '.swatch'));
  row.classList.toggle('selected', selected);
  row.classList.toggle('edited', edited);
  row.classList.toggle('is-hidden', !visible);
  swatch.value = colour;
  name.set(label);
  name.setDisabled(locked);
  setText(find(row, '.pick'), edited ? 'editing' : sizeText(thing, state));
  find(row, '.pick').ariaPressed = String(selected);
  find(row, '.pick').ariaLabel = `Select ${label}: ${find(row, '.pick').textContent}`;
  const now = [label, visible, locked].join();
  if (said === now) return;
  row.dataset.said = now;
  swatch.ariaLabel = `Colour of ${label}`;
  name.setName(`Label of ${label}`);
  showTool(row, '.edit', `Edit ${label}`, ICONS.edit, locked);
  showTool(row, '.up', `Bring ${label} forward`, ICONS.up);
  showTool(row, '.down', `Send ${label} backward`, ICONS.down);
  showTool(row, '.show', visible ? `Hide ${label}` : `Show ${label}`, visible ? ICONS.shown : ICONS.hidden);
  showTool(row, '.lock', locked ? `Unlock ${label}` : `Lock ${label}`, locked ? ICONS.locked : ICONS.open);
  showTool(row, '.remove', `Remove ${label}`, ICONS.remove, locked);
}

/**
 * @param {HTMLElement} row
 * @param {string} name
 * @param {string} says
 * @param {string} path
 * @param {boolean} [disabled]
 */
function showTool(row, name, says, path, disabled = false) {
  const button = /** @type {HTMLButtonElement} */ (find(row, name));
  button.ariaLabel = button.title = says;
  button.disabled = disabled;
  button.querySelector('path')?.setAttribute('d', path);
}

/** @type {WeakMap<Float32Array, string>} */
const SIZES = new WeakMap();

/** @param {Thing} thing @param {State} state */
function sizeText({ shape, frame }, state) {
  let text = SIZES.get(shape);
  if (text === undefined && pictureFrame(state)) {
    const share = 100 * shareOf(state, shape, { frame });
    SIZES.set(shape, (text = `${share.toFixed(share < 10 ? 1 : 0)} %`));
  }
  return text ?? '';
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountLabels(store, actions) {
  const chips = byId('label-set', HTMLUListElement);
  const next = createLabelField({
    says: 'Label of the next object',
    placeholder: 'Object',
    known: () => store.get().labels.map(({ name }) => name),
    onCommit: actions.setNextLabel,
  });
  byId('next-label', HTMLElement).replaceWith(next.element);
  watch(store, ({ nextLabel }) => nextLabel, next.set);
  watch(store, ({ labels, nextLabel }) => ({ labels, nextLabel }), ({ labels, nextLabel }) => {
    chips.hidden = labels.length === 0;
    chips.replaceChildren(...labels.map(({ name, colour }, index) => {
      const dot = create('span', { className: 'dot' });
      dot.style.background = colour;
      const key = index < 9 ? [create('kbd', { textContent: String(index + 1) })] : [];
      const use = create('button', { type: 'button', title: `Use ${name}` }, [dot, name, ...key]);
      use.setAttribute('aria-pressed', String(name === nextLabel));
      use.addEventListener('click', () => actions.useLabel(index));
      const forget = create('button', { type: 'button', className: 'forget', ariaLabel: `Forget the label ${name}` }, [icon(CROSS)]);
      forget.addEventListener('click', () => actions.forgetLabel(name));
      return create('li', {}, [use, forget]);
    }));
  }, (a, b) => a.labels === b.labels && a.nextLabel === b.nextLabel);
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountTidy(store, actions) {
  const section = byId('tidy', HTMLElement);
  const title = byId('tidy-title', HTMLElement);
  const sliders = /** @type {HTMLInputElement[]} */ ([...section.querySelectorAll('input')]);
  for (const slider of sliders) makeTidySlider(slider, store, actions);
  for (const button of section.querySelectorAll('button')) {
    button.addEventListener('click', () => actions.combine(/** @type {Combination} */ (button.dataset.combine)));
  }
  watch(store, (state) => selectedThings(workOf(state)), (things, state) => {
    const [thing] = things;
    const { sketch } = workOf(state);
    section.hidden = !thing || sketch.length > 0;
    if (!thing) return;
    setText(title, things.length === 1 ? thing.label : `${things.length} objects`);
    find(section, '.combine').hidden = things.length < 2;
    find(section, '.sliders').hidden = things.length > 1 || thing.locked;
    for (const slider of sliders) {
      const name = /** @type {Tidying} */ (slider.dataset.tidy);
      slider.value = String(Math.round(100 * toSlider(name, thing.finish[name])));
      setText(find(/** @type {HTMLElement} */ (slider.parentElement), 'output'), tidyText(name, thing, state));
    }
  }, (a, b) => a.length === b.length && a.every((thing, at) => thing === b[at]));
  watch(store, (state) => workOf(state).sketch.length > 0, (busy, state) => {
    section.hidden = busy || workOf(state).selected.length === 0;
  });
}

/**
 * One movement of a slider is one step to undo.
 * @param {HTMLInputElement} slider
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function makeTidySlider(slider, store, actions) {
  const name = /** @type {Tidying} */ (slider.dataset.tidy);
  let goesOn = false;
  slider.addEventListener('input', () => {
    const [id] = workOf(store.get()).selected;
    if (id === undefined) return;
    actions.tidy(id, { [name]: fromSlider(name, Number(slider.value) / 100) }, goesOn);
    goesOn = true;
  });
  slider.addEventListener('change', () => (goesOn = false));
}

/** @param {Tidying} name @param {number} at from -1 to 1 */
function fromSlider(name, at) {
  return RANGES[name] * (name === 'holes' || name === 'islands' ? at * at : at);
}

/** @param {Tidying} name @param {number} value */
function toSlider(name, value) {
  const share = value / RANGES[name];
  return name === 'holes' || name === 'islands' ? Math.sqrt(share) : share;
}

/** @param {Tidying} name @param {Thing} thing @param {State} state */
function tidyText(name, thing, state) {
  const value = thing.finish[name];
  const [frame, whole] = [frameOf(state, thing), pictureFrame(state)];
  if (value === 0 || !frame || !whole) return 'off';
  const share = (cellsPerPixel(whole) / cellsPerPixel(frame)) ** 2;
  if (name === 'holes' || name === 'islands') return `≤ ${(100 * value * share).toFixed(2)} %`;
  const pixels = value / cellsPerPixel(frame);
  return `${pixels > 0 && name === 'grow' ? '+' : ''}${pixels.toFixed(Math.abs(pixels) < 10 ? 1 : 0)} px`;
}

/** On a small screen the objects come and go; a mask in the making has their room. @param {Store<State>} store */
function mountSheet(store) {
  const open = byId('open-panel', HTMLButtonElement);
  const panel = byId('panel', HTMLElement);
  /** @param {boolean} shown */
  const show = (shown) => {
    panel.classList.toggle('open', shown);
    open.setAttribute('aria-expanded', String(shown));
  };
  open.addEventListener('click', () => show(!panel.classList.contains('open')));
  byId('close-panel', HTMLButtonElement).addEventListener('click', () => {
    show(false);
    open.focus();
  });
  watch(store, ({ picture }) => picture?.key ?? null, () => show(false));
  watch(store, (state) => workOf(state).sketch.length > 0, (busy) => busy && show(false));
}
