// @ts-check
/** Files to take home, and back. A new format is a module with `write`, perhaps `read`, and a line here. */

/** @import { Files, Picture, Session } from './session.js' */
/** @import { Work } from './work.js' */
import * as archive from './archive.js';
import * as arrays from './arrays.js';
import * as coco from './coco.js';
import * as cvat from './cvat.js';
import * as geojson from './geojson.js';
import * as labelme from './labelme.js';
import * as masks from './masks.js';
import * as sessions from './session.js';
import * as svg from './svg.js';
import * as voc from './voc.js';
import { NO_REPORT } from './work.js';
import * as yolo from './yolo.js';

/** @typedef {{tolerance?: number | null}} Options in pixels; none has it chosen */
/** @typedef {(session: Session, options?: Options, work?: Work) => Promise<Files>} Writer */

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
 * NAME.zip with the session and these formats.
 * @param {Session} session
 * @param {readonly string[]} [formats] all by default
 * @param {Options} [options]
 * @param {Work} [work]
 * @returns {Promise<Files>}
 */
export async function writeAll(session, formats, options = {}, work = NO_REPORT) {
  const names = formats ?? Object.keys(WRITERS).filter((name) => name !== 'session');
  const unknown = names.find((name) => !(name in WRITERS));
  if (unknown) throw new RangeError(`the format '${unknown}' is unknown; there are ${Object.keys(WRITERS).join(', ')}`);
  sessions.checkSession(session);
  /** @type {Record<string, Files>} */
  const folders = {};
  for (const [index, name] of names.entries()) {
    const part = work.part((0.9 * index) / names.length, (0.9 * (index + 1)) / names.length);
    folders[name] = await WRITERS[name](session, options, part);
  }
  return archive.write(session, folders, work.part(0.9, 1));
}
