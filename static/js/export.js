// @ts-check
/** Files to take home, at the picture's own size; the picture-sized mask is made only here. */

/** @import { Frame } from './geometry.js' */
/** @import { State } from './store.js' */
import { pictureMask } from './masks.js';
import { GRID } from './protocol.js';
import { pictureFrame } from './store.js';

const STRIP_ROWS = 256;

/** @param {State} state */
export async function saveCutOut(state) {
  const { blob, name, mask, frame } = keptMask(state);
  const { canvas, context } = canvasFor(frame);
  const bitmap = await createImageBitmap(blob, { imageOrientation: 'from-image' });
  context.drawImage(bitmap, 0, 0, frame.original.width, frame.original.height);
  bitmap.close();
  await eachStrip(context, frame, (pixels, at) => {
    for (let i = 0; i < pixels.length; i += 4) pixels[i + 3] *= mask[at + i / 4];
  });
  download(await canvas.convertToBlob(), `${stem(name)}-cutout.png`);
}

/** @param {State} state */
export async function saveMask(state) {
  const { name, mask, frame } = keptMask(state);
  const { canvas, context } = canvasFor(frame);
  await eachStrip(context, frame, (pixels, at) => {
    for (let i = 0; i < pixels.length; i += 4) {
      pixels.fill(mask[at + i / 4] * 255, i, i + 3);
      pixels[i + 3] = 255;
    }
  });
  download(await canvas.convertToBlob(), `${stem(name)}-mask.png`);
}

/** @param {State} state */
function keptMask(state) {
  const frame = pictureFrame(state);
  if (!state.picture || !state.mask || !frame || state.service.status !== 'ready') throw new Error('There is no mask to save.');
  const mask = pictureMask(state.mask.logits, GRID, frame, state.service.info.mask_threshold);
  return { blob: state.picture.blob, name: state.picture.name, mask, frame };
}

/** @param {Frame} frame */
function canvasFor({ original }) {
  const canvas = new OffscreenCanvas(original.width, original.height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error(`The browser cannot make a picture of ${original.width} x ${original.height}.`);
  return { canvas, context };
}

/**
 * Rewrite a canvas strip by strip, letting the page breathe in between.
 * @param {OffscreenCanvasRenderingContext2D} context
 * @param {Frame} frame
 * @param {(pixels: Uint8ClampedArray, at: number) => void} rewrite `at` is the strip's first pixel
 */
async function eachStrip(context, { original }, rewrite) {
  const { width, height } = original;
  for (let y = 0; y < height; y += STRIP_ROWS) {
    const strip = context.getImageData(0, y, width, Math.min(STRIP_ROWS, height - y));
    rewrite(strip.data, y * width);
    context.putImageData(strip, 0, y);
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {string} name */
function stem(name) {
  return name.replace(/\.[^.]*$/, '') || 'picture';
}
