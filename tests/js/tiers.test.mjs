// @ts-check
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { ORT_VERSION, runtimeFor } from '../../static/js/decoding/runtime.js';
import { chooseDecoder, forcedTier, surveyTiers, threadsFor } from '../../static/js/decoding/tiers.js';

const ROOT = 'http://example.org/some/prefix/?tier=wasm';
/** @type {import('../../static/js/decoding/tiers.js').Environment} */
const FULL = { gpu: 'hardware', wasm: true, isolated: true, cores: 8, suspending: true };

/** @param {string} precision */
function decoder(precision, contract = 'hover', contract_version = 2) {
  const file = { sha256: precision, url: `/${precision}`, bytes: 1 };
  return { precision, contract, contract_version, files: { prepare: file, prepare_with_mask: file, point: file, kernel: file } };
}

test('a device with everything may use every tier', () => {
  assert.deepEqual(surveyTiers(FULL, null), { candidates: ['webgpu', 'wasm-threads', 'wasm', 'server'], refused: [] });
});

test('every refused tier has a reason', () => {
  const { candidates, refused } = surveyTiers({ gpu: 'software', wasm: true, isolated: false, cores: 8, suspending: true }, null);
  assert.deepEqual(candidates, ['wasm', 'server']);
  assert.match(refused[0].reason, /software/);
  assert.match(refused[1].reason, /isolated/);
});

test('the server is always there', () => {
  const bare = /** @type {const} */ ({ gpu: 'none', wasm: false, isolated: false, cores: 1, suspending: false });
  assert.deepEqual(surveyTiers(bare, null).candidates, ['server']);
});

test('a forced tier is the only one, and may use a software adapter', () => {
  assert.deepEqual(surveyTiers({ ...FULL, gpu: 'software' }, 'webgpu').candidates, ['webgpu']);
  assert.deepEqual(surveyTiers({ ...FULL, gpu: 'no-adapter' }, 'webgpu').candidates, []);
});

test('an address that names no known tier forces none', () => {
  assert.equal(forcedTier('?tier=wasm'), 'wasm');
  assert.equal(forcedTier('?tier=quantum'), null);
});

test('threads stop at four', () => {
  assert.equal(threadsFor('wasm-threads', FULL), 4);
  assert.equal(threadsFor('wasm-threads', { ...FULL, cores: 2 }), 2);
  assert.equal(threadsFor('wasm', FULL), 1);
});

test('WebGPU takes half precision, wasm takes int8, each the first known when it is missing', () => {
  const both = [decoder('int8'), decoder('fp16')];
  assert.equal(chooseDecoder('webgpu', both).precision, 'fp16');
  assert.equal(chooseDecoder('wasm', both).precision, 'int8');
  assert.equal(chooseDecoder('wasm', [decoder('fp16')]).precision, 'fp16');
});

test('a decoder of another contract is not loaded', () => {
  assert.throws(() => chooseDecoder('wasm', [decoder('int8', 'hover', 1), decoder('int8', 'official')]), /no decoder/);
});

test('the runtime that the page asks for is the one that is installed', async () => {
  const { dependencies } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
  assert.equal(dependencies['onnxruntime-web'], ORT_VERSION);
  const folder = `http://example.org/some/prefix/static/vendor/onnxruntime-web-${ORT_VERSION}`;
  assert.equal(runtimeFor('wasm', true, ROOT).wasm, `${folder}/ort-wasm-simd-threaded.wasm`);
  assert.equal(runtimeFor('webgpu', false, ROOT).provider, 'webgpu');
});
