// @ts-check
/** The page without a picture: the drop zone's limits and the gallery. */

/** @import { Actions } from '../actions/index.js' */
/** @import { GalleryItem, ModelInfo } from '../server/api.js' */
/** @import { State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
import { byId, create, find, setText } from '../dom.js';
import { galleryUrl } from '../server/api.js';
import { watch } from '../state/store.js';

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 */
export function mountStartScreen(store, actions) {
  const section = byId('start', HTMLElement);
  const list = byId('gallery', HTMLUListElement);
  const limits = byId('limits', HTMLElement);

  watch(store, ({ picture }) => picture === null, (empty) => {
    section.hidden = !empty;
  });
  watch(store, ({ gallery }) => gallery, (gallery) => {
    find(section, '.gallery-block:has(#gallery)').hidden = gallery.length === 0;
    list.replaceChildren(...gallery.map((item) => galleryCard(item, actions)));
  });
  watch(store, ({ service }) => service, (service) => {
    if (service.status === 'ready') setText(limits, limitsText(service.info));
  });
}

/**
 * @param {GalleryItem} item
 * @param {Actions} actions
 */
function galleryCard(item, actions) {
  const image = create('img', { src: galleryUrl(item), alt: '', width: item.width, height: item.height, loading: 'lazy' });
  const title = create('span', { textContent: item.title });
  const credit = create('small', { textContent: `${item.credit} · ${item.licence}` });
  const button = create('button', { type: 'button' }, [image, title, credit]);
  button.addEventListener('click', () => actions.openGalleryPicture(item));
  return create('li', {}, [button]);
}

/** @param {ModelInfo} info */
function limitsText({ limits }) {
  const megabytes = Math.floor(limits.max_bytes / 1e6);
  const megapixels = Math.floor(limits.max_pixels / 1e6);
  return `JPEG, PNG, WebP, HEIC, AVIF, TIFF; up to ${megabytes} MB and ${megapixels} megapixels`;
}
