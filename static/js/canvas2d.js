// @ts-check
/** The same look as gl.js on a 2D canvas, for browsers without WebGL2. */

/** @import { AnyCanvas, Look, Painter, Scene } from './painter.js' */
/** @import { Frame } from './geometry.js' */
import { clamp } from './geometry.js';
import { sampleRows } from './masks.js';
import { GRID } from './protocol.js';

const MAX_MASK_SIDE = 1280;

/**
 * @param {AnyCanvas} canvas
 * @returns {Painter}
 */
export function createCanvasPainter(canvas) {
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
  /** @type {ImageBitmap | null} */
  let picture = null;
  /** @type {Float32Array | null} */
  let logits = null;
  const layer = new OffscreenCanvas(1, 1);

  return {
    kind: '2d',
    restore() {},
    setPicture(bitmap) {
      picture = bitmap;
    },
    setLogits(values) {
      logits = values;
    },
    paint(scene) {
      const { view, look, ratio } = scene;
      context.clearRect(0, 0, canvas.width, canvas.height);
      if (!picture) return;
      context.save();
      context.beginPath();
      context.roundRect(view.x, view.y, view.width, view.height, look.corner * ratio);
      context.clip();
      context.fillStyle = '#fff';
      context.fillRect(view.x, view.y, view.width, view.height);
      context.filter = `saturate(${0.35 + 0.65 * look.awake}) brightness(${0.55 + 0.45 * look.awake})`;
      context.imageSmoothingQuality = 'high';
      context.drawImage(picture, view.x, view.y, view.width, view.height);
      context.filter = 'none';
      if (logits && scene.frame && look.mask > 0) {
        shadeLayer(layer, logits, scene.frame, scene);
        context.globalAlpha = look.mask;
        context.drawImage(layer, view.x, view.y, view.width, view.height);
      }
      context.restore();
    },
  };
}

/**
 * Draw fill, outline and dimming into the layer, antialiased by the logit's slope.
 * @param {OffscreenCanvas} layer
 * @param {Float32Array} logits
 * @param {Frame} frame
 * @param {Scene} scene
 */
function shadeLayer(layer, logits, frame, { view, threshold, look, ratio }) {
  const scale = Math.min(1, MAX_MASK_SIDE / Math.max(view.width, view.height));
  const [width, height] = [view.width, view.height].map((side) => Math.max(1, Math.round(side * scale)));
  const size = { width, height };
  const image = new ImageData(size.width, size.height);
  let above = new Float32Array(0);
  sampleRows(logits, GRID, frame, size, (row, y) => {
    if (y === 0) above = row.slice();
    for (let x = 0; x < size.width; x += 1) {
      const next = row[x + 1] ?? 2 * row[x] - row[x - 1];
      const slope = Math.max(Math.hypot(next - row[x], row[x] - above[x]) || 0, 0.01);
      shadePixel(image.data, (y * size.width + x) * 4, (row[x] - threshold) / slope, look, look.line * ratio * scale);
    }
    above.set(row);
  });
  layer.width = size.width;
  layer.height = size.height;
  layer.getContext('2d')?.putImageData(image, 0, 0);
}

/**
 * @param {Uint8ClampedArray} pixels
 * @param {number} at
 * @param {number} edge distance to the mask's edge in pixels, positive inside
 * @param {Look} look
 * @param {number} width of the outline
 */
function shadePixel(pixels, at, edge, { tint, kept }, width) {
  const inside = clamp(edge + 0.5, 0, 1);
  const line = clamp(width / 2 + 0.5 - Math.abs(edge), 0, 1);
  const fill = inside * (0.42 - 0.36 * kept);
  const dim = (1 - inside) * 0.6 * kept;
  const under = fill + dim;
  const alpha = line + under * (1 - line);
  for (let channel = 0; channel < 3; channel += 1) {
    const shaded = under > 0 ? (tint[channel] * fill) / under : 0;
    pixels[at + channel] = alpha > 0 ? (255 * (line + shaded * under * (1 - line))) / alpha : 0;
  }
  pixels[at + 3] = 255 * alpha;
}
