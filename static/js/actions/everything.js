// @ts-check
/** Everything mode: a search is begun and stopped, and what it found is taken into the list of objects. */

/** @import { Found, FoundObject, Grain, Preset, Update } from '../masks/found.js' */
/** @import { Api } from '../server/api.js' */
/** @import { Thing } from '../state/work.js' */
/** @import { Changes } from './changes.js' */
import { NO_FINISH } from '../masks/fields.js';
import { allOf, countsOf, fieldOf, originOf, withUpdate } from '../masks/found.js';
import { remindingOf } from '../server/picture-loader.js';
import { problemOf } from '../server/problems.js';
import { foundHere, offeredHere, pictureFrame } from '../state/selectors.js';
import { nextId, PALETTE } from '../state/work.js';

/**
 * @param {Changes} changes
 * @param {Api} api
 */
export function createEverythingActions({ get, change, work, step }, api) {
  let running = new AbortController();
  let searches = 0;

  async function findEverything() {
    const { picture, preset, models } = get();
    if (picture?.phase.status !== 'ready' || !picture.record) return;
    const { blob, record: { everything_url: url } } = picture;
    stopEverything();
    const { signal } = (running = new AbortController());
    /** @type {Found} */
    const begun = {
      search: `${Date.now()}.${(searches += 1)}`, key: picture.key, status: 'running', startedAt: performance.now(),
      done: 0, total: 0, eta: null, objects: new Map(), parents: {}, problem: null,
    };
    change({ found: begun, tool: 'select', notice: null });
    /** @param {(found: Found) => Found} how */
    const report = (how) => {
      const { found } = get();
      if (found?.search === begun.search && !signal.aborted) change({ found: how(found) });
    };
    try {
      const onUpdate = (/** @type {Update} */ update) => report((found) => withUpdate(found, update));
      const search = () => api.everything(url, { preset }, { signal, onUpdate });
      await remindingOf(search, { api, blob, model: models.chosen, signal });
      report((found) => ({ ...found, status: 'done' }));
    } catch (error) {
      report((found) => ({ ...found, status: 'failed', problem: problemOf(error) }));
    }
  }

  /** The connection closes, and with it the server's work ends. */
  function stopEverything() {
    running.abort();
    const { found } = get();
    if (found?.status === 'running') change({ found: { ...found, status: 'stopped' } });
  }

  /** @param {readonly FoundObject[]} objects topmost first */
  function take(objects) {
    const [found, frame] = [foundHere(get()), pictureFrame(get())];
    if (!found || !frame || objects.length === 0) return;
    const now = work();
    const { nextLabel, labels } = get();
    const labelled = labels.find(({ name }) => name === nextLabel)?.colour;
    const first = nextId(now);
    const things = objects.map(({ id, bounds, score }, index) => {
      const shape = fieldOf(bounds, frame);
      /** @type {Thing} */
      const thing = {
        id: first + index, label: nextLabel || `Object ${first + index}`, colour: labelled ?? colourOf(id), visible: true,
        locked: false, source: shape, finish: NO_FINISH, shape, iou: score, steps: [], origin: originOf(found, id),
        exact: { of: shape, mask: { size: [frame.original.height, frame.original.width], counts: countsOf(bounds) } },
      };
      return thing;
    });
    step({ things: [...things, ...now.things], selected: things.map(({ id }) => id) });
    change({ notice: things.length === 1 ? `${things[0].label} taken.` : `${things.length} objects taken.` });
  }

  return {
    findEverything,
    stopEverything,
    dismissFound() {
      stopEverything();
      change({ found: null });
    },
    /** @param {Preset} preset for the next search */
    choosePreset: (preset) => change({ preset }),
    /** @param {Grain} grain */
    chooseGrain: (grain) => change({ grain }),
    /** @param {FoundObject} object */
    takeFound: (object) => take([object]),
    takeAllFound() {
      const found = foundHere(get());
      if (found) take(allOf(found, offeredHere(get()), get().grain));
    },
  };
}

/** @param {number} id of a found object, which keeps its colour when it is taken */
export function colourOf(id) {
  return PALETTE[id % PALETTE.length];
}
