// @ts-check
/**
 * Masks as pictures: each by itself, all of them as ids with a palette, cut-outs; and back to objects.
 *
 * sam/formats/png.py is its twin and says what the files hold.
 */

/** @import { Decoded } from './png.js' */
/** @import { Crop } from './runs.js' */
/** @import { Files, MaskObject, Picture, Session } from './session.js' */
import { decodePng, encodePng, paletteOf } from './png.js';
import { cropRuns, placeCrop } from './runs.js';
import { checkObject, classColour, paletteColour, requireSize } from './session.js';
import { intoLayers } from './shapes.js';
import { inEntry, messageOf, stem } from './text.js';
import { NO_REPORT } from './work.js';

/** @typedef {{width: number, height: number, data: Uint8ClampedArray | Uint8Array}} Pixels RGBA, row by row */

export const MOST_IDS = 254;
const VOID = 255;
const MOST_FEATHER = 64;

/**
 * NAME.1.LABEL.png ... of the picture's size, 255 on the mask and 0 elsewhere.
 * @param {Session} session
 * @returns {Promise<Files>}
 */
export async function writeBinary({ picture, objects }, _options = {}, work = NO_REPORT) {
  /** @type {Files} */
  const files = {};
  for (const [index, { label, mask }] of objects.entries()) {
    const crop = cropRuns(mask);
    const part = work.part(index / objects.length, (index + 1) / objects.length);
    files[`${stem(picture.name)}.${index + 1}.${stem(label)}.png`] = await encodePng(picture, 'grey', (y, row) => {
      rowOf(crop, y).forEach((value, x) => { row[crop.x + x] = 255 * value; });
    }, {}, part);
  }
  return files;
}

/** @param {Crop} crop @param {number} y of the picture @returns {Uint8Array} empty outside */
function rowOf({ data, y: top, width, height }, y) {
  return y < top || y >= top + height ? data.subarray(0, 0) : data.subarray((y - top) * width, (y - top + 1) * width);
}

/**
 * NAME.0.png, and NAME.1.png ... where objects overlap: 0 is nothing, 1 to 254 are objects in their colours.
 * @param {Session} session
 * @returns {Promise<Files>}
 */
export async function writeIndexed({ picture, objects }, _options = {}, work = NO_REPORT) {
  const layers = await intoLayers(objects, picture, MOST_IDS, work.part(0, 0.3));
  /** @type {Files} */
  const files = {};
  for (const [index, ids] of layers.ids.entries()) {
    const members = [...objects.keys()].filter((order) => layers.layer[order] === index);
    const entries = members.map((order) => {
      const { label, colour, visible } = objects[order];
      return { id: layers.id[order], order, label, colour, visible };
    });
    const palette = paletteOf(new Map(entries.map(({ id, colour }) => [id, colour])));
    const part = work.part(0.3 + (0.7 * index) / layers.ids.length, 0.3 + (0.7 * (index + 1)) / layers.ids.length);
    files[`${stem(picture.name)}.${index}.png`] = await encodePng(picture, 'indexed', (y, row) => {
      row.set(ids.subarray(y * picture.width, (y + 1) * picture.width));
    }, { palette, text: { objects: JSON.stringify(entries) } }, part);
  }
  return files;
}

/**
 * NAME.1.LABEL.cutout.png ...: the visible objects' pixels, transparent around.
 * @param {Session} session
 * @param {{image: Pixels, trimmed?: boolean, feather?: number}} options
 * @returns {Promise<Files>}
 */
export async function writeCutOuts({ picture, objects }, { image, trimmed = true, feather = 0 }, work = NO_REPORT) {
  requireSize({ name: picture.name, width: image.width, height: image.height }, picture);
  /** @type {Files} */
  const files = {};
  for (const [index, item] of objects.entries()) {
    const part = work.part(index / objects.length, (index + 1) / objects.length);
    if (!item.visible) continue;
    const name = `${stem(picture.name)}.${index + 1}.${stem(item.label)}.cutout.png`;
    files[name] = await cutOut(image, item, { trimmed, feather }, part);
  }
  return files;
}

/**
 * One object's pixels as a PNG.
 * @param {Pixels} image
 * @param {MaskObject} item
 * @param {{trimmed?: boolean, feather?: number}} [options] feather in pixels
 */
export async function cutOut(image, item, { trimmed = true, feather = 0 } = {}, work = NO_REPORT) {
  const crop = cropRuns(item.mask);
  const alpha = { ...crop, data: feathered(crop, feather) };
  const frame = trimmed ? crop : { x: 0, y: 0, width: image.width, height: image.height };
  return encodePng(frame, 'rgba', (line, row) => {
    const y = frame.y + line;
    const start = 4 * (y * image.width + frame.x);
    row.set(image.data.subarray(start, start + row.length));
    for (let i = 3; i < row.length; i += 4) row[i] = 0;
    rowOf(alpha, y).forEach((value, x) => { row[4 * (crop.x - frame.x + x) + 3] = value; });
  }, {}, work);
}

/**
 * Alpha of a mask's window, rising from its edge inwards over `feather` pixels, by the chamfer metric.
 * @param {Crop} crop
 * @param {number} feather 0 to 64
 */
export function feathered(crop, feather) {
  if (!(feather >= 0 && feather <= MOST_FEATHER)) {
    throw new RangeError(`the feather is ${feather} pixels; give 0 to 64`);
  }
  if (feather === 0) return crop.data.map((value) => 255 * value);
  const depth = depthOf(crop, Math.ceil(feather) + 1);
  return crop.data.map((value, i) => (
    value * Math.min(Math.max(Math.floor((255 * (depth[i] / 5 - 0.5)) / feather + 0.5), 0), 255)));
}

/**
 * Fifths of a pixel to the nearest pixel that is not mask, exact up to `most` pixels: two sweeps (Borgefors 1986).
 * @param {Crop} crop
 * @param {number} most
 */
function depthOf({ data, width, height }, most) {
  const depth = Int32Array.from(data, (value) => (value ? 7 * (most + 1) : 0));
  const at = (/** @type {number} */ x, /** @type {number} */ y) => (
    x < 0 || y < 0 || x >= width || y >= height ? 0 : depth[y * width + x]);
  const relax = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ way) => {
    depth[y * width + x] = Math.min(depth[y * width + x], at(x - way, y) + 5, at(x, y - way) + 5,
      at(x - way, y - way) + 7, at(x + way, y - way) + 7);
  };
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) relax(x, y, 1);
  for (let y = height - 1; y >= 0; y -= 1) for (let x = width - 1; x >= 0; x -= 1) relax(x, y, -1);
  return depth;
}

/**
 * The objects of a mask file, and of layers beside it.
 * @param {Uint8Array} data
 * @param {Picture | null} [picture]
 * @param {readonly Uint8Array[]} [layers]
 * @returns {Promise<Session>}
 */
export async function read(data, picture = null, layers = [], work = NO_REPORT) {
  /** @type {{order: number, item: MaskObject}[]} */
  const numbered = [];
  /** @type {Picture | null} */
  let found = picture;
  const files = [data, ...layers];
  for (const [index, file] of files.entries()) {
    const decoded = await named(`mask file ${index + 1}`, () => decodePng(file));
    found ??= { name: 'picture', width: decoded.width, height: decoded.height };
    const open = found;
    inEntry(`mask file ${index + 1}`, () => {
      requireSize({ name: open.name, width: decoded.width, height: decoded.height }, open);
      numbered.push(...objectsOf(decoded, open, numbered.length));
    });
    await work.step((index + 1) / files.length);
  }
  const objects = numbered.sort((a, b) => a.order - b.order).map(({ item }) => item);
  return { picture: /** @type {Picture} */ (found), objects };
}

/** @template T @param {string} name @param {() => Promise<T>} act */
async function named(name, act) {
  try {
    return await act();
  } catch (error) {
    throw new RangeError(`${name}: ${messageOf(error)}`);
  }
}

/** @param {Decoded} decoded @param {Picture} picture @param {number} before */
function objectsOf(decoded, picture, before) {
  /** @type {any[]} */
  const entries = JSON.parse(decoded.text.objects ?? '[]');
  const described = new Map(entries.map((entry) => [entry.id, entry]));
  const windows = windowsOf(described.size === 0 ? asOne(decoded) : decoded);
  const isOne = described.size === 0 && isBinary(decoded);
  return [...windows].sort(([a], [b]) => a - b).map(([id, crop], index) => {
    const known = described.get(id) ?? {};
    const label = known.label ?? (isOne ? 'mask' : `object ${id}`);
    const colour = known.colour ?? (isOne ? paletteColour(1) : classColour(index));
    const mask = placeCrop(crop, [picture.height, picture.width]);
    const item = { label, colour, visible: known.visible ?? true, score: null, prompts: null, mask };
    return { order: known.order ?? before + index, item: checkObject(item, picture) };
  });
}

/** @param {Decoded} decoded */
function isBinary({ kind, depth, values }) {
  if (kind === 'indexed') return false;
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  return kind === 'alpha' || depth === 1 || (depth === 8 && (most === 255 || most < 2));
}

/** A grey or transparent file as one object where it is at least half. @param {Decoded} decoded @returns {Decoded} */
function asOne(decoded) {
  if (!isBinary(decoded)) return decoded;
  const least = decoded.values.some((value) => value > 1) ? 2 ** (decoded.depth - 1) : 1;
  return { ...decoded, values: decoded.values.map((value) => (value >= least ? 1 : 0)) };
}

/**
 * Every id's pixels within their window, in one pass over the picture and one over each window.
 * @param {Decoded} decoded
 * @returns {Map<number, Crop>}
 */
function windowsOf({ values, width, kind }) {
  /** @type {Map<number, {left: number, right: number, top: number, bottom: number}>} */
  const boxes = new Map();
  values.forEach((id, i) => {
    if (id === 0 || (kind === 'indexed' && id === VOID)) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    const box = boxes.get(id);
    if (!box) boxes.set(id, { left: x, right: x + 1, top: y, bottom: y + 1 });
    else {
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
      box.bottom = y + 1;
    }
  });
  return new Map([...boxes].map(([id, { left, right, top, bottom }]) => {
    const size = { width: right - left, height: bottom - top };
    const data = new Uint8Array(size.width * size.height);
    data.forEach((_, i) => {
      const at = (top + Math.floor(i / size.width)) * width + left + (i % size.width);
      data[i] = values[at] === id ? 1 : 0;
    });
    return [id, { x: left, y: top, ...size, data }];
  }));
}
