// @ts-check
/** The same look as gl.js on a 2D canvas, for browsers without WebGL2; coarser when zoomed. */

/** @import { Frame, Size, View } from '../masks/geometry.js' */
/** @import { AnyCanvas, Layer, Look, Painter, Placed, Scene } from './painter.js' */
import { clamp, GRID, sameFrame } from '../masks/geometry.js';
import { sampleRows } from '../masks/pixels.js';

const MAX_MASK_SIDE = 1280;
const SQUARE = 10;
const ADDED = [41, 217, 140];
const REMOVED = [255, 64, 89];
/** CSS pixels per pixel of the picture: from here on they are squares, from the second on the grid shows. */
const CLOSE = { squares: 9, grid: 12 };

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
  /** @type {Placed | null} */
  let logits = null;
  /** @type {Placed | null} */
  let next = null;
  /** @type {Map<number, Placed>} */
  const fields = new Map();
  const layer = new OffscreenCanvas(1, 1);

  /**
   * @param {Context} paper
   * @param {Placed} placed
   * @param {Scene} scene
   * @param {Shade} shade
   */
  function drawField(paper, { field, frame = null }, scene, shade) {
    const seen = frame ?? scene.frame;
    if (!seen) return;
    const { x, y, width, height } = placeOf(frame, scene);
    shadeLayer(layer, field, seen, layerSize(width, height), 0, shade);
    paper.drawImage(layer, x, y, width, height);
  }

  /** @param {Scene} scene */
  function drawCutOut(scene) {
    const all = [...scene.layers.flatMap(({ id }) => fields.get(id) ?? []), ...(logits && scene.look.mask > 0.5 ? [logits] : [])];
    const paper = /** @type {Context} */ (new OffscreenCanvas(canvas.width, canvas.height).getContext('2d'));
    const { x, y, width, height } = scene.view;
    for (const placed of all) {
      drawField(paper, placed, scene, (pixels, at, edge) => (pixels[at + 3] = 255 * clamp(edge + 0.5, 0, 1)));
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
    const widthIn = (/** @type {Placed} */ { frame = null }) => {
      const place = placeOf(frame, scene);
      return (look.line * ratio * layerSize(place.width, place.height).width) / place.width;
    };
    if (look.display !== 'original' && logits && look.mask > 0) {
      context.globalAlpha = look.mask;
      const quiet = look.display === 'outline' ? 0 : 1;
      const width = widthIn(logits);
      drawField(context, logits, scene, (pixels, at, edge) => shadePixel(pixels, at, edge, look, width, quiet));
      dimAround(logits, scene, 0.6 * look.kept * quiet);
      context.globalAlpha = 1;
      if (next && look.preview > 0 && sameFrame(next.frame, logits.frame)) drawPreview(scene, logits, next);
    }
    for (const each of [...scene.layers].reverse()) {
      const placed = fields.get(each.id);
      if (!placed) continue;
      const width = widthIn(placed);
      drawField(context, placed, scene, (pixels, at, edge) => shadeObject(pixels, at, edge, each, width, look));
    }
  }

  /** What lies beyond the closer view of a mask is outside of it. @param {Placed} placed @param {Scene} scene @param {number} dim */
  function dimAround({ frame }, scene, dim) {
    if (!frame || dim === 0) return;
    context.beginPath();
    for (const { x, y, width, height } of [scene.view, placeOf(frame, scene)]) context.rect(x, y, width, height);
    context.fillStyle = `rgb(0 0 0 / ${dim})`;
    context.fill('evenodd');
  }

  /**
   * What the next click would add and take away: the one field without the other.
   * @param {Scene} scene
   * @param {Placed} now
   * @param {Placed} then
   */
  function drawPreview(scene, now, then) {
    for (const [{ field, frame }, other, colour] of /** @type {const} */ ([[then, now, ADDED], [now, then, REMOVED]])) {
      const changed = field.map((value, at) => Math.min(value, -other.field[at]));
      drawField(context, { field: changed, frame }, scene, (pixels, at, edge) => {
        pixels.set(colour, at);
        pixels[at + 3] = 255 * 0.45 * scene.look.preview * clamp(edge + 0.5, 0, 1);
      });
    }
  }

  /** @param {Scene} scene */
  function drawGrid({ view, size, ratio }) {
    const side = view.width / size.width;
    if (side < CLOSE.grid * ratio) return;
    context.beginPath();
    for (const x of boundaries(view.x, view.width, side, canvas.width)) context.rect(x, 0, 1, canvas.height);
    for (const y of boundaries(view.y, view.height, side, canvas.height)) context.rect(0, y, canvas.width, 1);
    context.globalCompositeOperation = 'difference';
    context.fillStyle = 'rgb(255 255 255 / 20%)';
    context.fill();
    context.globalCompositeOperation = 'source-over';
  }

  return {
    kind: '2d',
    restore() {},
    setPicture(bitmap) {
      picture = bitmap;
    },
    setLogits(field, frame) {
      logits = { field, frame };
    },
    setNext(field, frame) {
      next = { field, frame };
    },
    setField(id, field, frame) {
      if (field) fields.set(id, { field, frame });
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
      context.imageSmoothingEnabled = view.width / scene.size.width < CLOSE.squares * ratio;
      context.imageSmoothingQuality = 'high';
      context.drawImage(picture, view.x, view.y, view.width, view.height);
      context.filter = 'none';
      drawMasks(scene);
      drawGrid(scene);
      context.restore();
    },
  };
}

/**
 * Where the picture's pixels meet, as far as that is on the canvas.
 * @param {number} start of the picture
 * @param {number} length
 * @param {number} side of one pixel
 * @param {number} end of the canvas
 */
function boundaries(start, length, side, end) {
  const first = Math.ceil(Math.max(0, -start) / side);
  const last = Math.floor((Math.min(end, start + length) - start) / side);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => Math.round(start + (first + index) * side));
}

/** Where a field lies on the canvas. @param {Frame | null} frame @param {Scene} scene @returns {View} */
function placeOf(frame, { view, size }) {
  if (!frame) return view;
  const [across, down] = [view.width / size.width, view.height / size.height];
  const { origin: [x, y], original: { width, height } } = frame;
  return { x: view.x + x * across, y: view.y + y * down, width: width * across, height: height * down };
}

/** @param {number} width on the canvas @param {number} height @returns {Size} */
function layerSize(width, height) {
  const scale = Math.min(1, MAX_MASK_SIDE / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
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
