// @ts-check
/** The marks over the picture: points, the box, the keyboard's pointer. */

/** @import { Box, Point, Size, View } from './geometry.js' */
/** @import { Click } from './prompts.js' */
/** @import { State, Store } from './store.js' */
import { createSvg } from './dom.js';
import { pictureToStage } from './geometry.js';
import { committedPrompts, pictureSize, pictureView, watch } from './store.js';

const RADIUS = 8;
const GLYPHS = { 0: 'M-3.500 0h7', 1: 'M-3.500 0h7M0 -3.500v7' };

/** @typedef {{clicks: readonly Click[], box: Box | null, draft: Box | null, cursor: Point | null, view: View, size: Size}} Marks */

/**
 * Draw the marks whenever they change; a mouse that moves changes none.
 * @param {SVGSVGElement} layer
 * @param {Store<State>} store
 */
export function mountMarks(layer, store) {
  const same = (/** @type {Marks | null} */ a, /** @type {Marks | null} */ b) => JSON.stringify(a) === JSON.stringify(b);
  watch(store, marksOf, (marks) => layer.replaceChildren(...(marks ? draw(marks) : [])), same);
}

/**
 * @param {State} state
 * @returns {Marks | null}
 */
function marksOf(state) {
  const view = pictureView(state);
  const size = state.picture && pictureSize(state.picture);
  const cursor = state.pointer === 'keys' ? state.hover : null;
  return view && size && { ...committedPrompts(state), draft: state.draft, cursor, view, size };
}

/** @param {Marks} marks */
function draw({ clicks, box, draft, cursor, view, size }) {
  const place = (/** @type {Point} */ point) => pictureToStage(view, size, point);
  const elements = clicks.map((click) => clickMark(click, place));
  if (draft) elements.unshift(boxMark(draft, place, 'box draft'));
  else if (box) elements.unshift(boxMark(box, place, 'box'));
  if (cursor) elements.push(cursorMark(cursor, place));
  return elements;
}

/**
 * @param {Click} click
 * @param {(point: Point) => Point} place
 * @returns {SVGElement}
 */
function clickMark({ x, y, label }, place) {
  const [left, top] = place([x, y]);
  const children = [createSvg('circle', { r: RADIUS }), createSvg('path', { d: GLYPHS[label] })];
  return createSvg('g', { class: `mark ${label ? 'include' : 'exclude'}`, transform: `translate(${left} ${top})` }, children);
}

/**
 * @param {Box} box
 * @param {(point: Point) => Point} place
 * @param {string} name
 * @returns {SVGElement}
 */
function boxMark([x0, y0, x1, y1], place, name) {
  const [left, top] = place([x0, y0]);
  const [right, bottom] = place([x1, y1]);
  return createSvg('rect', { class: name, x: left, y: top, width: right - left, height: bottom - top, rx: 3 });
}

/**
 * @param {Point} hover
 * @param {(point: Point) => Point} place
 * @returns {SVGElement}
 */
function cursorMark([x, y], place) {
  const [left, top] = place([x, y]);
  return createSvg('circle', { class: 'cursor', cx: left, cy: top, r: RADIUS });
}
