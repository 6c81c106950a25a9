// @ts-check
/** Fetches the closer view that is missing once the picture is looked at quietly; masks in it are finer. */

/** @import { Actions } from './actions/index.js' */
/** @import { CloserView, Window } from './masks/closer-views.js' */
/** @import { Api } from './server/api.js' */
/** @import { Picture, State } from './state/state.js' */
/** @import { Store } from './state/store.js' */
import { createFrame } from './masks/geometry.js';
import { remindingOf } from './server/picture-loader.js';
import { usesServer } from './server/problems.js';
import { parseEmbedding } from './server/protocol.js';
import { missingView } from './state/questions.js';
import { watch } from './state/store.js';

/** Without a movement that asks for another view. */
const STILL_MS = 250;
/** Before a view that could not be had is asked for again. */
const PAUSE_MS = 10_000;

/** @typedef {ReturnType<typeof missingView>} Missing */

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {Api} api
 */
export function followZoom(store, actions, api) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  let busy = false;
  /** @type {Missing} the last that could not be had, for a while */
  let refused = null;

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let resting;

  watch(store, missingView, settle, same);
  watch(store, ({ cut, hover }) => (cut ? hover : null), (hover) => {
    clearTimeout(resting);
    if (hover) resting = setTimeout(actions.lookAgain, STILL_MS);
  });

  /** @param {Missing} missing */
  function settle(missing) {
    clearTimeout(waiting);
    if (!missing || busy || same(missing, refused)) return;
    waiting = setTimeout(() => look(missing), missing.urgent ? 0 : STILL_MS);
  }

  /** One at a time: of those that are wanted meanwhile the last is next. @param {NonNullable<Missing>} missing */
  async function look(missing) {
    const { picture, decoder, models } = store.get();
    if (picture?.key !== missing.key) return;
    busy = true;
    try {
      actions.viewArrived(await fetchView(picture, missing.window, api, models.chosen, !usesServer(decoder)));
      refused = null;
    } catch {
      refused = missing;
      setTimeout(() => {
        refused = null;
        settle(missingView(store.get()));
      }, PAUSE_MS);
      actions.viewRefused(missing.key, missing.window);
    } finally {
      busy = false;
      settle(missingView(store.get()));
    }
  }
}

/**
 * @param {Picture} picture
 * @param {Window} window
 * @param {Api} api
 * @param {string | null} model
 * @param {boolean} wantsEmbedding
 * @returns {Promise<CloserView>}
 */
async function fetchView({ key, blob, decodable }, window, api, model, wantsEmbedding) {
  if (!decodable) throw new Error('The picture is still being encoded.');
  const { record, frame: { side } } = decodable;
  const sent = { api, blob, model, signal: new AbortController().signal };
  const view = await remindingOf(() => api.view(record, window), sent);
  const { resized_width: width, resized_height: height, embedding_url: url, seconds } = view;
  const frame = createFrame({ width: window[2], height: window[3] }, { width, height }, side, [window[0], window[1]]);
  const expected = { weightsHash: record.model.weights_hash, imageId: record.id, window };
  const embedding = wantsEmbedding ? parseEmbedding(await api.embedding(url), expected) : null;
  return { key, frame, record, embedding, seconds };
}

/** @param {Missing} a @param {Missing} b */
function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}
