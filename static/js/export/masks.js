// @ts-check
/**
 * Masks as pictures: each by itself, all of them as ids with a palette, cut-outs; and back to objects.
 *
 * sam/formats/png.py is its twin and says what the files hold.
 */

/** @import { Source } from './edges.js' */
/** @import { Decoded } from './png.js' */
/** @import { Crop } from './runs.js' */
/** @import { Files, MaskObject, Picture, Session } from './session.js' */
import { encodeBilevel } from './bilevel.js';
import { checkFeather, feathered, softened } from './edges.js';
import { decodePng, encodePng, paletteOf } from './png.js';
import { cropRuns, placeCrop } from './runs.js';
import { checkObject, classColour, paletteColour, requireSize } from './session.js';
import { intoLayers } from './shapes.js';
import { inEntry, messageOf, stem } from './text.js';
import { NO_REPORT } from './work.js';

/** @typedef {{trimmed?: boolean, feather?: number, soft?: number}} Cut feather and soft edge in pixels; one of them */

export const MOST_IDS = 254;
const VOID = 255;
/** Rows that a full-size cut-out takes from its picture at a time. */
const STRIP_ROWS = 64;

/**
 * NAME.1.LABEL.png ... of the picture's size, 255 on the mask and 0 elsewhere.
 * @param {Session} session
 * @returns {Promise<Files>}
 */
export async function writeBinary({ picture, objects }, _options = {}, work = NO_REPORT) {
  /** @type {Files} */
  const files = {};
  for (const [index, { label, mask }] of objects.entries()) {
    files[`${stem(picture.name)}.${index + 1}.${stem(label)}.png`] = encodeBilevel(cropRuns(mask), picture);
    await work.step((index + 1) / objects.length);
  }
  return files;
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
 * @param {Cut & {source: Source}} options
 * @returns {Promise<Files>}
 */
export async function writeCutOuts({ picture, objects }, { source, ...cut }, work = NO_REPORT) {
  /** @type {Files} */
  const files = {};
  for (const [index, item] of objects.entries()) {
    const part = work.part(index / objects.length, (index + 1) / objects.length);
    if (!item.visible) continue;
    files[`${stem(picture.name)}.${index + 1}.${stem(item.label)}.cutout.png`] = await cutOut(source, item, cut, part);
  }
  return files;
}

/**
 * One object's pixels as a PNG; what was transparent in the picture stays so.
 * @param {Source} source
 * @param {MaskObject} item
 * @param {Cut} [cut]
 */
export async function cutOut(source, { mask }, { trimmed = true, feather = 0, soft = 0 } = {}, work = NO_REPORT) {
  const [height, width] = mask.size;
  checkFeather(feather);
  const crop = cropRuns(mask);
  const alpha = soft > 0
    ? await softened(crop, { width, height }, source, soft, work.part(0, 0.7))
    : { ...crop, data: feathered(crop, feather) };
  const frame = trimmed ? alpha : { x: 0, y: 0, width, height };
  let strip = { from: -STRIP_ROWS, data: new Uint8ClampedArray(0) };
  return encodePng(frame, 'rgba', (line, row) => {
    const y = frame.y + line;
    if (y < alpha.y || y >= alpha.y + alpha.height) return;
    if (y >= strip.from + STRIP_ROWS) {
      const rows = Math.min(STRIP_ROWS, alpha.y + alpha.height - y);
      strip = { from: y, data: Uint8ClampedArray.from(source({ ...alpha, y, height: rows }).data) };
    }
    const start = (y - strip.from) * 4 * alpha.width;
    row.set(strip.data.subarray(start, start + 4 * alpha.width), 4 * (alpha.x - frame.x));
    for (let i = 4 * (alpha.x - frame.x) + 3, x = 0; x < alpha.width; i += 4, x += 1) {
      row[i] = Math.round((row[i] * alpha.data[(y - alpha.y) * alpha.width + x]) / 255);
    }
  }, {}, work.part(soft > 0 ? 0.7 : 0, 1));
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
