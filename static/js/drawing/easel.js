// @ts-check
/** The page's side of the canvas: pictures, masks and scenes go to the painter's worker, where there can be one. */

/** @import { Frame } from '../masks/geometry.js' */
/** @import { Painter, Scene } from './painter.js' */
/** @import { Reply, Request } from './painter.worker.js' */
import { createPainter } from './painter.js';

/**
 * @typedef {object} Easel
 * @property {() => Painter['kind'] | null} kind null until it is known
 * @property {() => boolean} isBusy whether a scene is not yet on the canvas
 * @property {(bitmap: ImageBitmap) => void} setPicture takes the bitmap away
 * @property {Painter['setLogits']} setLogits
 * @property {Painter['setNext']} setNext
 * @property {Painter['setField']} setField
 * @property {(scene: Scene) => void} show
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{force2d: boolean, onPainted: () => void}} options
 * @returns {Easel}
 */
export function createEasel(canvas, options) {
  const create = 'transferControlToOffscreen' in canvas ? createRemoteEasel : createLocalEasel;
  return create(canvas, options);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{force2d: boolean, onPainted: () => void}} options
 * @returns {Easel}
 */
function createRemoteEasel(canvas, { force2d, onPainted }) {
  const worker = new Worker(new URL('./painter.worker.js', import.meta.url), { type: 'module' });
  /** @type {Painter['kind'] | null} */
  let kind = null;
  const scenes = { sent: 0, painted: 0 };

  worker.addEventListener('message', (/** @type {MessageEvent<Reply>} */ { data }) => {
    if (data.type === 'opened') {
      kind = data.kind;
    } else {
      scenes.painted = data.number;
      onPainted();
    }
  });

  /** @param {Request} request @param {Transferable[]} [transfer] */
  const post = (request, transfer = []) => worker.postMessage(request, transfer);

  /** @param {'logits' | 'next'} type @param {Float32Array} values @param {Frame | null} [frame] */
  function postLogits(type, values, frame) {
    const logits = Float32Array.from(values);
    post({ type, logits, frame }, [logits.buffer]);
  }

  const offscreen = canvas.transferControlToOffscreen();
  post({ type: 'open', canvas: offscreen, force2d }, [offscreen]);

  return {
    kind: () => kind,
    isBusy: () => scenes.painted < scenes.sent,
    setPicture: (bitmap) => post({ type: 'picture', bitmap }, [bitmap]),
    setLogits: (logits, frame) => postLogits('logits', logits, frame),
    setNext: (logits, frame) => postLogits('next', logits, frame),
    setField: (of, field, frame) => post({ type: 'field', of, field, frame }),
    show: (scene) => post({ type: 'scene', scene, number: (scenes.sent += 1) }),
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{force2d: boolean, onPainted: () => void}} options
 * @returns {Easel}
 */
function createLocalEasel(canvas, { force2d, onPainted }) {
  const painter = createPainter(canvas, force2d);
  return {
    kind: () => painter.kind,
    isBusy: () => false,
    setPicture: painter.setPicture,
    setLogits: painter.setLogits,
    setNext: painter.setNext,
    setField: painter.setField,
    show(scene) {
      painter.paint(scene);
      onPainted();
    },
  };
}
