// @ts-check
/** Pointer events as gestures: hover, tap, long press, drag, pan, pinch, wheel. Knows the stage only, not the picture. */

/** @import { Point } from '../masks/geometry.js' */
import { framewise } from './framewise.js';

/**
 * One press from its start to where the pointer is; points are CSS pixels from the element's top left.
 * @typedef {object} Press
 * @property {Point} from
 * @property {Point} to
 * @property {boolean} opposite for the right button, Shift and a long press
 * @property {number} pressure from 0 to 1; 0.5 for what cannot feel it
 * @property {boolean} again whether it is the second at once in the same place
 */

/**
 * @typedef {object} GestureHandlers
 * @property {(at: Point | null) => void} hover null when the pointer leaves; once per frame, as are moves
 * @property {() => boolean} startsAtOnce whether a press is a drag from its first moment
 * @property {() => boolean} pans whether a press moves the picture
 * @property {(press: Press) => void} tap
 * @property {(press: Press) => void} start a drag
 * @property {(press: Press) => void} move
 * @property {(press: Press) => void} end
 * @property {() => void} cancel a drag that will not end
 * @property {(dx: number, dy: number) => void} pan
 * @property {(factor: number, at: Point) => void} zoom
 */

/** @typedef {Press & {id: number, slop: number, kind: 'open' | 'drag' | 'pan', alarm: ReturnType<typeof setTimeout>}} Held */

const SLOP = { mouse: 4, pen: 6, touch: 10 };
const LONG_PRESS_MS = 500;
const AGAIN_MS = 400;
const WHEEL_STEP = 0.0016;
const LINE_PIXELS = 32;
const MIDDLE_BUTTON = 1;
const RIGHT_BUTTON = 2;

/**
 * @param {HTMLElement} element
 * @param {GestureHandlers} handlers
 * @returns {() => void} stop listening
 */
export function attachGestures(element, handlers) {
  /** @type {Held | null} */
  let press = null;
  /** @type {{at: Point, time: number} | null} */
  let lastTap = null;
  /** @type {Map<number, Point>} */
  const touches = new Map();
  const hovers = framewise(handlers.hover);
  const moves = framewise((/** @type {Press} */ moved) => handlers.move(moved));
  const listening = new AbortController();
  const { signal } = listening;

  /** @param {MouseEvent} event @returns {Point} */
  function pointOf({ clientX, clientY }) {
    const { left, top } = element.getBoundingClientRect();
    return [clientX - left, clientY - top];
  }

  function letGo() {
    if (!press) return;
    clearTimeout(press.alarm);
    moves.clear();
    if (press.kind === 'drag') handlers.cancel();
    press = null;
  }

  /** @param {PointerEvent} event */
  function begin(event) {
    const at = pointOf(event);
    const touch = event.pointerType === 'touch';
    const slop = SLOP[/** @type {keyof typeof SLOP} */ (event.pointerType)] ?? SLOP.mouse;
    const opposite = event.button === RIGHT_BUTTON || event.shiftKey;
    const pans = event.button === MIDDLE_BUTTON || handlers.pans();
    const alarm = setTimeout(() => touch && lengthen(event.pointerId), LONG_PRESS_MS);
    press = { id: event.pointerId, from: at, to: at, opposite, pressure: pressureOf(event), again: isAgain(at, slop, event.timeStamp), slop, kind: pans ? 'pan' : 'open', alarm };
    if (pans || !handlers.startsAtOnce()) return;
    press.kind = 'drag';
    handlers.start(press);
  }

  /** Quick is what the person was, however late a busy page is. @param {Point} at @param {number} slop @param {number} time */
  function isAgain(at, slop, time) {
    if (!lastTap || time - lastTap.time > AGAIN_MS) return false;
    return Math.hypot(at[0] - lastTap.at[0], at[1] - lastTap.at[1]) <= 2 * slop;
  }

  /** @param {Press} tapped @param {number} time */
  function tap(tapped, time) {
    lastTap = tapped.again ? null : { at: tapped.to, time };
    handlers.tap(tapped);
  }

  /** A finger that rests means the opposite, as the right button does, and need not let go to be believed. @param {number} id */
  function lengthen(id) {
    if (press?.id !== id || press.kind !== 'open' || touches.size > 1) return;
    const rested = { ...press, opposite: true };
    press = null;
    navigator.vibrate?.(12);
    tap(rested, performance.now());
  }

  /** @param {PointerEvent} event */
  function follow(event) {
    if (!press) return;
    const before = press.to;
    press.to = pointOf(event);
    press.pressure = pressureOf(event);
    const far = Math.hypot(press.to[0] - press.from[0], press.to[1] - press.from[1]) > press.slop;
    if (press.kind === 'open' && far && !press.opposite) {
      press.kind = 'drag';
      clearTimeout(press.alarm);
      handlers.start(press);
    }
    if (press.kind === 'pan') handlers.pan(press.to[0] - before[0], press.to[1] - before[1]);
    if (press.kind === 'drag') moves.push({ ...press });
  }

  /** Two fingers: their middle moves the picture, their distance scales it. @param {PointerEvent} event */
  function pinch(event) {
    const [other] = [...touches].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const before = touches.get(event.pointerId);
    const now = pointOf(event);
    if (!other || !before) return;
    const length = (/** @type {Point} */ at) => Math.max(1, Math.hypot(at[0] - other[0], at[1] - other[1]));
    handlers.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    handlers.zoom(length(now) / length(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  }

  element.addEventListener('pointerdown', (event) => {
    if (event.button > RIGHT_BUTTON || isControl(event.target)) return;
    if (event.button === MIDDLE_BUTTON) event.preventDefault();
    element.setPointerCapture(event.pointerId);
    if (event.pointerType === 'touch') touches.set(event.pointerId, pointOf(event));
    if (touches.size > 1) letGo();
    else if (event.isPrimary && !press) begin(event);
  }, { signal });

  element.addEventListener('pointermove', (event) => {
    const touched = touches.has(event.pointerId);
    if (touches.size > 1 && touched) pinch(event);
    if (touched) touches.set(event.pointerId, pointOf(event));
    if (!event.isPrimary) return;
    if (press?.id === event.pointerId) follow(event);
    else if (event.pointerType !== 'touch') hovers.push(pointOf(event));
    if (press && event.pointerType !== 'touch') hovers.push(pointOf(event));
  }, { signal });

  element.addEventListener('pointerup', (event) => {
    touches.delete(event.pointerId);
    if (press?.id !== event.pointerId) return;
    const ended = { ...press, to: pointOf(event) };
    clearTimeout(press.alarm);
    press = null;
    moves.clear();
    if (ended.kind === 'drag') handlers.end(ended);
    const still = Math.hypot(ended.to[0] - ended.from[0], ended.to[1] - ended.from[1]) <= ended.slop;
    if (ended.kind === 'open' || (ended.kind === 'pan' && still && event.button !== MIDDLE_BUTTON)) tap(ended, event.timeStamp);
  }, { signal });

  element.addEventListener('pointercancel', (event) => {
    touches.delete(event.pointerId);
    letGo();
  }, { signal });

  element.addEventListener('pointerleave', (event) => {
    if (event.pointerType !== 'touch') hovers.push(null);
  }, { signal });

  element.addEventListener('contextmenu', (event) => {
    if (!isControl(event.target)) event.preventDefault();
  }, { signal });

  element.addEventListener('wheel', (event) => {
    if (isControl(event.target)) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PIXELS : 1;
    if (event.shiftKey && !event.ctrlKey) handlers.pan(-(event.deltaX || event.deltaY) * unit, 0);
    else handlers.zoom(Math.exp(-event.deltaY * unit * WHEEL_STEP * (event.ctrlKey ? 6 : 1)), pointOf(event));
  }, { signal, passive: false });

  return () => listening.abort();
}

/** @param {PointerEvent} event */
function pressureOf({ pointerType, pressure }) {
  return pointerType === 'pen' && pressure > 0 ? pressure : 0.5;
}

/** @param {EventTarget | null} target */
function isControl(target) {
  return target instanceof Element && target.closest('button, a, input, label, [role="alert"], .floating') !== null;
}
