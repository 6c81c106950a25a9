// @ts-check
/** How much memory the page takes: as the browser counts it where it does, else what the page knows that it holds. */

/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Timeline, Work } from '../state/work.js' */
import { byId, setText } from '../dom.js';
import { strip } from '../state/selectors.js';

/** @typedef {Performance & {measureUserAgentSpecificMemory?: () => Promise<{bytes: number}>}} MeasuringPerformance */

/**
 * Tell the memory whenever its popover opens: browsers take their time to count, so not before somebody asks.
 * @param {Store<State>} store
 */
export function mountMemory(store) {
  const line = byId('memory', HTMLElement);
  byId('tiers', HTMLElement).addEventListener('beforetoggle', async ({ newState }) => {
    if (newState !== 'open') return;
    const held = `Memory: at least ${megabytes(heldBytes(store.get()))} in pictures and masks`;
    setText(line, `${held}.`);
    const counted = await countedBytes();
    if (counted) setText(line, `Memory: ${megabytes(counted)}, decoder, pictures and masks together.`);
  });
}

/**
 * Files, embeddings and masks, each mask counted once however many steps share it; not what the browser makes of
 * them for the screen.
 * @param {State} state
 */
export function heldBytes(state) {
  const pictures = strip(state);
  const buffers = new Set(pictures.flatMap(({ decodable, views, timeline }) => [
    ...[decodable, ...views].flatMap((view) => view?.embedding?.tensor.bytes.buffer ?? []),
    ...masksOf(timeline).map(({ buffer }) => buffer),
  ]));
  const files = pictures.reduce((sum, { blob }) => sum + blob.size, 0);
  return [...buffers].reduce((sum, { byteLength }) => sum + byteLength, files);
}

/** The page with its workers and their WebAssembly; null where the browser does not tell. */
async function countedBytes() {
  const measuring = /** @type {MeasuringPerformance} */ (performance);
  try {
    return (await measuring.measureUserAgentSpecificMemory?.())?.bytes ?? null;
  } catch {
    return null; // a page that is not isolated must not know
  }
}

/** @param {Timeline} timeline */
function masksOf({ past, work, future }) {
  return [...past, work, ...future].flatMap(masksOfWork);
}

/** @param {Work} work */
function masksOfWork({ things, sketch }) {
  const steps = [...sketch, ...things.flatMap((thing) => thing.steps)];
  const answers = steps.flatMap(({ answer }) => (answer ? [answer, ...answer.candidates] : []));
  return [...answers.map(({ logits }) => logits), ...things.flatMap(({ source, shape }) => [source, shape])];
}

/** @param {number} bytes */
export function megabytes(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return `${Math.max(1, Math.round(bytes / 1e6))} MB`;
}
