// @ts-check
/** The hover contract's two graphs and nothing else: whatever `prepare` gives goes to `point` by name. */

/** @import { Decoder, Parts } from '../bench.worker.js' */

/**
 * @param {Parts} parts
 * @returns {Promise<Decoder>}
 */
export async function open({ ort, session }) {
  const prepare = await session('prepare');
  const point = await session('point');
  /** @type {Record<string, import('onnxruntime-web').Tensor>} */
  let prepared = {};
  return {
    async prepare(embedding) {
      for (const tensor of Object.values(prepared)) tensor.dispose();
      prepared = { ...(await prepare.run({ image_embeddings: new ort.Tensor('float32', embedding, [1, 256, 64, 64]) })) };
    },
    async point(coords, labels) {
      const answer = await point.run({
        ...prepared,
        point_coords: new ort.Tensor('float32', coords, [1, labels.length, 2]),
        point_labels: new ort.Tensor('float32', labels, [1, labels.length]),
      });
      const values = (/** @type {string} */ name) => Float32Array.from(/** @type {Float32Array} */ (answer[name].data));
      const result = { logits: values('low_res_logits'), iou: values('iou_predictions') };
      for (const tensor of Object.values(answer)) tensor.dispose();
      return result;
    },
  };
}
