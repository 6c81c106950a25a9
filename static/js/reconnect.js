// @ts-check
/**
 * The server gone and back. A request that failed raises the suspicion, its health confirms it; from then on it is asked
 * for with growing pauses, and at once when the network or the person comes back.
 */

/** @import { Actions } from './actions/index.js' */
/** @import { Api } from './server/api.js' */
/** @import { Problem, State } from './state/state.js' */
/** @import { Store } from './state/store.js' */
import { find, setText } from './dom.js';
import { usesServer } from './server/problems.js';
import { watch } from './state/store.js';

const PAUSES_MS = [1000, 2000, 4000, 8000, 15_000];

/**
 * @param {Store<State>} store
 * @param {Actions} actions
 * @param {Pick<Api, 'health'>} api
 * @param {HTMLElement} banner that says so
 * @returns {() => void} to be called when the server seems to be gone
 */
export function watchServer(store, actions, api, banner) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  let asking = false;
  let failures = 0;

  async function ask() {
    if (asking) return;
    asking = true;
    clearTimeout(waiting);
    const answers = await api.health().then(() => true, () => false);
    asking = false;
    if (!answers) waitForIt();
    else failures = 0;
    if (answers && isAway()) actions.serverBack();
  }

  function waitForIt() {
    actions.serverLost();
    waiting = setTimeout(ask, PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)]);
    failures += 1;
  }

  const isAway = () => store.get().server === 'away';
  for (const moment of ['online', 'focus']) addEventListener(moment, () => isAway() && ask());
  find(banner, 'button').addEventListener('click', () => (isAway() ? ask() : actions.retryService()));
  watch(store, ({ decoder }) => decoder.status === 'failed', (failed) => failed && ask());
  watch(store, problemToTell, (problem) => {
    banner.hidden = problem === null;
    if (!problem) return;
    setText(find(banner, 'strong'), `${problem.title}.`);
    setText(find(banner, 'span'), problem.detail);
  }, (a, b) => a?.title === b?.title && a?.detail === b?.detail);
  return ask;
}

/** @param {State} state @returns {Problem | null} */
function problemToTell({ server, service, decoder }) {
  if (server === 'away') return { title: 'The server does not answer', detail: meanwhile(service.status === 'ready' && !usesServer(decoder)) };
  return service.status === 'failed' ? service.problem : null;
}

/** @param {boolean} decodes whether masks are decoded here */
function meanwhile(decodes) {
  const now = decodes ? 'Masks go on in the pictures that are open; new pictures wait. ' : '';
  return `${now}Nothing is lost: the page goes on by itself when the server is back.`;
}
