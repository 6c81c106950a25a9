// @ts-check
/** The real page's own decoder in wasm: the hover contract's `prepare` graph, and the kernel instead of `point`. */

/** @import { Decoder, Parts } from '../bench.worker.js' */
import { createHoverGraph } from '../../../../static/js/decoding/hover-graph.js';
import { compileKernel, openPointKernel } from '../../../../static/js/kernel/loader.js';

/**
 * @param {Parts} parts
 * @returns {Promise<Decoder>}
 */
export async function open({ ort, threads, session, file }) {
  const prepare = await session('prepare');
  const point = await openPointKernel(await compileKernel(), (await file('kernel')).buffer, threads);
  return createHoverGraph(ort, { prepare, point, prepareWithMask: () => session('prepare_with_mask') });
}
