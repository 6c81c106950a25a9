// @ts-check
/** The mask in hand: the model's four candidates to choose from, how it goes on, and what is known about it. */

/** @import { Actions } from '../actions/index.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Candidate } from '../state/work.js' */
import { byId, create, find, setText } from '../dom.js';
import { extentOf, stability } from '../masks/fields.js';
import { GRID } from '../masks/geometry.js';
import { frameOf, pictureFrame, workOf } from '../state/selectors.js';
import { shareOf, shownField, shownLogits } from '../state/specks.js';
import { watch } from '../state/store.js';
import { TOOLS } from '../tools/index.js';

const NAMES = ['Single', 'Part', 'Object', 'Group'];
const MEANINGS = [
  'The single mask, for several points or a box',
  'The smallest of three: often a part',
  'The middle one of three: often the object',
  'The largest of three: often a group',
];
/** @type {readonly Candidate[]} */
const NONE = [];
/** Cells per pixel of a preview. */
const COARSE = 2;
const INSIDE = [84, 120, 255, 190];
const OUTSIDE = [10, 10, 20, 110];

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountSketch(store, actions) {
  const section = byId('sketch', HTMLElement);
  mountSwitch('refines', store, actions.setRefines);
  mountSwitch('tidies', store, actions.setTidies);
  watch(store, ({ tool, picture }) => (picture ? tool : null), (tool) => {
    setText(find(section, '.empty'), TOOLS.find(({ id }) => id === tool)?.hint ?? '');
  });
  watch(store, (state) => ({ tidies: state.tidies, step: workOf(state).sketch.at(-1) ?? null }), ({ step }, state) => {
    section.classList.toggle('is-made', step !== null);
    find(section, '.facts').replaceChildren(...(step?.answer ? factsOf(state) : []));
  }, (a, b) => a.tidies === b.tidies && a.step === b.step);
  mountCandidates(byId('candidates', HTMLElement), store, actions);
  mountLevel(byId('level', HTMLElement), store, actions);
}

/**
 * @param {'refines' | 'tidies'} name of the button and of what it sets
 * @param {Store<State>} store
 * @param {(on: boolean) => void} set
 */
function mountSwitch(name, store, set) {
  const button = byId(name, HTMLButtonElement);
  button.addEventListener('click', () => set(!store.get()[name]));
  watch(store, (state) => state[name], (on) => (button.ariaChecked = String(on)));
}

/**
 * @param {HTMLElement} line
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountLevel(line, store, actions) {
  find(line, 'button').addEventListener('click', actions.forgetLevel);
  watch(store, ({ level }) => level, (level) => {
    line.hidden = level === null;
    setText(find(line, 'strong'), level === null ? '' : NAMES[level]);
  });
}

/**
 * @param {HTMLElement} group
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountCandidates(group, store, actions) {
  const buttons = NAMES.map((name, index) => candidateButton(name, index, actions));
  group.replaceChildren(...buttons);
  group.addEventListener('keydown', (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    actions.cyclePick(by);
    buttons.find((button) => button.ariaChecked === 'true')?.focus();
  });
  watch(store, (state) => ({ tidies: state.tidies, candidates: candidatesOf(state) }), ({ candidates }, state) => {
    group.hidden = candidates.length === 0;
    candidates.forEach((candidate, index) => showCandidate(buttons[index], candidate, state));
  }, (a, b) => a.tidies === b.tidies && a.candidates === b.candidates);
  watch(store, (state) => workOf(state).sketch.at(-1)?.answer?.index ?? null, (chosen) => {
    buttons.forEach((button, index) => {
      button.ariaChecked = String(index === chosen);
      button.tabIndex = index === chosen ? 0 : -1;
    });
  });
}

/** @param {State} state @returns {readonly Candidate[]} */
function candidatesOf(state) {
  return workOf(state).sketch.at(-1)?.answer?.candidates ?? NONE;
}

/**
 * @param {string} name
 * @param {number} index
 * @param {Actions} actions
 */
function candidateButton(name, index, actions) {
  const title = `${MEANINGS[index]}. Chosen after one click it answers the hover, too; choose it again for the best.`;
  const words = create('span', {}, [create('b', { textContent: name }), create('small'), create('small')]);
  const children = [create('canvas'), words];
  const button = create('button', { type: 'button', title, role: 'radio' }, children);
  button.addEventListener('click', () => actions.pick(index));
  return button;
}

/**
 * @param {HTMLButtonElement} button
 * @param {Candidate} candidate
 * @param {State} state
 */
function showCandidate(button, { iou, logits, index }, state) {
  const question = workOf(state).sketch.at(-1)?.answer?.question;
  const frame = question && frameOf(state, question);
  const canvas = /** @type {HTMLCanvasElement} */ (find(button, 'canvas'));
  if (!frame) return;
  const quality = Math.round(100 * Math.min(1, Math.max(0, iou)));
  const steady = Math.round(100 * stability(logits));
  const [first, second] = button.querySelectorAll('small');
  setText(first, `Quality ${quality} %`);
  setText(second, `Stable ${steady} %`);
  button.ariaLabel = `${NAMES[index]}: predicted quality ${quality} %, stability ${steady} %`;
  const { columns, rows } = extentOf(frame);
  const shown = shownLogits(state, logits, question);
  drawPreview(canvas, shown, Math.ceil(columns / COARSE), Math.ceil(rows / COARSE));
  canvas.style.backgroundImage = state.picture?.thumbnail && !question.frame ? `url("${state.picture.thumbnail}")` : '';
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} field
 * @param {number} width
 * @param {number} height
 */
function drawPreview(canvas, field, width, height) {
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const inside = field[y * COARSE * GRID + x * COARSE] > 0;
      image.data.set(inside ? INSIDE : OUTSIDE, (y * width + x) * 4);
    }
  }
  canvas.getContext('2d')?.putImageData(image, 0, 0);
}

/** @param {State} state */
function factsOf(state) {
  const frame = pictureFrame(state);
  const step = workOf(state).sketch.at(-1);
  if (!frame || !step?.answer) return [];
  const percent = (/** @type {number} */ share) => `${(100 * Math.min(1, Math.max(0, share))).toFixed(share < 0.1 ? 1 : 0)} %`;
  /** @type {[string, string][]} */
  const facts = [['Covers', percent(shareOf(state, shownField(state, step.answer), step.answer.question))]];
  if (step.painted) facts.push(['Made', 'by hand']);
  return facts.map(([name, value]) => create('div', {}, [create('dt', { textContent: name }), create('dd', { textContent: value })]));
}
