// @ts-check
/** Meta's graph as its own web demo calls it: every input with every prompt, masks at the picture's size. */

/** @import { Decoder, Parts } from '../bench.worker.js' */

const EMBEDDING = [1, 256, 64, 64];
const NO_MASK = new Float32Array(256 * 256);

/**
 * @param {Parts} parts
 * @returns {Promise<Decoder>}
 */
export async function open({ ort, session }) {
  const decoder = await session('decoder');
  /** @type {Record<string, import('onnxruntime-web').Tensor>} */
  let picture = {};
  const float32 = (/** @type {Float32Array} */ values, /** @type {number[]} */ shape) => new ort.Tensor('float32', values, shape);
  return {
    async prepare(embedding, pictureHw) {
      picture = {
        image_embeddings: float32(embedding, EMBEDDING),
        mask_input: float32(NO_MASK, [1, 1, 256, 256]),
        has_mask_input: float32(Float32Array.of(0), [1]),
        orig_im_size: float32(Float32Array.from(pictureHw), [2]),
      };
    },
    async point(coords, labels) {
      const points = labels.length;
      const prompt = { point_coords: float32(coords, [1, points, 2]), point_labels: float32(labels, [1, points]) };
      const answer = await decoder.run({ ...picture, ...prompt });
      const values = (/** @type {string} */ name) => Float32Array.from(/** @type {Float32Array} */ (answer[name].data));
      const result = { logits: values('low_res_masks'), iou: values('iou_predictions') };
      for (const tensor of Object.values(answer)) tensor.dispose();
      return result;
    },
  };
}
