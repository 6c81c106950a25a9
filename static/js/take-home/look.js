// @ts-check
/** The cut-out on the stage, before and after its edge was softened, with a line between the two that can be moved. */

/** @import { Box, View } from '../masks/geometry.js' */
/** @import { Look } from './clerk.js' */
import { create } from '../dom.js';

/** @param {HTMLElement} stage */
export function createLook(stage) {
  const ground = create('div', { className: 'look-ground' });
  const [before, after] = [create('canvas'), create('canvas')];
  const sheets = [before, after].map((canvas) => create('div', {}, [canvas]));
  const whole = create('div', { className: 'look', hidden: true }, [ground, ...sheets, create('div', { className: 'look-line' })]);
  stage.append(whole);

  return {
    /**
     * @param {Look} hard
     * @param {Look} soft
     * @param {View} view where the picture lies on the stage
     * @param {number} scale of the view
     */
    show(hard, soft, view, scale) {
      place(ground, [view.x, view.y, view.width, view.height]);
      for (const [canvas, { bitmap, window }] of /** @type {[HTMLCanvasElement, Look][]} */ ([[before, hard], [after, soft]])) {
        if (!bitmap) continue;
        Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
        canvas.getContext('bitmaprenderer')?.transferFromImageBitmap(bitmap);
        const { x, y, width, height } = window;
        place(canvas, [view.x + x * scale, view.y + y * scale, width * scale, height * scale]);
      }
      whole.hidden = false;
    },
    hide: () => (whole.hidden = true),
    /** @param {number} share of the stage's width that is before */
    divide: (share) => whole.style.setProperty('--divide', `${100 * share}%`),
  };
}

/** @param {HTMLElement} element @param {Box} box left, top, width, height in CSS pixels */
function place({ style }, box) {
  ['left', 'top', 'width', 'height'].forEach((side, at) => style.setProperty(side, `${box[at]}px`));
}
