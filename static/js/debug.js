// @ts-check
/**
 * `window.samDebug`: a read-only view for tests and for the curious.
 *
 * `state()` is a plain copy of what the page knows, with the picture's place on the screen; `lastMask()` copies the
 * last mask's logits with the prompts that it answers, in pixels of the original picture.
 */

/** @import { State, Store } from './store.js' */
import { committedPrompts, isKept, pictureSize, pictureView, quantile } from './store.js';

/**
 * @param {Store<State>} store
 * @param {{renderer: string, stage: Element}} parts
 */
export function exposeDebug(store, { renderer, stage }) {
  const samDebug = Object.freeze({
    state: () => snapshot(store.get(), renderer, stage),
    lastMask() {
      const { mask } = store.get();
      return mask && { logits: mask.logits.slice(), iou: mask.iou, index: mask.index, prompts: structuredClone(mask.prompts) };
    },
  });
  Object.defineProperty(window, 'samDebug', { value: samDebug });
}

/**
 * @param {State} state
 * @param {string} renderer
 * @param {Element} stage
 */
function snapshot(state, renderer, stage) {
  const { picture, mask, latencies } = state;
  const view = pictureView(state);
  const { left, top } = stage.getBoundingClientRect();
  return structuredClone({
    service: state.service,
    decoder: state.decoder,
    renderer,
    picture: picture && {
      id: picture.record?.id ?? null,
      name: picture.name,
      phase: picture.phase,
      size: pictureSize(picture),
      encodeSeconds: picture.encodeSeconds,
    },
    view: view && { ...view, x: view.x + left, y: view.y + top },
    prompts: committedPrompts(state),
    hover: state.hover,
    mask: mask && { iou: mask.iou, index: mask.index, prompts: mask.prompts, kept: isKept(state) },
    latency: { count: latencies.length, median: quantile(latencies, 0.5), p95: quantile(latencies, 0.95) },
    notice: state.notice,
  });
}
