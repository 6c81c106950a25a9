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
/** @typedef {{prepare: Session, point: Session, prepareWithMask: () => Promise<Session>}} HoverSessions the last on demand */

/**
 * @typedef {object} HoverGraph
 * @property {(embedding: Float32Array) => Promise<void>} prepare
 * @property {(embedding: Float32Array, mask: Float32Array) => Promise<void>} prepareWithMask logits of an earlier answer
 * @property {(coords: Float32Array, labels: Float32Array) => Promise<Answer>} point
 */

import { EMBEDDING_SHAPE, GRID } from './protocol.js';

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
 * @param {HoverSessions} sessions
 * @returns {HoverGraph}
 */
export function createHoverGraph(ort, sessions) {
  requireNames('output', sessions.point.outputNames, OUTPUTS);
  const needed = sessions.point.inputNames.filter((name) => !name.startsWith('point_'));
  requireNames('prepared tensor', sessions.prepare.outputNames, needed);
  /** @type {Record<string, OrtTensor>} */
  let prepared = {};

  /** @param {Float32Array} values @param {number[]} shape */
  const tensor = (values, shape) => new ort.Tensor('float32', values, shape);

  /**
   * @param {Session} session
   * @param {Record<string, OrtTensor>} inputs
   */
  async function prepareBy(session, inputs) {
    const fresh = await session.run(inputs);
    for (const old of Object.values(prepared)) old.dispose();
    prepared = /** @type {Record<string, OrtTensor>} */ (fresh);
  }

  return {
    prepare: (embedding) => prepareBy(sessions.prepare, { image_embeddings: tensor(embedding, EMBEDDING_SHAPE) }),
    async prepareWithMask(embedding, mask) {
      const inputs = {
        image_embeddings: tensor(embedding, EMBEDDING_SHAPE),
        mask_input: tensor(mask, [1, 1, GRID, GRID]),
      };
      await prepareBy(await sessions.prepareWithMask(), inputs);
    },
    async point(coords, labels) {
      requireNames('prepared tensor', Object.keys(prepared), needed);
      const picture = Object.fromEntries(needed.map((name) => [name, prepared[name]]));
      const prompt = {
        point_coords: tensor(coords, [1, labels.length, 2]),
        point_labels: tensor(labels, [1, labels.length]),
      };
      const answer = await sessions.point.run({ ...picture, ...prompt }, OUTPUTS);
      return { logits: copyOf(answer.low_res_logits), iou: copyOf(answer.iou_predictions) };
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
