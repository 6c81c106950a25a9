// @ts-check
/** The panel of everything mode: how much to find, how far the search is, and what a click takes. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Found, Grain, Preset } from '../masks/found.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { byId, find, setText, showShare } from '../dom.js';
import { foundHere, offeredHere } from '../state/selectors.js';
import { watch } from '../state/store.js';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountEverything(store, actions) {
  const section = byId('everything', HTMLElement);
  const [begin, all, dismiss] = ['begin', 'all', 'dismiss'].map((name) => find(section, `[data-do="${name}"]`));
  const track = find(section, '.track');
  const presets = /** @type {HTMLElement[]} */ ([...section.querySelectorAll('[data-preset]')]);
  const grains = /** @type {HTMLElement[]} */ ([...section.querySelectorAll('[data-grain]')]);

  begin.addEventListener('click', () => {
    if (foundHere(store.get())?.status === 'running') actions.stopEverything();
    else actions.findEverything();
  });
  all.addEventListener('click', actions.takeAllFound);
  dismiss.addEventListener('click', actions.dismissFound);
  for (const each of presets) each.addEventListener('click', () => actions.choosePreset(/** @type {Preset} */ (each.dataset.preset)));
  for (const each of grains) each.addEventListener('click', () => actions.chooseGrain(/** @type {Grain} */ (each.dataset.grain)));

  watch(store, ({ preset }) => preset, (preset) => press(presets, (each) => each.dataset.preset === preset));
  watch(store, ({ grain }) => grain, (grain) => press(grains, (each) => each.dataset.grain === grain));
  watch(store, ({ picture }) => picture?.phase.status === 'ready', (ready) => begin.toggleAttribute('disabled', !ready));
  watch(store, foundHere, (found) => {
    const running = found?.status === 'running';
    setText(begin, running ? 'Stop' : 'Find everything');
    begin.classList.toggle('primary', !running);
    const share = found?.total ? found.done / found.total : 0;
    track.hidden = !running;
    showShare(track, share);
  });
  watch(store, (state) => textOf(foundHere(state), offeredHere(state).length), (text) => {
    setText(find(section, 'p'), text);
    find(section, 'p').hidden = text === '';
  });
  watch(store, (state) => offeredHere(state).length > 0, (some) => (find(section, '.taking').hidden = !some));
}

/** @param {readonly HTMLElement[]} buttons @param {(button: HTMLElement) => boolean} isPressed */
function press(buttons, isPressed) {
  for (const button of buttons) button.ariaPressed = String(isPressed(button));
}

/**
 * @param {Found | null} found
 * @param {number} left to be taken
 */
function textOf(found, left) {
  if (!found) return '';
  const { status, objects, eta, problem } = found;
  if (status === 'failed') return `${problem?.title}. ${problem?.detail}`;
  const some = `${objects.size} object${objects.size === 1 ? '' : 's'}`;
  if (status === 'running') return `${some} so far${eta === null ? '' : ` · ${Math.ceil(eta)} s left`}`;
  if (objects.size === 0) return status === 'done' ? 'Nothing stood out. Try “Fine”, or point at it yourself.' : 'Stopped.';
  if (left === 0) return 'All taken.';
  return `${some}${status === 'stopped' ? ' until it was stopped' : ''}. Click one to take it; Shift-click asks the model instead.`;
}
