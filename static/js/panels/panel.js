// @ts-check
/** Everything around the picture that tells or offers: header, progress, problems, toolbar, status line. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Tier } from '../decoding/tiers.js' */
/** @import { Decoder, Phase, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { TIERS, TIER_NAMES } from '../decoding/tiers.js';
import { byId, create, find, setText, showShare } from '../dom.js';
import { isKept, missingView, viewInUse } from '../state/questions.js';
import { committedPrompts, pictureFrame, pictureSize, pictureView, quantile, workOf } from '../state/selectors.js';
import { shareOf, shownField } from '../state/specks.js';
import { watch } from '../state/store.js';

const CAN_HOVER = matchMedia('(hover: hover)').matches;
const FIRST_HINT = CAN_HOVER
  ? 'Move over the picture. Click to keep a mask, drag to draw a box.'
  : 'Tap to keep a mask, drag to draw a box.';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountPanel(store, actions) {
  mountScreens(store, actions);
  mountProgress(store);
  mountProblems(store, actions);
  mountToolbar(store, actions);
  mountStatus(store);
  mountTiers(store, actions);
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountScreens(store, actions) {
  const work = byId('work', HTMLElement);
  const stage = byId('stage', HTMLElement);
  const plate = byId('plate', HTMLElement);
  const close = byId('close-picture', HTMLButtonElement);
  const name = byId('picture-name', HTMLElement);
  close.addEventListener('click', actions.putAside);

  watch(store, ({ picture }) => picture?.key ?? null, (key, { picture }) => {
    document.body.dataset.screen = picture ? 'picture' : 'start';
    work.hidden = close.hidden = name.hidden = key === null;
    setText(name, picture?.name ?? '');
    document.title = picture ? `${picture.name} – Segment Anything` : 'Segment Anything';
    if (key === null) return;
    stage.setAttribute('aria-label', `Picture ${picture?.name}`);
    stage.focus({ preventScroll: true });
  });
  watch(store, ({ picture }) => picture?.phase.status === 'ready', (ready) => stage.classList.toggle('ready', ready));
  watch(store, pictureView, (view) => {
    const place = view ? { left: view.x, top: view.y, width: view.width, height: view.height } : {};
    plate.removeAttribute('style');
    for (const [side, value] of Object.entries(place)) plate.style.setProperty(side, `${value}px`);
    stage.classList.toggle('zoomed', Boolean(store.get().picture?.lens));
    plate.classList.toggle('waiting', !view);
  }, (a, b) => JSON.stringify(a) === JSON.stringify(b));
}

/** @param {Store<State>} store */
function mountProgress(store) {
  const box = byId('progress', HTMLElement);
  const track = find(box, '.track');
  watch(store, ({ picture }) => picture?.phase ?? null, (phase) => {
    box.hidden = phase === null || phase.status === 'ready' || phase.status === 'failed';
    if (box.hidden || !phase) return;
    const share = 'progress' in phase ? phase.progress : null;
    setText(find(box, 'p'), phaseText(phase));
    showShare(track, share);
  });
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountProblems(store, actions) {
  const card = byId('picture-problem', HTMLElement);
  find(card, '[data-do="retry"]').addEventListener('click', () => retryPicture(store, actions));
  find(card, '[data-do="close"]').addEventListener('click', actions.closeCurrent);

  watch(store, ({ picture }) => picture?.phase ?? null, (phase) => {
    card.hidden = phase?.status !== 'failed';
    if (phase?.status !== 'failed') return;
    setText(find(card, 'h2'), phase.problem.title);
    setText(find(card, 'p'), phase.problem.detail);
  });
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
async function retryPicture(store, actions) {
  if (store.get().service.status === 'failed') await actions.retryService();
  actions.reopenPicture();
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountToolbar(store, actions) {
  const button = (/** @type {string} */ id) => byId(id, HTMLButtonElement);
  const [include, exclude] = [button('label-include'), button('label-exclude')];
  include.addEventListener('click', () => actions.chooseLabel(1));
  exclude.addEventListener('click', () => actions.chooseLabel(0));
  button('undo').addEventListener('click', actions.undo);
  button('redo').addEventListener('click', actions.redo);
  button('clear').addEventListener('click', actions.clear);
  button('keep').addEventListener('click', actions.keep);
  button('save-cutout').addEventListener('click', actions.saveCutOut);
  button('save-mask').addEventListener('click', actions.saveMask);

  watch(store, ({ label }) => label, (label) => {
    include.setAttribute('aria-pressed', String(label === 1));
    exclude.setAttribute('aria-pressed', String(label === 0));
  });
  watch(store, ({ picture }) => (picture?.timeline.past.length ?? 0) > 0, (some) => {
    button('undo').disabled = !some;
  });
  watch(store, ({ picture }) => (picture?.timeline.future.length ?? 0) > 0, (some) => {
    button('redo').disabled = !some;
  });
  watch(store, (state) => workOf(state).sketch.length > 0 || workOf(state).selected.length > 0, (some) => {
    button('clear').disabled = !some;
  });
  watch(store, isKept, (kept) => {
    button('keep').disabled = !kept;
  });
  watch(store, (state) => workOf(state).editing !== null, (editing) => {
    setText(find(button('keep'), 'span'), editing ? 'Done' : 'Keep');
  });
  watch(store, (state) => isKept(state) || (workOf(state).sketch.length === 0 && workOf(state).selected.length > 0), (some) => {
    button('save-cutout').disabled = button('save-mask').disabled = !some;
  });
}

/** @param {Store<State>} store */
function mountStatus(store) {
  const line = byId('status', HTMLElement);
  const facts = byId('facts', HTMLElement);
  watch(store, statusText, (text) => setText(line, text));
  watch(store, factsOf, (pairs) => {
    facts.replaceChildren(...pairs.map(([name, value]) => fact(name, value)));
  }, (a, b) => a.join() === b.join());
}

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
function mountTiers(store, actions) {
  const button = byId('tier', HTMLButtonElement);
  const popover = byId('tiers', HTMLElement);
  const retry = find(popover, ':scope > button');
  retry.addEventListener('click', actions.retryDecoder);
  watch(store, ({ service }) => service.status === 'failed', (failed) => {
    button.hidden = failed;
  });
  watch(store, ({ decoder }) => decoder, (decoder) => {
    button.dataset.status = decoder.status;
    setText(find(button, '.tier-name'), tierText(decoder));
    button.title = decoder.refused.map(({ tier, reason }) => `${TIER_NAMES[tier]}: ${reason}`).join('\n');
    find(popover, 'ul').replaceChildren(...TIERS.map((tier) => tierRow(tier, decoder)));
    retry.hidden = decoder.status !== 'failed';
  });
}

/**
 * @param {Tier} tier
 * @param {Decoder} decoder
 */
function tierRow(tier, decoder) {
  const used = decoder.status !== 'failed' && decoder.tier === tier;
  const refusal = decoder.refused.filter((each) => each.tier === tier).at(-1);
  const words = used ? usedText(decoder) : (refusal?.reason ?? 'In reserve.');
  return create('li', { className: used ? 'used' : '' }, [
    create('strong', { textContent: TIER_NAMES[tier] }),
    create('span', { textContent: words }),
  ]);
}

/** @param {Decoder} decoder */
function usedText(decoder) {
  if (decoder.status !== 'ready') return 'Starting…';
  if (decoder.tier === 'server') return 'In use: each mask is decoded by the server.';
  return `In use: ${decoder.precision} decoder${decoder.tier === 'webgpu' ? '' : `, ${threadsText(decoder.threads)}`}.`;
}

/** @param {Decoder} decoder */
function tierText(decoder) {
  if (decoder.status === 'failed') return 'No decoder';
  if (decoder.status === 'ready') return decoder.threads > 1 ? `WebAssembly, ${threadsText(decoder.threads)}` : TIER_NAMES[decoder.tier];
  if (decoder.progress === 1) return 'Starting decoder';
  const share = decoder.progress === null ? '' : ` ${Math.round(decoder.progress * 100)} %`;
  return `Loading decoder${share}`;
}

/** @param {number} threads */
function threadsText(threads) {
  return threads === 1 ? 'one thread' : `${threads} threads`;
}

/** @param {State} state */
function statusText(state) {
  const { picture, decoder, notice } = state;
  if (notice) return notice;
  if (!picture) return '';
  const { status } = picture.phase;
  if (status === 'failed') return '';
  if (status !== 'ready') return phaseText(picture.phase, 'brief');
  if (decoder.status === 'failed') return `${decoder.problem.title}: ${decoder.problem.detail}`;
  if (decoder.status === 'loading') return 'The picture is ready. The decoder is still loading.';
  if (workOf(state).sketch.length === 0) return FIRST_HINT;
  return keptText(state);
}

/** @param {State} state */
function keptText(state) {
  const { clicks, box } = committedPrompts(state);
  const parts = [count(clicks.length, 'point'), box ? '1 box' : ''].filter(Boolean).join(', ') || 'Painted';
  return `${parts}.${maskText(state)}`;
}

/** What a screen reader says of the mask. @param {State} state */
function maskText(state) {
  const frame = pictureFrame(state);
  if (!frame || !state.mask || !isKept(state)) return '';
  const share = 100 * shareOf(state, shownField(state, state.mask), state.mask.question);
  const score = state.mask.candidates.length > 0 ? `, score ${Math.min(1, Math.max(0, state.mask.iou)).toFixed(2)}` : '';
  return ` The mask covers ${share.toFixed(share < 10 ? 1 : 0)} % of the picture${score}.`;
}

/**
 * @param {Phase} phase
 * @param {'full' | 'brief'} [form] the brief form does not count, so that it is announced once
 */
function phaseText(phase, form = 'full') {
  const share = form === 'full' && 'progress' in phase && phase.progress !== null ? ` ${Math.round(phase.progress * 100)} %` : '';
  switch (phase.status) {
    case 'reading':
      return 'Opening the picture…';
    case 'uploading':
      return `Sending the picture…${share}`;
    case 'encoding':
      return phase.ahead > 0 ? `Waiting: ${count(phase.ahead, 'picture')} ahead` : `Encoding the picture…${share}`;
    case 'refused':
      return `The server has too much to do.${form === 'full' ? ` Trying again in ${phase.seconds} s…` : ' The picture is sent again.'}`;
    case 'downloading':
      return `Fetching the result…${share}`;
    default:
      return '';
  }
}

/**
 * @param {State} state
 * @returns {[string, string][]}
 */
function factsOf(state) {
  const { service, models, picture, latencies } = state;
  /** @type {[string, string][]} */
  const facts = [];
  if (service.status === 'ready' && models.offers.length < 2) facts.push(['Model', service.info.model.id]);
  const size = picture && pictureSize(picture);
  if (size) facts.push(['Picture', `${size.width} × ${size.height}`]);
  if (picture?.encodeSeconds != null) facts.push(['Encode', secondsText(picture.encodeSeconds)]);
  const closer = viewInUse(state);
  if (closer || missingView(state)) facts.push(['Close-up', closer ? secondsText(closer.seconds) : '…']);
  const median = quantile(latencies, 0.5);
  if (median !== null) facts.push(['Hover', `${Math.round(median)} ms`]);
  return facts;
}

/** @param {number} seconds */
function secondsText(seconds) {
  return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
}

/**
 * @param {string} name
 * @param {string} value
 */
function fact(name, value) {
  return create('div', { className: `fact-${name.toLowerCase()}` }, [create('dt', { textContent: name }), create('dd', { textContent: value })]);
}

/**
 * @param {number} number
 * @param {string} thing
 */
function count(number, thing) {
  if (number === 0) return '';
  return `${number} ${thing}${number === 1 ? '' : 's'}`;
}
