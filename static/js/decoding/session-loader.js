// @ts-check
/**
 * From addresses to a graph that answers: downloads, sessions, a first run, and how long each took.
 *
 * The runtime's module, the small `prepare` graph and what answers prompts download side by side. In wasm that is the
 * kernel with its weights; on WebGPU, and wherever the kernel fails, it is the `point` graph.
 */

/** @import { DecoderFile, DecoderFiles, OnShare } from '../server/api.js' */
/** @import { HoverGraph, Ort } from './hover-graph.js' */
/** @import { RuntimeFiles } from './runtime.js' */
/** @import { Tier } from './tiers.js' */
import { compileKernel, openPointKernel, withGraphForMany } from '../kernel/loader.js';
import { readBody } from '../server/api.js';
import { EMBEDDING_SHAPE } from '../server/protocol.js';
import { createHoverGraph, createPointGraph, sessionOptions } from './hover-graph.js';
import { runtimeFor } from './runtime.js';

/** @typedef {{tier: Tier, threads: number, suspending: boolean, root: string, files: DecoderFiles}} OpenOptions */
/** @typedef {'kernel' | 'point'} Role of the file that answers prompts */
/** @typedef {Record<'runtime_download' | 'decoder_download' | 'session_creation' | 'warm_up', number>} OpenTimings in ms */
/** @typedef {{start: number, end: number}} Span on this worker's clock */

const START_TIMEOUT_MS = 60_000;
const PAUSES_MS = [500, 1500];

/**
 * @param {OpenOptions} options
 * @param {OnShare} onShare of the decoder's download
 * @returns {Promise<{graph: HoverGraph, timings: OpenTimings}>}
 */
export async function openGraph(options, onShare) {
  const { provider } = runtimeFor(options.tier, options.suspending, options.root);
  if (provider !== 'wasm') return openWith('point', options, onShare);
  try {
    return await openWith('kernel', options, onShare);
  } catch (error) {
    console.warn('The kernel failed, the graph answers instead.', error);
    return openWith('point', options, onShare);
  }
}

/**
 * @param {Role} role
 * @param {OpenOptions} options
 * @param {OnShare} onShare
 */
async function openWith(role, { tier, threads, suspending, root, files }, onShare) {
  const runtime = runtimeFor(tier, suspending, root);
  const bodies = downloadBoth(files, role, onShare);
  const ort = await loadRuntime(runtime, threads);
  /** @param {Uint8Array<ArrayBuffer>} bytes @param {boolean} prepares */
  const open = (bytes, prepares) => ort.InferenceSession.create(bytes, sessionOptions(runtime.provider, prepares));
  /** @param {Uint8Array<ArrayBuffer>} bytes */
  const openGraphOf = async (bytes) => createPointGraph(ort, await open(bytes, false));
  const graphForMany = once(async () => openGraphOf(await download(files.point)));

  const first = await timed(open, await bodies.prepare, true);
  /** @param {Uint8Array<ArrayBuffer>} bytes */
  const openPoint = async (bytes) => {
    if (!bodies.kernel) return openGraphOf(bytes);
    const kernel = await openPointKernel(await bodies.kernel, bytes.buffer, threads);
    return withGraphForMany(kernel, first.value.outputNames, graphForMany);
  };
  const second = await timed(openPoint, await bodies.answering);
  const prepareWithMask = once(async () => open(await download(files.prepare_with_mask), true));
  const graph = createHoverGraph(ort, { prepare: first.value, point: second.value, prepareWithMask });
  const trial = await timed(runOnce, graph);
  return { graph, timings: timingsOf(runtime, [files.prepare, files[role]], [first, second], trial) };
}

/**
 * @param {DecoderFiles} files
 * @param {Role} role
 * @param {OnShare} onShare
 */
function downloadBoth(files, role, onShare) {
  const wanted = { prepare: files.prepare, answering: files[role] };
  const loaded = { prepare: 0, answering: 0 };
  const total = wanted.prepare.bytes + wanted.answering.bytes;
  /** @param {keyof typeof loaded} part */
  const start = (part) => {
    const body = download(wanted[part], (bytes) => {
      loaded[part] = bytes;
      onShare(Math.min(1, (loaded.prepare + loaded.answering) / total));
    });
    body.catch(() => {}); // told when it is awaited; the runtime may fail before that
    return body;
  };
  const kernel = role === 'kernel' ? compileKernel() : null;
  kernel?.catch(() => {});
  return { prepare: start('prepare'), answering: start('answering'), kernel };
}

/**
 * @param {DecoderFile} file
 * @param {(bytes: number) => void} [onBytes]
 */
async function download({ url }, onBytes = () => {}) {
  const response = await fetchPatiently(url);
  if (!response.ok) throw new Error(`The decoder could not be downloaded: the server answered ${response.status}.`);
  return new Uint8Array(await readBody(response, onBytes));
}

/** A connection that is lost for a moment is no reason to give a tier up. @param {string} url */
async function fetchPatiently(url) {
  for (const pause of PAUSES_MS) {
    const response = await fetch(url).catch(() => null);
    if (response) return response;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return fetch(url);
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
 * @param {DecoderFile[]} decoder
 * @param {Span[]} sessions
 * @param {Span} trial
 * @returns {OpenTimings}
 */
function timingsOf({ module, wasm }, decoder, sessions, trial) {
  const runtime = transferOf([module, wasm]);
  const creations = sessions.map(({ start, end }) => end - Math.min(end, Math.max(start, runtime.end)));
  return {
    runtime_download: lengthOf(runtime),
    decoder_download: lengthOf(transferOf(decoder.map(({ url }) => url))),
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
