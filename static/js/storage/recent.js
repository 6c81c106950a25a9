// @ts-check
/** Pictures that were left open in tabs that are gone, on the start screen. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Archive, Listed } from './archive.js' */
import { byId, create, find } from '../dom.js';
import { timelineOf } from './archive.js';

const MOST = 8;
const WEEK_MS = 7 * 24 * 3600 * 1000;

/**
 * Which of the stored pictures nobody has open to offer, the newest first; and which to forget. A browser may sleep or
 * start again with tabs that it loads only when they are looked at: what they held is kept for a week, offered or not.
 * @param {readonly Listed[]} listed
 * @param {number} now milliseconds since 1970
 */
export function sortRecent(listed, now) {
  const goneOnFrom = new Set(listed.map(({ from }) => from));
  const offered = listed.filter(({ id }) => !goneOnFrom.has(id)).sort((a, b) => b.savedAt - a.savedAt).slice(0, MOST);
  return { offered, forgotten: listed.filter((each) => !offered.includes(each) && now - each.savedAt > WEEK_MS) };
}

/**
 * Cards that open a copy: what is stored stays as it was left.
 * @param {readonly Listed[]} offered
 * @param {Actions} actions
 * @param {Archive} archive
 */
export async function showRecent(offered, actions, archive) {
  const block = byId('recent', HTMLElement);
  const cards = await Promise.all(offered.map((each) => card(each, actions, archive)));
  find(block, 'ul').replaceChildren(...cards);
  block.hidden = cards.length === 0;
}

/**
 * @param {Listed} listed
 * @param {Actions} actions
 * @param {Archive} archive
 */
async function card({ id, name, objects }, actions, archive) {
  const image = create('img', { alt: '' });
  const blob = await archive.picture(id);
  if (blob) image.src = URL.createObjectURL(blob);
  const says = `${name}${objects > 0 ? `, ${objects} object${objects === 1 ? '' : 's'}` : ''}`;
  const button = create('button', { type: 'button' }, [image, says]);
  button.addEventListener('click', async () => {
    const stored = await archive.open(id).catch(() => null);
    if (stored) actions.openPictures([{ blob: stored.blob, name, timeline: timelineOf(stored.work), from: id }]);
    else actions.say(`${name} is not stored any more.`);
  });
  return create('li', {}, [button]);
}
