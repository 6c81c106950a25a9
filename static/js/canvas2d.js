// @ts-check
/** The same look as gl.js on a 2D canvas, for browsers without WebGL2; coarser when zoomed, and without a pixel grid. */

/** @import { AnyCanvas, Layer, Look, Painter, Scene } from './painter.js' */
/** @import { Frame, Size } from './geometry.js' */
import { clamp } from './geometry.js';
import { sampleRows } from './masks.js';
import { GRID } from './protocol.js';

const MAX_MASK_SIDE = 1280;
const SQUARE = 10;

/** @typedef {OffscreenCanvasRenderingContext2D} Context */
/** @typedef {(pixels: Uint8ClampedArray, at: number, edge: number) => void} Shade by the distance to the edge, positive inside */

/**
 * @param {AnyCanvas} canvas
 * @returns {Painter}
 */
export function createCanvasPainter(canvas) {
  const context = /** @type {Context} */ (canvas.getContext('2d'));
  /** @type {ImageBitmap | null} */
  let picture = null;
  /** @type {Float32Array | null} */
  let logits = null;
  /** @type {Map<number, Float32Array>} */
  const fields = new Map();
  const layer = new OffscreenCanvas(1, 1);

  /**
   * @param {Float32Array} field
   * @param {Scene} scene
   * @param {number} threshold
   * @param {Shade} shade
   */
  function drawField(field, scene, threshold, shade) {
    if (!scene.frame) return;
    shadeLayer(layer, field, scene.frame, layerSize(scene), threshold, shade);
    context.drawImage(layer, scene.view.x, scene.view.y, scene.view.width, scene.view.height);
  }

  /** @param {Scene} scene */
  function drawCutOut(scene) {
    const all = [...scene.layers.flatMap(({ id }) => fields.get(id) ?? []), ...(logits && scene.look.mask > 0.5 ? [logits] : [])];
    const paper = /** @type {Context} */ (new OffscreenCanvas(canvas.width, canvas.height).getContext('2d'));
    const { x, y, width, height } = scene.view;
    for (const field of all) {
      if (!scene.frame) return;
      shadeLayer(layer, field, scene.frame, layerSize(scene), 0, (pixels, at, edge) => (pixels[at + 3] = 255 * clamp(edge + 0.5, 0, 1)));
      paper.drawImage(layer, x, y, width, height);
    }
    paper.globalCompositeOperation = 'source-in';
    if (picture) paper.drawImage(picture, x, y, width, height);
    drawCheckerboard(context, canvas, SQUARE * scene.ratio);
    context.drawImage(paper.canvas, 0, 0);
  }

  /** @param {Scene} scene */
  function drawMasks(scene) {
    const { look, ratio } = scene;
    if (look.display === 'cutout') return drawCutOut(scene);
    const size = layerSize(scene);
    const width = (look.line * ratio * size.width) / scene.view.width;
    if (look.display !== 'original' && logits && look.mask > 0) {
      context.globalAlpha = look.mask;
      const quiet = look.display === 'outline' ? 0 : 1;
      drawField(logits, scene, 0, (pixels, at, edge) => shadePixel(pixels, at, edge, look, width, quiet));
      context.globalAlpha = 1;
    }
    for (const each of [...scene.layers].reverse()) {
      const field = fields.get(each.id);
      if (field) drawField(field, scene, 0, (pixels, at, edge) => shadeObject(pixels, at, edge, each, width, look));
    }
  }

  return {
    kind: '2d',
    restore() {},
    setPicture(bitmap) {
      picture = bitmap;
    },
    setLogits(values) {
      logits = values;
    },
    setNext() {},
    setField(id, field) {
      if (field) fields.set(id, field);
      else fields.delete(id);
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
      drawMasks(scene);
      context.restore();
    },
  };
}

/** @param {Scene} scene @returns {Size} */
function layerSize({ view }) {
  const scale = Math.min(1, MAX_MASK_SIDE / Math.max(view.width, view.height));
  return { width: Math.max(1, Math.round(view.width * scale)), height: Math.max(1, Math.round(view.height * scale)) };
}

/**
 * Draw a field into the layer, antialiased by its slope.
 * @param {OffscreenCanvas} layer
 * @param {Float32Array} field
 * @param {Frame} frame
 * @param {Size} size
 * @param {number} threshold
 * @param {Shade} shade
 */
function shadeLayer(layer, field, frame, size, threshold, shade) {
  const image = new ImageData(size.width, size.height);
  let above = new Float32Array(0);
  sampleRows(field, GRID, frame, size, (row, y) => {
    if (y === 0) above = row.slice();
    for (let x = 0; x < size.width; x += 1) {
      const next = row[x + 1] ?? 2 * row[x] - row[x - 1];
      const slope = Math.max(Math.hypot(next - row[x], row[x] - above[x]) || 0, 0.01);
      shade(image.data, (y * size.width + x) * 4, (row[x] - threshold) / slope);
    }
    above.set(row);
  });
  layer.width = size.width;
  layer.height = size.height;
  layer.getContext('2d')?.putImageData(image, 0, 0);
}

/**
 * Fill, outline and dimming of the sketch.
 * @param {Uint8ClampedArray} pixels
 * @param {number} at
 * @param {number} edge distance to the mask's edge in pixels, positive inside
 * @param {Look} look
 * @param {number} width of the outline
 * @param {number} quiet 0 for the outline alone
 */
function shadePixel(pixels, at, edge, { tint, kept }, width, quiet) {
  const inside = clamp(edge + 0.5, 0, 1);
  const line = clamp(width / 2 + 0.5 - Math.abs(edge), 0, 1);
  const fill = inside * (0.42 - 0.36 * kept) * quiet;
  const dim = (1 - inside) * 0.6 * kept * quiet;
  const under = fill + dim;
  const alpha = line + under * (1 - line);
  for (let channel = 0; channel < 3; channel += 1) {
    const shaded = under > 0 ? (tint[channel] * fill) / under : 0;
    pixels[at + channel] = alpha > 0 ? (255 * (line + shaded * under * (1 - line))) / alpha : 0;
  }
  pixels[at + 3] = 255 * alpha;
}

/**
 * @param {Uint8ClampedArray} pixels
 * @param {number} at
 * @param {number} edge
 * @param {Layer} layer
 * @param {number} width
 * @param {Look} look
 */
function shadeObject(pixels, at, edge, { colour, selected }, width, { display, fill }) {
  if (display === 'original') return;
  const line = clamp((width * (selected ? 2 : 1)) / 2 + 0.5 - Math.abs(edge), 0, 1);
  const inside = display === 'outline' ? 0 : clamp(edge + 0.5, 0, 1) * fill;
  for (let channel = 0; channel < 3; channel += 1) pixels[at + channel] = 255 * colour[channel];
  pixels[at + 3] = 255 * Math.max(inside, line);
}

/** @param {Context} context @param {AnyCanvas} canvas @param {number} side */
function drawCheckerboard(context, { width, height }, side) {
  for (let y = 0; y * side < height; y += 1) {
    for (let x = 0; x * side < width; x += 1) {
      context.fillStyle = (x + y) % 2 === 0 ? '#d6d6d6' : '#f2f2f2';
      context.fillRect(x * side, y * side, side, side);
    }
  }
}
