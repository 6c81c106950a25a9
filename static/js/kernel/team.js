// @ts-check
/**
 * Several kernels for one picture, each in a thread of its own with its share of the rows.
 *
 * The first member lives in the decoder's worker and leads; the others wait for its commands. All memory that they
 * share is here: commands, the picture's cells, the prompt, numbers to exchange, the logits. Members wait for each other
 * with `Atomics.wait`, so the leader must not live in a page's main thread.
 */

/** @import { TensorFile } from '../server/protocol.js' */
/** @import { PointKernel, Team } from './point-kernel.js' */
import { MOST_POINTS, createPointKernel } from './point-kernel.js';
import { MASKS } from './weights.js';

/** @typedef {Record<'cells' | 'prompt' | 'exchange' | 'logits', Float32Array>} SharedNumbers */
/** @typedef {SharedNumbers & {control: Int32Array<SharedArrayBuffer>}} Shared */
/** @typedef {{rank: number, size: number, shared: Shared}} Place */
/** @typedef {Place & {module: WebAssembly.Module, weights: ArrayBuffer}} Recruit what a teammate starts with */

const COMMAND = 0; // counts commands
const KIND = 1;
const POINTS = 2;
const ARRIVED = 3; // counts arrivals at meetings
const FAILED = 4;
const PREPARE = 1;
const POINT = 2;
const MOST_EXCHANGED = 65_536; // of MOST_POINTS tokens, for any width in use
const SPINS = 20_000; // a meeting is near; sleeping and waking would take longer
const PATIENCE_MS = 10_000;

/**
 * @param {number} size of the team
 * @param {PointKernel['shape']} shape
 * @returns {Shared}
 */
export function createShared(size, { width, rows, columns }) {
  const floats = (/** @type {number} */ count) => new Float32Array(new SharedArrayBuffer(4 * count));
  return {
    control: new Int32Array(new SharedArrayBuffer(4 * 8)),
    cells: floats(rows * columns * width),
    prompt: floats(3 * MOST_POINTS),
    exchange: floats(2 * size * MOST_EXCHANGED),
    logits: floats(MASKS * 16 * rows * columns),
  };
}

/**
 * @param {Place} place
 * @returns {Team & {meet: () => void}} the latter returns when everybody has come
 */
function joinTeam({ rank, size, shared: { control, exchange } }) {
  let meetings = 0;

  function meet() {
    meetings += 1;
    const everybody = meetings * size;
    if (Atomics.add(control, ARRIVED, 1) + 1 === everybody) Atomics.notify(control, ARRIVED);
    for (let i = 0; ; i += 1) {
      const now = Atomics.load(control, ARRIVED);
      if (Atomics.load(control, FAILED)) throw new Error('A thread of the decoder failed.');
      if (now >= everybody) return;
      const woken = i < SPINS ? 'spinning' : Atomics.wait(control, ARRIVED, now, PATIENCE_MS);
      if (woken === 'timed-out') throw new Error('A thread of the decoder fell silent.');
    }
  }

  /** @param {number} of @param {number} count */
  const slot = (of, count) => {
    const start = ((meetings % 2) * size + of) * MOST_EXCHANGED; // two sets, so that nobody writes what others read
    return exchange.subarray(start, start + count);
  };

  return {
    rank,
    size,
    meet,
    exchange(values) {
      slot(rank, values.length).set(values);
      const slots = Array.from({ length: size }, (_, of) => slot(of, values.length));
      meet();
      return slots;
    },
  };
}

/**
 * @param {PointKernel} kernel
 * @param {Place} place
 * @param {() => void} meet
 */
function memberActions(kernel, { shared }, meet) {
  const { shape } = kernel;
  const plane = 16 * shape.rows * shape.columns;
  const own = 16 * shape.cells;
  return {
    prepare() {
      kernel.prepare(shared.cells);
      meet();
    },
    point() {
      const count = Atomics.load(shared.control, POINTS);
      const coords = shared.prompt.slice(0, 2 * count);
      const labels = shared.prompt.slice(2 * count, 3 * count);
      const { logits, iou } = kernel.point(coords, labels);
      for (let mask = 0; mask < MASKS; mask += 1) {
        const place = mask * plane + 16 * shape.firstRow * shape.columns;
        shared.logits.set(logits.subarray(mask * own, (mask + 1) * own), place);
      }
      meet();
      return iou;
    },
  };
}

/**
 * The leader's kernel: it answers for the whole team.
 * @param {WebAssembly.Instance} instance
 * @param {TensorFile} file
 * @param {Place} place
 * @returns {Pick<PointKernel, 'prepare' | 'point'>}
 */
export function leadTeam(instance, file, place) {
  const team = joinTeam(place);
  const actions = memberActions(createPointKernel(instance, file, team), place, team.meet);
  const { control, cells, prompt, logits } = place.shared;

  /** @param {number} kind */
  function command(kind) {
    Atomics.store(control, KIND, kind);
    Atomics.add(control, COMMAND, 1);
    Atomics.notify(control, COMMAND);
  }

  return {
    prepare(values) {
      cells.set(values);
      command(PREPARE);
      actions.prepare();
    },
    point(coords, labels) {
      prompt.set(coords);
      prompt.set(labels, coords.length);
      Atomics.store(control, POINTS, labels.length);
      command(POINT);
      const iou = actions.point();
      return { logits: new Float32Array(logits), iou };
    },
  };
}

/**
 * A teammate's life: it never returns.
 * @param {WebAssembly.Instance} instance
 * @param {TensorFile} file
 * @param {Place} place
 * @param {() => void} onReady
 */
export function followTeam(instance, file, place, onReady) {
  const team = joinTeam(place);
  const actions = memberActions(createPointKernel(instance, file, team), place, team.meet);
  const { control } = place.shared;
  onReady();
  try {
    for (let done = 0; ; done += 1) {
      Atomics.wait(control, COMMAND, done);
      if (Atomics.load(control, KIND) === PREPARE) actions.prepare();
      else actions.point();
    }
  } catch (error) {
    Atomics.store(control, FAILED, 1);
    Atomics.add(control, ARRIVED, 1); // so that nobody who is about to sleep misses it
    Atomics.notify(control, ARRIVED);
    throw error;
  }
}
