// @ts-check
/** Files to take home: made by a worker that lives as long as that takes, then downloaded. */

/** @import { Kept } from './export.worker.js' */
/** @import { State } from './store.js' */
import { createMessenger } from './messenger.js';
import { shownField } from './specks.js';
import { isKept, pictureFrame, workOf } from './store.js';
import { selectedThings } from './work.js';

/** @param {State} state */
export async function saveCutOut(state) {
  download(await make('cutout', state), `${stem(state)}-cutout.png`);
}

/** @param {State} state */
export async function saveMask(state) {
  download(await make('mask', state), `${stem(state)}-mask.png`);
}

/**
 * @param {'cutout' | 'mask'} type
 * @param {State} state
 * @returns {Promise<Blob>}
 */
async function make(type, state) {
  const kept = keptMask(state);
  const worker = new Worker(new URL('./export.worker.js', import.meta.url), { type: 'module' });
  const messenger = createMessenger(worker);
  try {
    return (await messenger.request({ type, ...kept })).file;
  } finally {
    messenger.dispose();
  }
}

/**
 * @param {State} state
 * @returns {Kept}
 */
function keptMask(state) {
  const { picture, mask } = state;
  const frame = pictureFrame(state);
  const [thing] = selectedThings(workOf(state));
  if (!picture || !frame) throw new Error('There is no mask to save.');
  if (isKept(state) && mask) {
    return { blob: picture.blob, logits: Float32Array.from(shownField(state, mask)), frame, threshold: 0 };
  }
  if (!thing) throw new Error('There is no mask to save.');
  return { blob: picture.blob, logits: Float32Array.from(thing.shape), frame, threshold: 0 };
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {State} state */
function stem({ picture }) {
  return picture?.name.replace(/\.[^.]*$/, '') || 'picture';
}
