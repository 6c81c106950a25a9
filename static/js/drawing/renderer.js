// @ts-check
/** What the stage should look like: at most once per animation frame, and only when something changed. */

/** @import { View } from '../masks/geometry.js' */
/** @import { State } from '../state/state.js' */
/** @import { Layer, Scene } from './painter.js' */
import { GRID, gridRegion } from '../masks/geometry.js';
import { isKept } from '../state/questions.js';
import { pictureFrame, pictureSize, pictureView, workOf } from '../state/selectors.js';
import { shownField } from '../state/specks.js';
import { createEasel } from './easel.js';

/** @typedef {ReturnType<typeof createRenderer>} Renderer */

const EASE_MS = 90;
const LINE = 1.5;
const CORNER = 10;
/** The parts of the state that a frame shows; a mouse that moves changes none of them. */
const DRAWN = /** @type {const} */ (['picture', 'mask', 'preview', 'stage', 'service', 'display', 'before', 'opacity', 'tidies']);
const WHOLE_GRID = { width: GRID, height: GRID };

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{force2d: boolean, still: boolean, tint: readonly number[]}} options `still` turns transitions off
 */
export function createRenderer(canvas, { force2d, still, tint }) {
  const easel = createEasel(canvas, { force2d, onPainted: () => canvas.classList.toggle('drawn', shows) });
  const shares = { mask: 0, kept: 0, awake: 0, preview: 0 };
  /** @type {Map<number, Float32Array>} what the easel holds, by the object's id */
  const held = new Map();
  /** @type {State | null} */
  let state = null;
  /** @type {ImageBitmap | null} */
  let shownBitmap = null;
  /** @type {Float32Array | null} */
  let shownMask = null;
  /** @type {Float32Array | null} */
  let shownNext = null;
  /** @type {number | null} */
  let shownKey = null;
  let shows = false;
  let pending = 0;
  let lastTime = 0;

  function schedule() {
    pending ||= requestAnimationFrame(draw);
  }

  /** @param {number} time */
  function draw(time) {
    pending = 0;
    const view = state && pictureView(state);
    if (state) upload(state);
    shows = view !== null && state?.picture?.key === shownKey;
    if (!state || !view || !shows) return canvas.classList.remove('drawn');
    uploadFields(state);
    const moving = ease(targets(state), still ? Infinity : Math.min(time - lastTime, 50));
    lastTime = time;
    easel.show(sceneOf(state, view));
    if (moving) schedule();
  }

  /** @param {State} current */
  function upload(current) {
    const { picture, mask, preview } = current;
    const shown = mask && shownField(current, mask);
    const next = preview && shownField(current, preview);
    if (picture?.bitmap && picture.bitmap !== shownBitmap) {
      shownBitmap = picture.bitmap;
      easel.setPicture(picture.bitmap);
      if (picture.key !== shownKey) Object.assign(shares, { mask: 0, kept: 0, awake: 0, preview: 0 });
      shownKey = picture.key;
    }
    if (shown && shown !== shownMask) easel.setLogits((shownMask = shown), mask.question.frame);
    if (next && next !== shownNext) easel.setNext((shownNext = next), preview.question.frame);
  }

  /** Send the fields that changed, forget those that are gone. @param {State} current */
  function uploadFields(current) {
    const { things } = workOf(current);
    for (const { id, shape, frame } of things) {
      if (held.get(id) === shape) continue;
      held.set(id, shape);
      easel.setField(id, shape, frame);
    }
    for (const id of held.keys()) {
      if (things.some((thing) => thing.id === id)) continue;
      held.delete(id);
      easel.setField(id, null);
    }
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
    const { width, height } = current.stage;
    return {
      canvas: { width: Math.round(width * ratio), height: Math.round(height * ratio) },
      view: { x: view.x * ratio, y: view.y * ratio, width: view.width * ratio, height: view.height * ratio },
      region: frame ? gridRegion(frame, GRID) : WHOLE_GRID,
      frame,
      size: (current.picture && pictureSize(current.picture)) ?? WHOLE_GRID,
      layers: layersOf(current),
      look: {
        ...shares,
        line: LINE,
        corner: current.picture?.lens ? 0 : CORNER,
        tint,
        fill: current.opacity * (1 - 0.6 * shares.kept),
        display: displayOf(current),
      },
      ratio,
    };
  }

  return {
    kind: easel.kind,
    /** Whether what was shown last is not on the canvas yet. */
    isBusy: () => pending !== 0 || easel.isBusy(),
    /** @param {State} next */
    show(next) {
      const changed = !state || DRAWN.some((part) => state?.[part] !== next[part]);
      state = next;
      if (changed) schedule();
    },
  };
}

/** @param {State} state */
function displayOf({ before, display }) {
  return before ? 'original' : display;
}

/** @param {State} state */
function targets(state) {
  return {
    mask: state.mask ? 1 : 0,
    kept: isKept(state) ? 1 : 0,
    awake: state.picture?.phase.status === 'ready' ? 1 : 0,
    preview: state.preview ? 1 : 0,
  };
}

/**
 * The objects as they are drawn; while a sketch is kept they step back.
 * @param {State} state
 * @returns {Layer[]}
 */
function layersOf(state) {
  const { things, editing, selected } = workOf(state);
  if (displayOf(state) === 'original' || state.picture?.phase.status === 'reading') return [];
  const shown = things.filter(({ id, visible }) => visible && id !== editing);
  return shown.map(({ id, colour }) => ({ id, colour: rgb(colour), selected: selected.includes(id) }));
}

/** @param {string} colour as #rrggbb */
function rgb(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}
