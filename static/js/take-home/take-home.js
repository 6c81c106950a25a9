// @ts-check
/** Files to take home, for the buttons that need no panel: one mask, at once. */

/** @import { State } from '../state/state.js' */
/** @import { Options } from './choices.js' */
/** @import { Parcel } from './luggage.js' */
import { hireClerk } from './clerk.js';
import { maskInHand } from './luggage.js';

export { bringIn } from './bringing-in.js';

/** @type {Options} */
export const PLAIN = { trimmed: false, feather: 0, soft: 0, tolerance: null };

/**
 * The mask in hand as one file, which is downloaded.
 * @param {State} state
 * @param {'cutouts' | 'masks'} format
 */
export async function saveMaskInHand(state, format) {
  const { name, file } = await pack(maskInHand(state), [format], PLAIN);
  download(name, file);
}

/** The cut-out of the mask in hand, for the clipboard. @param {State} state @param {Options} [options] */
export async function cutOutInHand(state, options = { ...PLAIN, trimmed: true }) {
  return (await pack(maskInHand(state), ['cutouts'], options)).file;
}

/**
 * @param {readonly Parcel[]} parcels
 * @param {readonly string[]} formats
 * @param {Options} options
 * @param {{signal?: AbortSignal, onShare?: (share: number) => void}} [more]
 * @returns {Promise<{name: string, file: Blob, empty: string[]}>} and the labels of objects that cover no pixel
 */
export async function pack(parcels, formats, options, { signal, onShare } = {}) {
  const clerk = hireClerk();
  signal?.addEventListener('abort', clerk.dispose);
  try {
    const empty = await clerk.tell(parcels);
    return { ...(await clerk.write(formats, options, onShare)), empty };
  } finally {
    clerk.dispose();
  }
}

/** @param {string} name @param {Blob} file */
export function download(name, file) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
