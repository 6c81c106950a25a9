// @ts-check
/** From the decoder's weights to a `PointDecoder` on the kernel, with relaxed SIMD and threads where there are any. */

/** @import { PointDecoder } from '../decoding/hover-graph.js' */
/** @import { PointKernel } from './point-kernel.js' */
/** @import { Recruit } from './team.js' */
import { parseTensorFile } from '../server/protocol.js';
import { MOST_POINTS, createPointKernel } from './point-kernel.js';
import { createShared, leadTeam } from './team.js';
import { readShape } from './weights.js';

const BUILDS = ['decoder.relaxed.wasm', 'decoder.wasm'].map((name) => new URL(`../../kernels/${name}`, import.meta.url));

/** A browser without relaxed SIMD refuses the first build. */
export async function compileKernel() {
  const [best, plain] = BUILDS;
  return compileFrom(best).catch(() => compileFrom(plain));
}

/**
 * @param {WebAssembly.Module} module
 * @param {ArrayBuffer} weights
 * @param {number} threads more than one need a worker to be called from
 * @returns {Promise<PointDecoder>}
 */
export async function openPointKernel(module, weights, threads) {
  const kernel = await (threads > 1 ? openTeam(module, weights, threads) : openAlone(module, weights));
  return {
    needs: ['cells'],
    hold: ({ cells }) => kernel.prepare(/** @type {Float32Array} */ (cells.data)),
    point: async (coords, labels) => kernel.point(coords, labels),
  };
}

/**
 * The kernel for what a person points at; for many points, which cost it the square of their number, the graph.
 * @param {PointDecoder} kernel
 * @param {readonly string[]} needs of both
 * @param {() => Promise<PointDecoder>} openGraph
 * @returns {PointDecoder}
 */
export function withGraphForMany(kernel, needs, openGraph) {
  /** @type {Parameters<PointDecoder['hold']>[0]} */
  let held = {};
  return {
    needs,
    hold(prepared) {
      held = prepared;
      kernel.hold(prepared);
    },
    async point(coords, labels) {
      if (labels.length <= MOST_POINTS) return kernel.point(coords, labels);
      const graph = await openGraph();
      graph.hold(held);
      return graph.point(coords, labels);
    },
  };
}

/**
 * @param {WebAssembly.Module} module
 * @param {ArrayBuffer} weights
 */
async function openAlone(module, weights) {
  return createPointKernel(await WebAssembly.instantiate(module), parseTensorFile(weights));
}

/**
 * @param {WebAssembly.Module} module
 * @param {ArrayBuffer} weights
 * @param {number} size
 * @returns {Promise<Pick<PointKernel, 'prepare' | 'point'>>}
 */
async function openTeam(module, weights, size) {
  const file = parseTensorFile(weights);
  const shared = createShared(size, readShape(JSON.parse(file.metadata.config), { rank: 0, size }));
  const others = Array.from({ length: size - 1 }, (_, i) => start({ rank: i + 1, size, shared, module, weights }));
  await Promise.all(others);
  return leadTeam(await WebAssembly.instantiate(module), file, { rank: 0, size, shared });
}

/**
 * @param {Recruit} recruit
 * @returns {Promise<void>}
 */
function start(recruit) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./teammate.worker.js', import.meta.url), { type: 'module' });
    worker.onmessage = ({ data }) => {
      if (data === 'ready') resolve();
      else reject(new Error(`A thread of the decoder could not be started: ${data}`));
    };
    worker.onerror = () => reject(new Error('A thread of the decoder could not be started.'));
    worker.postMessage(recruit);
  });
}

/** @param {URL} url */
async function compileFrom(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The decoder's kernel could not be downloaded: answer ${response.status}.`);
  return WebAssembly.compile(await response.arrayBuffer());
}
