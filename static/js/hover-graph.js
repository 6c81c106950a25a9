// @ts-check
/**
 * The `hover` contract's single graph over an ONNX Runtime session: `prepare` takes a picture's embedding, `point`
 * answers prompts. A pair of graphs with tensors kept between them can stand behind the same two functions.
 */

/** @typedef {typeof import('onnxruntime-web')} Ort */
/** @typedef {import('onnxruntime-web').InferenceSession} Session */
/** @typedef {{logits: Float32Array<ArrayBuffer>, iou: Float32Array<ArrayBuffer>}} Answer */
/** @typedef {{prepare: (embedding: Float32Array) => Promise<void>, point: (coords: Float32Array, labels: Float32Array) => Promise<Answer>}} HoverGraph */

import { EMBEDDING_SHAPE } from './protocol.js';

const INPUTS = ['image_embeddings', 'point_coords', 'point_labels'];
const OUTPUTS = ['low_res_logits', 'iou_predictions'];

/**
 * @param {Ort} ort
 * @param {Session} session
 * @returns {HoverGraph}
 */
export function createHoverGraph(ort, session) {
  requireNames('input', session.inputNames, INPUTS);
  requireNames('output', session.outputNames, OUTPUTS);
  /** @type {import('onnxruntime-web').Tensor | null} */
  let embedding = null;

  return {
    async prepare(values) {
      embedding = new ort.Tensor('float32', values, EMBEDDING_SHAPE);
    },
    async point(coords, labels) {
      if (!embedding) throw new Error('The decoder was asked before it got a picture.');
      const results = await session.run({
        image_embeddings: embedding,
        point_coords: new ort.Tensor('float32', coords, [1, labels.length, 2]),
        point_labels: new ort.Tensor('float32', labels, [1, labels.length]),
      });
      return { logits: copyOf(results.low_res_logits), iou: copyOf(results.iou_predictions) };
    },
  };
}

/**
 * @param {string} kind
 * @param {readonly string[]} given
 * @param {readonly string[]} wanted
 */
function requireNames(kind, given, wanted) {
  const missing = wanted.filter((name) => !given.includes(name));
  if (missing.length > 0) throw new Error(`The decoder has no ${kind} named ${missing.join(', ')}; it has ${given.join(', ')}.`);
}

/** @param {import('onnxruntime-web').Tensor} tensor an output, on the CPU */
function copyOf(tensor) {
  const copy = Float32Array.from(/** @type {Float32Array} */ (tensor.data));
  tensor.dispose();
  return copy;
}
