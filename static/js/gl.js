// @ts-check
/** The picture, its mask and its objects through WebGL2: shaders upsample, threshold and outline the fields. */

/** @import { AnyCanvas, Layer, Painter, Scene } from './painter.js' */
import { OBJECT_FRAGMENT, PICTURE_FRAGMENT, VERTEX } from './glsl.js';
import { GRID } from './protocol.js';

/** @typedef {Record<string, WebGLUniformLocation | null>} Places of uniforms */
/** @typedef {{program: WebGLProgram, at: Places}} Shader */

const UNITS = { picture: 0, logits: 1, next: 2, field: 3 };
const DISPLAYS = ['fill', 'outline', 'cutout', 'original'];
const SHARED = ['Canvas', 'Rect', 'View', 'Region', 'Picture', 'Size', 'Line', 'Ratio', 'Display'];
const OF_PICTURE = ['Logits', 'Next', 'Mask', 'Kept', 'Awake', 'Preview', 'Corner', 'Tint'];
const OF_OBJECT = ['Field', 'Colour', 'Fill', 'Selected'];

/**
 * @param {AnyCanvas} canvas
 * @returns {Painter | null} null where WebGL2 is missing
 */
export function createGlPainter(canvas) {
  const options = { alpha: true, antialias: false, premultipliedAlpha: true, depth: true };
  const gl = /** @type {WebGL2RenderingContext | null} */ (canvas.getContext('webgl2', options));
  if (!gl) return null;
  let resources = createResources(gl);
  let hasPicture = false;

  /**
   * @param {Shader} shader
   * @param {Scene} scene
   * @param {readonly number[]} rect left, top, width, height in device pixels
   */
  function draw({ at }, { view, region, look, size, ratio }, rect) {
    gl?.uniform2f(at.Canvas, canvas.width, canvas.height);
    gl?.uniform4fv(at.Rect, rect);
    gl?.uniform4f(at.View, view.x, view.y, view.width, view.height);
    gl?.uniform2f(at.Region, region.width, region.height);
    gl?.uniform1i(at.Picture, UNITS.picture);
    gl?.uniform2f(at.Size, size.width, size.height);
    gl?.uniform1f(at.Line, look.line * ratio);
    gl?.uniform1f(at.Ratio, ratio);
    gl?.uniform1i(at.Display, DISPLAYS.indexOf(look.display));
    gl?.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /** @param {Scene} scene */
  function drawPicture(scene) {
    const { program, at } = resources.picture;
    const { look, ratio } = scene;
    gl?.useProgram(program);
    gl?.uniform1i(at.Logits, UNITS.logits);
    gl?.uniform1i(at.Next, UNITS.next);
    gl?.uniform1f(at.Mask, look.mask);
    gl?.uniform1f(at.Kept, look.kept);
    gl?.uniform1f(at.Awake, look.awake);
    gl?.uniform1f(at.Preview, look.preview);
    gl?.uniform1f(at.Corner, look.corner * ratio);
    gl?.uniform3fv(at.Tint, look.tint);
    draw(resources.picture, scene, onCanvas(scene, [0, 0, 1, 1]));
  }

  /**
   * @param {Scene} scene
   * @param {Layer} layer
   */
  function drawObject(scene, { id, bounds, colour, fill, selected }) {
    const field = resources.fields.get(id);
    if (!gl || !field || !bounds) return;
    const { at } = resources.object;
    gl.activeTexture(gl.TEXTURE0 + UNITS.field);
    gl.bindTexture(gl.TEXTURE_2D, field);
    gl.uniform1i(at.Field, UNITS.field);
    gl.uniform3fv(at.Colour, colour);
    gl.uniform1f(at.Fill, fill);
    gl.uniform1f(at.Selected, selected ? 1 : 0);
    const { width, height } = scene.region;
    const [left, top, right, bottom] = bounds;
    draw(resources.object, scene, onCanvas(scene, [(left - 2) / width, (top - 2) / height, (right + 2) / width, (bottom + 2) / height]));
  }

  /** Each pixel belongs to the first object drawn there, which is the topmost: the depth test keeps the others out. */
  function drawObjects(/** @type {Scene} */ scene) {
    if (!gl || scene.layers.length === 0) return;
    gl.useProgram(resources.object.program);
    gl.enable(gl.BLEND);
    gl.enable(gl.DEPTH_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthFunc(gl.LESS);
    for (const layer of scene.layers) drawObject(scene, layer);
    gl.disable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
  }

  /** @param {Scene} scene @param {readonly number[]} part of the picture, from 0 to 1: left, top, right, bottom */
  function onCanvas({ view }, [left, top, right, bottom]) {
    const x0 = Math.max(0, view.x + left * view.width);
    const y0 = Math.max(0, view.y + top * view.height);
    const x1 = Math.min(canvas.width, view.x + right * view.width);
    const y1 = Math.min(canvas.height, view.y + bottom * view.height);
    return [x0, y0, Math.max(0, x1 - x0), Math.max(0, y1 - y0)];
  }

  return {
    kind: 'webgl2',
    restore() {
      resources = createResources(gl);
    },
    setPicture(bitmap) {
      gl.activeTexture(gl.TEXTURE0 + UNITS.picture);
      gl.bindTexture(gl.TEXTURE_2D, resources.pixels);
      const limit = gl.getParameter(gl.MAX_TEXTURE_SIZE);
      const source = shrinkTo(limit, bitmap);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, source);
      gl.generateMipmap(gl.TEXTURE_2D);
      hasPicture = true;
    },
    setLogits: (logits) => fillField(gl, UNITS.logits, resources.logits, logits),
    setNext: (logits) => fillField(gl, UNITS.next, resources.next, logits),
    setField(id, field) {
      const known = resources.fields.get(id);
      if (!field) {
        gl.deleteTexture(known ?? null);
        resources.fields.delete(id);
        return;
      }
      gl.activeTexture(gl.TEXTURE0 + UNITS.field);
      const texture = known ?? createField(gl);
      resources.fields.set(id, texture);
      fillField(gl, UNITS.field, texture, field);
    },
    paint(scene) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      if (!hasPicture) return;
      drawPicture(scene);
      drawObjects(scene);
    },
  };
}

/** @param {WebGL2RenderingContext} gl */
function createResources(gl) {
  gl.activeTexture(gl.TEXTURE0 + UNITS.picture);
  const pixels = createTexture(gl, gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR);
  gl.activeTexture(gl.TEXTURE0 + UNITS.logits);
  const logits = createField(gl);
  gl.activeTexture(gl.TEXTURE0 + UNITS.next);
  const next = createField(gl);
  /** @type {Map<number, WebGLTexture>} */
  const fields = new Map();
  const picture = createShader(gl, PICTURE_FRAGMENT, OF_PICTURE);
  return { picture, object: createShader(gl, OBJECT_FRAGMENT, OF_OBJECT), pixels, logits, next, fields };
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string} fragment
 * @param {readonly string[]} names of its own uniforms
 * @returns {Shader}
 */
function createShader(gl, fragment, names) {
  const program = link(gl, fragment);
  const at = Object.fromEntries([...SHARED, ...names].map((name) => [name, gl.getUniformLocation(program, `u${name}`)]));
  return { program, at };
}

/** @param {WebGL2RenderingContext} gl @param {string} fragment */
function link(gl, fragment) {
  const program = gl.createProgram();
  for (const [type, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]])) {
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

/** @param {WebGL2RenderingContext} gl bound to the active unit */
function createField(gl) {
  const texture = createTexture(gl, gl.NEAREST, gl.NEAREST);
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
