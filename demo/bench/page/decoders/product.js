// @ts-check
/** One large matrix product, as fast as the runtime goes: the peak that decoders are held against. */

/** @import { Decoder, Parts } from '../bench.worker.js' */

/**
 * @param {Parts} parts
 * @returns {Promise<Decoder>}
 */
export async function open({ ort, session }) {
  const product = await session('product');
  return {
    async prepare() {},
    async point(coords) {
      const side = coords[0];
      const answer = await product.run({ x: new ort.Tensor('float32', new Float32Array(side * side), [side, side]) });
      answer.y.dispose();
      return { logits: new Float32Array(0), iou: new Float32Array(0) };
    },
  };
}
