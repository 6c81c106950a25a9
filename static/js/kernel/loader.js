// @ts-check
/** From the decoder's weights to a `PointDecoder` on the kernel, with relaxed SIMD and threads where there are any. */

/** @import { PointDecoder } from '../hover-graph.js' */
/** @import { PointKernel } from './point-kernel.js' */
/** @import { Recruit } from './team.js' */
import { parseTensorFile } from '../protocol.js';
import { createPointKernel } from './point-kernel.js';
import { createShared, leadTeam } from './team.js';
import { readShape } from './weights.js';

const BUILDS = ['decoder.relaxed.wasm', 'decoder.wasm'].map(
  (name) => new URL(`../../kernels/${name}`, import.meta.url),
);

/**
 * @param {ArrayBuffer} weights
 * @param {number} [threads] more than one need a worker to be called from
 * @returns {Promise<PointDecoder>}
 */
export async function openPointKernel(weights, threads = 1) {
  const kernel = await (threads > 1 ? openTeam(weights, threads) : openAlone(weights));
  return {
    needs: ['cells'],
    hold: ({ cells }) => kernel.prepare(/** @type {Float32Array} */ (cells.data)),
    point: async (coords, labels) => kernel.point(coords, labels),
  };
}

/** @param {ArrayBuffer} weights */
async function openAlone(weights) {
  return createPointKernel(await WebAssembly.instantiate(await compile()), parseTensorFile(weights));
}

/**
 * @param {ArrayBuffer} weights
 * @param {number} size
 * @returns {Promise<Pick<PointKernel, 'prepare' | 'point'>>}
 */
async function openTeam(weights, size) {
  const [module, file] = [await compile(), parseTensorFile(weights)];
  const shared = createShared(size, readShape(JSON.parse(file.metadata.config), { rank: 0, size }));
  const others = Array.from({ length: size - 1 }, (_, i) => recruit({ rank: i + 1, size, shared, module, weights }));
  await Promise.all(others);
  return leadTeam(await WebAssembly.instantiate(module), file, { rank: 0, size, shared });
}

/**
 * @param {Recruit} recruit
 * @returns {Promise<void>}
 */
function recruit(recruit) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./teammate.worker.js', import.meta.url), { type: 'module' });
    worker.onmessage = () => resolve();
    worker.onerror = () => reject(new Error('A thread of the decoder could not be started.'));
    worker.postMessage(recruit);
  });
}

/** A browser without relaxed SIMD refuses the first build. */
async function compile() {
  const [best, plain] = BUILDS;
  return compileFrom(best).catch(() => compileFrom(plain));
}

/** @param {URL} url */
async function compileFrom(url) {
  const response = await fetch(url);
  if (!response.ok)
    throw new Error(`The decoder's kernel could not be downloaded: the server answered ${response.status}.`);
  return WebAssembly.compile(await response.arrayBuffer());
}
