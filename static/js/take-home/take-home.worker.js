// @ts-check
/**
 * Packs and unpacks files off the page's thread: nothing of a picture's size is ever held or computed there.
 *
 * `picture` and `objects` tell what there is; `write`, `outline` and `look` answer about that. `read` and `fields` are
 * the way back.
 */

/** @import { Crop, Runs, Window } from '../export/runs.js' */
/** @import { MaskObject, Picture, Session } from '../export/session.js' */
/** @import { Frame } from '../masks/geometry.js' */
/** @import { Options } from './choices.js' */
import { pack } from '../export/archive.js';
import { feathered, widened } from '../export/edges.js';
import { WRITERS, writeAll, writeTogether } from '../export/formats.js';
import { writeCutOuts } from '../export/masks.js';
import { matte } from '../export/matte.js';
import { areaOf, cropRuns } from '../export/runs.js';
import { objectOutline } from '../export/shapes.js';
import { objectPath } from '../export/svg.js';
import { stem } from '../export/text.js';
import { createWork } from '../export/work.js';
import { fieldRuns, maskField } from '../masks/pixels.js';
import { readFiles } from './reading.js';

/** @typedef {Omit<MaskObject, 'mask'> & {mask: Runs | null, field: Float32Array | null, view: Frame | null}} Told one of mask and field, perhaps of a closer view */
/**
 * @typedef {{type: 'picture', picture: Picture, frame: Frame, blob: Blob}
 *   | {type: 'objects', items: readonly Told[]}
 *   | {type: 'write', formats: readonly string[], options: Options}
 *   | {type: 'outline', smooth: boolean, tolerance: number | null}
 *   | {type: 'look', options: Options, visible: Window, scale: number}
 *   | {type: 'read', files: readonly File[], pictures: readonly Picture[], inHand: number}
 *   | {type: 'fields', masks: readonly Runs[], frame: Frame}} Question
 */

/** How far around a soft edge looks, in its own widths. */
const MARGIN = 4;
const TYPES = { png: 'image/png', json: 'application/json', svg: 'image/svg+xml', zip: 'application/zip' };

const port = /** @type {{postMessage: (reply: object, transfer?: Transferable[]) => void}} */ (/** @type {unknown} */ (self));
/** @type {{session: Session, objects: MaskObject[], frame: Frame, blob: Blob}[]} */
const parcels = [];
/** @type {Map<Session, ReturnType<typeof openPicture>>} */
const opened = new Map();

self.addEventListener('message', async (/** @type {MessageEvent<Question & {id: number}>} */ { data }) => {
  const { id } = data;
  try {
    const onProgress = (/** @type {number} */ share) => port.postMessage({ type: 'progress', id, share });
    const { transfer = [], ...reply } = await answer(data, onProgress);
    port.postMessage({ type: 'answer', id, ...reply }, transfer);
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    port.postMessage({ type: 'error', id, error: { name, message } });
  }
});

/**
 * @param {Question} question
 * @param {(share: number) => void} onProgress
 * @returns {Promise<{transfer?: Transferable[], [field: string]: unknown}>}
 */
async function answer(question, onProgress) {
  switch (question.type) {
    case 'picture': {
      const { picture, frame, blob } = question;
      /** @type {MaskObject[]} */
      const objects = [];
      parcels.push({ session: { picture, objects }, objects, frame, blob });
      return {};
    }
    case 'objects':
      return { empty: question.items.flatMap(take) };
    case 'write':
      return write(question.formats, question.options, onProgress);
    case 'outline':
      return outline(question.smooth, question.tolerance);
    case 'look':
      return look(question.options, question.visible, question.scale);
    case 'read':
      return readFiles(question.files, question.pictures, question.inHand);
    case 'fields': {
      const fields = question.masks.map((mask) => maskField(cropRuns(mask), question.frame));
      return { fields, transfer: fields.map(({ buffer }) => buffer) };
    }
  }
}

/** Objects become run lengths as they come; the label of one that covers no pixel is the answer. @param {Told} item */
function take({ field, mask, view, ...rest }) {
  const { objects, frame } = parcels[parcels.length - 1];
  const runs = mask ?? fieldRuns(/** @type {Float32Array} */ (field), view ?? frame, frame.original);
  if (areaOf(runs) === 0) return [rest.label];
  objects.push({ ...rest, mask: runs });
  return [];
}

/**
 * One file, or a zip of them.
 * @param {readonly string[]} formats
 * @param {Options} options
 * @param {(share: number) => void} onProgress
 */
async function write(formats, options, onProgress) {
  const work = createWork({ onProgress });
  const sessions = parcels.map(({ session }) => session).filter(({ objects }) => objects.length > 0);
  if (sessions.length === 0) throw new Error('These objects cover no pixel of the picture.');
  /** @type {typeof WRITERS} */
  const writers = {
    ...WRITERS,
    cutouts: async (session, _options, part) => writeCutOuts(session, { ...options, source: await pictureOf(session) }, part),
  };
  const [format] = formats;
  if (formats.length > 1 || format === 'session') {
    const images = formats.includes('session') ? await picturesOf(sessions) : {};
    const others = formats.filter((each) => each !== 'session');
    return fileOf(await writeAll(sessions, others, options, work, { writers, images }));
  }
  const files = await writeTogether(sessions, format, writers[format], options, work.part(0, 0.95));
  const count = Object.keys(files).length;
  if (count === 0) throw new Error('All of these objects are hidden; show those that you want cut out.');
  if (count === 1) return fileOf(files);
  const name = sessions.length === 1 ? stem(sessions[0].picture.name) : 'pictures';
  return fileOf({ [`${name}-${format}.zip`]: await pack(files, work.part(0.95, 1)) });
}

/** @param {Record<string, Uint8Array>} files of which there is one */
function fileOf(files) {
  const [[path, data]] = Object.entries(files);
  const name = /** @type {string} */ (path.split('/').at(-1));
  const type = TYPES[/** @type {keyof typeof TYPES} */ (name.split('.').at(-1))] ?? 'application/octet-stream';
  return { name, file: new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (data)], { type }) };
}

/** @param {readonly Session[]} sessions */
async function picturesOf(sessions) {
  const chosen = parcels.filter(({ session }) => sessions.includes(session));
  const entries = chosen.map(async ({ session, blob }) => [session.picture.name, new Uint8Array(await blob.arrayBuffer())]);
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * A session's picture, of which any window can be had at any scale: its canvas is never larger than what is asked for.
 * @param {Session} session
 */
async function openPicture(session) {
  const { width: wide, height: tall } = session.picture;
  const parcel = parcels.find((each) => each.session === session);
  const bitmap = await createImageBitmap(/** @type {Blob} */ (parcel?.blob), { imageOrientation: 'from-image' });
  const canvas = new OffscreenCanvas(1, 1);
  return (/** @type {Window} */ { x, y, width, height }, scale = 1) => {
    const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
    if (canvas.width < size.width || canvas.height < size.height) {
      Object.assign(canvas, { width: Math.max(canvas.width, size.width), height: Math.max(canvas.height, size.height) });
    }
    const context = canvas.getContext('2d', { willReadFrequently: true });
    if (!context) throw new Error(`The browser cannot make a picture of ${width} x ${height}.`);
    context.clearRect(0, 0, size.width, size.height);
    context.drawImage(bitmap, -x * scale, -y * scale, wide * scale, tall * scale);
    return context.getImageData(0, 0, size.width, size.height);
  };
}

/** Opened once. @param {Session} session */
function pictureOf(session) {
  const known = opened.get(session) ?? openPicture(session);
  opened.set(session, known);
  return known;
}

/** What the outlines of the objects come to. @param {boolean} smooth @param {number | null} tolerance */
function outline(smooth, tolerance) {
  let [points, error] = [0, 0];
  for (const item of parcels.flatMap(({ objects }) => objects)) {
    const found = smooth ? objectPath(item, tolerance) : objectOutline(item, tolerance);
    error = Math.max(error, found.error);
    points += 'points' in found ? found.points : found.polygons.flat().reduce((sum, ring) => sum + ring.length / 2, 0);
  }
  return { points, error };
}

/**
 * What can be seen of the last object's cut-out, as finely as it can be seen.
 * @param {Options} options
 * @param {Window} visible of the picture
 * @param {number} scale pixels wanted for one of the picture's, up to 1
 */
async function look({ feather, soft }, visible, scale) {
  const { session, objects } = parcels[parcels.length - 1];
  const item = objects.at(-1);
  if (!item) return { bitmap: null };
  const around = widened(visible, Math.max(MARGIN * soft, feather) + 1, session.picture);
  const image = (await pictureOf(session))(around, scale);
  const { width, height, data } = image;
  const mask = sampled(cropRuns(item.mask), around, width, height);
  const alpha = soft > 0
    ? Uint8Array.from(matte(image, mask, Math.max(1, Math.round(soft * scale))), (value) => Math.round(255 * value))
    : feathered({ x: 0, y: 0, width, height, data: mask }, feather * scale);
  for (let i = 0; i < alpha.length; i += 1) data[4 * i + 3] = (data[4 * i + 3] * alpha[i]) / 255;
  const bitmap = await createImageBitmap(image);
  return { bitmap, window: around, transfer: [bitmap] };
}

/** A mask at the middles of so many pixels of a window. @param {Crop} crop @param {Window} window @param {number} width @param {number} height */
function sampled(crop, window, width, height) {
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const row = Math.floor(window.y + ((y + 0.5) * window.height) / height) - crop.y;
    if (row < 0 || row >= crop.height) continue;
    for (let x = 0; x < width; x += 1) {
      const column = Math.floor(window.x + ((x + 0.5) * window.width) / width) - crop.x;
      if (column >= 0 && column < crop.width) mask[y * width + x] = crop.data[row * crop.width + column];
    }
  }
  return mask;
}
