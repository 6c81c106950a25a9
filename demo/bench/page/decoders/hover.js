// @ts-check
/** The real page's own decoder over the hover contract's graphs, as it is. */

/** @import { Decoder, Parts } from '../bench.worker.js' */
import { createHoverGraph, createPointGraph } from '../../../../static/js/decoding/hover-graph.js';

/**
 * @param {Parts} parts
 * @returns {Promise<Decoder>}
 */
export async function open({ ort, session }) {
  const [prepare, point] = [await session('prepare'), createPointGraph(ort, await session('point'))];
  return createHoverGraph(ort, { prepare, point, prepareWithMask: () => session('prepare_with_mask') });
}
