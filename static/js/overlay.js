// @ts-check
/** The marks over the picture: points, the box, the keyboard's pointer. */

/** @import { Box, Point, Size, View } from './geometry.js' */
/** @import { Click } from './prompts.js' */
/** @import { State } from './store.js' */
import { createSvg } from './dom.js';
import { pictureToStage } from './geometry.js';
import { committedPrompts, pictureSize, pictureView } from './store.js';

const RADIUS = 8;
const GLYPHS = { 0: 'M-3.500 0h7', 1: 'M-3.500 0h7M0 -3.500v7' };

/**
 * @param {SVGSVGElement} layer
 * @param {State} state
 */
export function drawMarks(layer, state) {
  const view = pictureView(state);
  const size = state.picture && pictureSize(state.picture);
  layer.replaceChildren(...(view && size ? marksOf(state, view, size) : []));
}

/**
 * @param {State} state
 * @param {View} view
 * @param {Size} size
 */
function marksOf(state, view, size) {
  const { clicks, box } = committedPrompts(state);
  const place = (/** @type {Point} */ point) => pictureToStage(view, size, point);
  const marks = clicks.map((click) => clickMark(click, place));
  if (state.draft) marks.unshift(boxMark(state.draft, place, 'box draft'));
  else if (box) marks.unshift(boxMark(box, place, 'box'));
  if (state.hover) marks.push(cursorMark(state.hover, place));
  return marks;
}

/**
 * @param {Click} click
 * @param {(point: Point) => Point} place
 * @returns {SVGElement}
 */
function clickMark({ x, y, label }, place) {
  const [left, top] = place([x + 0.5, y + 0.5]);
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
  const [left, top] = place([x + 0.5, y + 0.5]);
  return createSvg('circle', { class: 'cursor', cx: left, cy: top, r: RADIUS });
}
