// @ts-check
/** Everything that can happen to the state, by name. Pointer, keys and buttons call these; nothing else writes. */

/** @import { DecoderClient } from '../decoding/client.js' */
/** @import { Refusal, Tier } from '../decoding/tiers.js' */
/** @import { Api, ModelInfo } from '../server/api.js' */
/** @import { Decoder, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { problemOf, tierOf, usesServer } from '../server/problems.js';
import { pictureSize, strip } from '../state/selectors.js';
import { sortFiles } from '../take-home/sorting.js';
import { createChanges } from './changes.js';
import { createEverythingActions } from './everything.js';
import { createModelActions } from './models.js';
import { createObjectActions } from './objects.js';
import { createPictureActions } from './pictures.js';
import { createSketchActions } from './sketch.js';
import { createViewActions } from './view.js';

/** @typedef {ReturnType<typeof createActions>} Actions */

/** Files are the business of modules that are loaded when the first one leaves or comes in. */
const takeHome = () => import('../take-home/take-home.js');

/**
 * @param {object} parts
 * @param {Store<State>} parts.store
 * @param {Api} parts.api
 * @param {DecoderClient} parts.decoder
 * @param {() => Promise<{candidates: Tier[], refused: Refusal[]}>} parts.survey
 */
export function createActions({ store, api, decoder, survey }) {
  const changes = createChanges(store);
  const { change } = changes;
  const pictures = createPictureActions(changes, store, api, renewService);
  const models = createModelActions(changes, api, useModel);

  async function loadService() {
    change({ service: { status: 'loading' } });
    try {
      const [info, found] = await Promise.all([models.current(), survey()]);
      change({ service: { status: 'ready', info } });
      models.lookAround();
      await decoder.start(found);
    } catch (error) {
      change({ service: { status: 'failed', problem: problemOf(error) } });
    }
  }

  /**
   * Another model: its decoder replaces ours, its encoder sees the pictures, prompts are asked anew, objects stay.
   * @param {ModelInfo} info
   * @param {string} notice
   */
  async function useModel(info, notice) {
    change({ service: { status: 'ready', info }, notice });
    const reloading = pictures.reloadStale(info.model.weights_hash); // none of them may meet the new decoder
    await Promise.all([reloading, survey().then(decoder.start)]);
  }

  /** Go on with the model that the server runs now. @returns {Promise<boolean>} whether it is another one */
  async function renewService() {
    try {
      const info = await models.current();
      const { service } = store.get();
      if (service.status === 'ready' && service.info.model.weights_hash === info.model.weights_hash) return false;
      await useModel(info, `The server now runs ${info.model.id}. Your pictures are encoded anew, your objects stay.`);
    } catch (error) {
      change({ service: { status: 'failed', problem: problemOf(error) } });
    }
    return true;
  }

  /** Make up for what failed while the server was away. */
  async function serverBack() {
    const { service, decoder: now } = store.get();
    change({ server: 'here', notice: 'The server is back.' });
    if (service.status === 'failed') return start();
    if (service.status !== 'ready' || (await renewService())) return;
    if (now.status === 'failed' || usesServer(now)) await retryDecoder();
    await pictures.reloadStale(service.info.model.weights_hash);
  }

  async function retryDecoder() {
    await decoder.start(await survey());
    await pictures.reopenPicture();
  }

  /** @param {Promise<unknown>} [settled] when nothing comes above the gallery any more: no click shall miss it */
  async function loadGallery(settled) {
    const [gallery] = await Promise.all([api.gallery().catch(() => []), settled]);
    change({ gallery });
  }

  /** @param {Promise<unknown>} [settled] see `loadGallery` */
  async function start(settled) {
    await Promise.all([loadService(), loadGallery(settled)]);
    const { service } = store.get();
    if (service.status === 'ready') await pictures.reloadStale(service.info.model.weights_hash);
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

  /**
   * Objects out of files; what goes wrong is told file by file, and leaves what is there as it is.
   * @param {readonly File[]} files
   */
  async function bringIn(files) {
    change({ notice: 'Reading…', problems: [] });
    const problems = await (await takeHome()).bringIn(store, actions, files).catch((error) => [problemOf(error).detail]);
    change(problems.length > 0 ? { problems, notice: null } : {});
  }

  const actions = {
    ...pictures,
    ...models,
    ...createSketchActions(changes),
    ...createObjectActions(changes),
    ...createEverythingActions(changes, api),
    ...createViewActions(changes),

    start,
    retryService: start,
    retryDecoder,
    serverBack,
    serverLost: () => store.get().server === 'away' || change({ server: 'away' }),
    /** @param {Decoder} status */
    decoderChanged(status) {
      const moved = status.status === 'ready' && status.tier !== tierOf(store.get().decoder);
      change({ decoder: status, latencies: moved ? [] : store.get().latencies });
    },
    /** @param {string} notice */
    say: (notice) => change({ notice }),

    /** Pictures are opened; what was made of them comes in as objects. @param {readonly (File | Blob)[]} files @param {string} [name] */
    async openFiles(files, name) {
      const sizes = strip(store.get()).flatMap((picture) => pictureSize(picture) ?? []);
      const { pictures: shown, annotations } = await sortFiles(files, sizes);
      if (shown.length > 0) pictures.openFiles(/** @type {File[]} */ (shown), name);
      if (annotations.length > 0) await bringIn(/** @type {File[]} */ (annotations));
    },
    bringIn,
    clearProblems: () => change({ problems: [] }),
    saveCutOut: () => keepFile(async (state) => (await takeHome()).saveMaskInHand(state, 'cutouts')),
    saveMask: () => keepFile(async (state) => (await takeHome()).saveMaskInHand(state, 'masks')),
    /** @param {import('../take-home/choices.js').Options} [options] */
    async copyCutOut(options) {
      change({ notice: 'Preparing the cut-out…' });
      try {
        const file = takeHome().then(({ cutOutInHand }) => cutOutInHand(store.get(), options));
        await navigator.clipboard.write([new ClipboardItem({ 'image/png': file })]);
        change({ notice: 'Copied. Paste it anywhere.' });
      } catch (error) {
        change({ notice: problemOf(error).detail });
      }
    },
  };
  return actions;
}
