// @ts-check
/** A thread of the decoder: it is told its place once, says `ready` or what went wrong, and follows the team's leader. */

/** @import { Recruit } from './team.js' */
import { parseTensorFile } from '../server/protocol.js';
import { followTeam } from './team.js';

self.addEventListener('message', async (/** @type {MessageEvent<Recruit>} */ { data: { module, weights, ...place } }) => {
  try {
    const instance = await WebAssembly.instantiate(module);
    followTeam(instance, parseTensorFile(weights), place, () => self.postMessage('ready'));
  } catch (error) {
    self.postMessage(error instanceof Error ? error.message : String(error));
  }
});
