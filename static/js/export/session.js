// @ts-check
/**
 * What a person made, as plain data: a picture's name and size, and its objects in order, the lowest first.
 *
 * sam/formats/session.py is its twin, and both write the same bytes.
 */

/** @import { Runs } from './runs.js' */
import { areaOf } from './runs.js';
import { decodeJson, encodeJson, inEntry, number, requireList, stem } from './text.js';

/** @typedef {{name: string, width: number, height: number}} Picture upright */

/**
 * @typedef {object} MaskObject
 * @property {string} label
 * @property {Runs} mask of the whole picture
 * @property {string} colour as #ff8800
 * @property {boolean} visible
 * @property {number | null} score predicted IoU, 0 to 1
 * @property {any} prompts whatever the page asked with; JSON
 */

/** @typedef {{picture: Picture, objects: readonly MaskObject[]}} Session */
/** @typedef {Record<string, Uint8Array>} Files contents by file name; folders with a slash */

const FORMAT = 'segment-anything-session';
const VERSION = 1;
const LONGEST_LABEL = 200;

/**
 * The session itself, once it is checked: an error names an object that does not lie on the picture or covers nothing.
 * @param {Session} session
 * @returns {Session}
 */
export function checkSession(session) {
  checkPicture(session.picture);
  session.objects.forEach((item, index) => {
    inEntry(`object ${index + 1} ('${item.label}')`, () => checkObject(item, session.picture));
  });
  return session;
}

/** @param {Picture} picture */
export function checkPicture({ name, width, height }) {
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new RangeError(`a picture of ${width} x ${height} has no pixels; give its width and height`);
  }
  checkText(name, "the picture's name");
}

/**
 * @param {MaskObject} item
 * @param {Picture} picture
 * @returns {MaskObject}
 */
export function checkObject(item, picture) {
  checkText(item.label, 'a label');
  if (typeof item.colour !== 'string' || !/^#[0-9a-f]{6}$/.test(item.colour)) {
    throw new RangeError(`the colour '${item.colour}' is none; write it as #ff8800`);
  }
  if (item.score !== null && !(typeof item.score === 'number' && item.score >= 0 && item.score <= 1)) {
    throw new RangeError(`the score '${item.score}' does not lie between 0 and 1`);
  }
  if (typeof item.visible !== 'boolean') throw new RangeError(`visible is ${item.visible}; it is true or false`);
  checkMask(item.mask, picture);
  return item;
}

/**
 * @param {Runs} mask
 * @param {Picture} picture
 */
export function checkMask({ size, counts }, { width, height }) {
  if (size[0] !== height || size[1] !== width) {
    throw new RangeError(`its mask is ${size[1]} x ${size[0]}, the picture ${width} x ${height}`);
  }
  const sum = counts.reduce((total, count) => (Number.isInteger(count) && count >= 0 ? total + count : NaN), 0);
  if (sum !== width * height) {
    throw new RangeError(`its run lengths do not cover the picture's ${width * height} pixels once`);
  }
  if (areaOf({ size, counts }) === 0) throw new RangeError('its mask covers no pixel; remove it');
}

/**
 * @param {any} text
 * @param {string} what
 */
export function checkText(text, what) {
  if (typeof text !== 'string' || text.length < 1 || [...text].length > LONGEST_LABEL) {
    throw new RangeError(`${what} is ${shown(text)}; it needs 1 to ${LONGEST_LABEL} characters`);
  }
  const bad = text.match(/[\p{Cc}\p{Cs}\uFFFE\uFFFF]/u)?.[0];
  if (bad === undefined) return;
  const code = /** @type {number} */ (bad.codePointAt(0)).toString(16).toUpperCase().padStart(4, '0');
  throw new RangeError(`${what}, ${shown(text)}, has U+${code}, which files cannot hold; rename it`);
}

/** @param {any} text */
function shown(text) {
  return typeof text === 'string' ? `'${text.slice(0, 40)}'` : String(text);
}

/**
 * Every label's number, from 0 on, by first use.
 * @param {Session[]} sessions that share their numbers
 * @returns {Map<string, number>}
 */
export function classesOf(...sessions) {
  /** @type {Map<string, number>} */
  const classes = new Map();
  for (const { label } of sessions.flatMap(({ objects }) => objects)) {
    if (!classes.has(label)) classes.set(label, classes.size);
  }
  return classes;
}

/**
 * A colour of Pascal VOC's palette: 0 is black, neighbours differ widely.
 * @param {number} index 0 to 255
 */
export function paletteColour(index) {
  const channels = [0, 0, 0];
  for (let bit = 0; bit < 8; bit += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      channels[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit);
    }
  }
  return `#${channels.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
}

/** The colour that objects of a class get when they are imported. @param {number} index */
export function classColour(index) {
  return paletteColour(1 + (index % 254));
}

/** @param {string} colour @returns {number[]} red, green, blue, 0 to 255 */
export function channelsOf(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

/**
 * NAME.session.json, which loses nothing.
 * @param {Session} session
 * @returns {Promise<Files>}
 */
export async function write({ picture: { name, width, height }, objects }) {
  const document = {
    format: FORMAT,
    version: VERSION,
    picture: { name, width, height },
    objects: objects.map(({ label, colour, visible, score, prompts, mask: { size, counts } }) => ({
      label, colour, visible, score: score === null ? null : number(score, 4), prompts: prompts ?? null,
      mask: { size, counts },
    })),
  };
  return { [`${stem(name)}.session.json`]: encodeJson(document) };
}

/**
 * @param {Uint8Array} data a NAME.session.json
 * @param {Picture | null} [picture] the one that is open; an error says that the file is another's
 * @returns {Promise<Session>}
 */
export async function read(data, picture = null) {
  const document = decodeJson(data);
  if (document?.format !== FORMAT) throw new RangeError(`not a session: its 'format' is not '${FORMAT}'`);
  if (document.version !== VERSION) {
    throw new RangeError(`a session of version ${document.version}; this reads version ${VERSION}`);
  }
  return inEntry('the session', () => {
    const { name, width, height } = document.picture;
    requireSize({ name, width, height }, picture);
    const listed = requireList(document.objects, "'objects'");
    const objects = listed.map(({ label, colour, visible, score, prompts, mask }) => (
      { label, colour, visible, score, prompts, mask: { size: mask.size, counts: mask.counts } }));
    return checkSession({ picture: picture ?? { name, width, height }, objects });
  });
}

/**
 * @param {Picture} found what a file says
 * @param {Picture | null} picture what is open
 */
export function requireSize(found, picture) {
  checkPicture(found);
  if (!picture || (found.width === picture.width && found.height === picture.height)) return;
  throw new RangeError(
    `made for '${found.name}' of ${found.width} x ${found.height} pixels, but '${picture.name}' has ` +
      `${picture.width} x ${picture.height}; open the picture that it was made for`,
  );
}
