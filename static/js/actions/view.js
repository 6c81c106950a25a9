// @ts-check
/** What happens to the way a picture is looked at: zoom, pan, display, tool. */

/** @import { Lens, Point, Size } from '../masks/geometry.js' */
/** @import { Label } from '../masks/prompts.js' */
/** @import { Display, State } from '../state/state.js' */
/** @import { Changes } from './changes.js' */
import { clamp, keptInside, zoomedAt } from '../masks/geometry.js';
import { pictureSize, pictureView, wholeView } from '../state/selectors.js';

/** CSS pixels per pixel of the picture. */
export const CLOSEST = 64;
export const BRUSHES = { least: 4, most: 240 };
/** @type {readonly Display[]} */
export const DISPLAYS = ['fill', 'outline', 'cutout', 'original'];

/** @param {Changes} changes */
export function createViewActions({ get, change, changePicture }) {
  /** The picture's size and places, once they are known. */
  function looked() {
    const state = get();
    const [view, whole] = [pictureView(state), wholeView(state)];
    const size = state.picture && pictureSize(state.picture);
    return state.picture && view && whole && size ? { key: state.picture.key, view, whole, size, stage: state.stage } : null;
  }

  /** @param {number} key @param {Lens} lens @param {Size} size */
  const look = (key, lens, size) => changePicture(key, { lens: keptInside(lens, size) });

  return {
    /** @param {Size} stage */
    resizeStage: (stage) => change({ stage }),
    /**
     * @param {Point | null} hover position under the pointer
     * @param {State['pointer']} [pointer]
     */
    hover: (hover, pointer = 'mouse') => change({ hover, pointer }),
    /** @param {Label} label */
    chooseLabel: (label) => change({ label }),
    /** @param {string} tool */
    chooseTool: (tool) => change({ tool, draft: null }),
    /** @param {boolean} refines */
    setRefines: (refines) => change({ refines }),
    forgetLevel: () => change({ level: null }),
    /** @param {boolean} tidies */
    setTidies: (tidies) => change({ tidies }),
    /** @param {number} brush diameter in CSS pixels */
    setBrush: (brush) => change({ brush: clamp(Math.round(brush), BRUSHES.least, BRUSHES.most) }),
    /** @param {Display} display */
    setDisplay: (display) => change({ display }),
    nextDisplay: () => change({ display: DISPLAYS[(DISPLAYS.indexOf(get().display) + 1) % DISPLAYS.length] }),
    /** @param {boolean} before */
    compare: (before) => change({ before }),
    /** @param {number} opacity */
    setOpacity: (opacity) => change({ opacity: clamp(opacity, 0, 1) }),

    /**
     * @param {number} factor
     * @param {Point | null} at on the stage; null for its middle
     */
    zoom(factor, at = null) {
      const now = looked();
      if (!now) return;
      const { key, view, whole, size, stage } = now;
      const least = whole.width / size.width;
      const scale = clamp((view.width / size.width) * factor, Math.min(least, CLOSEST), Math.max(CLOSEST, least));
      if (scale <= least * 1.001) changePicture(key, { lens: null });
      else look(key, zoomedAt(view, size, stage, at ?? [stage.width / 2, stage.height / 2], scale), size);
    },
    /** @param {number} dx in CSS pixels, as the picture moves @param {number} dy */
    pan(dx, dy) {
      const now = looked();
      const lens = get().picture?.lens;
      if (!now || !lens) return;
      const [x, y] = lens.middle;
      look(now.key, { scale: lens.scale, middle: [x - dx / lens.scale, y - dy / lens.scale] }, now.size);
    },
    fit() {
      const { picture } = get();
      if (picture) changePicture(picture.key, { lens: null });
    },
  };
}
