// @ts-check
/** Draws the stage: at most once per animation frame, and only when something changed. */

/** @import { Frame, Size, View } from './geometry.js' */
/** @import { State } from './store.js' */
import { createCanvasPainter } from './canvas2d.js';
import { gridRegion } from './geometry.js';
import { createGlPainter } from './gl.js';
import { GRID } from './protocol.js';
import { isKept, pictureFrame, pictureView } from './store.js';

/**
 * How the mask is drawn; the shares run from 0 to 1 and move smoothly.
 * @typedef {object} Look
 * @property {number} mask opacity of the whole mask
 * @property {number} kept how far the surroundings step back
 * @property {number} awake 0 while the picture is being encoded
 * @property {number} line outline in CSS pixels
 * @property {number} corner radius in CSS pixels
 * @property {readonly number[]} tint red, green, blue from 0 to 1
 */

/** @typedef {{view: View, region: Size, frame: Frame | null, threshold: number, look: Look, ratio: number}} Scene view in device pixels */

/**
 * @typedef {object} Painter
 * @property {'webgl2' | '2d'} kind
 * @property {() => void} restore after a lost context came back
 * @property {(bitmap: ImageBitmap) => void} setPicture
 * @property {(logits: Float32Array) => void} setLogits
 * @property {(scene: Scene) => void} paint
 */

const EASE_MS = 90;
const LINE = 1.5;
const CORNER = 10;
/** The parts of the state that a frame shows; a mouse that moves changes none of them. */
const DRAWN = /** @type {const} */ (['picture', 'mask', 'stage', 'history', 'service']);
const WHOLE_GRID = { width: GRID, height: GRID };

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{force2d: boolean, still: boolean, tint: readonly number[]}} options `still` turns transitions off
 */
export function createRenderer(canvas, { force2d, still, tint }) {
  const painter = (force2d ? null : createGlPainter(canvas)) ?? createCanvasPainter(canvas);
  const shares = { mask: 0, kept: 0, awake: 0 };
  /** @type {State | null} */
  let state = null;
  /** @type {ImageBitmap | null} */
  let shownBitmap = null;
  /** @type {Float32Array | null} */
  let shownLogits = null;
  let pending = 0;
  let lastTime = 0;

  canvas.addEventListener('webglcontextlost', onLost);
  canvas.addEventListener('webglcontextrestored', onRestored);

  /** @param {Event} event */
  function onLost(event) {
    event.preventDefault();
  }

  function onRestored() {
    painter.restore();
    shownBitmap = null;
    shownLogits = null;
    schedule();
  }

  function schedule() {
    pending ||= requestAnimationFrame(draw);
  }

  /** @param {number} time */
  function draw(time) {
    pending = 0;
    const view = state && pictureView(state);
    if (!state || !view) return canvas.classList.remove('drawn');
    upload(state);
    fitCanvas(state.stage);
    const moving = ease(targets(state), still ? Infinity : Math.min(time - lastTime, 50));
    lastTime = time;
    painter.paint(sceneOf(state, view));
    canvas.classList.add('drawn');
    if (moving) schedule();
  }

  /** @param {State} current */
  function upload({ picture, mask }) {
    if (picture?.bitmap && picture.bitmap !== shownBitmap) {
      shownBitmap = picture.bitmap;
      painter.setPicture(picture.bitmap);
      Object.assign(shares, { mask: 0, kept: 0, awake: 0 });
    }
    if (mask && mask.logits !== shownLogits) {
      shownLogits = mask.logits;
      painter.setLogits(mask.logits);
    }
  }

  /** @param {Size} stage */
  function fitCanvas({ width, height }) {
    const size = { width: Math.round(width * devicePixelRatio), height: Math.round(height * devicePixelRatio) };
    if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  }

  /**
   * @param {Readonly<typeof shares>} goals
   * @param {number} elapsed
   * @returns {boolean} whether something still moves
   */
  function ease(goals, elapsed) {
    const step = 1 - Math.exp(-elapsed / EASE_MS);
    let moving = false;
    for (const name of /** @type {(keyof typeof shares)[]} */ (Object.keys(shares))) {
      const rest = goals[name] - shares[name];
      shares[name] = Math.abs(rest) < 0.01 ? goals[name] : shares[name] + rest * step;
      moving ||= shares[name] !== goals[name];
    }
    return moving;
  }

  /**
   * @param {State} current
   * @param {View} view
   * @returns {Scene}
   */
  function sceneOf(current, view) {
    const ratio = devicePixelRatio;
    const frame = pictureFrame(current);
    return {
      view: { x: view.x * ratio, y: view.y * ratio, width: view.width * ratio, height: view.height * ratio },
      region: frame ? gridRegion(frame, GRID) : WHOLE_GRID,
      frame,
      threshold: current.service.status === 'ready' ? current.service.info.mask_threshold : 0,
      look: { ...shares, line: LINE, corner: CORNER, tint },
      ratio,
    };
  }

  return {
    kind: painter.kind,
    /** @param {State} next */
    show(next) {
      const changed = !state || DRAWN.some((part) => state?.[part] !== next[part]);
      state = next;
      if (changed) schedule();
    },
    dispose() {
      cancelAnimationFrame(pending);
      canvas.removeEventListener('webglcontextlost', onLost);
      canvas.removeEventListener('webglcontextrestored', onRestored);
    },
  };
}

/** @param {State} state */
function targets(state) {
  return {
    mask: state.mask ? 1 : 0,
    kept: isKept(state) ? 1 : 0,
    awake: state.picture?.phase.status === 'ready' ? 1 : 0,
  };
}
