// @ts-check
/** The page's end of the worker that packs and unpacks: told of pictures little by little, so that no frame is late. */

/** @import { Runs, Window } from '../export/runs.js' */
/** @import { Picture } from '../export/session.js' */
/** @import { Field } from '../masks/fields.js' */
/** @import { Frame } from '../masks/geometry.js' */
/** @import { Options } from './choices.js' */
/** @import { Parcel } from './luggage.js' */
/** @import { Reading } from './reading.js' */
import { createMessenger } from '../messenger.js';
import { exactMask, promptsOf } from './luggage.js';

/** @typedef {ReturnType<typeof hireClerk>} Clerk */
/** @typedef {{bitmap: ImageBitmap | null, window: Window}} Look and where in the picture it belongs */

/** Objects that are told of at a time: their fields are copied, 256 kB each. */
const HANDFUL = 8;

/** One is hired for one errand and let go afterwards, which also is how an errand is broken off. */
export function hireClerk() {
  const worker = new Worker(new URL('./take-home.worker.js', import.meta.url), { type: 'module' });
  const { request, dispose } = createMessenger(worker);

  return {
    dispose,
    /** @param {readonly Parcel[]} parcels @returns {Promise<string[]>} labels of objects that cover no pixel */
    async tell(parcels) {
      /** @type {string[]} */
      const empty = [];
      for (const { name, blob, frame, items } of parcels) {
        const { width, height } = frame.original;
        await request({ type: 'picture', picture: { name, width, height }, frame, blob });
        for (let at = 0; at < items.length; at += HANDFUL) {
          const told = items.slice(at, at + HANDFUL).map((item) => {
            const mask = exactMask(item);
            const score = item.iou === null ? null : Math.min(Math.max(item.iou, 0), 1);
            const { label, colour, visible, shape, frame: view = null } = item;
            return { label, colour, visible, score, prompts: promptsOf(item), mask, field: mask ? null : shape, view };
          });
          empty.push(...(await request({ type: 'objects', items: told })).empty);
        }
      }
      return empty;
    },
    /**
     * @param {readonly string[]} formats
     * @param {Options} options
     * @param {(share: number) => void} [onShare]
     * @returns {Promise<{name: string, file: Blob}>}
     */
    write: (formats, options, onShare) =>
      request({ type: 'write', formats, options }, { onProgress: ({ share }) => onShare?.(share) }),
    /** @param {boolean} smooth @param {number | null} tolerance @returns {Promise<{points: number, error: number}>} */
    outline: (smooth, tolerance) => request({ type: 'outline', smooth, tolerance }),
    /** @param {Options} options @param {Window} visible @param {number} scale @returns {Promise<Look>} */
    look: (options, visible, scale) => request({ type: 'look', options, visible, scale }),
    /**
     * @param {readonly File[]} files
     * @param {readonly Picture[]} pictures that are open
     * @param {number} inHand the one that files without a name are for; -1 for none
     * @returns {Promise<Reading>}
     */
    read: (files, pictures, inHand) => request({ type: 'read', files, pictures, inHand }),
    /** @param {readonly Runs[]} masks @param {Frame} frame @returns {Promise<Field[]>} */
    async fields(masks, frame) {
      /** @type {Field[]} */
      const fields = [];
      for (let at = 0; at < masks.length; at += HANDFUL) {
        fields.push(...(await request({ type: 'fields', masks: masks.slice(at, at + HANDFUL), frame })).fields);
      }
      return fields;
    },
  };
}
