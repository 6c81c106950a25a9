// @ts-check
/** The open pictures side by side; each keeps its work. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Picture, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { byId, create, find, icon } from '../dom.js';
import { strip } from '../state/selectors.js';
import { watch } from '../state/store.js';

const CROSS = 'm6 6 8 8m0-8-8 8';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountStrip(store, actions) {
  const nav = byId('strip', HTMLElement);
  const list = find(nav, 'ul');
  watch(store, (state) => ({ all: strip(state), key: state.picture?.key ?? null }), ({ all, key }) => {
    nav.hidden = all.length === 0 || (all.length === 1 && key !== null);
    list.replaceChildren(...all.map((picture) => card(picture, picture.key === key, actions)));
  }, (a, b) => a.key === b.key && a.all.map(looks).join() === b.all.map(looks).join());
}

/** What a card shows of a picture. @param {Picture} picture */
function looks({ key, name, phase, thumbnail, timeline }) {
  return [key, name, phase.status, thumbnail, timeline.work.things.length].join();
}

/**
 * @param {Picture} picture
 * @param {boolean} current
 * @param {Actions} actions
 */
function card({ key, name, phase, thumbnail, timeline }, current, actions) {
  const objects = timeline.work.things.length;
  const state = phase.status === 'ready' ? (objects ? `${objects}` : '') : phase.status === 'failed' ? '!' : '…';
  const image = thumbnail ? create('img', { src: thumbnail, alt: '' }) : create('span', { className: 'blank' });
  const open = create('button', { type: 'button', className: 'card-open', title: name, ariaLabel: `${name}, ${objects} objects` }, [image]);
  if (state) open.append(create('span', { className: 'badge', textContent: state }));
  if (current) open.setAttribute('aria-current', 'true');
  open.addEventListener('click', () => actions.choosePicture(key));
  const close = create('button', { type: 'button', className: 'card-close', ariaLabel: `Close ${name}` }, [icon(CROSS)]);
  close.addEventListener('click', () => actions.closePicture(key));
  return create('li', {}, [open, close]);
}
