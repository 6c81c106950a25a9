// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ProtocolError, halvesToFloat32, parseDecoded, parseEmbedding, parseTensorFile, toBase64, toFloat32, toHalves,
} from '../../static/js/server/protocol.js';
import { tensorFile } from './helpers.mjs';

const ITEMS = 256 * 64 * 64;
const EXPECTED = { weightsHash: 'aa'.repeat(32), imageId: 'bb'.repeat(32) };
const METADATA = {
  format: 'sam-embedding', version: '1', model_id: 'tiny', weights_hash: EXPECTED.weightsHash, image_id: EXPECTED.imageId,
};

/** @param {{metadata?: object, entry?: object, bytes?: number}} [change] */
function embeddingBody({ metadata = {}, entry = {}, bytes = 2 * ITEMS } = {}) {
  const tensor = { dtype: 'F16', shape: [1, 256, 64, 64], data_offsets: [0, 2 * ITEMS], ...entry };
  const data = new Uint8Array(bytes);
  data.set([0x00, 0x3c, 0x00, 0xc0]);
  return tensorFile({ __metadata__: { ...METADATA, ...metadata }, image_embeddings: tensor }, data);
}

/** @param {ArrayBuffer} body @param {RegExp} words */
function refuses(body, words) {
  assert.throws(() => parseEmbedding(body, EXPECTED), (error) => error instanceof ProtocolError && words.test(error.message));
}

test('an embedding in half precision becomes float32', () => {
  const embedding = parseEmbedding(embeddingBody(), EXPECTED);
  assert.equal(embedding.modelId, 'tiny');
  const values = toFloat32(embedding.tensor);
  assert.equal(values.length, ITEMS);
  assert.deepEqual([...values.slice(0, 3)], [1, -2, 0]);
});

test('an embedding in single precision is read as it is', () => {
  const body = embeddingBody({ entry: { dtype: 'F32', data_offsets: [0, 4 * ITEMS] }, bytes: 4 * ITEMS });
  assert.equal(toFloat32(parseEmbedding(body, EXPECTED).tensor).length, ITEMS);
});

test('an embedding of other weights is refused, naming both', () => {
  refuses(embeddingBody({ metadata: { weights_hash: 'cc'.repeat(32) } }), /cccccccc.*aaaaaaaa/);
});

test('an embedding of another picture is refused', () => {
  refuses(embeddingBody({ metadata: { image_id: 'cc'.repeat(32) } }), /another picture/);
});

test('another format or version is refused', () => {
  refuses(embeddingBody({ metadata: { version: '2' } }), /version 2/);
  refuses(embeddingBody({ metadata: { format: 'pt' } }), /got pt/);
});

test('a wrong shape, type or byte count is refused', () => {
  refuses(embeddingBody({ entry: { shape: [1, 64, 256, 64] } }), /shape \[1,64,256,64\]/);
  refuses(embeddingBody({ entry: { dtype: 'BF16' } }), /BF16/);
  refuses(embeddingBody({ entry: { data_offsets: [0, 2 * ITEMS - 2] } }), /needs 2097152 bytes/);
});

test('a body cut short is refused', () => {
  refuses(embeddingBody({ bytes: 2 * ITEMS - 1 }), /cut short/);
  refuses(new ArrayBuffer(4), /ends after 4 bytes/);
});

test('a header that lies about its length or is not JSON is refused', () => {
  const lying = new ArrayBuffer(64);
  new DataView(lying).setBigUint64(0, 1n << 60n, true);
  refuses(lying, /does not fit/);
  const noise = new ArrayBuffer(64);
  new DataView(noise).setBigUint64(0, 10n, true);
  refuses(noise, /not JSON/);
});

test('a missing tensor is refused by its name', () => {
  refuses(tensorFile({ __metadata__: METADATA }, new Uint8Array(0)), /image_embeddings/);
});

test('tensors at odd offsets are still readable', () => {
  const header = { a: { dtype: 'F32', shape: [1], data_offsets: [1, 5] } };
  const data = new Uint8Array(5);
  data.set(new Uint8Array(Float32Array.of(1.5).buffer), 1);
  assert.deepEqual([...toFloat32(parseTensorFile(tensorFile(header, data)).tensors.a)], [1.5]);
});

test('half precision is exact for its special values', () => {
  const halves = Uint16Array.of(0x0000, 0x8000, 0x0001, 0x03ff, 0x0400, 0x3555, 0x7bff, 0xfbff, 0x7c00, 0xfc00);
  const singles = [0, -0, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1365 / 4096, 65504, -65504, Infinity, -Infinity];
  assert.deepEqual([...halvesToFloat32(halves)], singles);
  assert.ok(Number.isNaN(halvesToFloat32(Uint16Array.of(0x7e00))[0]));
});

test("the server's decode gives four masks and their IoU", () => {
  const logits = 4 * 256 * 256;
  const header = {
    low_res_logits: { dtype: 'F16', shape: [4, 256, 256], data_offsets: [0, 2 * logits] },
    iou_predictions: { dtype: 'F32', shape: [4], data_offsets: [2 * logits, 2 * logits + 16] },
  };
  const data = new Uint8Array(2 * logits + 16);
  data.set(new Uint8Array(Float32Array.of(0.5, 1, 2, 4).buffer), 2 * logits);
  const decoded = parseDecoded(tensorFile(header, data));
  assert.equal(decoded.logits.length, logits);
  assert.deepEqual([...decoded.iou], [0.5, 1, 2, 4]);
});

test('every finite half survives the way to single precision and back', () => {
  const words = Uint16Array.from({ length: 1 << 16 }, (_, bits) => bits);
  const halves = words.filter((bits) => ((bits >> 10) & 0x1f) !== 0x1f);
  const back = toHalves(halvesToFloat32(halves));
  assert.ok(halves.every((bits, i) => back[i] === bits || (bits === 0x8000 && back[i] === 0)));
});

test('what no half can hold becomes the largest half, and the rest the nearest', () => {
  const back = halvesToFloat32(toHalves(Float32Array.of(1e9, -1e9, 1 / 3, 2047.6, 1e-9)));
  assert.deepEqual([...back], [65504, -65504, 0.333251953125, 2048, 0]);
});

test('base64 of words is that of their bytes, little end first', () => {
  const words = Uint16Array.from({ length: 10_000 }, (_, i) => i * 7);
  assert.equal(toBase64(words), Buffer.from(words.buffer).toString('base64'));
});
