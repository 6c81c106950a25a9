// @ts-check
/** Keeps the archive up to date with the store, and brings a tab's work back after a reload. */

/** @import { Actions } from '../actions/index.js' */
/** @import { Picture, State } from '../state/state.js' */
/** @import { Store } from '../state/store.js' */
/** @import { Archive, Listed, Stored } from './archive.js' */
import { strip } from '../state/selectors.js';
import { watch } from '../state/store.js';
import { lightened, timelineOf } from './archive.js';
import { showRecent, sortRecent } from './recent.js';
import { beginSession, enterSession, liveSessions } from './sessions.js';
import { forGood, forTab } from './shelf.js';

const PAUSE_MS = 400;
const [LABELS, CURRENT, SPECKS] = ['sam-labels', 'sam-current', 'sam-specks'];

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {Archive} archive
 * @returns {{opened: Promise<void>, isBusy: () => boolean}} `opened`: what was kept is offered or open again; `isBusy`:
 *   something is still being read or not stored yet
 */
export function keepWork(store, actions, archive) {
  /** @type {Set<Promise<void>>} */
  const underWay = new Set();
  /** @type {ReturnType<typeof setTimeout> | null} */
  let waiting = null;

  actions.setLabels(readLabels());
  actions.setTidies(forGood.get(SPECKS) !== 'shown');
  watch(store, ({ labels }) => labels, (labels) => forGood.set(LABELS, JSON.stringify(labels)));
  watch(store, ({ tidies }) => tidies, (tidies) => forGood.set(SPECKS, tidies ? 'left out' : 'shown'));
  const opened = during(enterSession().then(keep));
  return { opened, isBusy: () => waiting !== null || underWay.size > 0 };

  /** @param {Promise<void>} work */
  function during(work) {
    underWay.add(work);
    return work.finally(() => underWay.delete(work));
  }

  /** @param {import('./sessions.js').Entered} tab */
  async function keep({ session, before }) {
    /** @type {Map<number, import('../state/work.js').Work>} what is stored of each picture */
    const saved = new Map();
    let told = false;

    const [listed, live] = await Promise.all([archive.list().catch(() => /** @type {Listed[]} */ ([])), liveSessions()]);
    const left = listed.filter((each) => each.session !== before && !live.has(each.session));
    const { offered, forgotten } = sortRecent(left, Date.now());
    for (const { id } of forgotten) during(archive.remove(id).catch(() => {}));
    await showRecent(offered, actions, archive).catch(() => {});
    const mine = await readAll(listed.filter((each) => each.session === before).sort((a, b) => a.key - b.key));
    if (strip(store.get()).length === 0) restore(mine);
    // Whoever was quicker has begun anew: what is stored keeps its place, and is offered when this tab is gone.
    else if (mine.length > 0) session = await beginSession();

    watch(store, ({ picture }) => picture?.key ?? 0, (key) => forTab.set(CURRENT, String(key)));
    watch(store, (state) => strip(state).map(({ key, timeline }) => ({ key, work: timeline.work })), () => {
      clearTimeout(waiting ?? undefined);
      waiting = setTimeout(save, PAUSE_MS);
    }, (a, b) => a.length === b.length && a.every(({ key, work }, at) => key === b[at].key && work === b[at].work));
    addEventListener('pagehide', save);

    /** @param {Listed[]} entries */
    async function readAll(entries) {
      const opened = await Promise.all(entries.map(({ id }) => archive.open(id).catch(() => null)));
      return opened.filter((each) => each !== null);
    }

    /** A tab that was duplicated begins with copies. @param {Stored[]} pictures */
    function restore(pictures) {
      if (pictures.length === 0) return;
      const current = Number(forTab.get(CURRENT));
      if (session === before) for (const { key, work } of pictures) saved.set(key, work);
      const openings = pictures.map(({ blob, name, work, key, from }) => (
        { blob, name, key, timeline: timelineOf(work), from: session === before ? from : null }));
      const first = openings.findIndex(({ key }) => key === current);
      actions.openPictures([...openings.splice(Math.max(first, 0), 1), ...openings]);
      if (current === 0) actions.putAside();
    }

    function save() {
      clearTimeout(waiting ?? undefined);
      waiting = null;
      const open = strip(store.get());
      for (const picture of open) saveOne(picture);
      for (const key of saved.keys()) {
        if (open.some((picture) => picture.key === key)) continue;
        saved.delete(key);
        during(archive.remove(idOf(key)).catch(() => {}));
      }
    }

    /** @param {Picture} picture */
    function saveOne({ key, name, blob, from, timeline: { work } }) {
      if (saved.get(key) === work) return;
      saved.set(key, work);
      const entry = { id: idOf(key), session, from, key, name, blob, work: lightened(work), savedAt: Date.now() };
      during(archive.save(entry).catch(tellOnce));
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
