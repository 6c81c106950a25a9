// @ts-check
/** Files to take home, and back. A new format is a module with `write`, perhaps `read`, and a line here. */

/** @import { Files, Picture, Session } from './session.js' */
/** @import { Work } from './work.js' */
import * as archive from './archive.js';
import * as arrays from './arrays.js';
import { joined } from './bytes.js';
import * as coco from './coco.js';
import * as cvat from './cvat.js';
import * as geojson from './geojson.js';
import * as labelme from './labelme.js';
import * as masks from './masks.js';
import * as sessions from './session.js';
import { checkSession, classesOf } from './session.js';
import * as svg from './svg.js';
import * as voc from './voc.js';
import { NO_REPORT } from './work.js';
import * as yolo from './yolo.js';

/** @typedef {{tolerance?: number | null, classes?: Map<string, number>}} Options tolerance in pixels; none has it chosen */
/** @typedef {(session: Session, options?: Options, work?: Work) => Promise<Files>} Writer */

/** Files that list pictures, one a line. */
const LISTS = /^ImageSets\//;

/** @type {Record<string, Writer>} */
export const WRITERS = {
  session: sessions.write,
  coco: coco.write,
  'coco-polygons': (session, options, work) => coco.write(session, { ...options, polygons: true }, work),
  labelme: labelme.write,
  yolo: yolo.write,
  svg: svg.write,
  geojson: geojson.write,
  cvat: cvat.write,
  voc: voc.write,
  masks: masks.writeBinary,
  indexed: masks.writeIndexed,
  numpy: arrays.write,
};

/** @type {Record<string, (data: Uint8Array, picture: Picture) => Promise<Session>>} */
export const READERS = {
  session: sessions.read,
  coco: (data, picture) => coco.read(data, picture),
  labelme: (data, picture) => labelme.read(data, picture),
  yolo: (data, picture) => yolo.read(data, picture),
  png: (data, picture) => masks.read(data, picture),
  zip: (data, picture) => archive.read(data, picture),
};

/**
 * A zip with the sessions and these formats.
 * @param {readonly Session[]} sessions
 * @param {readonly string[]} [formats] all by default
 * @param {Options} [options]
 * @param {Work} [work]
 * @param {{writers?: Record<string, Writer>, images?: Files}} [more] further formats; the pictures' own files
 * @returns {Promise<Files>}
 */
export async function writeAll(sessions, formats, options = {}, work = NO_REPORT, { writers = WRITERS, images = {} } = {}) {
  const names = formats ?? Object.keys(WRITERS).filter((name) => name !== 'session');
  const unknown = names.find((name) => !(name in writers));
  if (unknown) throw new RangeError(`the format '${unknown}' is unknown; there are ${Object.keys(writers).join(', ')}`);
  sessions.forEach(checkSession);
  /** @type {Record<string, Files>} */
  const folders = Object.keys(images).length > 0 ? { [archive.PICTURES]: images } : {};
  for (const [index, name] of names.entries()) {
    const part = work.part((0.9 * index) / names.length, (0.9 * (index + 1)) / names.length);
    folders[name] = await writeTogether(sessions, name, writers[name], options, part);
  }
  return archive.write(sessions, folders, work.part(0.9, 1));
}

/**
 * Several pictures' objects in one format: one COCO file, else each picture's own; labels share their numbers.
 * @param {readonly Session[]} all
 * @param {string} format
 * @param {Writer} writer
 * @param {Options} [options]
 * @param {Work} [work]
 * @returns {Promise<Files>}
 */
export async function writeTogether(all, format, writer, options = {}, work = NO_REPORT) {
  if (all.length > 1 && format.startsWith('coco')) {
    return coco.writeTogether(all, { ...options, polygons: format === 'coco-polygons' }, work);
  }
  const shared = { ...options, classes: classesOf(...all) };
  /** @type {Files} */
  const files = {};
  for (const [index, session] of all.entries()) {
    const found = await writer(session, shared, work.part(index / all.length, (index + 1) / all.length));
    for (const [name, data] of Object.entries(found)) {
      files[name] = LISTS.test(name) && files[name] ? joined([files[name], data]) : data;
    }
  }
  return files;
}
