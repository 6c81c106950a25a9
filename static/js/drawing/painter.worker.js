// @ts-check
/**
 * The painter on a thread of its own: however slow the graphics are, the page never waits for them.
 *
 * Requests are `open`, `picture`, `logits`, `next`, `field` and `scene`. Of the scenes that arrive within a frame only the newest is
 * painted; `opened` tells the painter's kind, `painted` the number of the scene on the canvas, a frame later: what is
 * painted leaves this thread when the frame ends, which on a busy machine takes its time.
 */

/** @import { Frame } from '../masks/geometry.js' */
/** @import { Painter, Scene } from './painter.js' */
import { createPainter } from './painter.js';

/**
 * @typedef {{type: 'open', canvas: OffscreenCanvas, force2d: boolean}
 *   | {type: 'picture', bitmap: ImageBitmap}
 *   | {type: 'logits' | 'next', logits: Float32Array, frame?: Frame | null}
 *   | {type: 'field', of: number, field: Float32Array | null, frame?: Frame | null}
 *   | {type: 'scene', scene: Scene, number: number}} Request
 */
/** @typedef {{type: 'opened', kind: Painter['kind']} | {type: 'painted', number: number}} Reply */

const port = /** @type {{postMessage: (reply: Reply) => void}} */ (/** @type {unknown} */ (self));

/** @type {Painter | null} */
let painter = null;
/** @type {{scene: Scene, number: number} | null} */
let waiting = null;

self.addEventListener('message', ({ data }) => handle(data));

/** @param {Request} request */
function handle(request) {
  switch (request.type) {
    case 'open':
      painter = createPainter(request.canvas, request.force2d);
      return port.postMessage({ type: 'opened', kind: painter.kind });
    case 'picture':
      return painter?.setPicture(request.bitmap);
    case 'logits':
      return painter?.setLogits(request.logits, request.frame);
    case 'next':
      return painter?.setNext(request.logits, request.frame);
    case 'field':
      return painter?.setField(request.of, request.field, request.frame);
    case 'scene':
      if (!waiting) requestAnimationFrame(paint);
      waiting = request;
  }
}

function paint() {
  if (!waiting) return;
  const { scene, number } = waiting;
  waiting = null;
  painter?.paint(scene);
  requestAnimationFrame(() => port.postMessage({ type: 'painted', number }));
}
