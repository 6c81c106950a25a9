// @ts-check
/** Makes the files to take home, at the picture's own size: the picture-sized mask exists only here, off the page. */

/** @import { Frame } from './geometry.js' */
import { pictureMask } from './masks.js';
import { GRID } from './protocol.js';

/** @typedef {{blob: Blob, logits: Float32Array, frame: Frame, threshold: number}} Kept a picture and its mask */
/** @typedef {Kept & {type: 'cutout' | 'mask', id: number}} Request */
/** @typedef {{type: 'file' | 'error', id: number, [field: string]: unknown}} Reply */

const STRIP_ROWS = 256;

const port = /** @type {{postMessage: (reply: Reply) => void}} */ (/** @type {unknown} */ (self));

self.addEventListener('message', async (/** @type {MessageEvent<Request>} */ { data }) => {
  const { id, type } = data;
  try {
    const file = await (type === 'cutout' ? cutOut(data) : maskImage(data));
    port.postMessage({ type: 'file', id, file });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    port.postMessage({ type: 'error', id, error: { name, message } });
  }
});

/** @param {Kept} kept */
async function cutOut({ blob, logits, frame, threshold }) {
  const mask = pictureMask(logits, GRID, frame, threshold);
  const { canvas, context } = canvasFor(frame);
  const bitmap = await createImageBitmap(blob, { imageOrientation: 'from-image' });
  context.drawImage(bitmap, 0, 0, frame.original.width, frame.original.height);
  bitmap.close();
  eachStrip(context, frame, (pixels, at) => {
    for (let i = 0; i < pixels.length; i += 4) pixels[i + 3] *= mask[at + i / 4];
  });
  return canvas.convertToBlob();
}

/** @param {Kept} kept */
async function maskImage({ logits, frame, threshold }) {
  const mask = pictureMask(logits, GRID, frame, threshold);
  const { canvas, context } = canvasFor(frame);
  eachStrip(context, frame, (pixels, at) => {
    for (let i = 0; i < pixels.length; i += 4) {
      pixels.fill(mask[at + i / 4] * 255, i, i + 3);
      pixels[i + 3] = 255;
    }
  });
  return canvas.convertToBlob();
}

/** @param {Frame} frame */
function canvasFor({ original }) {
  const canvas = new OffscreenCanvas(original.width, original.height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error(`The browser cannot make a picture of ${original.width} x ${original.height}.`);
  return { canvas, context };
}

/**
 * Rewrite a canvas strip by strip: never all of its pixels twice in memory.
 * @param {OffscreenCanvasRenderingContext2D} context
 * @param {Frame} frame
 * @param {(pixels: Uint8ClampedArray, at: number) => void} rewrite `at` is the strip's first pixel
 */
function eachStrip(context, { original }, rewrite) {
  const { width, height } = original;
  for (let y = 0; y < height; y += STRIP_ROWS) {
    const strip = context.getImageData(0, y, width, Math.min(STRIP_ROWS, height - y));
    rewrite(strip.data, y * width);
    context.putImageData(strip, 0, y);
  }
}
