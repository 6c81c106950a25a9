// @ts-check
/** Every pixel of a picture, as soon as the screen shows more of them than were decoded for it. */

/** @import { Actions } from './actions/index.js' */
/** @import { State } from './state/state.js' */
/** @import { Store } from './state/store.js' */
import { pictureSize, pictureView } from './state/selectors.js';
import { watch } from './state/store.js';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function lookClosely(store, actions) {
  const bitmaps = new Map();
  watch(store, ({ picture }) => picture?.bitmap ?? null, (bitmap, { picture }) => {
    if (bitmap && picture) bitmaps.set(picture.key, bitmap.width);
  });
  watch(store, wantedWidth, (wanted, { picture }) => {
    const size = picture && pictureSize(picture);
    if (!picture || !size || wanted === null) return;
    const held = bitmaps.get(picture.key) ?? size.width;
    if (wanted <= held * 1.2 || held >= size.width) return;
    bitmaps.set(picture.key, size.width);
    actions.sharpen();
  });
}

/** The width in device pixels at which all of the picture would be shown. @param {State} state */
function wantedWidth(state) {
  const view = state.picture?.lens ? pictureView(state) : null;
  return view && view.width * devicePixelRatio;
}
