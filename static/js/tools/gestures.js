// @ts-check
/** Pointer events as gestures: hover, tap, long press, drag. Knows the stage only, not the picture. */

/** @import { Point } from '../geometry.js' */
import { framewise } from './framewise.js';

/**
 * @typedef {object} GestureHandlers points are CSS pixels from the element's top left
 * @property {(at: Point | null) => void} hover null when the pointer leaves; once per frame, as are drags
 * @property {(at: Point, opposite: boolean) => void} tap `opposite` for the right button, Shift and a long press
 * @property {(from: Point, to: Point) => void} drag
 * @property {(from: Point, to: Point) => void} drop the end of a drag
 * @property {() => void} cancel a drag that will not end
 */

const SLOP = { mouse: 4, pen: 6, touch: 10 };

/**
 * @param {HTMLElement} element
 * @param {GestureHandlers} handlers
 * @returns {() => void} stop listening
 */
export function attachGestures(element, handlers) {
  /** @type {{id: number, from: Point, opposite: boolean, dragging: boolean, slop: number} | null} */
  let press = null;
  const hovers = framewise(handlers.hover);
  const drags = framewise((/** @type {Point[]} */ [from, to]) => handlers.drag(from, to));
  const listening = new AbortController();
  const { signal } = listening;

  /** @param {MouseEvent} event @returns {Point} */
  function pointOf({ clientX, clientY }) {
    const { left, top } = element.getBoundingClientRect();
    return [clientX - left, clientY - top];
  }

  element.addEventListener('pointerdown', (event) => {
    const usable = event.isPrimary && (event.button === 0 || event.button === 2) && !isControl(event.target);
    if (!usable) return;
    element.setPointerCapture(event.pointerId);
    const slop = SLOP[/** @type {keyof typeof SLOP} */ (event.pointerType)] ?? SLOP.mouse;
    const opposite = event.button === 2 || event.shiftKey;
    press = { id: event.pointerId, from: pointOf(event), opposite, dragging: false, slop };
  }, { signal });

  element.addEventListener('pointermove', (event) => {
    if (!event.isPrimary) return;
    const at = pointOf(event);
    if (press?.id !== event.pointerId) {
      if (event.pointerType !== 'touch') hovers.push(at);
      return;
    }
    press.dragging ||= !press.opposite && Math.hypot(at[0] - press.from[0], at[1] - press.from[1]) > press.slop;
    if (press.dragging) drags.push([press.from, at]);
  }, { signal });

  element.addEventListener('pointerup', (event) => {
    if (press?.id !== event.pointerId) return;
    const { from, opposite, dragging } = press;
    press = null;
    drags.clear();
    if (dragging) handlers.drop(from, pointOf(event));
    else handlers.tap(from, opposite);
  }, { signal });

  element.addEventListener('pointercancel', () => {
    press = null;
    drags.clear();
    handlers.cancel();
  }, { signal });

  element.addEventListener('pointerleave', (event) => {
    if (event.pointerType !== 'touch') hovers.push(null);
  }, { signal });

  element.addEventListener('contextmenu', (event) => {
    if (isControl(event.target)) return;
    event.preventDefault();
    const { pointerType } = /** @type {PointerEvent} */ (event);
    if (pointerType === 'touch' && press && !press.dragging) press.opposite = true;
  }, { signal });

  return () => listening.abort();
}

/** @param {EventTarget | null} target */
function isControl(target) {
  return target instanceof Element && target.closest('button, a, [role="alert"]') !== null;
}
