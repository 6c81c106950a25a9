// @ts-check
/** Everything that can happen to the state, by name. Pointer, keys and buttons call these; nothing else writes. */

/** @import { Api, GalleryItem } from './api.js' */
/** @import { Answer, DecoderClient } from './decoder-client.js' */
/** @import { Box, Point, Size } from './geometry.js' */
/** @import { Label, Prompts } from './prompts.js' */
/** @import { Decoder, Mask, Picture, Problem, State, Step, Store } from './store.js' */
/** @import { Refusal, Tier } from './tiers.js' */
import { ApiError } from './api.js';
import { saveCutOut, saveMask } from './export.js';
import { UnreadablePictureError, loadPicture } from './picture-loader.js';
import { chooseMask, sameQuestion, withBox, withClick } from './prompts.js';
import { GRID, ProtocolError } from './protocol.js';
import { committedPrompts, openQuestion, pictureFrame, shownMask } from './store.js';

/** @typedef {ReturnType<typeof createActions>} Actions */

const LATENCIES_KEPT = 60;

/**
 * @param {object} parts
 * @param {Store<State>} parts.store
 * @param {Api} parts.api
 * @param {DecoderClient} parts.decoder
 * @param {() => Promise<{candidates: Tier[], refused: Refusal[]}>} parts.survey
 */
export function createActions({ store, api, decoder, survey }) {
  let lastKey = 0;
  let loading = new AbortController();

  /**
   * Change the state; the mask shown follows.
   * @param {Partial<State>} part
   */
  function change(part) {
    const next = { ...store.get(), ...part };
    store.set({ ...next, mask: shownMask(next) });
  }

  /** @param {Prompts} prompts */
  function commit(prompts) {
    change({ history: [...store.get().history, { prompts, answer: null }], draft: null, notice: null });
  }

  /**
   * @param {number} key
   * @param {Partial<Picture>} part
   */
  function changePicture(key, part) {
    const { picture } = store.get();
    if (picture?.key === key) change({ picture: { ...picture, ...part } });
  }

  async function loadService() {
    change({ service: { status: 'loading' } });
    try {
      const [info, found] = await Promise.all([api.model(), survey()]);
      change({ service: { status: 'ready', info } });
      await decoder.start(found);
    } catch (error) {
      change({ service: { status: 'failed', problem: problemOf(error) } });
    }
  }

  async function loadGallery() {
    change({ gallery: await api.gallery().catch(() => []) });
  }

  /**
   * @param {Blob} blob
   * @param {string} name
   * @param {readonly Step[]} [history] to keep, when the same picture is sent again
   */
  async function openPicture(blob, name, history = []) {
    closePicture();
    const key = (lastKey += 1);
    const { signal } = loading;
    change({ history, picture: { ...EMPTY_PICTURE, key, name, blob } });
    try {
      const info = await serviceInfo(store);
      const wantsEmbedding = () => !usesServer(store.get().decoder);
      const report = (/** @type {Partial<Picture>} */ part) => changePicture(key, part);
      const { record, embedding } = await loadPicture(blob, { api, info, wantsEmbedding, signal, report });
      const frame = pictureFrame(store.get());
      if (signal.aborted || !frame) return;
      decoder.setPicture({ key, frame, record, embedding });
      changePicture(key, { phase: { status: 'ready' } });
    } catch (error) {
      if (!signal.aborted) changePicture(key, { phase: { status: 'failed', problem: problemOf(error) } });
    }
  }

  /** @param {GalleryItem} item */
  async function openGalleryPicture(item) {
    try {
      await openPicture(await api.galleryPicture(item), item.file);
    } catch (error) {
      change({ notice: problemOf(error).title });
    }
  }

  function closePicture() {
    loading.abort();
    loading = new AbortController();
    decoder.setPicture(null);
    store.get().picture?.bitmap?.close();
    change({ picture: null, history: [], hover: null, draft: null, mask: null, notice: null });
  }

  function reopenPicture() {
    const { picture, history } = store.get();
    if (picture) openPicture(picture.blob, picture.name, history);
  }

  /** @param {(state: State) => Promise<void>} save */
  async function keepFile(save) {
    change({ notice: 'Preparing the file…' });
    try {
      await save(store.get());
      change({ notice: 'Saved.' });
    } catch (error) {
      change({ notice: problemOf(error).detail });
    }
  }

  return {
    start: () => Promise.all([loadService(), loadGallery()]),
    retryService: loadService,
    async retryDecoder() {
      await decoder.start(await survey());
      reopenPicture();
    },
    openPicture,
    openGalleryPicture,
    reopenPicture,
    closePicture,

    /** @param {Size} stage */
    resizeStage: (stage) => change({ stage }),
    /**
     * @param {Point | null} hover position under the pointer
     * @param {State['pointer']} [pointer]
     */
    hover: (hover, pointer = 'mouse') => change({ hover, pointer }),
    /** @param {Label} label */
    chooseLabel: (label) => change({ label }),

    /**
     * @param {Point} position
     * @param {boolean} opposite of the chosen label
     */
    click(position, opposite) {
      const { label } = store.get();
      const given = /** @type {Label} */ (opposite ? 1 - label : label);
      commit(withClick(committedPrompts(store.get()), position, given));
    },
    /** @param {Box | null} draft */
    draftBox: (draft) => change({ draft }),
    /** @param {Box} box */
    keepBox: (box) => commit(withBox(committedPrompts(store.get()), box)),
    undo: () => change({ history: store.get().history.slice(0, -1), draft: null, notice: null }),
    clear() {
      const { history, draft } = store.get();
      if (draft) change({ draft: null });
      else if (history.length > 0) change({ history: [], notice: null });
    },

    /** @param {Answer} answer to what is asked now; to where the pointer was a moment ago will do */
    maskArrived({ picture, question, logits, iou, milliseconds }) {
      const state = store.get();
      const open = openQuestion(state);
      if (state.picture?.key !== picture.key || open?.purpose !== question.purpose) return;
      const index = chooseMask(question.prompts, iou);
      const chosen = logits.subarray(index * GRID * GRID, (index + 1) * GRID * GRID);
      const mask = { question, logits: chosen, index, iou: iou[index], milliseconds };
      const latencies = [...state.latencies, milliseconds].slice(-LATENCIES_KEPT);
      if (question.purpose !== 'step') change({ mask, latencies });
      else if (sameQuestion(open, question)) change({ mask, latencies, history: withAnswer(state.history, mask) });
    },
    /** @param {Decoder} status */
    decoderChanged(status) {
      const moved = status.status === 'ready' && status.tier !== tierOf(store.get().decoder);
      change({ decoder: status, latencies: moved ? [] : store.get().latencies });
    },
    /** @param {number} key */
    pictureGone(key) {
      if (store.get().picture?.key === key) reopenPicture();
    },

    saveCutOut: () => keepFile(saveCutOut),
    saveMask: () => keepFile(saveMask),
  };
}

/**
 * @param {readonly Step[]} history
 * @param {Mask} answer to the first step without one
 */
function withAnswer(history, answer) {
  const next = history.findIndex((step) => step.answer === null);
  return history.map((step, index) => (index === next ? { ...step, answer } : step));
}

/** @type {Omit<Picture, 'key' | 'name' | 'blob'>} */
const EMPTY_PICTURE = { phase: { status: 'reading' }, size: null, bitmap: null, record: null, encodeSeconds: null };

/**
 * What the server said of itself, waiting for it if need be.
 * @param {Store<State>} store
 * @returns {Promise<import('./api.js').ModelInfo>}
 */
function serviceInfo(store) {
  return new Promise((resolve, reject) => {
    const stop = store.subscribe(settle);
    settle(store.get());

    /** @param {State} state */
    function settle({ service }) {
      if (service.status === 'loading') return;
      stop();
      if (service.status === 'ready') resolve(service.info);
      else reject(new ApiError(0, service.problem.title, service.problem.detail));
    }
  });
}

/** @param {Decoder} decoder */
function usesServer(decoder) {
  return tierOf(decoder) === 'server';
}

/** @param {Decoder} decoder */
function tierOf(decoder) {
  return decoder.status === 'failed' ? null : decoder.tier;
}

/**
 * @param {unknown} error
 * @returns {Problem}
 */
export function problemOf(error) {
  if (error instanceof ApiError) return { title: error.title, detail: error.detail };
  if (error instanceof UnreadablePictureError) return { title: 'This picture cannot be shown', detail: error.message };
  if (error instanceof ProtocolError) return { title: 'The embedding does not fit', detail: error.message };
  return { title: 'This did not work', detail: error instanceof Error ? error.message : String(error) };
}
