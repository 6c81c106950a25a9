// @ts-check
/**
 * `window.samDebug`: a read-only view for tests and for the curious.
 *
 * `state()` is a plain copy of what the page knows, with the picture's place on the screen; `lastMask()` copies the
 * last mask's logits with the prompts that it answers, in pixels of the original picture, the closer view's window where
 * it is of one, and the logits that were fed back for it; `timings()` are the milliseconds of the cold start's parts (see timings.js).
 */

/** @import { Renderer } from './drawing/renderer.js' */
/** @import { State } from './state/state.js' */
/** @import { Store } from './state/store.js' */
/** @import { Timings } from './timings.js' */
import { windowOf } from './masks/closer-views.js';
import { isKept } from './state/questions.js';
import {
  committedPrompts, foundAt, foundHere, offeredHere, pictureSize, pictureView, quantile, strip, workOf,
} from './state/selectors.js';

/**
 * @param {Store<State>} store
 * @param {{renderer: Renderer, stage: Element, keeper: {isBusy: () => boolean}, timings: Timings}} parts
 */
export function exposeDebug(store, { timings, ...parts }) {
  const samDebug = Object.freeze({
    state: () => snapshot(store.get(), parts),
    lastMask() {
      const { mask } = store.get();
      if (!mask) return null;
      const { logits, iou, index, question } = mask;
      const { prompts, feedback, frame } = question;
      const window = frame ? windowOf(frame) : null;
      return structuredClone({ logits: logits.slice(), iou, index, prompts, window, feedback: feedback?.slice() ?? null });
    },
    timings: timings.all,
  });
  Object.defineProperty(window, 'samDebug', { value: samDebug });
}

/**
 * @param {State} state
 * @param {{renderer: Renderer, stage: Element, keeper: {isBusy: () => boolean}}} parts
 */
function snapshot(state, { renderer, stage, keeper }) {
  const { picture, mask, latencies } = state;
  const found = foundHere(state);
  const view = pictureView(state);
  const { left, top, width, height } = stage.getBoundingClientRect();
  return structuredClone({
    service: state.service,
    server: state.server,
    decoder: state.decoder,
    renderer: renderer.kind(),
    painting: renderer.isBusy(),
    storing: keeper.isBusy(),
    laidOut: Math.hypot(width - state.stage.width, height - state.stage.height) < 0.5,
    picture: picture && {
      id: picture.record?.id ?? null,
      name: picture.name,
      phase: picture.phase,
      size: pictureSize(picture),
      encodeSeconds: picture.encodeSeconds,
      views: picture.views.map(({ frame }) => windowOf(frame)),
    },
    view: view && { ...view, x: view.x + left, y: view.y + top },
    prompts: committedPrompts(state),
    hover: state.hover,
    mask: mask && { iou: mask.iou, index: mask.index, prompts: mask.question.prompts, window: mask.question.frame ? windowOf(mask.question.frame) : null, kept: isKept(state) },
    latency: { count: latencies.length, median: quantile(latencies, 0.5), p95: quantile(latencies, 0.95) },
    cut: state.cut !== null,
    preview: state.preview && { prompts: state.preview.question.prompts },
    things: workOf(state).things.map(({ source, shape, steps, ...rest }) => ({ ...rest, inside: shape.reduce((sum, v) => sum + (v > 0 ? 1 : 0), 0) })),
    sketch: workOf(state).sketch.length,
    selected: workOf(state).selected,
    editing: workOf(state).editing,
    pictures: strip(state).map(({ name, phase }) => ({ name, status: phase.status })),
    tool: state.tool,
    display: state.display,
    level: state.level,
    scale: view && picture ? view.width / (pictureSize(picture)?.width ?? 1) : null,
    notice: state.notice,
    found: found && { ...found, pointed: state.hover && (foundAt(state, state.hover)?.id ?? null), objects: offeredHere(state).map(({ bounds, ...rest }) => rest) },
  });
}
