// @ts-check
/** A thread of the decoder: it is told its place once, says when it is ready, and then follows the team's leader. */

/** @import { Recruit } from './team.js' */
import { parseTensorFile } from '../protocol.js';
import { followTeam } from './team.js';

self.addEventListener(
  'message',
  async (/** @type {MessageEvent<Recruit>} */ { data: { module, weights, ...place } }) => {
    const instance = await WebAssembly.instantiate(module);
    followTeam(instance, parseTensorFile(weights), place, () => self.postMessage('ready'));
  },
);
