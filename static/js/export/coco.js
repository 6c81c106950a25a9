// @ts-check
/** COCO instance annotations: exact run lengths, or polygons. sam/formats/coco.py is its twin and has the sources. */

/** @import { Runs } from './runs.js' */
/** @import { Files, MaskObject, Picture, Session } from './session.js' */
import { keyhole } from './polygons.js';
import { areaOf, compressCounts, decompressCounts, windowOf } from './runs.js';
import { checkObject, classColour, classesOf, requireSize } from './session.js';
import { objectOutline, painted, ringOf } from './shapes.js';
import { decodeJson, encodeJson, inEntry, number, requireList, stem } from './text.js';
import { NO_REPORT } from './work.js';

/** @typedef {{polygons?: boolean, tolerance?: number | null}} Options */

/**
 * NAME.coco.json.
 * @param {Session} session
 * @param {Options} [options]
 * @returns {Promise<Files>}
 */
export async function write(session, options, work = NO_REPORT) {
  const { name } = session.picture;
  return { [`${stem(name)}.coco.json`]: encodeJson(await describe([session], name, options, work)) };
}

/**
 * annotations.coco.json of several pictures.
 * @param {readonly Session[]} sessions
 * @param {Options} [options]
 * @returns {Promise<Files>}
 */
export async function writeTogether(sessions, options, work = NO_REPORT) {
  const document = await describe(sessions, `${sessions.length} pictures`, options, work);
  return { 'annotations.coco.json': encodeJson(document) };
}

/**
 * @param {readonly Session[]} sessions
 * @param {string} description
 * @param {Options} [options]
 */
async function describe(sessions, description, { polygons = false, tolerance = null } = {}, work = NO_REPORT) {
  const classes = classesOf(...sessions);
  const owned = sessions.flatMap(({ objects }, index) => objects.map((item) => ({ image: 1 + index, item })));
  const annotations = [];
  for (const [index, { image, item }] of owned.entries()) {
    const segmentation = polygons ? polygonsOf(item, tolerance) : runsOf(item.mask);
    annotations.push(annotation(index, image, item, classes.get(item.label) ?? 0, segmentation));
    await work.step((index + 1) / owned.length);
  }
  return {
    info: { description, version: '1.0' },
    licenses: [],
    images: sessions.map(({ picture: { name, width, height } }, index) => (
      { id: 1 + index, file_name: name, width, height })),
    categories: [...classes].map(([label, index]) => ({ id: 1 + index, name: label, supercategory: '' })),
    annotations,
  };
}

/**
 * @param {number} index
 * @param {number} image
 * @param {MaskObject} item
 * @param {number} kind
 * @param {unknown} segmentation
 */
function annotation(index, image, { mask, score, colour, visible }, kind, segmentation) {
  const { x, y, width, height } = windowOf(mask);
  return {
    id: 1 + index,
    image_id: image,
    category_id: 1 + kind,
    segmentation,
    area: areaOf(mask),
    bbox: [x, y, width, height],
    iscrowd: 0,
    ...(score === null ? {} : { score: number(score, 4) }),
    attributes: { colour, visible },
  };
}

/** @param {Runs} mask */
function runsOf({ size, counts }) {
  return { size, counts: compressCounts(counts) };
}

/** @param {MaskObject} item @param {number | null} tolerance */
function polygonsOf(item, tolerance) {
  const { polygons } = objectOutline(item, tolerance);
  return polygons.map((polygon) => Array.from(keyhole(polygon), (value) => number(value)));
}

/**
 * The objects of one picture: the file's only one, or the one that has the open picture's name.
 * @param {Uint8Array} data
 * @param {Picture | null} [picture]
 * @returns {Promise<Session>}
 */
export async function read(data, picture = null, work = NO_REPORT) {
  const document = decodeJson(data);
  const image = inEntry('COCO', () => chosenImage(requireList(document?.images, "'images'"), picture));
  const found = { name: image.file_name, width: image.width, height: image.height };
  inEntry('COCO', () => requireSize(found, picture));
  /** @type {any[]} */
  const categories = document.categories ?? [];
  const classes = new Map(categories.map(({ id, name }, index) => (
    [id, { label: String(name), colour: classColour(index) }])));
  const chosen = requireList(document.annotations, "COCO: 'annotations'").filter(({ image_id: id }) => id === image.id);
  const objects = [];
  for (const [index, item] of chosen.entries()) {
    objects.push(inEntry(`COCO: annotation ${item.id}`, () => readObject(item, found, classes)));
    await work.step((index + 1) / chosen.length);
  }
  return { picture: picture ?? found, objects };
}

/** @param {any[]} images @param {Picture | null} picture */
function chosenImage(images, picture) {
  if (images.length === 1) return images[0];
  const named = images.find(({ file_name: name }) => picture && name.split(/[\\/]/).at(-1) === picture.name);
  if (named) return named;
  const wanted = picture ? `none is called '${picture.name}'` : 'say which one';
  throw new RangeError(`it describes ${images.length} pictures, and ${wanted}`);
}

/**
 * @param {any} item
 * @param {Picture} picture
 * @param {Map<any, {label: string, colour: string}>} classes
 */
function readObject(item, picture, classes) {
  const kind = classes.get(item.category_id);
  if (!kind) throw new RangeError(`its category ${item.category_id} is not listed`);
  const { colour = kind.colour, visible = true } = item.attributes ?? {};
  const mask = readMask(item.segmentation, picture);
  return checkObject({ label: kind.label, colour, visible, score: item.score ?? null, prompts: null, mask }, picture);
}

/** @param {any} segmentation @param {Picture} picture @returns {Runs} */
function readMask(segmentation, picture) {
  if (Array.isArray(segmentation)) {
    if (segmentation.length === 0) throw new RangeError('its segmentation is empty');
    return painted(segmentation.map((ring) => ringOf(ring, picture)), picture);
  }
  const { size, counts } = segmentation;
  if (counts === undefined) throw new RangeError("'counts' is missing");
  return { size, counts: Array.isArray(counts) ? counts : decompressCounts(counts) };
}
