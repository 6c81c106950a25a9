// @ts-check
/**
 * Decoders under measurement, by name: `self.bench`, which the benchmark calls from outside.
 *
 * A decoder is an ES module with `open(parts)`; it is handed the runtime and its files, and gives two functions. The
 * clock is read around whole runs only; processor time is read outside, between two calls.
 */

/** @import { Tier } from '../../../static/js/decoding/tiers.js' */
import { sessionOptions } from '../../../static/js/decoding/hover-graph.js';
import { parseTensorFile, toFloat32 } from '../../../static/js/server/protocol.js';
import { runtimeFor } from '../../../static/js/decoding/runtime.js';
import { readEnvironment } from '../../../static/js/decoding/tiers.js';
import { countGpuWork, takeGpuWork } from './gpu-work.js';

/** @typedef {typeof import('onnxruntime-web')} Ort */
/** @typedef {import('onnxruntime-web').InferenceSession} Session */
/** @typedef {{logits: Float32Array, iou: Float32Array}} Answer logits [1, M, 256, 256] and IoU [1, M] */

/**
 * What a decoder's module gets.
 * @typedef {object} Parts
 * @property {Ort} ort
 * @property {number} threads
 * @property {(role: string) => Promise<Session>} session of an ONNX file
 * @property {(role: string) => Promise<Uint8Array<ArrayBuffer>>} file
 */

/**
 * @typedef {object} Decoder
 * @property {(embedding: Float32Array, pictureHw: [number, number]) => Promise<void>} prepare once per picture
 * @property {(coords: Float32Array, labels: Float32Array) => Promise<Answer>} point
 */

/** @typedef {{coords: number[], labels: number[]}} Prompt */

/** @type {Ort} */
let ort;
/** @type {(role: string) => import('onnxruntime-web').InferenceSession.SessionOptions} */
let optionsFor;
/** @type {Map<string, Decoder>} */
const decoders = new Map();
/** @type {Map<string, Session[]>} */
const sessions = new Map();

const bench = {
  /**
   * Load the runtime of a tier.
   * @param {{tier: Tier, threads: number, profiling: boolean}} options
   */
  async start({ tier, threads, profiling }) {
    const { gpu, isolated, suspending } = await readEnvironment();
    const { module, wasm, provider } = runtimeFor(tier, suspending, location.origin);
    if (provider === 'webgpu') countGpuWork();
    ort = await import(module);
    ort.env.wasm.wasmPaths = { wasm };
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = profiling ? 'info' : 'error';
    optionsFor = (role) => ({ ...sessionOptions(provider, role === 'prepare'), enableProfiling: profiling });
    return { version: ort.env.versions.web, isolated, gpu };
  },

  /**
   * @param {{name: string, module: string, files: Record<string, string>}} candidate its files' addresses by role
   * @returns {Promise<number>} milliseconds
   */
  async open({ name, module, files }) {
    const { open } = await import(module);
    /** @type {Session[]} */
    const opened = [];
    const file = async (/** @type {string} */ role) => new Uint8Array(await (await fetch(files[role])).arrayBuffer());
    const session = async (/** @type {string} */ role) => {
      const created = await ort.InferenceSession.create(await file(role), optionsFor(role));
      opened.push(created);
      return created;
    };
    const start = performance.now();
    decoders.set(name, await open({ ort, threads: ort.env.wasm.numThreads ?? 1, session, file }));
    sessions.set(name, opened);
    return performance.now() - start;
  },

  /**
   * @param {string} url of an embedding as the server packs it
   * @returns {Promise<[fetched: number, unpacked: number]>} milliseconds
   */
  async unpack(url) {
    const start = performance.now();
    const body = await (await fetch(url)).arrayBuffer();
    const fetched = performance.now();
    toFloat32(parseTensorFile(body).tensors.image_embeddings);
    return [fetched - start, performance.now() - fetched];
  },

  /** End the profiles of a decoder's sessions: the runtime writes them to the console. @param {string} name */
  async profile(name) {
    for (const session of sessions.get(name) ?? []) session.endProfiling();
  },

  takeGpuWork,

  /** @param {string} name */
  async close(name) {
    for (const session of sessions.get(name) ?? []) await session.release();
    decoders.delete(name);
    sessions.delete(name);
  },

  /**
   * @param {string} name
   * @param {string} embedding address of float32 values
   * @param {[number, number]} pictureHw
   * @param {number} runs
   * @returns {Promise<number>} milliseconds of all runs
   */
  async prepare(name, embedding, pictureHw, runs) {
    const values = await embeddingAt(embedding);
    return time(runs, () => required(name).prepare(values, pictureHw));
  },

  /**
   * @param {string} name
   * @param {Prompt} prompt
   * @param {number} runs
   * @returns {Promise<number>} milliseconds of all runs
   */
  async point(name, { coords, labels }, runs) {
    return time(runs, () => required(name).point(Float32Array.from(coords), Float32Array.from(labels)));
  },

  /**
   * @param {string} name
   * @param {Prompt} prompt
   * @returns {Promise<{logits: string, iou: number[]}>} the logits' bytes in base64
   */
  async answer(name, { coords, labels }) {
    const { logits, iou } = await required(name).point(Float32Array.from(coords), Float32Array.from(labels));
    return { logits: base64(logits), iou: Array.from(iou) };
  },
};

Object.assign(self, { bench });

/** @type {Map<string, Promise<Float32Array>>} */
const embeddings = new Map();

/** @param {string} url */
function embeddingAt(url) {
  const known = embeddings.get(url) ?? fetch(url).then(async (response) => new Float32Array(await response.arrayBuffer()));
  embeddings.set(url, known);
  return known;
}

/** @param {string} name */
function required(name) {
  const decoder = decoders.get(name);
  if (!decoder) throw new Error(`No decoder named ${name} is open.`);
  return decoder;
}

/**
 * @param {number} runs
 * @param {() => Promise<unknown>} run
 */
async function time(runs, run) {
  const start = performance.now();
  for (let i = 0; i < runs; i += 1) await run();
  return performance.now() - start;
}

/** @param {Float32Array} values */
function base64(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
