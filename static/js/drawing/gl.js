// @ts-check
/** The picture, its mask and its objects through WebGL2: a shader upsamples, thresholds and outlines the fields. */

/** @import { Frame } from '../masks/geometry.js' */
/** @import { AnyCanvas, Painter, Placed, Scene } from './painter.js' */
import { GRID, gridRegion } from '../masks/geometry.js';
import { FRAGMENT, LIST_WIDTH, VERTEX } from './glsl.js';
import { SQUARES, gridOf, pieceOf, reachIn, reachOf, squaresOf } from './layers.js';

/** @typedef {Record<string, WebGLUniformLocation | null>} Places of uniforms */

/** Textures by the uniforms that name them, each on a unit of its own. */
const UNITS = { Picture: 0, Logits: 1, Next: 2, Heads: 3, Corners: 4, Owners: 5, Looks: 6, Places: 7, Pieces: 8 };
const NUMBERS = [
  'Canvas', 'Rect', 'View', 'Region', 'Size', 'Line', 'Ratio', 'Display',
  'Mask', 'Kept', 'Awake', 'Preview', 'Corner', 'Tint', 'Objects', 'Fill',
  'LogitsGrid', 'LogitsEnd', 'NextGrid', 'NextEnd',
];
const DISPLAYS = ['fill', 'outline', 'cutout', 'original'];

/**
 * @param {AnyCanvas} canvas
 * @returns {Painter | null} null where WebGL2 is missing
 */
export function createGlPainter(canvas) {
  const options = { alpha: true, antialias: false, premultipliedAlpha: true, depth: false };
  const context = /** @type {WebGL2RenderingContext | null} */ (canvas.getContext('webgl2', options));
  if (!context) return null;
  const gl = context;
  let resources = createResources(gl);
  let hasPicture = false;
  /** @type {Map<number, Placed>} */
  const fields = new Map();
  /** @type {{logits?: Frame | null, next?: Frame | null}} closer views that the masks are of */
  const frames = {};
  /** @type {{objects: readonly Placed[], region: string} | null} what the lists in use were made of */
  let listed = null;

  /** @param {Scene} scene @returns {number} how many are to be seen */
  function listObjects({ layers, size, region: whole }) {
    const shown = layers.flatMap((layer) => (fields.has(layer.id) ? layer : []));
    const wanted = shown.map(({ id }) => /** @type {Placed} */ (fields.get(id)));
    const region = JSON.stringify(whole);
    if (wanted.length !== listed?.objects.length || region !== listed.region || wanted.some((each, at) => each !== listed?.objects[at])) {
      const reaches = wanted.map(({ field, frame }) => (frame ? reachIn(field, frame, size, whole) : reachOf(field)));
      const { heads, corners, owners } = squaresOf(wanted.map(({ field }) => field), reaches);
      listPieces(wanted, size);
      fillTexture(gl, UNITS.Heads, resources.heads, [SQUARES, SQUARES], gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT, heads);
      fillList(gl, UNITS.Corners, resources.corners, gl.RGBA32F, gl.RGBA, gl.FLOAT, corners, 4);
      fillList(gl, UNITS.Owners, resources.owners, gl.R16UI, gl.RED_INTEGER, gl.UNSIGNED_SHORT, owners, 1);
      listed = { objects: wanted, region };
    }
    const looks = shown.flatMap(({ colour, selected }) => [...colour.map((part) => 255 * part), selected ? 255 : 0]);
    fillList(gl, UNITS.Looks, resources.looks, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, Uint8Array.from(looks, Math.round), 4);
    return shown.length;
  }

  /** Those of closer views, one after the other. @param {readonly Placed[]} wanted @param {Scene['size']} size */
  function listPieces(wanted, size) {
    const pieces = wanted.map(({ field, frame }) => (frame ? pieceOf(field, frame, size) : null));
    const values = new Float32Array(pieces.reduce((sum, piece) => sum + (piece?.values.length ?? 0), 0));
    let start = 0;
    const places = pieces.flatMap((piece) => {
      if (!piece) return [0, 0, 0, 0, 0, 0, 0, 0];
      const place = [...piece.grid, start, piece.columns, piece.rows, 0];
      values.set(piece.values, start);
      start += piece.values.length;
      return place;
    });
    fillList(gl, UNITS.Places, resources.places, gl.RGBA32F, gl.RGBA, gl.FLOAT, Float32Array.from(places), 4);
    fillList(gl, UNITS.Pieces, resources.pieces, gl.R32F, gl.RED, gl.FLOAT, values, 1);
  }

  /** @param {Scene} scene */
  function draw(scene) {
    const { view, region, look, size, ratio } = scene;
    const { at } = resources;
    const objects = listObjects(scene);
    for (const [name, frame] of /** @type {const} */ ([['Logits', frames.logits], ['Next', frames.next]])) {
      const end = frame ? gridRegion(frame, GRID) : region;
      gl.uniform4fv(at[`${name}Grid`], frame ? gridOf(frame, size) : [0, 0, region.width, region.height]);
      gl.uniform2f(at[`${name}End`], end.width, end.height);
    }
    gl.uniform2f(at.Canvas, canvas.width, canvas.height);
    gl.uniform4f(at.Rect, ...onCanvas(view));
    gl.uniform4f(at.View, view.x, view.y, view.width, view.height);
    gl.uniform2f(at.Region, region.width, region.height);
    gl.uniform2f(at.Size, size.width, size.height);
    gl.uniform1f(at.Line, look.line * ratio);
    gl.uniform1f(at.Ratio, ratio);
    gl.uniform1i(at.Display, DISPLAYS.indexOf(look.display));
    gl.uniform1f(at.Mask, look.mask);
    gl.uniform1f(at.Kept, look.kept);
    gl.uniform1f(at.Awake, look.awake);
    gl.uniform1f(at.Preview, look.preview);
    gl.uniform1f(at.Corner, look.corner * ratio);
    gl.uniform3fv(at.Tint, look.tint);
    gl.uniform1i(at.Objects, objects);
    gl.uniform1f(at.Fill, look.fill);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /** @param {Scene['view']} view @returns {[number, number, number, number]} left, top, width, height */
  function onCanvas({ x, y, width, height }) {
    const [left, top] = [Math.max(0, x), Math.max(0, y)];
    const right = Math.min(canvas.width, x + width);
    const bottom = Math.min(canvas.height, y + height);
    return [left, top, Math.max(0, right - left), Math.max(0, bottom - top)];
  }

  return {
    kind: 'webgl2',
    restore() {
      resources = createResources(gl);
      listed = null;
    },
    setPicture(bitmap) {
      gl.activeTexture(gl.TEXTURE0 + UNITS.Picture);
      gl.bindTexture(gl.TEXTURE_2D, resources.pixels);
      const limit = gl.getParameter(gl.MAX_TEXTURE_SIZE);
      const source = shrinkTo(limit, bitmap);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, source);
      gl.generateMipmap(gl.TEXTURE_2D);
      hasPicture = true;
    },
    setLogits(logits, frame) {
      frames.logits = frame;
      fillField(gl, UNITS.Logits, resources.logits, logits);
    },
    setNext(logits, frame) {
      frames.next = frame;
      fillField(gl, UNITS.Next, resources.next, logits);
    },
    setField(id, field, frame) {
      if (field) fields.set(id, { field, frame });
      else fields.delete(id);
    },
    paint(scene) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (hasPicture) draw(scene);
    },
  };
}

/** @param {WebGL2RenderingContext} gl */
function createResources(gl) {
  const program = link(gl);
  /** @type {Places} */
  const at = Object.fromEntries(NUMBERS.map((name) => [name, gl.getUniformLocation(program, `u${name}`)]));
  gl.useProgram(program);
  for (const [name, unit] of Object.entries(UNITS)) gl.uniform1i(gl.getUniformLocation(program, `u${name}`), unit);
  gl.activeTexture(gl.TEXTURE0 + UNITS.Picture);
  const pixels = createTexture(gl, gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR);
  /** @param {number} unit */
  const plain = (unit) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    return createTexture(gl, gl.NEAREST, gl.NEAREST);
  };
  const [logits, next] = [createField(gl, plain(UNITS.Logits)), createField(gl, plain(UNITS.Next))];
  const [heads, corners] = [plain(UNITS.Heads), plain(UNITS.Corners)];
  const [owners, looks] = [plain(UNITS.Owners), plain(UNITS.Looks)];
  const [places, pieces] = [plain(UNITS.Places), plain(UNITS.Pieces)];
  return { at, pixels, logits, next, heads, corners, owners, looks, places, pieces };
}

/** @param {WebGL2RenderingContext} gl */
function link(gl) {
  const program = gl.createProgram();
  for (const [type, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(type));
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`The shader does not link: ${gl.getProgramInfoLog(program)}`);
  }
  return program;
}

/** @param {WebGL2RenderingContext} gl @param {WebGLTexture} texture bound to the active unit */
function createField(gl, texture) {
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32F, GRID, GRID);
  return texture;
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {number} unit
 * @param {WebGLTexture} texture
 * @param {Float32Array} field
 */
function fillField(gl, unit, texture, field) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, GRID, GRID, gl.RED, gl.FLOAT, field);
}

/**
 * A list in rows of `LIST_WIDTH`.
 * @param {WebGL2RenderingContext} gl
 * @param {number} unit
 * @param {WebGLTexture} texture
 * @param {number} internal
 * @param {number} format
 * @param {number} type
 * @param {Float32Array | Uint16Array | Uint8Array} values
 * @param {number} parts of each entry
 */
function fillList(gl, unit, texture, internal, format, type, values, parts) {
  const rows = Math.max(1, Math.ceil(values.length / parts / LIST_WIDTH));
  const Kind = /** @type {new (length: number) => typeof values} */ (values.constructor);
  const whole = new Kind(rows * LIST_WIDTH * parts);
  whole.set(values);
  fillTexture(gl, unit, texture, [LIST_WIDTH, rows], internal, format, type, whole);
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {number} unit
 * @param {WebGLTexture} texture
 * @param {readonly [number, number]} size
 * @param {number} internal
 * @param {number} format
 * @param {number} type
 * @param {ArrayBufferView} values
 */
function fillTexture(gl, unit, texture, [width, height], internal, format, type, values) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, height, 0, format, type, values);
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {number} minFilter
 * @param {number} magFilter
 */
function createTexture(gl, minFilter, magFilter) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, minFilter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, magFilter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return texture;
}

/**
 * @param {number} limit
 * @param {ImageBitmap} bitmap
 */
function shrinkTo(limit, bitmap) {
  const scale = Math.min(1, limit / Math.max(bitmap.width, bitmap.height));
  if (scale === 1) return bitmap;
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}
