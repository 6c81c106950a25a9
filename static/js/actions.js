// @ts-check
/** Everything that can happen to the state, by name. Pointer, keys and buttons call these; nothing else writes. */

/** @import { Api } from './api.js' */
/** @import { DecoderClient } from './decoder-client.js' */
/** @import { Decoder, State, Store } from './store.js' */
/** @import { Refusal, Tier } from './tiers.js' */
import { createChanges } from './changes.js';
import { createEverythingActions } from './everything-actions.js';
import { saveCutOut, saveMask } from './export.js';
import { createObjectActions } from './object-actions.js';
import { createPictureActions } from './picture-actions.js';
import { problemOf, tierOf } from './problems.js';
import { createSketchActions } from './sketch-actions.js';
import { createViewActions } from './view-actions.js';

/** @typedef {ReturnType<typeof createActions>} Actions */

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
  const pictures = createPictureActions(changes, store, api);

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
    ...pictures,
    ...createSketchActions(changes),
    ...createObjectActions(changes),
    ...createEverythingActions(changes, api),
    ...createViewActions(changes),

    start: () => Promise.all([loadService(), loadGallery()]),
    retryService: loadService,
    async retryDecoder() {
      await decoder.start(await survey());
      await pictures.reopenPicture();
    },
    /** @param {Decoder} status */
    decoderChanged(status) {
      const moved = status.status === 'ready' && status.tier !== tierOf(store.get().decoder);
      change({ decoder: status, latencies: moved ? [] : store.get().latencies });
    },
    /** @param {string} notice */
    say: (notice) => change({ notice }),

    saveCutOut: () => keepFile(saveCutOut),
    saveMask: () => keepFile(saveMask),
  };
}
