// @ts-check
/** Which model sees the pictures: chosen here, loaded or downloaded by the server; the choice lasts as long as the tab. */

/** @import { Api, ModelInfo } from '../server/api.js' */
/** @import { Models } from '../state/state.js' */
/** @import { Changes } from './changes.js' */
import { ApiError } from '../server/api.js';
import { problemOf } from '../server/problems.js';
import { forTab } from '../storage/shelf.js';

const CHOSEN = 'sam-model';
const DOWNLOAD_FAILED = '/problems/download-failed';

/**
 * @param {Changes} changes
 * @param {Api} api
 * @param {(info: ModelInfo, notice: string) => Promise<void>} use goes on with another model
 */
export function createModelActions({ get, change }, api, use) {
  /** @param {Partial<Models>} part */
  const note = (part) => change({ models: { ...get().models, ...part } });

  /** @param {string} id */
  const titleOf = (id) => get().models.offers.find((offer) => offer.id === id)?.title ?? id;

  /** Whose download or load this page follows. @type {Map<string, Promise<any>>} */
  const followed = new Map();

  /** What there is now, and how far what others have begun to download is. */
  async function lookAround() {
    const offers = await api.models().catch(() => get().models.offers);
    note({ offers });
    const others = offers.filter(({ id, state }) => state === 'downloading' && !followed.has(id));
    for (const { id } of others) follow(id).then((end) => end && lookAround(), lookAround);
  }

  /** @param {string} id @returns {Promise<any>} what became of it; null where that was not told */
  function follow(id) {
    const told = (/** @type {number | null} */ share) => note({ shares: { ...get().models.shares, [id]: share } });
    const end = followed.get(id) ?? api.watchModel(id, ({ done, total }) => told(total && done / total)).finally(() => {
      followed.delete(id);
      told(null);
    });
    followed.set(id, end);
    return end;
  }

  /**
   * The chosen model, loaded; the default where the server has it no more.
   * @returns {Promise<ModelInfo>}
   */
  async function current() {
    const chosen = get().models.chosen ?? (forTab.get(CHOSEN) || null);
    try {
      const info = await api.model(chosen);
      note({ chosen });
      return info;
    } catch (error) {
      if (!chosen || !(error instanceof ApiError) || error.status === 0) throw error;
      forTab.set(CHOSEN, '');
      note({ chosen: null });
      return api.model(null);
    }
  }

  /**
   * Go on with a model, as soon as it is here. Who chooses another one meanwhile gets that one.
   * @param {string} id
   */
  async function chooseModel(id) {
    const offer = get().models.offers.find((each) => each.id === id);
    const lacksFile = offer?.state === 'not_downloaded' || offer?.problem?.type === DOWNLOAD_FAILED;
    if (lacksFile) return note({ asked: id });
    await bring(id, async () => offer?.state === 'downloading' || api.loadModel(id));
  }

  /**
   * @param {string} id
   * @param {() => Promise<unknown>} begin
   */
  async function bring(id, begin) {
    note({ coming: id, asked: null });
    try {
      await begin();
      await lookAround();
      const end = await follow(id);
      if (end?.state === 'not_downloaded' || get().models.coming !== id) return;
      const info = await api.model(id);
      if (get().models.coming !== id) return;
      forTab.set(CHOSEN, id);
      note({ chosen: id, coming: null });
      await use(info, `Now ${titleOf(id)}. Your pictures are encoded anew, your objects stay.`);
    } catch (error) {
      const { title, detail } = problemOf(error);
      if (get().models.coming === id) change({ notice: `${titleOf(id)}: ${title}. ${detail}` });
    } finally {
      if (get().models.coming === id) note({ coming: null });
      await lookAround();
    }
  }

  return {
    lookAround,
    current,
    chooseModel,
    /** The person agrees to the download, and wants to use the model. @param {string} id */
    downloadModel: (id) => bring(id, () => api.downloadModel(id)),
    /** @param {string} id */
    async cancelDownload(id) {
      note({ coming: null });
      await api.cancelDownload(id).catch(() => {});
      await lookAround();
    },
    /** No download after all. */
    dismissDownload: () => note({ asked: null }),
  };
}
