// @ts-check
/**
 * The `hover` contract over ONNX Runtime sessions: `prepare` once per picture, or per picture and fed-back mask, then
 * `point` for every prompt on what was prepared.
 *
 * Prepared tensors pass from one graph to the other by name, whatever they are; nothing else is written down here. On
 * WebGPU they never leave the adapter. In wasm ONNX Runtime copies every input to its heap at each run, and its public
 * interface offers no other way; the tensors stay as they are between runs.
 */

/** @typedef {typeof import('onnxruntime-web')} Ort */
/** @typedef {import('onnxruntime-web').InferenceSession} Session */
/** @typedef {import('onnxruntime-web').InferenceSession.SessionOptions} SessionOptions */
/** @typedef {import('onnxruntime-web').Tensor} OrtTensor */
/** @typedef {{logits: Float32Array<ArrayBuffer>, iou: Float32Array<ArrayBuffer>}} Answer */
/** @typedef {{prepare: Session, prepareWithMask: () => Promise<Session>, point: PointDecoder}} HoverParts the second on demand */

/**
 * What answers prompts on a prepared picture: the `point` graph, or the kernel that computes the same.
 * @typedef {object} PointDecoder
 * @property {readonly string[]} needs names of the prepared tensors that it reads
 * @property {(prepared: Record<string, OrtTensor>) => void} hold the picture to answer for, until the next
 * @property {(coords: Float32Array, labels: Float32Array) => Promise<Answer>} point
 */

/**
 * @typedef {object} HoverGraph
 * @property {(embedding: Float32Array) => Promise<void>} prepare
 * @property {(embedding: Float32Array, mask: Float32Array) => Promise<void>} prepareWithMask logits of an earlier answer
 * @property {(coords: Float32Array, labels: Float32Array) => Promise<Answer>} point
 */

import { GRID } from '../masks/geometry.js';
import { EMBEDDING_SHAPE } from '../server/protocol.js';

const OUTPUTS = ['low_res_logits', 'iou_predictions'];

/**
 * @param {'wasm' | 'webgpu'} provider
 * @param {boolean} prepares whether the graph's outputs are the next one's inputs
 * @returns {SessionOptions}
 */
export function sessionOptions(provider, prepares) {
  const stay = prepares && provider === 'webgpu';
  return {
    executionProviders: [provider],
    logSeverityLevel: 3,
    ...(stay && { preferredOutputLocation: /** @type {const} */ ('gpu-buffer') }),
  };
}

/**
 * @param {Ort} ort
 * @param {HoverParts} parts
 * @returns {HoverGraph}
 */
export function createHoverGraph(ort, { prepare, prepareWithMask, point }) {
  requireNames('prepared tensor', prepare.outputNames, point.needs);
  /** @type {Record<string, OrtTensor>} */
  let prepared = {};

  /**
   * @param {Session} session
   * @param {Record<string, OrtTensor>} inputs
   */
  async function prepareBy(session, inputs) {
    const fresh = await session.run(inputs, point.needs);
    for (const old of Object.values(prepared)) old.dispose();
    prepared = /** @type {Record<string, OrtTensor>} */ (fresh);
    point.hold(prepared);
  }

  return {
    prepare: (embedding) => prepareBy(prepare, { image_embeddings: tensorOf(ort, embedding, EMBEDDING_SHAPE) }),
    async prepareWithMask(embedding, mask) {
      const inputs = {
        image_embeddings: tensorOf(ort, embedding, EMBEDDING_SHAPE),
        mask_input: tensorOf(ort, mask, [1, 1, GRID, GRID]),
      };
      await prepareBy(await prepareWithMask(), inputs);
    },
    point: point.point,
  };
}

/**
 * @param {Ort} ort
 * @param {Session} session of the `point` graph
 * @returns {PointDecoder}
 */
export function createPointGraph(ort, session) {
  requireNames('output', session.outputNames, OUTPUTS);
  const needs = session.inputNames.filter((name) => !name.startsWith('point_'));
  /** @type {Record<string, OrtTensor> | null} */
  let picture = null;

  return {
    needs,
    hold(prepared) {
      picture = Object.fromEntries(needs.map((name) => [name, prepared[name]]));
    },
    async point(coords, labels) {
      if (!picture) throw new Error('The decoder was asked before it got a picture.');
      const prompt = {
        point_coords: tensorOf(ort, coords, [1, labels.length, 2]),
        point_labels: tensorOf(ort, labels, [1, labels.length]),
      };
      const answer = await session.run({ ...picture, ...prompt }, OUTPUTS);
      return { logits: copyOf(answer.low_res_logits), iou: copyOf(answer.iou_predictions) };
    },
  };
}

/** @param {Ort} ort @param {Float32Array} values @param {number[]} shape */
function tensorOf(ort, values, shape) {
  return new ort.Tensor('float32', values, shape);
}

/**
 * @param {string} kind
 * @param {readonly string[]} given
 * @param {readonly string[]} wanted
 */
function requireNames(kind, given, wanted) {
  const missing = wanted.filter((name) => !given.includes(name));
  if (missing.length > 0) {
    throw new Error(`The decoder has no ${kind} named ${missing.join(', ')}; it has ${given.join(', ') || 'none'}.`);
  }
}

/** @param {OrtTensor} tensor an output, on the CPU */
function copyOf(tensor) {
  const copy = Float32Array.from(/** @type {Float32Array} */ (tensor.data));
  tensor.dispose();
  return copy;
}
