// @ts-check
/** The tool that asks the model: hover previews, a tap adds a point, a drag draws a box, keys do the same. */

/** @import { Actions } from '../actions.js' */
/** @import { Point } from '../geometry.js' */
/** @import { State, Store } from '../store.js' */
import { boxBetween, isInside, positionIn, stageToPicture } from '../geometry.js';
import { pictureSize, pictureView, watch } from '../store.js';
import { attachGestures } from './gestures.js';

const STEP = 0.01;
const LARGE_STEP = 0.08;
/** @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @param {HTMLElement} stage
 * @param {Store<State>} store
 * @param {Actions} actions
 * @returns {() => void} put the tool away
 */
export function usePromptTool(stage, store, actions) {
  /** @type {Point | null} where the pointer rests, also while there is no picture to point at */
  let resting = null;
  const unwatch = watch(store, ({ picture }) => picture?.phase.status === 'ready', pointAtOnce);
  const detach = attachGestures(stage, {
    hover(at) {
      resting = at;
      actions.hover(at && positionUnder(at));
    },
    tap(at, opposite) {
      const position = positionUnder(at);
      if (position) actions.click(position, opposite);
    },
    drag: (from, to) => actions.draftBox(boxOf(from, to)),
    drop(from, to) {
      const box = boxOf(from, to);
      if (box) actions.keepBox(box);
      else actions.draftBox(null);
    },
    cancel: () => actions.draftBox(null),
  });
  stage.addEventListener('keydown', onKey);

  /** A pointer that waits for the picture has its mask without moving again. @param {boolean} ready */
  function pointAtOnce(ready) {
    const position = ready && resting && positionUnder(resting);
    if (position) actions.hover(position);
  }

  /** The ready picture's size and place. */
  function target() {
    const state = store.get();
    const view = pictureView(state);
    const size = state.picture && pictureSize(state.picture);
    return view && size && state.picture?.phase.status === 'ready' ? { view, size } : null;
  }

  /** @param {Point} at @returns {Point | null} */
  function positionUnder(at) {
    const ready = target();
    const point = ready && stageToPicture(ready.view, ready.size, at);
    return point && isInside(ready.size, point) ? positionIn(ready.size, point) : null;
  }

  /** @param {Point} from @param {Point} to */
  function boxOf(from, to) {
    const ready = target();
    if (!ready) return null;
    const [a, b] = [from, to].map((at) => stageToPicture(ready.view, ready.size, at));
    const box = boxBetween(ready.size, a, b);
    return box[2] > box[0] && box[3] > box[1] ? box : null;
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const ready = target();
    if (!ready || event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const { size } = ready;
    const at = store.get().hover ?? positionIn(size, [size.width / 2, size.height / 2]);
    const arrow = ARROWS[event.key];
    if (arrow) actions.hover(moved(at, arrow, size, event.shiftKey ? LARGE_STEP : STEP), 'keys');
    else if (event.key === 'Enter' || event.key === ' ') actions.click(at, event.shiftKey);
    else return;
    event.preventDefault();
  }

  return () => {
    unwatch();
    detach();
    stage.removeEventListener('keydown', onKey);
  };
}

/**
 * @param {Point} at
 * @param {Point} arrow
 * @param {import('../geometry.js').Size} size
 * @param {number} share of the longer side
 */
function moved([x, y], [dx, dy], size, share) {
  const step = Math.max(1, Math.round(Math.max(size.width, size.height) * share));
  return positionIn(size, [x + dx * step, y + dy * step]);
}
