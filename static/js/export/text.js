// @ts-check
/** Text that the two languages write alike: JSON, XML, numbers, names of files. sam/formats/text.py is its twin. */

const NO_FILE_NAME = /[\x00-\x1f\\/:*?"<>|]/g;
/** @type {Record<string, string>} */
const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/**
 * Compact UTF-8 with a line's end.
 * @param {unknown} document
 */
export function encodeJson(document) {
  return encodeText(`${JSON.stringify(document)}\n`);
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} UTF-8 */
export function encodeText(text) {
  return new TextEncoder().encode(text);
}

/**
 * @param {Uint8Array} data
 * @returns {any} parsed JSON; an error says what is wrong
 */
export function decodeJson(data) {
  const text = decodeText(data);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RangeError(`not complete JSON: ${messageOf(error)}; export it again`);
  }
}

/** @param {Uint8Array} data */
export function decodeText(data) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    throw new RangeError('not UTF-8 text; save it as UTF-8');
  }
}

/**
 * Rounded half up.
 * @param {number} value
 * @param {number} [digits]
 */
export function number(value, digits = 2) {
  const scale = 10 ** digits;
  return Math.floor(value * scale + 0.5) / scale + 0;
}

/**
 * A number from 0 up, rounded half up, with exactly so many decimals.
 * @param {number} value
 * @param {number} digits
 */
export function fixed(value, digits) {
  const whole = String(Math.floor(value * 10 ** digits + 0.5)).padStart(digits + 1, '0');
  return `${whole.slice(0, -digits)}.${whole.slice(-digits)}`;
}

/** A value as a quoted XML attribute. @param {string | number} value */
export function attribute(value) {
  return `"${String(value).replace(/[&<>"]/g, (character) => ESCAPES[character])}"`;
}

/** A value as XML text. @param {string | number} value */
export function content(value) {
  return String(value).replace(/[&<>]/g, (character) => ESCAPES[character]);
}

/**
 * A file name without folder and suffix, and without what file systems refuse.
 * @param {string} name
 */
export function stem(name) {
  const last = name.split(/[\\/]/).at(-1) ?? '';
  const bare = last.replace(/\.[^.]*$/, '') || last;
  return bare.replace(NO_FILE_NAME, '_').replace(/^[ .]+|[ .]+$/g, '') || 'picture';
}

/**
 * What goes wrong within is an error that names this entry of a file.
 * @template T
 * @param {string} name
 * @param {() => T} read
 * @returns {T}
 */
export function inEntry(name, read) {
  try {
    return read();
  } catch (error) {
    throw new RangeError(`${name}: ${error instanceof TypeError ? 'not what it should be: ' : ''}${messageOf(error)}`);
  }
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * @param {any} value
 * @param {string} what
 * @returns {any[]}
 */
export function requireList(value, what) {
  if (!Array.isArray(value)) throw new RangeError(`${what} is missing; it is a list`);
  return value;
}
