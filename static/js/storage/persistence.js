// @ts-check
/** Keeps the archive up to date with the store, and brings a tab's work back after a reload. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Picture, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Archive, Stored } from './archive.js' */
import { byId, create, find } from '../dom.js';
import { strip } from '../state/selectors.js';
import { watch } from '../state/store.js';
import { lightened, timelineOf } from './archive.js';
import { forGood, forTab } from './shelf.js';

const PAUSE_MS = 400;
const RECENT = 8;
const [SESSION, LABELS, CURRENT, SPECKS] = ['sam-session', 'sam-labels', 'sam-current', 'sam-specks'];

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {Archive} archive
 */
export async function keepWork(store, actions, archive) {
  const session = sessionName();
  /** @type {Map<number, import('../state/work.js').Work>} what is stored of each picture */
  const saved = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  let told = false;

  const stored = await archive.all().catch(() => /** @type {Stored[]} */ ([]));
  actions.setLabels(readLabels());
  actions.setTidies(forGood.get(SPECKS) !== 'shown');
  const mine = stored.filter((each) => each.session === session).sort((a, b) => a.key - b.key);
  showRecent(stored.filter((each) => each.session !== session), actions, archive);
  if (mine.length > 0 && !store.get().picture) await restore(mine);

  watch(store, ({ labels }) => labels, (labels) => forGood.set(LABELS, JSON.stringify(labels)));
  watch(store, ({ tidies }) => tidies, (tidies) => forGood.set(SPECKS, tidies ? 'left out' : 'shown'));
  watch(store, ({ picture }) => picture?.key ?? 0, (key) => forTab.set(CURRENT, String(key)));
  watch(store, (state) => strip(state).map(({ key, timeline }) => ({ key, work: timeline.work })), () => {
    clearTimeout(waiting);
    waiting = setTimeout(save, PAUSE_MS);
  }, (a, b) => a.length === b.length && a.every(({ key, work }, at) => key === b[at].key && work === b[at].work));
  addEventListener('pagehide', save);

  /** @param {Stored[]} pictures */
  async function restore(pictures) {
    const current = Number(forTab.get(CURRENT));
    for (const { key, work } of pictures) saved.set(key, work);
    const openings = pictures.map(({ blob, name, work, key }) => ({ blob, name, key, timeline: timelineOf(work) }));
    const first = openings.findIndex(({ key }) => key === current);
    actions.openPictures([...openings.splice(Math.max(first, 0), 1), ...openings]);
    if (current === 0) actions.putAside();
  }

  function save() {
    const open = strip(store.get());
    for (const picture of open) saveOne(picture);
    for (const key of saved.keys()) {
      if (open.some((picture) => picture.key === key)) continue;
      saved.delete(key);
      archive.remove(idOf(key)).catch(() => {});
    }
  }

  /** @param {Picture} picture */
  function saveOne({ key, name, blob, timeline: { work } }) {
    if (saved.get(key) === work) return;
    saved.set(key, work);
    const entry = { id: idOf(key), session, key, name, blob, work: lightened(work), savedAt: Date.now() };
    archive.save(entry).catch(tellOnce);
  }

  /** Where one picture cannot be stored, the others cannot either. @param {Error} error */
  function tellOnce(error) {
    if (!told) actions.say(`Your work cannot be stored here: ${error.message}`);
    told = true;
  }

  /** @param {number} key */
  function idOf(key) {
    return `${session}/${key}`;
  }
}

/**
 * Pictures that were left open in other tabs and days, on the start screen.
 * @param {Stored[]} stored
 * @param {Actions} actions
 * @param {Archive} archive
 */
function showRecent(stored, actions, archive) {
  const block = byId('recent', HTMLElement);
  const recent = stored.sort((a, b) => b.savedAt - a.savedAt);
  for (const { id } of recent.slice(RECENT)) archive.remove(id).catch(() => {});
  const cards = recent.slice(0, RECENT).map(({ blob, name, work, id }) => {
    const image = create('img', { src: URL.createObjectURL(blob), alt: '' });
    const objects = work.things.length;
    const says = `${name}${objects > 0 ? `, ${objects} object${objects === 1 ? '' : 's'}` : ''}`;
    const open = create('button', { type: 'button' }, [image, says]);
    open.addEventListener('click', () => {
      URL.revokeObjectURL(image.src);
      archive.remove(id).catch(() => {});
      item.remove();
      block.hidden = find(block, 'ul').children.length === 0;
      actions.openPictures([{ blob, name, timeline: timelineOf(work) }]);
    });
    const item = create('li', {}, [open]);
    return item;
  });
  find(block, 'ul').replaceChildren(...cards);
  block.hidden = cards.length === 0;
}

function sessionName() {
  const name = forTab.get(SESSION) ?? Math.random().toString(36).slice(2);
  forTab.set(SESSION, name);
  return name;
}

/** @returns {import('../state/state.js').LabelName[]} */
function readLabels() {
  try {
    const labels = JSON.parse(forGood.get(LABELS) ?? '[]');
    return Array.isArray(labels) ? labels.filter(({ name, colour }) => name && /^#[0-9a-f]{6}$/.test(colour)) : [];
  } catch {
    return [];
  }
}
