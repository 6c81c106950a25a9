// @ts-check
/** What was found, over the picture: all of it in one small canvas that is painted only when something changed. */

/** @import { Found, FoundObject } from '../masks/found.js' */
/** @import { Size } from '../masks/geometry.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { colourOf } from '../actions/everything.js';
import { eachPiece } from '../masks/found.js';
import { foundAt, foundHere, offeredHere, pictureSize, pictureView } from '../state/selectors.js';
import { watch } from '../state/store.js';

const SIDE = 768;
const ALPHA = { fill: 96, edge: 255, pointed: 176 };

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Store<State>} store
 * @param {(found: Found) => void} onPainted after some object came on the screen
 */
export function mountFound(canvas, store, onPainted) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  let pending = 0;

  watch(store, layerOf, () => (pending ||= requestAnimationFrame(paint)), sameLayer);
  watch(store, pictureView, place, (a, b) => JSON.stringify(a) === JSON.stringify(b));

  /** @param {ReturnType<typeof pictureView>} view */
  function place(view) {
    if (!view) return;
    Object.assign(canvas.style, {
      width: `${view.width}px`, height: `${view.height}px`, transform: `translate(${view.x}px, ${view.y}px)`,
    });
  }

  function paint() {
    pending = 0;
    const state = store.get();
    const { objects, pointed, size, shows } = layerOf(state);
    canvas.hidden = !shows;
    if (!size || !shows) return;
    const scale = Math.min(1, SIDE / Math.max(size.width, size.height));
    canvas.width = Math.max(1, Math.round(size.width * scale));
    canvas.height = Math.max(1, Math.round(size.height * scale));
    context.putImageData(drawn(objects, pointed, size, canvas), 0, 0);
    const found = foundHere(state);
    if (found && objects.length > 0) onPainted(found);
  }
}

/** @param {State} state all that the layer depends on */
function layerOf(state) {
  const objects = offeredHere(state);
  const size = state.picture && pictureSize(state.picture);
  const pointed = state.hover && foundAt(state, state.hover)?.id;
  return { found: foundHere(state), objects, pointed: pointed ?? null, size, shows: objects.length > 0 && state.display !== 'original' };
}

/** @param {ReturnType<typeof layerOf>} a @param {ReturnType<typeof layerOf>} b */
function sameLayer(a, b) {
  const same = a.found?.objects === b.found?.objects && a.objects.length === b.objects.length;
  return same && a.pointed === b.pointed && a.shows === b.shows;
}

/**
 * @param {readonly FoundObject[]} objects smallest first, which lie on the larger ones
 * @param {number | null} pointed
 * @param {Size} size of the picture
 * @param {Size} onto
 */
function drawn(objects, pointed, size, { width, height }) {
  const owner = new Int32Array(width * height).fill(-1);
  const brightened = new Uint8Array(width * height);
  const [across, down] = [width / size.width, height / size.height];
  for (let i = objects.length - 1; i >= 0; i -= 1) {
    const { id, bounds } = objects[i];
    eachPiece(bounds, size.height, (x, top, bottom) => {
      const column = Math.floor((x + 0.5) * across);
      const last = Math.round(bottom * down);
      for (let row = Math.round(top * down), at = row * width + column; row < last; row += 1, at += width) {
        owner[at] = i;
        if (id === pointed) brightened[at] = 1;
      }
    });
  }
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = objects.map(({ id }) => abgr(colourOf(id)));
  for (let at = 0; at < owner.length; at += 1) {
    const mine = owner[at];
    if (mine < 0) continue;
    const edge = owner[at - 1] !== mine || owner[at + 1] !== mine || owner[at - width] !== mine || owner[at + width] !== mine;
    const alpha = edge ? ALPHA.edge : brightened[at] ? ALPHA.pointed : ALPHA.fill;
    pixels[at] = (colours[mine] | (alpha << 24)) >>> 0;
  }
  return image;
}

/** @param {string} colour as #rrggbb; in memory it lies as red, green, blue, alpha */
function abgr(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}
