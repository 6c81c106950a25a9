// @ts-check
/** The panel to take files home: what, of which objects, how; and the way back in. Loaded when it is first opened. */

/** @import { Actions } from '../actions/index.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Choice, Matter, Options } from './choices.js' */
/** @import { Clerk } from './clerk.js' */
import { byId, create, icon, setText, showShare } from '../dom.js';
import { clamp } from '../masks/geometry.js';
import { pictureSize, pictureView, strip, workOf } from '../state/selectors.js';
import { watch } from '../state/store.js';
import { CHOICES, GROUPS } from './choices.js';
import { hireClerk } from './clerk.js';
import { createLook } from './look.js';
import { luggageOf } from './luggage.js';
import { download, pack } from './take-home.js';

/** @typedef {ReturnType<typeof createPanel>} TakeHomePanel */

const CROSS = 'm5.500 5.500 9 9m0-9-9 9';
const MOST_MEASURED = 24;
const PAUSE_MS = 120;
const LARGEST_TOLERANCE = 5;
const ACCEPTED = '.json,.txt,.yaml,.yml,.names,.zip,.png';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function createPanel(store, actions) {
  const form = create('form', { className: 'take-form' });
  const formats = GROUPS.map(({ name, choices }) => (
    create('fieldset', {}, [create('legend', { textContent: name }), ...choices.map(formatRow)])));
  const scope = create('div', { className: 'take-scope' }, [
    radios('objects', 'Which objects', [['all', 'All objects'], ['selected', 'Selected']]),
    radios('pictures', 'Which pictures', [['one', 'This picture'], ['all', 'All pictures']]),
  ]);
  const edgeWidth = slider('edge', 'Width', 1, 32, 6);
  const divide = slider('divide', 'Before and after', 0, 100, 50);
  const cut = create('fieldset', { className: 'take-options' }, [
    create('legend', { textContent: 'Cut-outs' }),
    radios('trimmed', 'Size', [['yes', 'Trimmed'], ['no', 'Full size']]),
    radios('rim', 'Edge', [['hard', 'Hard'], ['feather', 'Feather'], ['soft', 'Soft']]),
    edgeWidth.element, divide.element,
  ]);
  const tolerance = slider('tolerance', 'Outline', 0, 100, 0);
  const measured = create('p', { className: 'take-measure', role: 'status' });
  const outline = create('fieldset', { className: 'take-options' }, [
    create('legend', { textContent: 'Outlines' }), tolerance.element, measured,
  ]);
  const classes = create('p', { className: 'take-measure' });
  const bar = { className: 'track', role: 'progressbar', ariaLabel: 'Packing', ariaValueMin: '0', ariaValueMax: '100' };
  const track = create('div', bar, [create('div', { className: 'fill' })]);
  const says = create('p', { className: 'take-says', role: 'status' });
  const go = create('button', { type: 'submit', className: 'primary', textContent: 'Save' });
  const copy = create('button', { type: 'button', textContent: 'Copy cut-out' });
  const cancel = create('button', { type: 'button', textContent: 'Cancel', hidden: true });
  const input = create('input', { type: 'file', multiple: true, accept: ACCEPTED, hidden: true, ariaLabel: 'Annotations' });
  const bring = create('button', { type: 'button', textContent: 'Bring annotations in…' });
  const close = create('button', { type: 'button', className: 'square', ariaLabel: 'Close', title: 'Close (Esc)' }, [icon(CROSS)]);
  const foot = create('div', { className: 'take-foot' }, [
    track, says, create('div', { className: 'take-buttons' }, [go, copy, cancel]), bring, input,
  ]);
  const [pictures, ...others] = formats;
  form.append(scope, pictures, cut, ...others, outline, classes);
  const title = create('h2', { id: 'take-home-title', textContent: 'Take home' });
  const panel = create('aside', { id: 'take-home', className: 'panel take-home open', hidden: true }, [
    create('div', { className: 'block-head' }, [title, close]), form, foot,
  ]);
  panel.setAttribute('aria-labelledby', title.id);
  byId('panel', HTMLElement).after(panel);
  form.id = 'take-home-form';
  go.setAttribute('form', form.id);

  const look = createLook(byId('stage', HTMLElement));
  /** @type {{clerk: Clerk, ready: Promise<unknown>} | null} who measures and cuts for the eye */
  let bench = null;
  /** @type {AbortController | null} */
  let packing = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  /** The newest wish; answers to older ones are dropped. */
  let wish = 0;

  form.addEventListener('input', show);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (packing) return;
    packing = new AbortController();
    leave(packing).finally(() => (packing = null));
  });
  cancel.addEventListener('click', () => packing?.abort());
  copy.addEventListener('click', () => actions.copyCutOut(options()));
  bring.addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    const files = [...(input.files ?? [])];
    input.value = '';
    if (files.length > 0) actions.bringIn(files);
  });
  close.addEventListener('click', () => toggle(false));
  panel.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    toggle(false);
  });
  check('format', 'cutouts');

  watch(store, ({ picture }) => picture?.key ?? null, () => toggle(false));
  watch(store, (state) => ({ work: workOf(state), pictures: strip(state).length }), (now) => {
    if (panel.hidden) return;
    if (now.work.selected.length === 0) check('objects', 'all');
    dismiss();
    show();
  }, (a, b) => a.work.things === b.work.things && a.work.selected === b.work.selected && a.pictures === b.pictures);
  watch(store, pictureView, later, (a, b) => JSON.stringify(a) === JSON.stringify(b));

  /** @param {boolean} [shown] */
  function toggle(shown = panel.hidden !== false) {
    if (shown === !panel.hidden) return;
    panel.hidden = !shown;
    byId('panel', HTMLElement).classList.toggle('is-covered', shown);
    byId('take-home-button', HTMLElement).setAttribute('aria-expanded', String(shown));
    if (shown) {
      show();
      title.tabIndex = -1;
      title.focus();
    } else {
      packing?.abort();
      dismiss();
      byId('take-home-button', HTMLElement).focus();
    }
  }

  function dismiss() {
    bench?.clerk.dispose();
    bench = null;
    wish += 1;
    look.hide();
  }

  /** The controls that matter to what is chosen, and what they come to. */
  function show() {
    const state = store.get();
    const { things, selected } = workOf(state);
    const matters = chosen().flatMap((each) => each.matters);
    const does = (/** @type {Matter} */ matter) => matters.includes(matter);
    const rim = value('rim');
    cut.hidden = !does('cut');
    edgeWidth.element.hidden = rim === 'hard';
    divide.element.hidden = rim === 'hard';
    reveal(outline, does('outline'));
    classes.hidden = !does('classes');
    const [ofObjects, ofPictures] = /** @type {HTMLCollectionOf<HTMLElement>} */ (scope.children);
    ofObjects.hidden = selected.length === 0 || selected.length === things.length;
    ofPictures.hidden = strip(state).length < 2;
    edgeWidth.say(`${options().feather || options().soft} px`);
    tolerance.say(options().tolerance === null ? 'chosen for you' : `≤ ${options().tolerance?.toFixed(1)} px`);
    look.divide(Number(value('divide')) / 100);
    const labels = [...new Set(things.map(({ label }) => label).reverse())];
    setText(classes, labels.length > 0 ? `Classes: ${labels.map((label, at) => `${at} ${label}`).join(', ')}` : '');
    go.disabled = chosen().length === 0 || things.length === 0;
    copy.disabled = selected.length === 0;
    if (!packing) setText(says, things.length === 0 ? 'Keep a mask first: what is kept can be taken home.' : '');
    later();
  }

  function later() {
    clearTimeout(waiting);
    wish += 1;
    if (!panel.hidden) waiting = setTimeout(() => tell().catch((error) => setText(measured, error.message)), PAUSE_MS);
  }

  /** What the options come to: points and error of outlines, and the look of an edge. */
  async function tell() {
    const number = (wish += 1);
    const now = () => number === wish && !panel.hidden;
    const state = store.get();
    const wantsLook = !cut.hidden && value('rim') !== 'hard';
    if (!wantsLook) look.hide();
    if ((outline.hidden && !wantsLook) || workOf(state).things.length === 0) return;
    const { clerk, ready } = (bench ??= hire(state));
    await ready;
    if (now() && wantsLook) await showLook(clerk, state, now);
    if (!now() || outline.hidden) return;
    const isSmooth = chosen().some(({ id }) => id === 'svg');
    const { points, error } = await clerk.outline(isSmooth, options().tolerance);
    const of = workOf(state).selected.length > 0 ? 'Selected' : 'All';
    if (now()) setText(measured, `${of}: ${points.toLocaleString('en')} points, within ${error.toFixed(2)} px${isSmooth ? ', as curves' : ''}`);
  }

  /** @param {State} state @returns {{clerk: Clerk, ready: Promise<unknown>}} */
  function hire(state) {
    const clerk = hireClerk();
    const objects = workOf(state).selected.length > 0 ? 'selected' : 'all';
    const [parcel] = luggageOf(state, { pictures: 'one', objects });
    return { clerk, ready: clerk.tell([{ ...parcel, items: parcel.items.slice(-MOST_MEASURED) }]) };
  }

  /** @param {Clerk} clerk @param {State} state @param {() => boolean} now */
  async function showLook(clerk, state, now) {
    const [view, size] = [pictureView(state), state.picture && pictureSize(state.picture)];
    if (!view || !size) return;
    const scale = view.width / size.width;
    const [left, top] = [clamp(-view.x / scale, 0, size.width), clamp(-view.y / scale, 0, size.height)];
    const right = clamp((state.stage.width - view.x) / scale, 0, size.width);
    const bottom = clamp((state.stage.height - view.y) / scale, 0, size.height);
    const [x, y] = [Math.floor(left), Math.floor(top)];
    const visible = { x, y, width: Math.ceil(right) - x, height: Math.ceil(bottom) - y };
    const fine = Math.min(1, scale * devicePixelRatio);
    const hard = await clerk.look({ ...options(), feather: 0, soft: 0 }, visible, fine);
    const soft = await clerk.look(options(), visible, fine);
    if (now() && hard.bitmap && soft.bitmap) look.show(hard, soft, view, scale);
  }

  /** @param {AbortController} leaving */
  async function leave({ signal }) {
    busy(true);
    try {
      const parcels = luggageOf(store.get(), {
        pictures: value('pictures') === 'all' ? 'all' : 'one', objects: value('objects') === 'selected' ? 'selected' : 'all',
      });
      const { name, file, empty } = await pack(parcels, chosen().map(({ id }) => id), options(), { signal, onShare });
      download(name, file);
      const left = empty.length > 0 ? ` Left out, for they cover no pixel: ${empty.join(', ')}.` : '';
      setText(says, `${name}, ${sizeText(file.size)}.${left}`);
    } catch (error) {
      setText(says, signal.aborted ? 'Cancelled; nothing was written.' : messageOf(error));
    } finally {
      busy(false);
    }
  }

  /** @param {number} share */
  function onShare(share) {
    showShare(track, share);
    setText(says, `Packing… ${Math.round(100 * share)} %`);
  }

  /** @param {boolean} is */
  function busy(is) {
    track.hidden = cancel.hidden = !is;
    go.hidden = copy.hidden = is;
    if (is) onShare(0);
  }

  /** @returns {Choice[]} */
  function chosen() {
    const ids = new FormData(form).getAll('format');
    return CHOICES.filter(({ id }) => ids.includes(id));
  }

  /** @returns {Options} */
  function options() {
    const [rim, width, slack] = [value('rim'), Number(value('edge')), Number(value('tolerance')) / 100];
    return {
      trimmed: value('trimmed') === 'yes', feather: rim === 'feather' ? width : 0, soft: rim === 'soft' ? width : 0,
      tolerance: slack === 0 ? null : Math.round(10 * LARGEST_TOLERANCE * slack * slack) / 10,
    };
  }

  /** @param {string} name */
  function value(name) {
    return String(new FormData(form).get(name) ?? '');
  }

  /** @param {string} name @param {string} choice */
  function check(name, choice) {
    const found = form.querySelector(`input[name="${name}"][value="${choice}"]`);
    if (found instanceof HTMLInputElement) found.checked = true;
  }

  busy(false);
  return { toggle: () => toggle() };
}

/** Show or hide options; those that appear come into view. @param {HTMLElement} options @param {boolean} shown */
function reveal(options, shown) {
  const appear = shown && options.hidden;
  options.hidden = !shown;
  if (appear) options.scrollIntoView({ block: 'nearest' });
}

/** @param {Choice} choice */
function formatRow({ id, name, says }) {
  const box = create('input', { type: 'checkbox', name: 'format', value: id });
  return create('label', { className: 'take-format', title: says }, [box, create('span', { textContent: name })]);
}

/** @param {string} name @param {string} says @param {readonly (readonly [string, string])[]} choices the first is chosen */
function radios(name, says, choices) {
  const group = create('div', { className: 'segments wide', role: 'radiogroup', ariaLabel: says });
  group.append(...choices.map(([choice, text], at) => create('label', {}, [
    create('input', { type: 'radio', name, value: choice, checked: at === 0, className: 'visually-hidden' }), create('span', { textContent: text }),
  ])));
  return group;
}

/** @param {string} name @param {string} says @param {number} min @param {number} max @param {number} value */
function slider(name, says, min, max, value) {
  const output = create('output');
  const range = create('input', { type: 'range', name, min: String(min), max: String(max), value: String(value) });
  const element = create('label', { className: 'slider' }, [create('span', { textContent: says }), range, output]);
  return { element, say: (/** @type {string} */ text) => setText(output, text) };
}

/** @param {number} bytes */
function sizeText(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
