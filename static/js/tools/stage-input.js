// @ts-check
/** Pointer and keys on the stage: the tool in use gets strokes in the picture's pixels, zoom and pan come before it. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Point, Size } from '../masks/geometry.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Press } from './gestures.js' */
/** @import { Stroke, Tool, ToolContext, ToolHandlers } from './tool.js' */
import { isInside, positionIn, stageToPicture } from '../masks/geometry.js';
import { committedPrompts, pictureSize, pictureView } from '../state/selectors.js';
import { watch } from '../state/store.js';
import { attachGestures } from './gestures.js';
import { placesOf } from './marks.js';

const STEP = 0.01;
const LARGE_STEP = 0.08;
/** @type {Record<string, Point>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @param {HTMLElement} stage
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {readonly Tool[]} tools
 * @returns {() => void} stop listening
 */
export function useTools(stage, store, actions, tools) {
  /** @type {Point | null} where the pointer rests, also while there is no picture to point at */
  let resting = null;
  let spaceHeld = false;
  /** @type {Stroke | null} a press by keys, from M to M */
  let pressed = null;
  /** @type {ToolContext} */
  const context = {
    actions,
    state: store.get,
    size: () => target()?.size ?? { width: 1, height: 1 },
    pixels(length) {
      const ready = target();
      return ready ? (length * ready.size.width) / ready.view.width : length;
    },
  };
  /** @type {Map<string, ToolHandlers>} */
  const handlers = new Map(tools.map((each) => [each.id, each.use(context)]));
  const tool = () => tools.find(({ id }) => id === store.get().tool) ?? tools[0];
  const active = () => handlers.get(tool().id) ?? {};

  const unwatch = watch(store, ({ picture }) => picture?.phase.status === 'ready', pointAtOnce);
  const unwatchTool = watch(store, ({ tool: id }) => id, () => {
    pressed = null;
    stage.dataset.cursor = tool().cursor;
  });
  const detach = attachGestures(stage, {
    hover(at) {
      resting = at;
      actions.hover(at && positionUnder(at));
    },
    startsAtOnce: () => tool().startsAtOnce ?? false,
    pans: () => spaceHeld || (tool().pans ?? false),
    tap: (press) => spaceHeld || withStroke(press, active().tap),
    start: (press) => withStroke(press, active().start),
    move: (press) => withStroke(press, active().move),
    end: (press) => withStroke(press, active().end),
    cancel: () => active().cancel?.(),
    pan: actions.pan,
    zoom: actions.zoom,
  });
  const listening = new AbortController();
  const { signal } = listening;
  stage.addEventListener('keydown', onKey, { signal });
  stage.addEventListener('keyup', onKeyUp, { signal });
  for (const event of ['pointerdown', 'pointermove']) stage.addEventListener(event, () => byHand(true), { signal });
  stage.addEventListener('blur', () => byHand(false), { signal });

  /** A pointer shows where it is; the ring around the stage is for who has none. @param {boolean} pointed */
  function byHand(pointed) {
    stage.classList.toggle('by-hand', pointed);
  }

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

  /** @param {Press} press @param {ToolHandlers['tap']} handle */
  function withStroke({ from, to, ...rest }, handle) {
    const ready = target();
    if (!ready || !handle) return;
    const [start, end] = [from, to].map((at) => stageToPicture(ready.view, ready.size, at));
    handle({ ...rest, from: start, to: end });
  }

  /** @param {Point} at @returns {Point | null} */
  function positionUnder(at) {
    const ready = target();
    const point = ready && stageToPicture(ready.view, ready.size, at);
    return point && isInside(ready.size, point) ? positionIn(ready.size, point) : null;
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const ready = target();
    if (!ready || event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const { size } = ready;
    const at = store.get().hover ?? positionIn(size, [size.width / 2, size.height / 2]);
    const arrow = ARROWS[event.key];
    if (arrow) pointAt(moved(at, arrow, size, event.shiftKey ? LARGE_STEP : STEP));
    else if (event.key === 'Enter' && !pressed) active().tap?.(strokeAt(at, event.shiftKey));
    else if (event.key.toLowerCase() === 'm' || event.key === 'Enter') pressOrLetGo(at, event.shiftKey);
    else if (event.key.toLowerCase() === 'j') pointAt(nextPlace(at) ?? at);
    else if (event.key === 'Escape' && pressed) letGo('cancel');
    else if (event.key === ' ') spaceHeld = true;
    else return;
    stage.classList.toggle('panning', spaceHeld);
    event.preventDefault();
    if (event.key === 'Escape') event.stopPropagation();
  }

  /** @param {Point} to by keys; a press follows */
  function pointAt(to) {
    byHand(false);
    actions.hover(to, 'keys');
    if (!pressed) return;
    pressed = { ...pressed, to };
    active().move?.(pressed);
  }

  /** @param {Point} at @param {boolean} opposite */
  function pressOrLetGo(at, opposite) {
    if (pressed) return letGo('end');
    pressed = strokeAt(at, opposite);
    active().start?.(pressed);
    actions.say('Pressed. Arrows draw or move, M lets go, Escape gives up.');
  }

  /** @param {'end' | 'cancel'} how */
  function letGo(how) {
    if (!pressed) return;
    if (how === 'end') active().end?.(pressed);
    else active().cancel?.();
    pressed = null;
  }

  /** The place after the one where the pointer is. @param {Point} at */
  function nextPlace([x, y]) {
    const places = placesOf(committedPrompts(store.get()));
    const here = places.findIndex((place) => Math.hypot(place[0] - x, place[1] - y) < 1);
    return places.length > 0 ? places[(here + 1) % places.length] : null;
  }

  /** @param {KeyboardEvent} event */
  function onKeyUp(event) {
    if (event.key !== ' ') return;
    spaceHeld = false;
    stage.classList.remove('panning');
  }

  return () => {
    unwatch();
    unwatchTool();
    detach();
    listening.abort();
  };
}

/** @param {Point} at @param {boolean} opposite @returns {Stroke} by keys */
function strokeAt(at, opposite) {
  return { from: at, to: at, opposite, pressure: 0.5, again: false };
}

/**
 * @param {Point} at
 * @param {Point} arrow
 * @param {Size} size
 * @param {number} share of the longer side
 */
function moved([x, y], [dx, dy], size, share) {
  const step = Math.max(1, Math.round(Math.max(size.width, size.height) * share));
  return positionIn(size, [x + dx * step, y + dy * step]);
}
