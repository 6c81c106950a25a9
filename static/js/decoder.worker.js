// @ts-check
/**
 * The decoder's worker: one ONNX Runtime session for its life, one picture at a time.
 *
 * Requests are `open`, `picture` and `decode`, each with an `id`. Each is answered once: `opened`, `prepared`,
 * `decoded`, or `error`. While it opens, `progress` messages with the request's id come before the answer.
 */

/** @import { HoverGraph, Ort } from './hover-graph.js' */
/** @import { Tensor } from './protocol.js' */
/** @import { Tier } from './tiers.js' */
import { readBody } from './api.js';
import { createHoverGraph } from './hover-graph.js';
import { EMBEDDING_SHAPE, toFloat32 } from './protocol.js';
import { runtimeFor } from './runtime.js';

/** @typedef {{type: 'open', id: number, tier: Tier, threads: number, suspending: boolean, url: string}} OpenRequest */
/** @typedef {{type: 'picture', id: number, key: number, tensor: Tensor}} PictureRequest */
/** @typedef {{type: 'decode', id: number, key: number, coords: Float32Array, labels: Float32Array}} DecodeRequest */
/** @typedef {OpenRequest | PictureRequest | DecodeRequest} Request */
/** @typedef {{type: string, id: number, [field: string]: unknown}} Message */
/** @typedef {{postMessage: (message: Message, transfer?: Transferable[]) => void}} Port */

const START_TIMEOUT_MS = 60_000;

const port = /** @type {Port} */ (/** @type {unknown} */ (self));

/** @type {HoverGraph | null} */
let graph = null;
/** @type {number | null} */
let held = null;

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
      graph = await openGraph(request);
      return port.postMessage({ type: 'opened', id: request.id, milliseconds: await warmUp(graph) });
    case 'picture':
      await requireGraph().prepare(toFloat32(request.tensor));
      held = request.key;
      return port.postMessage({ type: 'prepared', id: request.id });
    case 'decode':
      return decode(request);
  }
}

/** @param {DecodeRequest} request */
async function decode({ id, key, coords, labels }) {
  if (key !== held) throw new Error('The decoder holds another picture.');
  const { logits, iou } = await requireGraph().point(coords, labels);
  port.postMessage({ type: 'decoded', id, logits, iou }, [logits.buffer, iou.buffer]);
}

/** @param {OpenRequest} request */
async function openGraph({ id, tier, threads, suspending, url }) {
  const runtime = runtimeFor(tier, suspending);
  const bytes = await download(url, (share) => port.postMessage({ type: 'progress', id, share }));
  const ort = await loadRuntime(runtime.module);
  ort.env.wasm.wasmPaths = { wasm: runtime.wasm };
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.initTimeout = START_TIMEOUT_MS;
  ort.env.logLevel = 'error';
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [runtime.provider], logSeverityLevel: 3 });
  return createHoverGraph(ort, session);
}

/**
 * @param {string} url
 * @returns {Promise<Ort>}
 */
async function loadRuntime(url) {
  try {
    return await import(url);
  } catch {
    throw new Error('The runtime that decodes masks could not be loaded.');
  }
}

/**
 * The first run compiles; a tier that cannot run fails here, before it is chosen.
 * @param {HoverGraph} fresh
 * @returns {Promise<number>} its milliseconds
 */
async function warmUp(fresh) {
  const start = performance.now();
  await fresh.prepare(new Float32Array(EMBEDDING_SHAPE.reduce((product, side) => product * side)));
  const { logits } = await fresh.point(new Float32Array(4), Float32Array.of(1, -1));
  if (!logits.every(Number.isFinite)) throw new Error('The first decode gave values that are not numbers.');
  return performance.now() - start;
}

/**
 * @param {string} url
 * @param {(share: number | null) => void} onShare
 */
async function download(url, onShare) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The decoder could not be downloaded: the server answered ${response.status}.`);
  return new Uint8Array(await readBody(response, onShare));
}

function requireGraph() {
  if (!graph) throw new Error('The decoder was asked before it was opened.');
  return graph;
}
