// @ts-check
/** The ways to write the store that all actions share; what is derived from the state follows at once. */

/** @import { Picture, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Timeline, Work } from '../state/work.js' */
import { shownMask, shownPreview } from '../state/questions.js';
import { workOf } from '../state/selectors.js';
import { advance } from '../state/work.js';

/** @typedef {ReturnType<typeof createChanges>} Changes */

/** @param {Store<State>} store */
export function createChanges(store) {
  /**
   * Change the state; the mask shown follows.
   * @param {Partial<State>} part
   */
  function change(part) {
    const next = { ...store.get(), ...part };
    const masked = { ...next, mask: shownMask(next) };
    store.set({ ...masked, preview: shownPreview(masked) });
  }

  /**
   * Change one picture, in hand or on the shelf.
   * @param {number} key
   * @param {Partial<Picture>} part
   */
  function changePicture(key, part) {
    const { picture, shelf } = store.get();
    if (picture?.key === key) change({ picture: { ...picture, ...part } });
    else change({ shelf: shelf.map((each) => (each.key === key ? { ...each, ...part } : each)) });
  }

  /**
   * Change the picture in hand's timeline, and with it what belongs to the moment.
   * @param {(timeline: Timeline) => Timeline} how
   * @param {Partial<State>} [part]
   */
  function changeTimeline(how, part = {}) {
    const { picture } = store.get();
    if (picture) change({ picture: { ...picture, timeline: how(picture.timeline) }, draft: null, notice: null, ...part });
  }

  return {
    get: store.get,
    change,
    changePicture,
    changeTimeline,
    work: () => workOf(store.get()),
    /**
     * Take a step that can be undone.
     * @param {Partial<Work>} part
     * @param {Partial<State>} [more]
     */
    step(part, more) {
      changeTimeline((timeline) => advance(timeline, { ...timeline.work, ...part }), more);
    },
    /**
     * Change the present without a step: a slider that moves on, a selection.
     * @param {Partial<Work>} part
     */
    amend(part) {
      changeTimeline((timeline) => ({ ...timeline, work: { ...timeline.work, ...part } }));
    },
  };
}
