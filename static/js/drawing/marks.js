// @ts-check
/** The marks over the picture: points, the box with its handles, the keyboard's pointer, the brush. */

/** @import { Box, Point, Size, View } from '../masks/geometry.js' */
/** @import { Click, Prompts } from '../masks/prompts.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { createSvg } from '../dom.js';
import { pictureToStage } from '../masks/geometry.js';
import { committedPrompts, pictureSize, pictureView } from '../state/selectors.js';
import { watch } from '../state/store.js';

const RADIUS = 8;
const HANDLE = 4;
const GLYPHS = { 0: 'M-3.500 0h7', 1: 'M-3.500 0h7M0 -3.500v7' };

/** @typedef {{prompts: Prompts, isDraft: boolean, cursor: Point | null, brush: number | null, view: View, size: Size}} Marks */

/**
 * Draw the marks whenever they change; a mouse that moves changes none, unless it carries a brush.
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
  const paints = state.tool === 'brush' || state.tool === 'eraser';
  const cursor = paints || state.pointer === 'keys' ? state.hover : null;
  const { draft } = state;
  const asked = draft && 'prompts' in draft ? draft.prompts : null;
  const prompts = asked ?? committedPrompts(state);
  return view && size && { prompts, isDraft: asked !== null, cursor, brush: paints ? state.brush / 2 : null, view, size };
}

/** @param {Marks} marks */
function draw({ prompts: { clicks, box }, isDraft, cursor, brush, view, size }) {
  const place = (/** @type {Point} */ point) => pictureToStage(view, size, point);
  const elements = clicks.map((click) => clickMark(click, place));
  if (box) elements.unshift(...boxMark(box, place, isDraft));
  if (cursor) elements.push(cursorMark(cursor, place, brush));
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
 * @param {boolean} isDraft
 * @returns {SVGElement[]}
 */
function boxMark([x0, y0, x1, y1], place, isDraft) {
  const [left, top] = place([x0, y0]);
  const [right, bottom] = place([x1, y1]);
  const frame = createSvg('rect', { class: isDraft ? 'box draft' : 'box', x: left, y: top, width: right - left, height: bottom - top, rx: 3 });
  if (isDraft) return [frame];
  const places = [left, (left + right) / 2, right].flatMap((x) => [top, (top + bottom) / 2, bottom].map((y) => [x, y]));
  const handles = places.filter((_, index) => index !== 4).map(([x, y]) =>
    createSvg('rect', { class: 'handle', x: x - HANDLE, y: y - HANDLE, width: 2 * HANDLE, height: 2 * HANDLE, rx: 2 }));
  return [frame, ...handles];
}

/**
 * @param {Point} hover
 * @param {(point: Point) => Point} place
 * @param {number | null} brush
 * @returns {SVGElement}
 */
function cursorMark([x, y], place, brush) {
  const [left, top] = place([x, y]);
  return createSvg('circle', { class: brush === null ? 'cursor' : 'cursor brush', cx: left, cy: top, r: brush ?? RADIUS });
}
