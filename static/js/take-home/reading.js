// @ts-check
/** Files that come in, told apart and read for the pictures that are open. A file comes in as a whole or not at all. */

/** @import { Picture, Session } from '../export/session.js' */
import { readAll } from '../export/archive.js';
import { READERS } from '../export/formats.js';
import { read as readMasks } from '../export/masks.js';
import { decodePng } from '../export/png.js';
import { decodeJson, decodeText, messageOf, stem } from '../export/text.js';
import { read as readYolo, readNames } from '../export/yolo.js';
import { MOST_OBJECTS } from './choices.js';

/** @typedef {{file: string, session: Session, open: number, image: Blob | null}} Arrival `open` is a picture's place, -1 for none */
/** @typedef {{arrivals: Arrival[], problems: string[], pictures: string[]}} Reading names of files that are no masks */
/** @typedef {{pictures: readonly Picture[], inHand: number, names: readonly string[]}} Context */

/** Values of a grey picture from which on it is a photograph. */
const MOST_GREYS = 64;
/** @type {[RegExp, string][]} */
const TYPES = [[/\.jpe?g$/i, 'image/jpeg'], [/\.png$/i, 'image/png'], [/\.webp$/i, 'image/webp'], [/\.gif$/i, 'image/gif']];
const MASK_NAME = /^(.*?)\.(\d+)(?:\.(.+?))?(?:\.cutout)?\.png$/i;

/**
 * @param {readonly File[]} files
 * @param {readonly Picture[]} pictures
 * @param {number} inHand
 * @returns {Promise<Reading>}
 */
export async function readFiles(files, pictures, inHand) {
  /** @type {Reading} */
  const reading = { arrivals: [], problems: [], pictures: [] };
  const names = await namesIn(files, reading);
  const context = { pictures, inHand, names };
  for (const group of grouped(files)) {
    const [{ name }] = group;
    try {
      const found = await readGroup(group, context);
      if (found === null) reading.pictures.push(...group.map((file) => file.name));
      else reading.arrivals.push(...found.map((each) => checked({ ...each, file: name })));
    } catch (error) {
      reading.problems.push(`${name}: ${messageOf(error)}`);
    }
  }
  return reading;
}

/** @param {readonly File[]} files @param {Reading} reading @returns {Promise<readonly string[]>} by class */
async function namesIn(files, reading) {
  for (const file of files.filter(isNames)) {
    try {
      const data = await bytesOf(file);
      return /\.ya?ml$/i.test(file.name) ? readNames(data) : decodeText(data).split(/\r?\n/).filter(Boolean);
    } catch (error) {
      reading.problems.push(`${file.name}: ${messageOf(error)}`);
    }
  }
  return [];
}

/** @param {File} file */
function isNames({ name }) {
  return /\.(ya?ml|names)$|^classes\.txt$/i.test(name);
}

/** Layers of one indexed mask belong together. @param {readonly File[]} files @returns {File[][]} */
function grouped(files) {
  /** @type {Map<string, File[]>} */
  const groups = new Map();
  for (const file of files.filter((each) => !isNames(each))) {
    const layer = /^(.*)\.\d+\.png$/i.exec(file.name);
    const key = layer ? `${layer[1]}.*.png` : file.name;
    groups.set(key, [...(groups.get(key) ?? []), file]);
  }
  return [...groups.values()];
}

/**
 * @param {readonly File[]} group
 * @param {Context} context
 * @returns {Promise<Omit<Arrival, 'file'>[] | null>} null for a photograph
 */
async function readGroup(group, context) {
  const [{ name }] = group;
  const data = await bytesOf(group[0]);
  if (/\.zip$/i.test(name)) return readZip(data, context);
  if (/\.json$/i.test(name)) return readJson(data, context);
  if (/\.txt$/i.test(name)) return [await readLabels(data, stem(name), context)];
  if (/\.png$/i.test(name)) return readPng(group, context);
  throw new RangeError('not a kind of file that comes in: COCO, LabelMe, YOLO, PNG masks and zips of this page do');
}

/** @param {Uint8Array} data @param {Context} context */
async function readZip(data, context) {
  const found = await readAll(data);
  return found.map(({ session, image }) => {
    const open = placeOf(session.picture, context, false);
    if (open >= 0) return { session: { ...session, picture: context.pictures[open] }, open, image: null };
    if (!image) throw new RangeError(`its picture '${session.picture.name}' is neither in it nor open; open it first`);
    const type = TYPES.find(([suffix]) => suffix.test(session.picture.name))?.[1];
    return { session, open, image: new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (image)], { type }) };
  });
}

/** @param {Uint8Array} data @param {Context} context */
async function readJson(data, context) {
  const document = decodeJson(data);
  if (Array.isArray(document?.annotations)) return readCoco(data, document, context);
  const isOurs = typeof document?.format === 'string' && document.picture;
  if (!isOurs && !Array.isArray(document?.shapes)) {
    throw new RangeError("neither COCO ('annotations') nor LabelMe ('shapes') nor a session of this page");
  }
  const wanted = isOurs ? document.picture : { name: document.imagePath, width: document.imageWidth, height: document.imageHeight };
  const open = placeOf(wanted, context);
  return [{ session: await READERS[isOurs ? 'session' : 'labelme'](data, context.pictures[open]), open, image: null }];
}

/** One file may describe many pictures; those that are open are read. @param {Uint8Array} data @param {any} document @param {Context} context */
async function readCoco(data, document, context) {
  const images = Array.isArray(document.images) ? document.images : [];
  const wanted = images.map((/** @type {any} */ { file_name: name, width, height }) => ({ name, width, height }));
  const places = wanted.length === 1
    ? [placeOf(wanted[0], context)]
    : [...new Set(wanted.map((/** @type {Picture} */ each) => placeOf(each, context, false)))].filter((place) => place >= 0);
  if (places.length === 0) throw new RangeError(`it describes ${images.length} pictures, none of which is open; open them first`);
  return Promise.all(places.map(async (open) => (
    { session: await READERS.coco(data, context.pictures[open]), open, image: null })));
}

/** @param {Uint8Array} data @param {string} name @param {Context} context */
async function readLabels(data, name, { pictures, inHand, names }) {
  const named = pictures.findIndex((picture) => stem(picture.name) === name);
  const open = named >= 0 ? named : inHand;
  if (open < 0) throw new RangeError('open the picture that it was made for first');
  return { session: await readYolo(data, pictures[open], names), open, image: null };
}

/** @param {readonly File[]} group @param {Context} context */
async function readPng(group, context) {
  const [first, ...others] = await Promise.all(group.map(bytesOf));
  const { width, height, kind, values } = await decodePng(first);
  if (kind === 'grey' && new Set(values).size > MOST_GREYS) return null;
  const [, base, , label] = MASK_NAME.exec(group[0].name) ?? [];
  const open = placeOf({ name: `${base ?? stem(group[0].name)}.png`, width, height }, context);
  const session = await readMasks(first, context.pictures[open], others);
  const isNameless = session.objects.length === 1 && session.objects[0].label === 'mask';
  const objects = isNameless ? [{ ...session.objects[0], label: label ?? 'mask' }] : session.objects;
  return [{ session: { ...session, objects }, open, image: null }];
}

/**
 * The open picture that a file was made for: of its name, or of its name with another suffix, or the one in hand.
 * @param {Picture} wanted
 * @param {Context} context
 * @param {boolean} [anyName] whether the picture in hand will do
 */
function placeOf({ name, width, height }, { pictures, inHand }, anyName = true) {
  const own = String(name).split(/[\\/]/).at(-1) ?? '';
  const fits = pictures.map((picture) => picture.width === width && picture.height === height);
  const named = [
    pictures.findIndex((picture, at) => fits[at] && picture.name === own),
    pictures.findIndex((picture, at) => fits[at] && stem(picture.name) === stem(own)),
    anyName ? pictures.findIndex((picture) => stem(picture.name) === stem(own)) : -1,
  ].find((place) => place >= 0) ?? -1;
  if (named >= 0 || !anyName) return named;
  if (inHand < 0) throw new RangeError(`open the picture that it was made for, '${own}', first`);
  return inHand;
}

/** @param {Arrival} arrival */
function checked(arrival) {
  const count = arrival.session.objects.length;
  if (count === 0) throw new RangeError('it holds no object');
  if (count > MOST_OBJECTS) {
    throw new RangeError(`it holds ${count} objects; the page works with up to ${MOST_OBJECTS} in a picture`);
  }
  return arrival;
}

/** @param {File} file */
async function bytesOf(file) {
  return new Uint8Array(await file.arrayBuffer());
}
