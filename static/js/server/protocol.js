// @ts-check
/** The binary bodies of the server: the safetensors layout, read by hand and validated strictly. */

import { GRID } from '../masks/geometry.js';

/** @typedef {'F16' | 'F32'} Dtype */
/** @typedef {{dtype: Dtype, shape: number[], bytes: Uint8Array<ArrayBuffer>}} Tensor */
/** @typedef {{metadata: Record<string, string>, tensors: Record<string, Tensor>}} TensorFile */

/**
 * One picture's embedding, bound to the picture and to the weights that made it.
 * @typedef {object} Embedding
 * @property {string} modelId
 * @property {string} weightsHash
 * @property {string} imageId
 * @property {Tensor} tensor [1, 256, 64, 64]
 */

/**
 * Four masks of GRID x GRID logits and their IoU.
 * @typedef {{logits: Float32Array<ArrayBuffer>, iou: Float32Array<ArrayBuffer>}} Decoded
 */

export const MASKS = 4;
export const EMBEDDING_SHAPE = [1, 256, 64, 64];

const LENGTH_BYTES = 8;
const MAX_HEADER_BYTES = 1 << 20;
const LARGEST_HALF = 65504;
/** @type {Record<Dtype, number>} */
const ITEM_BYTES = { F16: 2, F32: 4 };

/** A body that does not follow the protocol, or that belongs to something else. */
export class ProtocolError extends Error {
  name = 'ProtocolError';
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {TensorFile}
 */
export function parseTensorFile(buffer) {
  const start = LENGTH_BYTES + headerLength(buffer);
  const header = new Uint8Array(buffer, LENGTH_BYTES, start - LENGTH_BYTES);
  const { __metadata__: metadata = {}, ...entries } = parseHeader(header);
  const body = new Uint8Array(buffer, start);
  /** @type {Record<string, Tensor>} */
  const tensors = {};
  for (const [name, entry] of Object.entries(entries)) tensors[name] = readTensor(name, entry, body);
  return { metadata, tensors };
}

/**
 * @param {ArrayBuffer} buffer
 * @param {{weightsHash: string, imageId: string, window?: readonly number[]}} expected what the page asked for
 * @returns {Embedding}
 */
export function parseEmbedding(buffer, expected) {
  const { metadata, tensors } = parseTensorFile(buffer);
  if (metadata.format !== 'sam-embedding' || metadata.version !== '1') {
    throw new ProtocolError(`Expected sam-embedding version 1, got ${metadata.format} version ${metadata.version}.`);
  }
  if (metadata.weights_hash !== expected.weightsHash) {
    throw new ProtocolError(
      `This embedding was made by the weights ${short(metadata.weights_hash)} (${metadata.model_id}), ` +
        `but the decoder belongs to the weights ${short(expected.weightsHash)}. Reload the page.`,
    );
  }
  if (metadata.image_id !== expected.imageId) {
    throw new ProtocolError(`The server sent the embedding of another picture (${short(metadata.image_id)}).`);
  }
  if (expected.window && metadata.window !== expected.window.join()) {
    throw new ProtocolError(`The server sent the view ${metadata.window} instead of ${expected.window}.`);
  }
  const tensor = requireTensor(tensors, 'image_embeddings', EMBEDDING_SHAPE);
  return { modelId: metadata.model_id, weightsHash: metadata.weights_hash, imageId: metadata.image_id, tensor };
}

/**
 * The answer of the server's own decode.
 * @param {ArrayBuffer} buffer
 * @returns {Decoded}
 */
export function parseDecoded(buffer) {
  const { tensors } = parseTensorFile(buffer);
  return {
    logits: toFloat32(requireTensor(tensors, 'low_res_logits', [MASKS, GRID, GRID])),
    iou: toFloat32(requireTensor(tensors, 'iou_predictions', [MASKS])),
  };
}

/**
 * @param {Tensor} tensor
 * @returns {Float32Array<ArrayBuffer>} a copy
 */
export function toFloat32({ dtype, bytes }) {
  const aligned = bytes.slice().buffer;
  return dtype === 'F32' ? new Float32Array(aligned) : halvesToFloat32(new Uint16Array(aligned));
}

/**
 * IEEE 754 half precision to single, by a table of all 65,536 values.
 * @param {Uint16Array} halves
 */
export function halvesToFloat32(halves) {
  const table = halfTable();
  const singles = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i += 1) singles[i] = table[halves[i]];
  return singles;
}

/**
 * Single precision to half, rounded to the nearest; what is larger than the largest half becomes that.
 * @param {Float32Array} singles
 */
export function toHalves(singles) {
  return Uint16Array.from(singles, numberToHalf);
}

/** @param {Uint16Array} words */
export function toBase64(words) {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  let text = '';
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return btoa(text);
}

/** @type {Float32Array | undefined} */
let cachedHalfTable;

function halfTable() {
  cachedHalfTable ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => halfToNumber(bits));
  return cachedHalfTable;
}

/** @param {number} bits */
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** @param {number} value */
function numberToHalf(value) {
  const sign = value < 0 ? 0x8000 : 0;
  const size = Math.min(Math.abs(value), LARGEST_HALF);
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const fraction = Math.round(size / 2 ** (exponent - 10)); // from 1024, or less where the number is subnormal
  return sign | (fraction + ((exponent + 14) << 10));
}

/** @param {ArrayBuffer} buffer */
function headerLength(buffer) {
  if (buffer.byteLength < LENGTH_BYTES) throw new ProtocolError(`The body ends after ${buffer.byteLength} bytes.`);
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || LENGTH_BYTES + length > buffer.byteLength) {
    throw new ProtocolError(`A header of ${length} bytes does not fit a body of ${buffer.byteLength} bytes.`);
  }
  return length;
}

/** @param {Uint8Array} bytes */
function parseHeader(bytes) {
  let header;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new ProtocolError('The header is not JSON.');
  }
  if (header === null || typeof header !== 'object' || Array.isArray(header)) {
    throw new ProtocolError('The header is not a JSON object.');
  }
  return header;
}

/**
 * @param {string} name
 * @param {{dtype?: unknown, shape?: unknown, data_offsets?: unknown}} entry
 * @param {Uint8Array<ArrayBuffer>} body
 * @returns {Tensor}
 */
function readTensor(name, entry, body) {
  const { dtype, shape, data_offsets: offsets } = entry ?? {};
  if (dtype !== 'F16' && dtype !== 'F32') {
    throw new ProtocolError(`Tensor ${name} has the type ${dtype}, not F16 or F32.`);
  }
  if (!isCounts(shape) || !isCounts(offsets) || offsets.length !== 2) {
    throw new ProtocolError(`Tensor ${name} is malformed.`);
  }
  const [begin, end] = offsets;
  const expected = shape.reduce((product, side) => product * side, ITEM_BYTES[dtype]);
  if (end - begin !== expected) {
    throw new ProtocolError(`Tensor ${name} of shape ${shape} needs ${expected} bytes, not ${end - begin}.`);
  }
  if (end > body.length) {
    throw new ProtocolError(`Tensor ${name} ends at byte ${end} of ${body.length}: the body is cut short.`);
  }
  return { dtype, shape, bytes: body.subarray(begin, end) };
}

/**
 * @param {Record<string, Tensor>} tensors
 * @param {string} name
 * @param {number[]} shape
 */
function requireTensor(tensors, name, shape) {
  const tensor = tensors[name];
  if (!tensor) throw new ProtocolError(`The body holds no tensor named ${name}.`);
  if (tensor.shape.join() !== shape.join()) {
    throw new ProtocolError(`Tensor ${name} has the shape [${tensor.shape}], not [${shape}].`);
  }
  return tensor;
}

/**
 * @param {unknown} value
 * @returns {value is number[]}
 */
function isCounts(value) {
  return Array.isArray(value) && value.every((item) => Number.isInteger(item) && item >= 0);
}

/** @param {string | undefined} hash */
function short(hash) {
  return hash ? hash.slice(0, 8) : 'unknown';
}
