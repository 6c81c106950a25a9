// @ts-check
/** The shader: the picture, the sketch's mask and, over them, the kept objects, in one pass. */

import { GRID } from '../masks/geometry.js';

/** Width of the textures that hold lists. */
export const LIST_WIDTH = 1024;

/** A rectangle of the canvas, given in device pixels from the top left. */
export const VERTEX = `#version 300 es
uniform vec2 uCanvas;
uniform vec4 uRect;

void main() {
  vec2 at = uRect.xy + vec2(gl_VertexID & 1, gl_VertexID >> 1) * uRect.zw;
  vec2 clip = at / uCanvas * 2.0 - 1.0;
  gl_Position = vec4(clip.x, -clip.y, 0.0, 1.0);
}`;

/*
 * A cell of the grid covers [i, i + 1), so its value sits at i + 0.5: hence the shift by half a cell. The distance to
 * the edge in device pixels is the field divided by its slope, which bilinear interpolation gives in closed form: the
 * edge is sharp at every zoom. A field of a closer view has a grid of its own, shifts and scales from shares of the
 * picture to cells, and nothing is inside beyond its end. Positions are taken from the fragment, not interpolated, because a picture at 64 pixels
 * per pixel is far larger than the canvas.
 */
export const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2D;
precision highp usampler2D;
uniform vec2 uCanvas;
uniform vec4 uView;
uniform vec2 uRegion;
uniform vec4 uLogitsGrid;
uniform vec2 uLogitsEnd;
uniform vec4 uNextGrid;
uniform vec2 uNextEnd;
uniform sampler2D uPicture;
uniform vec2 uSize;
uniform float uLine;
uniform float uRatio;
uniform int uDisplay;
uniform sampler2D uLogits;
uniform sampler2D uNext;
uniform float uMask;
uniform float uKept;
uniform float uAwake;
uniform float uPreview;
uniform float uCorner;
uniform vec3 uTint;
uniform usampler2D uHeads;
uniform sampler2D uCorners;
uniform usampler2D uOwners;
uniform sampler2D uLooks;
uniform sampler2D uPlaces;
uniform sampler2D uPieces;
uniform int uObjects;
uniform float uFill;
out vec4 color;

const int FILL = 0, OUTLINE = 1, CUTOUT = 2, ORIGINAL = 3;

vec2 position() {
  return (vec2(gl_FragCoord.x, uCanvas.y - gl_FragCoord.y) - uView.xy) / uView.zw;
}

float cell(sampler2D field, ivec2 at) {
  return texelFetch(field, clamp(at, ivec2(0), ivec2(${GRID - 1})), 0).r;
}

const float FAR = -1000.0;

float distanceWithin(vec4 corner, vec2 part, vec2 scale) {
  float value = mix(mix(corner.x, corner.y, part.x), mix(corner.z, corner.w, part.x), part.y);
  vec2 rise = vec2(mix(corner.y - corner.x, corner.w - corner.z, part.y), mix(corner.z - corner.x, corner.w - corner.y, part.x));
  return value / max(length(rise * scale / uView.zw), min(0.01, scale.x / uView.z));
}

float distanceToEdge(sampler2D field, vec2 here, vec4 grid, vec2 end) {
  vec2 at = here * grid.zw + grid.xy;
  if (any(lessThan(at, vec2(-0.01))) || any(greaterThan(at, end + 0.01))) return FAR;
  at -= 0.5;
  ivec2 base = ivec2(floor(at));
  vec4 corner = vec4(cell(field, base), cell(field, base + ivec2(1, 0)), cell(field, base + ivec2(0, 1)), cell(field, base + 1));
  return distanceWithin(corner, at - floor(at), grid.zw);
}

float pixelSide() {
  return uView.z / uSize.x;
}

vec3 picture(vec2 here) {
  vec2 middle = (floor(here * uSize) + 0.5) / uSize;
  float close = smoothstep(6.0, 12.0, pixelSide() / uRatio);
  vec4 texel = texture(uPicture, mix(here, middle, step(0.5, close)));
  return texel.rgb + (1.0 - texel.a);
}

const vec3 GREY = vec3(0.299, 0.587, 0.114);
const vec3 ADDED = vec3(0.16, 0.85, 0.55), REMOVED = vec3(1.0, 0.25, 0.35);

vec3 checkerboard() {
  vec2 square = floor(gl_FragCoord.xy / (10.0 * uRatio));
  return vec3(mod(square.x + square.y, 2.0) < 0.5 ? 0.84 : 0.95);
}

float cornerCoverage(vec2 here) {
  vec2 inset = abs(here - 0.5) * uView.zw - (uView.zw * 0.5 - uCorner);
  return clamp(uCorner - length(max(inset, 0.0)) - min(max(inset.x, inset.y), 0.0) + 0.5, 0.0, 1.0);
}

vec3 withPixelGrid(vec3 base, vec2 here) {
  float side = pixelSide();
  vec2 part = fract(here * uSize);
  vec2 off = min(part, 1.0 - part) * side;
  float shows = smoothstep(10.0, 20.0, side / uRatio) * 0.3;
  float line = clamp(1.0 - min(off.x, off.y), 0.0, 1.0);
  return mix(base, vec3(dot(base, GREY) > 0.5 ? 0.0 : 1.0), line * shows);
}

vec3 withMask(vec3 base, vec2 here) {
  float edge = distanceToEdge(uLogits, here, uLogitsGrid, uLogitsEnd);
  float inside = clamp(edge + 0.5, 0.0, 1.0);
  float line = clamp(uLine * 0.5 + 0.5 - abs(edge), 0.0, 1.0);
  float rim = clamp(uLine * 1.2 + 0.5 - abs(edge), 0.0, 1.0);
  if (uDisplay == CUTOUT) return mix(checkerboard(), base, inside);
  if (uDisplay == ORIGINAL) return base;
  float quiet = uDisplay == OUTLINE ? 0.0 : 1.0;
  vec3 outside = mix(base, vec3(dot(base, GREY)), 0.55 * uKept * quiet) * (1.0 - 0.5 * uKept * quiet);
  vec3 filled = mix(base, uTint, (0.42 - 0.36 * uKept) * quiet);
  vec3 shaded = mix(outside * (1.0 - 0.3 * rim), filled, inside);
  if (uPreview > 0.0) {
    float next = clamp(distanceToEdge(uNext, here, uNextGrid, uNextEnd) + 0.5, 0.0, 1.0);
    shaded = mix(shaded, ADDED, 0.45 * uPreview * next * (1.0 - inside));
    shaded = mix(shaded, REMOVED, 0.45 * uPreview * inside * (1.0 - next));
  }
  return mix(shaded, vec3(1.0), line);
}

ivec2 listed(uint place) {
  return ivec2(place % ${LIST_WIDTH}u, place / ${LIST_WIDTH}u);
}

vec4 objectLook(float edge, vec4 look, vec3 base) {
  float inside = clamp(edge + 0.5, 0.0, 1.0);
  float selected = step(0.5, look.a);
  float width = uLine * (1.0 + selected);
  float line = uDisplay == CUTOUT ? 0.0 : clamp(width * 0.5 + 0.5 - abs(edge), 0.0, 1.0);
  if (max(inside, line) < 0.02) return vec4(0.0);
  if (uDisplay == CUTOUT) return vec4(base, inside);
  float halo = selected * clamp(uLine * 0.5 + 0.5 - abs(edge - width * 0.2), 0.0, 1.0);
  float fill = uDisplay == OUTLINE ? 0.0 : inside * uFill;
  return vec4(mix(look.rgb, vec3(1.0), halo * 0.85), max(fill, line));
}

float value(ivec2 at, uvec3 piece) {
  uvec2 within = uvec2(clamp(at, ivec2(0), ivec2(piece.yz) - 1));
  return texelFetch(uPieces, listed(piece.x + within.y * piece.y + within.x), 0).r;
}

float distanceInPiece(uint owner, vec2 here, vec4 grid) {
  uvec3 piece = uvec3(texelFetch(uPlaces, listed(2u * owner + 1u), 0).xyz);
  vec2 at = here * grid.zw + grid.xy;
  if (any(lessThan(at, vec2(0.0))) || any(greaterThan(at, vec2(piece.yz)))) return FAR;
  at -= 0.5;
  ivec2 base = ivec2(floor(at));
  vec4 corner = vec4(value(base, piece), value(base + ivec2(1, 0), piece), value(base + ivec2(0, 1), piece), value(base + 1, piece));
  return distanceWithin(corner, at - floor(at), grid.zw);
}

/* Each pixel belongs to the first object that has it, which is the topmost: those beneath are kept out. */
vec4 topmost(vec2 here, vec3 base) {
  vec2 at = here * uRegion - 0.5;
  uint head = texelFetch(uHeads, clamp(ivec2(floor(at)) + 1, ivec2(0), ivec2(${GRID})), 0).r;
  uint end = (head >> 8) + (head & 255u);
  for (uint place = head >> 8; place < end; place += 1u) {
    uint owner = texelFetch(uOwners, listed(place), 0).r;
    vec4 own = texelFetch(uPlaces, listed(2u * owner), 0);
    float edge = own.z > 0.0 ? distanceInPiece(owner, here, own)
      : distanceWithin(texelFetch(uCorners, listed(place), 0), at - floor(at), uRegion);
    vec4 seen = objectLook(edge, texelFetch(uLooks, listed(owner), 0), base);
    if (seen.a > 0.0) return seen;
  }
  return vec4(0.0);
}

void main() {
  vec2 here = position();
  vec3 base = picture(here);
  vec3 awake = mix(mix(vec3(dot(base, GREY)), base, 0.35) * 0.55, base, uAwake);
  vec3 bare = uDisplay == CUTOUT && uAwake > 0.5 ? checkerboard() : awake;
  vec3 seen = uMask > 0.0 ? mix(bare, withMask(awake, here), uMask) : bare;
  vec4 object = uObjects > 0 ? topmost(here, base) : vec4(0.0);
  color = vec4(mix(withPixelGrid(seen, here), object.rgb, object.a), 1.0) * cornerCoverage(here);
}`;
