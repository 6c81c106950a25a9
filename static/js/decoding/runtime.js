// @ts-check
/** Which files of ONNX Runtime a tier loads; only those are downloaded. */

/** @import { Tier } from './tiers.js' */

/** @typedef {{module: string, wasm: string, provider: 'wasm' | 'webgpu'}} RuntimeFiles */

export const ORT_VERSION = '1.30.0';
const FOLDER = `static/vendor/onnxruntime-web-${ORT_VERSION}/`;

/** @type {Record<'wasm' | 'jspi' | 'asyncify', RuntimeFiles>} */
export const RUNTIMES = {
  wasm: { module: 'ort.wasm.bundle.min.mjs', wasm: 'ort-wasm-simd-threaded.wasm', provider: 'wasm' },
  jspi: { module: 'ort.jspi.bundle.min.mjs', wasm: 'ort-wasm-simd-threaded.jspi.wasm', provider: 'webgpu' },
  asyncify: { module: 'ort.webgpu.bundle.min.mjs', wasm: 'ort-wasm-simd-threaded.asyncify.wasm', provider: 'webgpu' },
};

/**
 * @param {Tier} tier
 * @param {boolean} suspending JSPI needs 10 MB less than asyncify
 * @param {string} root the page's own address
 * @returns {RuntimeFiles} with addresses instead of names
 */
export function runtimeFor(tier, suspending, root) {
  const webgpu = suspending ? RUNTIMES.jspi : RUNTIMES.asyncify;
  const { module, wasm, provider } = tier === 'webgpu' ? webgpu : RUNTIMES.wasm;
  const address = (/** @type {string} */ name) => new URL(FOLDER + name, root).href;
  return { module: address(module), wasm: address(wasm), provider };
}
