// @ts-check
/** LabelMe's JSON: polygons, and exact bitmaps for objects with holes. sam/formats/labelme.py is its twin. */

/** @import { Ring } from './polygons.js' */
/** @import { Runs } from './runs.js' */
/** @import { Files, MaskObject, Picture, Session } from './session.js' */
import { encodeBilevel } from './bilevel.js';
import { decodePng } from './png.js';
import { cropRuns, decodeRuns, encodeRuns, placeCrop } from './runs.js';
import { checkObject, classColour, requireSize } from './session.js';
import { drawn, objectOutline, pointsOf, ringOf } from './shapes.js';
import { decodeJson, encodeJson, inEntry, messageOf, number, requireList, stem } from './text.js';
import { NO_REPORT } from './work.js';

const VERSION = '5.5.0';

/**
 * NAME.json, to lie beside the picture.
 * @param {Session} session
 * @param {{tolerance?: number | null}} [options]
 * @returns {Promise<Files>}
 */
export async function write({ picture, objects }, { tolerance = null } = {}, work = NO_REPORT) {
  const shapes = [];
  for (const [index, item] of objects.entries()) {
    shapes.push(...shapesOf(item, index + 1, tolerance));
    await work.step((index + 1) / objects.length);
  }
  const { name, width, height } = picture;
  const document = {
    version: VERSION, flags: {}, shapes, imagePath: name, imageData: null, imageHeight: height, imageWidth: width,
  };
  return { [`${stem(name)}.json`]: encodeJson(document) };
}

/** @param {MaskObject} item @param {number} group @param {number | null} tolerance */
function shapesOf(item, group, tolerance) {
  const { polygons } = objectOutline(item, tolerance, 'pixels');
  if (polygons.some((polygon) => polygon.length > 1)) return [bitmap(item, group)];
  return polygons.map(([ring]) => shape(item, group, 'polygon', fullPoints(ring), null));
}

/**
 * @param {MaskObject} item
 * @param {number} group
 * @param {string} kind
 * @param {number[][]} points
 * @param {string | null} mask
 */
function shape({ label }, group, kind, points, mask) {
  return { label, points, group_id: group, description: '', shape_type: kind, flags: {}, mask };
}

/** At least three points, as LabelMe wants them. @param {Ring} ring */
function fullPoints(ring) {
  const points = pointsOf(ring).map(([x, y]) => [number(x), number(y)]);
  while (points.length < 3) points.push(points[points.length - 1]);
  return points;
}

/** @param {MaskObject} item @param {number} group */
function bitmap(item, group) {
  const { x, y, width, height, data } = cropRuns(item.mask);
  const file = encodeBilevel({ x: 0, y: 0, width, height, data }, { width, height });
  return shape(item, group, 'mask', [[x, y], [x + width - 1, y + height - 1]], toBase64(file));
}

/** @param {Uint8Array} data */
function toBase64(data) {
  let text = '';
  for (let at = 0; at < data.length; at += 4096) text += String.fromCharCode(...data.subarray(at, at + 4096));
  return btoa(text);
}

/**
 * Shapes of one label and group are one object; an error names the shape at fault.
 * @param {Uint8Array} data
 * @param {Picture | null} [picture]
 * @returns {Promise<Session>}
 */
export async function read(data, picture = null, work = NO_REPORT) {
  const document = decodeJson(data);
  const found = { name: document?.imagePath, width: document?.imageWidth, height: document?.imageHeight };
  inEntry('LabelMe', () => requireSize(found, picture));
  /** @type {Map<string, {label: string, mask: Runs}>} */
  const groups = new Map();
  const shapes = requireList(document.shapes, "LabelMe: 'shapes'");
  for (const [index, item] of shapes.entries()) {
    const mask = await maskOf(item, found).catch((error) => {
      throw new RangeError(`LabelMe: shape ${index + 1}: ${messageOf(error)}`);
    });
    const key = JSON.stringify([item.label, item.group_id ?? null, item.group_id == null ? index : 0]);
    const before = groups.get(key);
    groups.set(key, { label: item.label, mask: before ? union(before.mask, mask) : mask });
    await work.step((index + 1) / shapes.length);
  }
  const classes = [...new Set([...groups.values()].map(({ label }) => label))];
  const objects = [...groups.values()].map(({ label, mask }) => inEntry('LabelMe', () => checkObject(
    { label, colour: classColour(classes.indexOf(label)), visible: true, score: null, prompts: null, mask }, found)));
  return { picture: picture ?? found, objects };
}

/** @param {Runs} one @param {Runs} other */
function union(one, other) {
  const [first, second] = [decodeRuns(one), decodeRuns(other)];
  return encodeRuns(first.map((value, i) => value | second[i]), one.size[1], one.size[0]);
}

/** @param {any} item @param {Picture} picture @returns {Promise<Runs>} */
async function maskOf({ shape_type: kind = 'polygon', points, mask }, picture) {
  if (kind === 'mask') return placed(points, mask, picture);
  if (kind === 'rectangle') {
    const [[x0, y0], [x1, y1]] = points;
    return drawn([ringOf([x0, y0, x1, y0, x1, y1, x0, y1], picture)], picture);
  }
  if (kind === 'polygon' || kind === 'oriented_rectangle') return drawn([ringOf(points, picture)], picture);
  throw new RangeError(`a '${kind}' covers no area; only polygons, rectangles and masks become objects`);
}

/** @param {number[][]} points @param {string} mask @param {Picture} picture */
async function placed([[x, y]], mask, picture) {
  const bytes = Uint8Array.from(atob(mask), (character) => character.charCodeAt(0));
  const { values, width, height } = await decodePng(bytes);
  const data = Uint8Array.from(values, (value) => (value > 0 ? 1 : 0));
  return placeCrop({ x: Math.trunc(x), y: Math.trunc(y), width, height, data }, [picture.height, picture.width]);
}
