// @ts-check
/** How long a cold start's parts take: each is noted once, the first time. */

/** @import { Backend } from './decoding/backends.js' */
/** @import { State } from './state/state.js' */
/** @import { Store } from './state/store.js' */
import { watch } from './state/store.js';

/** @typedef {ReturnType<typeof createTimings>} Timings */

const now = () => performance.now();

export function createTimings() {
  /** @type {Record<string, number>} */
  const noted = {};
  return {
    /**
     * @param {string} name
     * @param {number} milliseconds
     */
    note(name, milliseconds) {
      noted[name] ??= Math.round(milliseconds * 10) / 10;
    },
    all: () => ({ ...noted }),
  };
}

/**
 * Note how far the page has come: the decoder, then the first picture's stations from its choice to its first mask.
 * @param {Store<State>} store
 * @param {Timings} timings
 */
export function timeOpening(store, { note }) {
  let chosen = 0;
  let sent = 0;
  let uploaded = 0;
  watch(store, ({ decoder }) => decoder.status === 'ready', (ready) => ready && note('decoder_ready', now()));
  watch(store, ({ picture }) => picture?.phase.status ?? null, (status, { picture }) => {
    if (picture?.key !== 1) return;
    if (status === 'reading') chosen = now();
    if (status === 'uploading') sent = now();
    if (status === 'encoding') note('upload', (uploaded = now()) - sent);
    if (status === 'ready') {
      note('embedding', now() - uploaded);
      note('open_to_ready', now() - chosen);
    }
  });
  watch(store, ({ mask }) => mask !== null, (some) => some && note('open_to_first_mask', now() - chosen));
}

/**
 * @param {Backend} backend
 * @param {Timings} timings
 * @returns {Backend} the same one, watched
 */
export function timedBackend(backend, { note }) {
  /**
   * @template T
   * @param {string} name
   * @param {Promise<T>} work
   */
  async function timed(name, work) {
    const start = now();
    const value = await work;
    note(name, now() - start);
    return value;
  }

  return {
    ...backend,
    prepare: (picture, feedback) =>
      timed(feedback ? 'prepare_with_mask' : 'prepare', backend.prepare(picture, feedback)),
    decode: (picture, question) => timed('first_decode', backend.decode(picture, question)),
  };
}
