// @ts-check
/** A canvas that shows a picture and its mask: by WebGL2, or in 2D where that is missing. Runs on either thread. */

/** @import { Frame, Size, View } from '../masks/geometry.js' */
import { createCanvasPainter } from './canvas2d.js';
import { createGlPainter } from './gl.js';

/**
 * How the mask is drawn; the shares run from 0 to 1 and move smoothly.
 * @typedef {object} Look
 * @property {number} mask opacity of the whole mask
 * @property {number} kept how far the surroundings step back
 * @property {number} awake 0 while the picture is being encoded
 * @property {number} line outline in CSS pixels
 * @property {number} corner radius in CSS pixels
 * @property {readonly number[]} tint red, green, blue from 0 to 1
 * @property {number} preview opacity of what the next click would change
 * @property {number} fill opacity of the objects' colours
 * @property {'fill' | 'outline' | 'cutout' | 'original'} display
 */

/**
 * One kept object, whose field was set before.
 * @typedef {object} Layer
 * @property {number} id
 * @property {readonly number[]} colour red, green, blue from 0 to 1
 * @property {boolean} selected
 */

/**
 * One frame.
 * @typedef {object} Scene
 * @property {Size} canvas in device pixels, as is the view
 * @property {View} view
 * @property {Size} region of the low-resolution grid that the picture fills
 * @property {Frame | null} frame
 * @property {Size} size of the picture
 * @property {readonly Layer[]} layers topmost first
 * @property {Look} look
 * @property {number} ratio device pixels per CSS pixel
 */

/** @typedef {HTMLCanvasElement | OffscreenCanvas} AnyCanvas */
/** @typedef {{field: Float32Array, frame?: Frame | null}} Placed a field, and the closer view that it is of, if it is of one */

/**
 * @typedef {object} Painter
 * @property {'webgl2' | '2d'} kind
 * @property {() => void} restore after a lost context came back
 * @property {(bitmap: ImageBitmap) => void} setPicture
 * @property {(logits: Float32Array, frame?: Frame | null) => void} setLogits
 * @property {(logits: Float32Array, frame?: Frame | null) => void} setNext what the next click would make of it
 * @property {(id: number, field: Float32Array | null, frame?: Frame | null) => void} setField of an object, or null when it is gone
 * @property {(scene: Scene) => void} paint
 */

/**
 * @param {AnyCanvas} canvas
 * @param {boolean} force2d
 * @returns {Painter} one that survives the loss of its context
 */
export function createPainter(canvas, force2d) {
  const painter = (force2d ? null : createGlPainter(canvas)) ?? createCanvasPainter(canvas);
  /** @type {{picture?: ImageBitmap, logits?: Placed, scene?: Scene}} */
  const shown = {};
  /** @type {Map<number, Placed>} */
  const fields = new Map();

  canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
  canvas.addEventListener('webglcontextrestored', () => {
    painter.restore();
    if (shown.picture) painter.setPicture(shown.picture);
    if (shown.logits) painter.setLogits(shown.logits.field, shown.logits.frame);
    for (const [id, { field, frame }] of fields) painter.setField(id, field, frame);
    if (shown.scene) painter.paint(shown.scene);
  });

  return {
    ...painter,
    setPicture(bitmap) {
      shown.picture?.close();
      shown.picture = bitmap;
      painter.setPicture(bitmap);
    },
    setLogits(logits, frame) {
      shown.logits = { field: logits, frame };
      painter.setLogits(logits, frame);
    },
    setField(id, field, frame) {
      if (field) fields.set(id, { field, frame });
      else fields.delete(id);
      painter.setField(id, field, frame);
    },
    paint(scene) {
      shown.scene = scene;
      const { width, height } = scene.canvas;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      painter.paint(scene);
    },
  };
}
