// @ts-check
/** Long work in short steps: it reports progress, can be cancelled, and lets others run in between. */

/**
 * @typedef {object} Work
 * @property {(share: number) => Promise<void>} step from 0 to 1, the part that is done; rejects when cancelled
 * @property {(from: number, to: number) => Work} part work whose 0 to 1 is a stretch of this one's
 */

/** Milliseconds after which others have their turn. */
const TURN = 12;

/** @type {Work} */
export const NO_REPORT = { step: async () => {}, part: () => NO_REPORT };

/**
 * @param {{signal?: AbortSignal, onProgress?: (share: number) => void}} [options]
 * @returns {Work}
 */
export function createWork({ signal, onProgress } = {}) {
  let since = performance.now();

  /** @param {number} share */
  async function step(share) {
    signal?.throwIfAborted();
    if (performance.now() - since < TURN) return;
    onProgress?.(share);
    await new Promise((resolve) => setTimeout(resolve));
    signal?.throwIfAborted();
    since = performance.now();
  }

  return partOf(step, 0, 1);
}

/**
 * @param {(share: number) => Promise<void>} step
 * @param {number} from
 * @param {number} to
 * @returns {Work}
 */
function partOf(step, from, to) {
  const at = (/** @type {number} */ share) => from + share * (to - from);
  return { step: (share) => step(at(share)), part: (start, end) => partOf(step, at(start), at(end)) };
}
