// @ts-check
/** What happens to pictures: opened, put on the shelf, taken in hand, sent again, closed. */

/** @import { CloserView, Window } from '../masks/closer-views.js' */
/** @import { Api, GalleryItem } from '../server/api.js' */
/** @import { Picture, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Step, Timeline } from '../state/work.js' */
/** @import { Changes } from './changes.js' */
import { windowOf } from '../masks/closer-views.js';
import { ApiError } from '../server/api.js';
import { OtherModelError, loadPicture, readBitmap, readSharp } from '../server/picture-loader.js';
import { problemOf, usesServer } from '../server/problems.js';
import { pictureFrame, strip } from '../state/selectors.js';
import { NEW_TIMELINE, unanswered } from '../state/work.js';

/** @typedef {{blob: Blob, name: string, timeline?: Timeline, key?: number, from?: string | null}} Opening */

/** @type {Omit<Picture, 'key' | 'name' | 'blob' | 'from'>} */
const EMPTY_PICTURE = {
  phase: { status: 'reading' }, size: null, bitmap: null, record: null, encodeSeconds: null,
  decodable: null, views: [], thumbnail: null, lens: null, timeline: NEW_TIMELINE,
};
/** What belongs to the picture in hand and to no other. */
const OF_THE_MOMENT = { hover: null, draft: null, mask: null, preview: null, cut: null, notice: null };
/** Of each picture; an embedding takes two megabytes. */
const MOST_VIEWS = 4;

/**
 * @param {Changes} changes
 * @param {Store<State>} store
 * @param {Api} api
 * @param {() => Promise<unknown>} renew called when the server turns out to run another model; takes its pictures along
 */
export function createPictureActions({ get, change, changePicture }, store, api, renew) {
  let lastKey = 0;
  /** @type {Map<number, AbortController>} */
  const loads = new Map();

  /**
   * Open pictures; the first of them comes to hand.
   * @param {readonly Opening[]} openings
   */
  async function openPictures(openings) {
    if (openings.length === 0) return;
    const pictures = openings.map(({ blob, name, timeline = NEW_TIMELINE, key, from = null }) => {
      lastKey = Math.max(lastKey + 1, key ?? 0);
      return { ...EMPTY_PICTURE, key: key ?? lastKey, name, blob, timeline, from };
    });
    const [first, ...others] = pictures;
    change({ ...OF_THE_MOMENT, picture: first, shelf: [...strip(get()), ...others] });
    for (const { key } of pictures) await load(key);
  }

  /** @param {number} key */
  async function load(key) {
    const picture = find(key);
    if (!picture) return;
    loads.get(key)?.abort();
    const loading = new AbortController();
    const { signal } = loading;
    loads.set(key, loading);
    changePicture(key, { phase: { status: 'reading' }, decodable: null, views: [] });
    try {
      const info = await serviceInfo(store);
      const wantsEmbedding = () => !usesServer(get().decoder);
      const report = (/** @type {Partial<Picture>} */ part) => signal.aborted || changePicture(key, part);
      const context = { api, info, model: get().models.chosen, known: picture.record?.id ?? null, wantsEmbedding, signal, report };
      const { record, embedding } = await loadPicture(picture.blob, context);
      const frame = pictureFrame({ ...get(), picture: find(key) });
      if (signal.aborted || !frame) return;
      changePicture(key, { decodable: { key, frame, record, embedding }, phase: { status: 'ready' } });
    } catch (error) {
      if (signal.aborted) return;
      changePicture(key, { phase: { status: 'failed', problem: problemOf(error) } });
      if (error instanceof OtherModelError) await renew();
    }
  }

  /** @param {number} key */
  function find(key) {
    return strip(get()).find((picture) => picture.key === key) ?? null;
  }

  /** @param {number} key */
  async function choosePicture(key) {
    const [picture, { picture: before }] = [find(key), get()];
    if (!picture || picture === before) return;
    change({ ...OF_THE_MOMENT, picture: { ...picture, bitmap: null }, shelf: strip(get()).filter((each) => each !== picture) });
    const lacksEmbedding = picture.decodable?.embedding === null && !usesServer(get().decoder);
    if (lacksEmbedding || picture.phase.status === 'failed') return load(key);
    const { bitmap } = await readBitmap(picture.blob).catch(() => ({ bitmap: null }));
    if (bitmap) changePicture(key, { bitmap });
  }

  /** @param {number} key */
  function closePicture(key) {
    const gone = find(key);
    if (!gone) return;
    loads.get(key)?.abort();
    loads.delete(key);
    gone.bitmap?.close();
    if (gone.thumbnail) URL.revokeObjectURL(gone.thumbnail);
    const all = strip(get());
    const at = all.indexOf(gone);
    const next = all[at + 1] ?? all[at - 1] ?? null;
    if (get().picture !== gone) return change({ shelf: get().shelf.filter((each) => each !== gone) });
    change({ ...OF_THE_MOMENT, picture: null, shelf: get().shelf });
    if (next) choosePicture(next.key);
  }

  return {
    openPictures,
    choosePicture,
    closePicture,
    /** @param {readonly File[] | readonly Blob[]} files @param {string} [name] of those without one */
    openFiles: (files, name = 'pasted.png') =>
      openPictures(files.map((blob) => ({ blob, name: blob instanceof File && blob.name ? blob.name : name }))),
    /** @param {GalleryItem} item */
    async openGalleryPicture(item) {
      try {
        await openPictures([{ blob: await api.galleryPicture(item), name: item.file }]);
      } catch (error) {
        change({ notice: problemOf(error).title });
      }
    },
    /** @param {number} by places along the strip */
    neighbour(by) {
      const [all, { picture }] = [strip(get()), get()];
      if (!picture || all.length < 2) return;
      choosePicture(all[(all.indexOf(picture) + by + all.length) % all.length].key);
    },
    /** Back to the start screen; every picture keeps its work. */
    putAside: () => change({ ...OF_THE_MOMENT, picture: null, shelf: strip(get()) }),
    closeCurrent() {
      const { picture } = get();
      if (picture) closePicture(picture.key);
    },
    async reopenPicture() {
      const { picture } = get();
      if (picture) await load(picture.key);
    },
    /** @param {number} key */
    pictureGone: (key) => load(key),
    /**
     * Send again what failed, and what was encoded by other weights than these, whose prompts are asked anew. The one in
     * hand goes first.
     * @param {string} weights
     */
    async reloadStale(weights) {
      const isOther = (/** @type {Picture} */ { record }) => record !== null && record.model.weights_hash !== weights;
      const stale = [...strip(get())].sort((a, b) => Number(b === get().picture) - Number(a === get().picture))
        .filter((picture) => picture.phase.status === 'failed' || isOther(picture));
      for (const picture of stale) {
        const timeline = isOther(picture) ? unanswered(picture.timeline) : picture.timeline;
        changePicture(picture.key, { phase: { status: 'reading' }, decodable: null, timeline });
      }
      for (const { key } of stale) await load(key);
    },
    /** @param {CloserView} view of the picture that has its key, unless that was sent again meanwhile */
    viewArrived(view) {
      const picture = find(view.key);
      if (picture?.decodable?.record === view.record) changePicture(view.key, { views: [view, ...picture.views].slice(0, MOST_VIEWS) });
    },
    /** A view cannot be had: whoever waits for it asks all of the picture. @param {number} key @param {Window} window */
    viewRefused(key, window) {
      const { work, ...timeline } = find(key)?.timeline ?? NEW_TIMELINE;
      const waits = (/** @type {Step} */ { answer, frame }) => !answer && frame && windowOf(frame).join() === window.join();
      if (!work.sketch.some(waits)) return;
      const sketch = work.sketch.map((step) => (waits(step) ? { ...step, frame: null } : step));
      changePicture(key, { timeline: { ...timeline, work: { ...work, sketch } } });
    },
    /** Every pixel of the picture in hand, for a close look. */
    async sharpen() {
      const { picture } = get();
      if (!picture) return;
      const bitmap = await readSharp(picture.blob).catch(() => null);
      if (bitmap) changePicture(picture.key, { bitmap });
    },
  };
}

/**
 * What the server said of itself, waiting for it if need be.
 * @param {Store<State>} store
 * @returns {Promise<import('../server/api.js').ModelInfo>}
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
