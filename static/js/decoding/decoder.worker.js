// @ts-check
/**
 * The decoder's worker: one set of ONNX Runtime sessions for its life, one picture at a time.
 *
 * Requests are `open`, `picture`, `prepare` and `decode`, each with an `id`. Each is answered once: `opened`, `held`,
 * `prepared`, `decoded`, or `error`. While it opens, `progress` messages with the request's id come before the answer.
 */

/** @import { Tensor } from '../server/protocol.js' */
/** @import { HoverGraph } from './hover-graph.js' */
/** @import { OpenOptions } from './session-loader.js' */
import { toFloat32 } from '../server/protocol.js';
import { openGraph } from './session-loader.js';

/** @typedef {OpenOptions & {type: 'open', id: number}} OpenRequest */
/** @typedef {{type: 'picture', id: number, tensor: Tensor}} PictureRequest */
/** @typedef {{type: 'prepare', id: number, mask: Float32Array | null}} PrepareRequest for the picture held */
/** @typedef {{type: 'decode', id: number, coords: Float32Array, labels: Float32Array}} DecodeRequest */
/** @typedef {OpenRequest | PictureRequest | PrepareRequest | DecodeRequest} Request */
/** @typedef {{type: string, id: number, [field: string]: unknown}} Message */
/** @typedef {{postMessage: (message: Message, transfer?: Transferable[]) => void}} Port */

const port = /** @type {Port} */ (/** @type {unknown} */ (self));

/** @type {HoverGraph | null} */
let graph = null;
/** @type {Float32Array | null} */
let embedding = null;

self.addEventListener('message', async ({ data }) => {
  try {
    await handle(data);
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    port.postMessage({ type: 'error', id: data.id, error: { name, message } });
  }
});

/** @param {Request} request */
async function handle(request) {
  switch (request.type) {
    case 'open':
      return open(request);
    case 'picture':
      embedding = toFloat32(request.tensor);
      return port.postMessage({ type: 'held', id: request.id });
    case 'prepare':
      await prepare(request);
      return port.postMessage({ type: 'prepared', id: request.id });
    case 'decode':
      return decode(request);
  }
}

/** @param {OpenRequest} request */
async function open({ id, ...options }) {
  const onShare = (/** @type {number | null} */ share) => port.postMessage({ type: 'progress', id, share });
  const opened = await openGraph(options, onShare);
  graph = opened.graph;
  port.postMessage({ type: 'opened', id, timings: opened.timings });
}

/** @param {PrepareRequest} request */
async function prepare({ mask }) {
  if (!embedding) throw new Error('The decoder was asked before it got a picture.');
  if (mask) await requireGraph().prepareWithMask(embedding, mask);
  else await requireGraph().prepare(embedding);
}

/** @param {DecodeRequest} request */
async function decode({ id, coords, labels }) {
  const { logits, iou } = await requireGraph().point(coords, labels);
  port.postMessage({ type: 'decoded', id, logits, iou }, [logits.buffer, iou.buffer]);
}

function requireGraph() {
  if (!graph) throw new Error('The decoder was asked before it was opened.');
  return graph;
}
