// @ts-check
/** YOLO segmentation and its dataset's YAML. sam/formats/yolo.py is its twin and has the sources. */

/** @import { Files, MaskObject, Picture, Session } from './session.js' */
import { keyhole } from './polygons.js';
import { checkObject, classColour, classesOf } from './session.js';
import { drawn, objectOutline, pointsOf, ringOf } from './shapes.js';
import { decodeText, encodeText, fixed, inEntry, stem } from './text.js';
import { NO_REPORT } from './work.js';

const DECIMALS = 6;

/**
 * labels/NAME.txt and data.yaml; the picture's place is images/.
 * @param {Session} session
 * @param {{tolerance?: number | null, classes?: Map<string, number>}} [options]
 * @returns {Promise<Files>}
 */
export async function write(session, { tolerance = null, classes = classesOf(session) } = {}, work = NO_REPORT) {
  const { picture, objects } = session;
  let lines = '';
  for (const [index, item] of objects.entries()) {
    lines += `${classes.get(item.label)} ${polygonOf(item, picture, tolerance)}\n`;
    await work.step((index + 1) / objects.length);
  }
  const names = [...classes].map(([label, index]) => `  ${index}: ${JSON.stringify(label)}\n`).join('');
  const yaml = `path: .\ntrain: images\nval: images\nnames:${classes.size > 0 ? '' : ' {}'}\n${names}`;
  return { [`labels/${stem(picture.name)}.txt`]: encodeText(lines), 'data.yaml': encodeText(yaml) };
}

/** @param {MaskObject} item @param {Picture} picture @param {number | null} tolerance */
function polygonOf(item, { width, height }, tolerance) {
  const points = pointsOf(keyhole(objectOutline(item, tolerance, 'pixels').polygons.flat()));
  while (points.length < 3) points.push(points[points.length - 1]);
  return points.map(([x, y]) => `${fixed(x / width, DECIMALS)} ${fixed(y / height, DECIMALS)}`).join(' ');
}

/**
 * The objects of one picture's label file; lines of five numbers are boxes. An error names the line at fault.
 * @param {Uint8Array} data
 * @param {Picture} picture
 * @param {readonly string[]} [names] by class, of `readNames`
 * @returns {Promise<Session>}
 */
export async function read(data, picture, names = [], work = NO_REPORT) {
  const objects = [];
  const lines = decodeText(data).split('\n');
  for (const [index, line] of lines.entries()) {
    if (line.trim()) {
      objects.push(inEntry(`line ${index + 1}`, () => readLine(line.trim().split(/\s+/), picture, names)));
    }
    await work.step((index + 1) / lines.length);
  }
  return { picture, objects };
}

/** @param {string[]} words @param {Picture} picture @param {readonly string[]} names @returns {MaskObject} */
function readLine([kind, ...words], picture, names) {
  if (!/^\d+$/.test(kind)) throw new RangeError(`it starts with '${kind}' instead of a class's number`);
  const values = words.map(Number);
  if (values.length !== 4 && (values.length < 6 || values.length % 2 === 1)) {
    throw new RangeError(`${values.length} numbers after the class; a polygon has 3 pairs or more, a box 4 numbers`);
  }
  if (!values.every((value) => value >= -0.001 && value <= 1.001)) {
    throw new RangeError("a number outside of 0 to 1; coordinates are parts of the picture's width and height");
  }
  const parts = values.length === 4 ? corners(values) : values;
  const ring = ringOf(parts.map((value, i) => value * (i % 2 === 0 ? picture.width : picture.height)), picture);
  const label = names[Number(kind)] ?? `class ${kind}`;
  const mask = drawn([ring], picture);
  const colour = classColour(Number(kind));
  return checkObject({ label, colour, visible: true, score: null, prompts: null, mask }, picture);
}

/** @param {number[]} box centre and size */
function corners([x, y, wide, tall]) {
  const [width, height] = [wide / 2 - 1e-6, tall / 2 - 1e-6];
  return [x - width, y - height, x + width, y - height, x + width, y + height, x - width, y + height];
}

/**
 * The class names of a data.yaml: `names` as a list or as numbered lines.
 * @param {Uint8Array} data
 * @returns {string[]}
 */
export function readNames(data) {
  const text = decodeText(data);
  const match = /^names:[ \t]*(\[[^]*?\])?/m.exec(text);
  if (!match) throw new RangeError("the YAML has no 'names'; it lists the classes");
  if (match[1]) return (match[1].match(/"(?:\\.|[^"])*"|'[^']*'|[^,[\]\s][^,[\]]*/g) ?? []).map(plain);
  /** @type {string[]} */
  const found = [];
  for (const line of text.slice(match.index + match[0].length).split('\n').slice(1)) {
    const item = /^\s*(?:(\d+):|-)\s+(.+?)\s*$/.exec(line);
    if (!item) break;
    found[Number(item[1] ?? found.length)] = plain(item[2]);
  }
  return Array.from(found, (name, index) => name ?? `class ${index}`);
}

/** A YAML scalar without its quotes. @param {string} name @returns {string} */
function plain(name) {
  const bare = name.trim();
  return bare.startsWith('"') ? JSON.parse(bare) : bare.replace(/^'|'$/g, '');
}
