// @ts-check
/** The picture and its mask through WebGL2: the shader upsamples, thresholds and outlines the logits. */

/** @import { AnyCanvas, Painter, Scene } from './painter.js' */
import { GRID } from './protocol.js';

const VERTEX = `#version 300 es
uniform vec2 uCanvas;
uniform vec4 uView;
out vec2 vAt;

void main() {
  vAt = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  vec2 clip = (uView.xy + vAt * uView.zw) / uCanvas * 2.0 - 1.0;
  gl_Position = vec4(clip.x, -clip.y, 0.0, 1.0);
}`;

/*
 * A cell of the grid covers [i, i + 1), so its value sits at i + 0.5: hence the shift by half a cell. The distance to
 * the edge in device pixels is the logit divided by its slope, which bilinear interpolation gives in closed form.
 */
const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D uPicture;
uniform sampler2D uLogits;
uniform vec4 uView;
uniform vec2 uRegion;
uniform float uThreshold;
uniform float uMask;
uniform float uKept;
uniform float uAwake;
uniform float uLine;
uniform float uCorner;
uniform vec3 uTint;
in vec2 vAt;
out vec4 color;

float cell(ivec2 at) {
  return texelFetch(uLogits, clamp(at, ivec2(0), ivec2(${GRID - 1})), 0).r;
}

float distanceToEdge() {
  vec2 at = vAt * uRegion - 0.5;
  ivec2 base = ivec2(floor(at));
  vec2 part = at - floor(at);
  float a = cell(base), b = cell(base + ivec2(1, 0)), c = cell(base + ivec2(0, 1)), d = cell(base + ivec2(1, 1));
  float value = mix(mix(a, b, part.x), mix(c, d, part.x), part.y) - uThreshold;
  vec2 slope = vec2(mix(b - a, d - c, part.y), mix(c - a, d - b, part.x)) * uRegion / uView.zw;
  return value / max(length(slope), 0.01);
}

float cornerCoverage() {
  vec2 inset = abs(vAt - 0.5) * uView.zw - (uView.zw * 0.5 - uCorner);
  return clamp(uCorner - length(max(inset, 0.0)) + 0.5, 0.0, 1.0);
}

vec3 withMask(vec3 base) {
  float edge = distanceToEdge();
  float inside = clamp(edge + 0.5, 0.0, 1.0);
  float line = clamp(uLine * 0.5 + 0.5 - abs(edge), 0.0, 1.0);
  float rim = clamp(uLine * 1.2 + 0.5 - abs(edge), 0.0, 1.0);
  vec3 outside = mix(base, vec3(dot(base, vec3(0.299, 0.587, 0.114))), 0.55 * uKept) * (1.0 - 0.5 * uKept);
  vec3 filled = mix(base, uTint, 0.42 - 0.36 * uKept);
  vec3 shaded = mix(outside * (1.0 - 0.3 * rim), filled, inside);
  return mix(shaded, vec3(1.0), line);
}

void main() {
  vec4 texel = texture(uPicture, vAt);
  vec3 base = texel.rgb + (1.0 - texel.a);
  base = mix(mix(vec3(dot(base, vec3(0.299, 0.587, 0.114))), base, 0.35) * 0.55, base, uAwake);
  color = vec4(mix(base, withMask(base), uMask), 1.0) * cornerCoverage();
}`;

/**
 * @param {AnyCanvas} canvas
 * @returns {Painter | null} null where WebGL2 is missing
 */
export function createGlPainter(canvas) {
  const options = { alpha: true, antialias: false, premultipliedAlpha: true };
  const gl = /** @type {WebGL2RenderingContext | null} */ (canvas.getContext('webgl2', options));
  if (!gl) return null;
  let resources = createResources(gl);
  let mipmapped = false;

  return {
    kind: 'webgl2',
    restore() {
      resources = createResources(gl);
    },
    setPicture(bitmap) {
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, resources.picture);
      const limit = gl.getParameter(gl.MAX_TEXTURE_SIZE);
      const source = shrinkTo(limit, bitmap);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, source);
      gl.generateMipmap(gl.TEXTURE_2D);
      mipmapped = true;
    },
    setLogits(logits) {
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, resources.logits);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, GRID, GRID, gl.RED, gl.FLOAT, logits);
    },
    paint(scene) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (!mipmapped) return;
      gl.useProgram(resources.program);
      setUniforms(gl, resources, canvas, scene);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    },
  };
}

/** @typedef {ReturnType<typeof createResources>} Resources */

/** @param {WebGL2RenderingContext} gl */
function createResources(gl) {
  const program = link(gl);
  const picture = createTexture(gl, gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR);
  const logits = createTexture(gl, gl.NEAREST, gl.NEAREST);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32F, GRID, GRID);
  const at = (/** @type {string} */ name) => gl.getUniformLocation(program, name);
  const uniforms = {
    picture: at('uPicture'), logits: at('uLogits'), canvas: at('uCanvas'), view: at('uView'), region: at('uRegion'),
    threshold: at('uThreshold'), mask: at('uMask'), kept: at('uKept'), awake: at('uAwake'), line: at('uLine'),
    corner: at('uCorner'), tint: at('uTint'),
  };
  return { program, picture, logits, uniforms };
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {Resources} resources
 * @param {AnyCanvas} canvas
 * @param {Scene} scene in device pixels
 */
function setUniforms(gl, { uniforms }, canvas, { view, region, threshold, look, ratio }) {
  gl.uniform1i(uniforms.picture, 0);
  gl.uniform1i(uniforms.logits, 1);
  gl.uniform2f(uniforms.canvas, canvas.width, canvas.height);
  gl.uniform4f(uniforms.view, view.x, view.y, view.width, view.height);
  gl.uniform2f(uniforms.region, region.width, region.height);
  gl.uniform1f(uniforms.threshold, threshold);
  gl.uniform1f(uniforms.mask, look.mask);
  gl.uniform1f(uniforms.kept, look.kept);
  gl.uniform1f(uniforms.awake, look.awake);
  gl.uniform1f(uniforms.line, look.line * ratio);
  gl.uniform1f(uniforms.corner, look.corner * ratio);
  gl.uniform3fv(uniforms.tint, look.tint);
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
