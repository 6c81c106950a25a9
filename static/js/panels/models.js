// @ts-check
/** The button that names the model, and the list behind it: what there is, what it would cost to have it, how far it is. */

/** @import { Actions } from '../actions/index.js' */
/** @import { ModelOffer } from '../server/api.js' */
/** @import { Models, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { byId, create, find, setText, showShare } from '../dom.js';
import { watch } from '../state/store.js';
import { megabytes } from './memory.js';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountModels(store, actions) {
  const button = byId('model', HTMLButtonElement);
  const popover = byId('models', HTMLElement);
  const list = find(popover, 'ul');
  popover.addEventListener('beforetoggle', ({ newState }) => newState === 'open' && actions.lookAround());

  watch(store, ({ models, service }) => ({ models, used: service.status === 'ready' ? service.info.id : null }), ({ models, used }) => {
    const { offers, coming } = models;
    button.hidden = offers.length < 2;
    button.dataset.status = coming ? 'loading' : 'ready';
    setText(find(button, 'b'), offers.find(({ id }) => id === used)?.title ?? '…');
    const held = document.activeElement?.closest('#models li')?.id;
    list.replaceChildren(...offers.map((offer) => row(offer, models, offer.id === used, actions)));
    if (held) (document.getElementById(held)?.querySelector('button') ?? popover).focus();
  }, (a, b) => a.models === b.models && a.used === b.used);
}

/**
 * @param {ModelOffer} offer
 * @param {Models} models
 * @param {boolean} used
 * @param {Actions} actions
 */
function row(offer, { coming, shares, asked }, used, actions) {
  const { id, title, state } = offer;
  const item = create('li', { id: `model-${id}`, className: used ? 'used' : '' }, [
    create('strong', { textContent: title }),
    create('span', { textContent: used && coming !== id ? 'In use.' : wordsOf(offer, coming === id) }),
  ]);
  /** @param {string} text @param {() => void} act @param {string} [className] */
  const offerTo = (text, act, className = '') => {
    const button = create('button', { type: 'button', className, textContent: text, ariaLabel: `${text}: ${title}` });
    button.addEventListener('click', act);
    return button;
  };
  if (state === 'downloading') {
    item.append(track(shares[id] ?? null), buttons(offerTo('Cancel', () => actions.cancelDownload(id))));
  } else if (asked === id) {
    item.append(create('span', { className: 'terms', textContent: termsOf(offer) }), buttons(
      offerTo('Agree and download', () => actions.downloadModel(id), 'primary'),
      offerTo('Not now', actions.dismissDownload),
    ));
  } else if (!used && coming !== id) {
    const text = state === 'failed' ? 'Try again' : state === 'not_downloaded' ? 'Download…' : 'Use';
    item.append(buttons(offerTo(text, () => actions.chooseModel(id))));
  }
  return item;
}

/** @param {HTMLButtonElement[]} these */
function buttons(...these) {
  return create('div', { className: 'model-buttons' }, these);
}

/** @param {number | null} share */
function track(share) {
  const bar = create('div', { className: 'track', role: 'progressbar', ariaLabel: 'Download' }, [create('div', { className: 'fill' })]);
  showShare(bar, share ?? 0);
  return bar;
}

/**
 * @param {ModelOffer} offer
 * @param {boolean} coming
 */
function wordsOf({ state, bytes, problem }, coming) {
  const size = bytes ? megabytes(bytes) : 'size unknown';
  switch (state) {
    case 'downloading':
      return bytes ? `Downloading ${size}…` : 'Downloading…';
    case 'loading':
      return 'The server loads it…';
    case 'failed':
      return `${problem?.title}: ${problem?.detail}`;
    case 'not_downloaded':
      return `Not downloaded, ${size}.`;
    default:
      return coming ? 'Getting ready…' : state === 'loaded' ? 'Ready.' : `On the server, ${size}.`;
  }
}

/** What one agrees to. @param {ModelOffer} offer */
function termsOf({ source, sha256, licence, citation }) {
  const from = source ? new URL(source).host : 'its source';
  const verified = sha256 ? '' : ` Unverified: no SHA-256 is published, what ${from} says of it is all that is compared.`;
  return `From ${from}, to the server's disk. Licence: ${licence}. ${citation}.${verified}`;
}
