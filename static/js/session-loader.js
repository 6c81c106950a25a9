// @ts-check
/**
 * From addresses to a graph that answers: downloads, sessions, a first run, and how long each took.
 *
 * The runtime's module and both graphs download side by side. The small `prepare` graph opens first: that makes ONNX
 * Runtime fetch and compile its wasm while the large `point` graph is still on its way.
 */

/** @import { DecoderFile, DecoderFiles, OnShare } from './api.js' */
/** @import { HoverGraph, Ort } from './hover-graph.js' */
/** @import { RuntimeFiles } from './runtime.js' */
/** @import { Tier } from './tiers.js' */
import { readBody } from './api.js';
import { createHoverGraph, sessionOptions } from './hover-graph.js';
import { EMBEDDING_SHAPE } from './protocol.js';
import { runtimeFor } from './runtime.js';

/** @typedef {{tier: Tier, threads: number, suspending: boolean, files: DecoderFiles}} OpenOptions */
/** @typedef {Record<'runtime_download' | 'decoder_download' | 'session_creation' | 'warm_up', number>} OpenTimings in ms */
/** @typedef {{start: number, end: number}} Span on this worker's clock */

const START_TIMEOUT_MS = 60_000;

/**
 * @param {OpenOptions} options
 * @param {OnShare} onShare of the two graphs' download
 * @returns {Promise<{graph: HoverGraph, timings: OpenTimings}>}
 */
export async function openGraph({ tier, threads, suspending, files }, onShare) {
  const runtime = runtimeFor(tier, suspending);
  const { prepare, point } = downloadBoth(files, onShare);
  const ort = await loadRuntime(runtime, threads);
  /** @param {Uint8Array} bytes @param {boolean} prepares */
  const open = (bytes, prepares) => ort.InferenceSession.create(bytes, sessionOptions(runtime.provider, prepares));

  const first = await timed(open, await prepare, true);
  const second = await timed(open, await point, false);
  const prepareWithMask = once(async () => open(await download(files.prepare_with_mask), true));
  const graph = createHoverGraph(ort, { prepare: first.value, point: second.value, prepareWithMask });
  const trial = await timed(runOnce, graph);
  return { graph, timings: timingsOf(runtime, files, [first, second], trial) };
}

/**
 * @param {DecoderFiles} files
 * @param {OnShare} onShare
 */
function downloadBoth({ prepare, point }, onShare) {
  const loaded = { prepare: 0, point: 0 };
  const total = prepare.bytes + point.bytes;
  /** @param {keyof typeof loaded} role */
  const count = (role) => (/** @type {number} */ bytes) => {
    loaded[role] = bytes;
    onShare(Math.min(1, (loaded.prepare + loaded.point) / total));
  };
  const bodies = { prepare: download(prepare, count('prepare')), point: download(point, count('point')) };
  bodies.point.catch(() => {}); // told when it is awaited; the runtime may fail before that
  bodies.prepare.catch(() => {});
  return bodies;
}

/**
 * @param {DecoderFile} file
 * @param {(bytes: number) => void} [onBytes]
 */
async function download({ url }, onBytes = () => {}) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The decoder could not be downloaded: the server answered ${response.status}.`);
  return new Uint8Array(await readBody(response, onBytes));
}

/**
 * @param {RuntimeFiles} files
 * @param {number} threads
 * @returns {Promise<Ort>}
 */
async function loadRuntime({ module, wasm }, threads) {
  /** @type {Ort} */
  const ort = await import(module).catch(() => {
    throw new Error('The runtime that decodes masks could not be loaded.');
  });
  ort.env.wasm.wasmPaths = { wasm };
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.initTimeout = START_TIMEOUT_MS;
  ort.env.logLevel = 'error';
  return ort;
}

/**
 * The first run compiles; a tier that cannot run fails here, before it is chosen.
 * @param {HoverGraph} graph
 */
async function runOnce(graph) {
  await graph.prepare(new Float32Array(EMBEDDING_SHAPE.reduce((product, side) => product * side)));
  const { logits } = await graph.point(new Float32Array(4), Float32Array.of(1, -1));
  if (!logits.every(Number.isFinite)) throw new Error('The first decode gave values that are not numbers.');
}

/**
 * @template {unknown[]} Arguments
 * @template Value
 * @param {(...given: Arguments) => Promise<Value>} work
 * @param {Arguments} given
 * @returns {Promise<Span & {value: Value}>}
 */
async function timed(work, ...given) {
  const start = performance.now();
  const value = await work(...given);
  return { value, start, end: performance.now() };
}

/**
 * @template Value
 * @param {() => Promise<Value>} make
 * @returns {() => Promise<Value>} the same promise each time, unless it failed
 */
function once(make) {
  /** @type {Promise<Value> | null} */
  let made = null;
  return () => {
    made ??= make().catch((error) => {
      made = null;
      throw error;
    });
    return made;
  };
}

/**
 * The first session waits for the runtime's wasm, which is a download, not its creation.
 * @param {RuntimeFiles} runtime
 * @param {DecoderFiles} files
 * @param {Span[]} sessions
 * @param {Span} trial
 * @returns {OpenTimings}
 */
function timingsOf({ module, wasm }, { prepare, point }, sessions, trial) {
  const runtime = transferOf([module, wasm]);
  const creations = sessions.map(({ start, end }) => end - Math.min(end, Math.max(start, runtime.end)));
  return {
    runtime_download: lengthOf(runtime),
    decoder_download: lengthOf(transferOf([prepare.url, point.url])),
    session_creation: creations.reduce((sum, length) => sum + length),
    warm_up: lengthOf(trial),
  };
}

/**
 * From the first request's start to the last one's end.
 * @param {string[]} urls
 * @returns {Span}
 */
function transferOf(urls) {
  const entries = urls.flatMap((url) => performance.getEntriesByName(new URL(url, location.href).href, 'resource'));
  if (entries.length === 0) return { start: 0, end: 0 };
  const ends = entries.map(({ startTime, duration }) => startTime + duration);
  return { start: Math.min(...entries.map(({ startTime }) => startTime)), end: Math.max(...ends) };
}

/** @param {Span} span */
function lengthOf({ start, end }) {
  return end - start;
}
