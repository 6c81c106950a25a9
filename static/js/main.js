// @ts-check
/** Wires the page: the store, the actions, the decoder and everything that draws. The only module that does. */

/** @import { Actions } from './actions/index.js' */
/** @import { Tier } from './decoding/tiers.js' */
import { createActions } from './actions/index.js';
import { lookClosely } from './close-look.js';
import { exposeDebug } from './debug.js';
import { createServerBackend, openWorkerBackend, spawnDecoder } from './decoding/backends.js';
import { createDecoderClient } from './decoding/client.js';
import { chooseDecoder, forcedTier, readEnvironment, surveyTiers, threadsFor } from './decoding/tiers.js';
import { byId } from './dom.js';
import { mountFound } from './drawing/everything-layer.js';
import { mountMarks } from './drawing/marks.js';
import { createRenderer } from './drawing/renderer.js';
import { sameQuestion } from './masks/prompts.js';
import { mountEverything } from './panels/everything.js';
import { acceptDrops, acceptFiles, acceptPastes } from './panels/intake.js';
import { createKeymap } from './panels/keymap.js';
import { mountMemory } from './panels/memory.js';
import { mountModels } from './panels/models.js';
import { mountObjects } from './panels/objects.js';
import { mountPanel } from './panels/panel.js';
import { useShortcuts } from './panels/shortcuts.js';
import { mountSketch } from './panels/sketch.js';
import { mountStartScreen } from './panels/start-screen.js';
import { mountStrip } from './panels/strip.js';
import { mountTools } from './panels/tool-bar.js';
import { mountViewBar } from './panels/view-bar.js';
import { watchServer } from './reconnect.js';
import { createApi } from './server/api.js';
import { decodableFor, nextFeedback, openQuestion } from './state/questions.js';
import { foundHere, workOf } from './state/selectors.js';
import { INITIAL_STATE } from './state/state.js';
import { createStore, watch } from './state/store.js';
import { createArchive } from './storage/archive.js';
import { keepWork } from './storage/persistence.js';
import { mountTakeHome } from './take-home/door.js';
import { createTimings, timeOpening, timedBackend } from './timings.js';
import { TOOLS } from './tools/index.js';
import { useTools } from './tools/stage-input.js';
import { followZoom } from './zoom-follower.js';

const TINT = [0.29, 0.45, 1];
/** So long the gallery waits for the browser's database. */
const ARCHIVE_MS = 1000;

const store = createStore(INITIAL_STATE);
const api = createApi(undefined, () => serverSeemsGone());
const timings = createTimings();
const environment = readEnvironment();
const decoder = createDecoderClient({
  open: openBackend,
  onStatus: (status) => actions.decoderChanged(status),
  onAnswer: (answer) => actions.maskArrived(answer),
  onPictureGone: (key) => actions.pictureGone(key),
});
/** @type {Actions} */
const actions = createActions({
  store,
  api,
  decoder,
  survey: async () => surveyTiers(await environment, forcedTier(location.search)),
});

const stage = byId('stage', HTMLElement);
const renderer = createRenderer(byId('canvas', HTMLCanvasElement), {
  force2d: new URLSearchParams(location.search).get('renderer') === '2d',
  still: matchMedia('(prefers-reduced-motion: reduce)').matches,
  tint: TINT,
});

const serverSeemsGone = watchServer(store, actions, api, byId('service-problem', HTMLElement));
mountStartScreen(store, actions);
mountPanel(store, actions);
mountTools(store, actions, TOOLS);
mountSketch(store, actions);
mountEverything(store, actions);
mountObjects(store, actions);
mountStrip(store, actions);
mountViewBar(store, actions);
mountMemory(store);
mountModels(store, actions);
mountTakeHome(store, actions);
mountFound(byId('found', HTMLCanvasElement), store, ({ startedAt }) => timings.note('first_object', performance.now() - startedAt));
mountMarks(byId('marks', SVGSVGElement), store);
watch(store, (state) => state, renderer.show);
watch(store, ({ picture }) => picture?.decodable ?? null, decoder.setPicture);
watch(store, openQuestion, (question, state) => decoder.ask(question, question && decodableFor(state, question)), sameQuestion);
watch(store, nextFeedback, (feedback, state) => decoder.expect(feedback, decodableFor(state, workOf(state).sketch.at(-1) ?? {})));
watch(store, (state) => foundHere(state) !== null, (here) => here || actions.stopEverything());

useTools(stage, store, actions, TOOLS);
useShortcuts(document, createKeymap(store, actions, TOOLS));
acceptFiles(byId('choose-file', HTMLButtonElement), byId('file', HTMLInputElement), actions.openFiles);
acceptFiles(byId('take-photo', HTMLButtonElement), byId('camera', HTMLInputElement), actions.openFiles);
acceptDrops(document, actions.openFiles);
acceptPastes(document, actions.openFiles);
new ResizeObserver(([{ contentRect: { width, height } }]) => actions.resizeStage({ width, height })).observe(stage);

lookClosely(store, actions);
followZoom(store, actions, api);
timeOpening(store, timings);
const keeper = keepWork(store, actions, createArchive());
exposeDebug(store, { renderer, stage, keeper, timings });
timings.note('interactive', performance.now());
actions.start(Promise.race([keeper.opened, new Promise((resolve) => setTimeout(resolve, ARCHIVE_MS))]));

/**
 * @param {Tier} tier
 * @param {(share: number | null) => void} onShare
 */
async function openBackend(tier, onShare) {
  if (tier === 'server') return createServerBackend(api);
  const { service } = store.get();
  if (service.status !== 'ready') throw new Error('The server has not yet told which decoders it has.');
  const found = await environment;
  const backend = await openWorkerBackend({
    spawn: spawnDecoder,
    tier,
    threads: threadsFor(tier, found),
    suspending: found.suspending,
    root: document.baseURI,
    decoder: chooseDecoder(tier, service.info.decoders),
    onShare,
    onTimings: (parts) => Object.entries(parts).forEach(([name, milliseconds]) => timings.note(name, milliseconds)),
  });
  return timedBackend(backend, timings);
}
