// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heldBytes } from '../../static/js/panels/memory.js';
import { INITIAL_STATE } from '../../static/js/state/state.js';
import { NEW_TIMELINE, NO_WORK, advance } from '../../static/js/state/work.js';

const FIELD = new Float32Array(1000);
const BASE = { key: 1, name: 'cat.jpg', phase: { status: /** @type {const} */ ('ready') }, size: null, bitmap: null,
  record: null, encodeSeconds: null, decodable: null, views: [], thumbnail: null, lens: null, from: null };
/** @type {import('../../static/js/state/work.js').Thing} */
const THING = { id: 1, label: 'cat', colour: '#000000', visible: true, locked: false, source: FIELD, shape: FIELD,
  finish: { smooth: 0, grow: 0, holes: 0, islands: 0 }, iou: null, steps: [] };

test('a mask counts once, however many steps back share it, and every picture counts, shown or not', () => {
  const timeline = advance(advance(NEW_TIMELINE, { ...NO_WORK, things: [THING] }), { ...NO_WORK, things: [THING] });
  const picture = { ...BASE, blob: new Blob(['12345']), timeline };
  const shelf = [{ ...BASE, key: 2, blob: new Blob(['123']), timeline: NEW_TIMELINE }];
  assert.equal(heldBytes({ ...INITIAL_STATE, picture, shelf }), 5 + 3 + FIELD.byteLength);
});
