// @ts-check
/**
 * One zip for a whole session: any of the formats in their own folders, and the session itself, which comes back.
 *
 * Source: PKWARE's APPNOTE.TXT 6.3. No part may pass 4 GB. sam/formats/archive.py is its twin.
 */

/** @import { Files, Picture, Session } from './session.js' */
import { crc32, deflate, inflate, joined } from './bytes.js';
import { read as readSession, write as writeSession } from './session.js';
import { stem } from './text.js';
import { NO_REPORT } from './work.js';

/** @typedef {{name: string, method: number, crc: number, size: number, packed: number, at: number}} Entry */

/** The folder of the pictures themselves. */
export const PICTURES = 'images';
const STORED = /\.(png|jpe?g|webp|npz)$/i;
const DATE = 0x21; // the first of January 1980
const UTF8 = 0x800;
const LIMIT = 0xffffffff;
const LARGEST_SESSION = 2 ** 30;

/**
 * A zip of files by name; pictures are stored as they are, all else is deflated.
 * @param {Files} files
 */
export async function pack(files, work = NO_REPORT) {
  /** @type {Uint8Array[]} */
  const parts = [];
  /** @type {Uint8Array[]} */
  const directory = [];
  const names = Object.keys(files);
  let at = 0;
  for (const [index, name] of names.entries()) {
    const data = files[name];
    const method = STORED.test(name) ? 0 : 8;
    const body = method === 0 ? data : await deflate([data], 'deflate-raw');
    const entry = { name, method, crc: crc32(data), size: data.length, packed: body.length, at };
    const header = record(0x04034b50, entry);
    parts.push(header, body);
    directory.push(record(0x02014b50, entry));
    at += header.length + body.length;
    if (at > LIMIT) throw new RangeError('the zip passes 4 GB; take fewer formats at a time');
    await work.step((index + 1) / names.length);
  }
  const listing = joined(directory);
  return joined([...parts, listing, ending(names.length, listing.length, at)]);
}

/** A file's record before its data, or in the directory. @param {number} signature @param {Entry} entry */
function record(signature, { name, method, crc, size, packed, at }) {
  const isListed = signature === 0x02014b50;
  const text = new TextEncoder().encode(name);
  const start = isListed ? 6 : 4;
  const data = new Uint8Array((isListed ? 46 : 30) + text.length);
  const view = new DataView(data.buffer);
  view.setUint32(0, signature, true);
  if (isListed) view.setUint16(4, 20, true);
  [20, UTF8, method, 0, DATE].forEach((value, i) => view.setUint16(start + 2 * i, value, true));
  [crc, packed, size].forEach((value, i) => view.setUint32(start + 10 + 4 * i, value, true));
  view.setUint16(start + 22, text.length, true);
  if (isListed) view.setUint32(42, at, true);
  data.set(text, data.length - text.length);
  return data;
}

/** @param {number} count @param {number} length @param {number} at */
function ending(count, length, at) {
  const data = new Uint8Array(22);
  const view = new DataView(data.buffer);
  view.setUint32(0, 0x06054b50, true);
  view.setUint16(8, count, true);
  view.setUint16(10, count, true);
  view.setUint32(12, length, true);
  view.setUint32(16, at, true);
  return data;
}

/**
 * NAME.zip, or pictures.zip for several, with each NAME.session.json and the given files, each kind in its folder.
 * @param {readonly Session[]} sessions
 * @param {Record<string, Files>} [folders] exports by format, and the pictures themselves as `PICTURES`
 * @returns {Promise<Files>}
 */
export async function write(sessions, folders = {}, work = NO_REPORT) {
  /** @type {Files} */
  const inside = {};
  for (const session of sessions) Object.assign(inside, await writeSession(session));
  for (const [folder, files] of Object.entries(folders)) {
    for (const [name, data] of Object.entries(files)) inside[`${folder}/${name}`] = data;
  }
  const name = sessions.length === 1 ? stem(sessions[0].picture.name) : 'pictures';
  return { [`${name}.zip`]: await pack(inside, work) };
}

/**
 * The session of such a zip, of several the one with the open picture's name; an error if it is damaged, too large or
 * has none.
 * @param {Uint8Array} data
 * @param {Picture | null} [picture]
 * @returns {Promise<Session>}
 */
export async function read(data, picture = null) {
  const found = sessionsIn(data);
  const own = picture && found.find(({ name }) => name === `${stem(picture.name)}.session.json`);
  if (found.length > 1 && !own) {
    const wanted = picture ? `none is of '${picture.name}'` : 'say which picture';
    throw new RangeError(`it holds ${found.length} sessions, and ${wanted}`);
  }
  return readSession(await unpack(data, own ?? found[0]), picture);
}

/**
 * Every session of such a zip, and its picture's file where that is there too.
 * @param {Uint8Array} data
 * @returns {Promise<{session: Session, image: Uint8Array | null}[]>}
 */
export async function readAll(data) {
  const entries = listed(data);
  const all = [];
  for (const entry of sessionsIn(data)) {
    const session = await readSession(await unpack(data, entry));
    const image = entries.find(({ name }) => name === `${PICTURES}/${session.picture.name}`);
    all.push({ session, image: image ? await unpack(data, image) : null });
  }
  return all;
}

/** @param {Uint8Array} data */
function sessionsIn(data) {
  const found = listed(data).filter(({ name }) => name.endsWith('.session.json'));
  if (found.length === 0) throw new RangeError('it holds no NAME.session.json; a zip of this page has one');
  return found;
}

/** @param {Uint8Array} data @returns {Entry[]} what its directory lists */
function listed(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  let end = data.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new RangeError('not a zip that can be read; export it again');
  const entries = [];
  for (let i = 0, at = view.getUint32(end + 16, true); i < view.getUint16(end + 10, true); i += 1) {
    if (at + 46 > data.length || view.getUint32(at, true) !== 0x02014b50) {
      throw new RangeError('a damaged zip; export it again');
    }
    const [packed, size] = [view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    entries.push({
      name: new TextDecoder().decode(data.subarray(at + 46, at + 46 + name)), method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true), size, packed, at: view.getUint32(at + 42, true),
    });
    at += 46 + name + extra + comment;
  }
  return entries;
}

/** @param {Uint8Array} data @param {Entry} entry */
async function unpack(data, { name, method, crc, size, packed, at }) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (size > LARGEST_SESSION) {
    throw new RangeError(`its ${name} has ${size} bytes; at most ${LARGEST_SESSION} are read`);
  }
  if (at + 30 > data.length || ![0, 8].includes(method)) throw new RangeError('a damaged zip; export it again');
  const start = at + 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  const body = data.subarray(start, start + packed);
  const content = method === 0 ? body : await inflate(body, 'deflate-raw', size);
  if (content.length !== size || crc32(content) !== crc) throw new RangeError(`${name} is damaged; export it again`);
  return content;
}
