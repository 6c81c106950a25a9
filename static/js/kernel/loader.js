// @ts-check
/** From the decoder's weights to a `PointDecoder` on the kernel, with relaxed SIMD where the browser has it. */

/** @import { PointDecoder } from '../hover-graph.js' */
import { createPointKernel } from './point-kernel.js';
import { parseTensorFile } from '../protocol.js';

const BUILDS = ['decoder.relaxed.wasm', 'decoder.wasm'].map((name) => new URL(`../../kernels/${name}`, import.meta.url));

/**
 * @param {ArrayBuffer} weights
 * @returns {Promise<PointDecoder>}
 */
export async function openPointKernel(weights) {
  const kernel = createPointKernel(await instantiate(), parseTensorFile(weights));
  return {
    name: 'kernel',
    needs: ['cells'],
    hold: ({ cells }) => kernel.prepare(/** @type {Float32Array} */ (cells.data)),
    point: async (coords, labels) => kernel.point(coords, labels),
  };
}

/** A browser without relaxed SIMD refuses the first build when it compiles it. */
async function instantiate() {
  const [best, plain] = BUILDS;
  return compile(best).catch(() => compile(plain));
}

/** @param {URL} url */
async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The decoder's kernel could not be downloaded: the server answered ${response.status}.`);
  const { instance } = await WebAssembly.instantiate(await response.arrayBuffer());
  return instance;
}
