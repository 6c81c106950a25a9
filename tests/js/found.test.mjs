// What everything mode found: pure arithmetic on masks as runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compressCounts } from '../../static/js/export/runs.js';
import { allOf, boundsOf, eachPiece, fieldOf, foundUnder, offered, originOf, withUpdate } from '../../static/js/masks/found.js';
import { createFrame } from '../../static/js/masks/geometry.js';

const SIZE = { width: 12, height: 8 };

/**
 * A rectangle's run lengths in SIZE, as the server sends them.
 * @param {number} id
 * @param {import('../../static/js/masks/geometry.js').Box} box
 */
function sent(id, box) {
  const [left, top, right, bottom] = box;
  const pixels = Array.from({ length: SIZE.width * SIZE.height }, (_, place) => {
    const [x, y] = [Math.floor(place / SIZE.height), place % SIZE.height];
    return x >= left && x < right && y >= top && y < bottom ? 1 : 0;
  });
  const counts = [];
  for (let at = 0, value = 0; at < pixels.length; value = 1 - value) {
    const from = at;
    while (at < pixels.length && pixels[at] === value) at += 1;
    counts.push(at - from);
  }
  return {
    id, score: 0.9, box, area: (right - left) * (bottom - top),
    mask: { size: [SIZE.height, SIZE.width], counts: compressCounts(counts) },
  };
}

/** @type {import('../../static/js/masks/found.js').Found} */
const EMPTY = { search: 's', key: 1, status: 'running', startedAt: 0, done: 0, total: 0, eta: null, objects: new Map(), parents: {}, problem: null };

/** @param {import('../../static/js/masks/found.js').SentObject[]} added @param {Record<number, number>} parents */
function foundWith(added, parents) {
  return withUpdate(EMPTY, { added, retracted: [], parents, done: 1, total: 4, eta_s: 3 });
}

const WHOLE = sent(1, [0, 0, 8, 8]);
const PART = sent(2, [2, 2, 6, 6]);
const PIECE = sent(3, [3, 3, 4, 5]);
const NESTED = foundWith([WHOLE, PART, PIECE], { 3: 2, 2: 1 });

test('an update adds and retracts, and leaves what was before as it was', () => {
  const after = withUpdate(NESTED, { added: [sent(4, [9, 0, 12, 2])], retracted: [2], parents: { 3: 1 }, done: 2, total: 4, eta_s: 1 });
  assert.deepEqual([...after.objects.keys()], [1, 3, 4]);
  assert.deepEqual([...NESTED.objects.keys()], [1, 2, 3]);
  assert.deepEqual([after.done, after.total, after.eta], [2, 4, 1]);
});

test('pieces are the mask, whatever its runs, up to the last pixel', () => {
  /** @type {import('../../static/js/masks/geometry.js').Box[]} */
  const boxes = [[0, 0, 12, 8], [11, 7, 12, 8], [0, 0, 1, 1], [3, 0, 6, 8], [2, 3, 9, 5]];
  for (const box of boxes) {
    const cells = new Set();
    eachPiece(boundsOf(sent(1, box).mask.counts), SIZE.height, (x, top, bottom) => {
      for (let y = top; y < bottom; y += 1) cells.add(`${x},${y}`);
    });
    const [left, top, right, bottom] = box;
    assert.equal(cells.size, (right - left) * (bottom - top));
    assert.ok(cells.has(`${left},${top}`) && cells.has(`${right - 1},${bottom - 1}`));
  }
});

test('a click on parts takes the smallest, on wholes the outermost around it', () => {
  const choice = offered(NESTED, []);
  /** @param {import('../../static/js/masks/found.js').Grain} grain @param {import('../../static/js/masks/geometry.js').Point} at */
  const under = (grain, at) => foundUnder(NESTED, choice, grain, SIZE, at)?.id ?? null;
  assert.equal(under('part', [3.5, 3.5]), 3);
  assert.equal(under('part', [2.5, 2.5]), 2);
  assert.equal(under('whole', [3.5, 3.5]), 1);
  assert.equal(under('whole', [7.9, 7.9]), 1);
  assert.equal(under('whole', [8, 7]), null);
});

test('what was taken is offered no more, and again after an undo', () => {
  const things = /** @type {any[]} */ ([{ origin: originOf(NESTED, 1) }]);
  assert.deepEqual(offered(NESTED, things).map(({ id }) => id), [3, 2]);
  assert.deepEqual(offered(NESTED, []).map(({ id }) => id), [3, 2, 1]);
  assert.equal(foundUnder(NESTED, offered(NESTED, things), 'whole', SIZE, [3.5, 3.5])?.id, 2);
});

test('all are the wholes, or everything with parts on top', () => {
  const choice = offered(NESTED, []);
  assert.deepEqual(allOf(NESTED, choice, 'whole').map(({ id }) => id), [1]);
  assert.deepEqual(allOf(NESTED, choice, 'part').map(({ id }) => id), [3, 2, 1]);
});

test('the field has its edge where the mask has it, also at the border of the picture', () => {
  const size = { width: 300, height: 200 };
  const frame = createFrame(size, { width: 1024, height: 683 }, 1024);
  const bounds = Uint32Array.from({ length: 200 }, (_, i) => (100 + Math.floor(i / 2)) * 200 + (i % 2 ? 200 : 60));
  const field = fieldOf(bounds, frame); // x from 100 to 200, y from 60 to the bottom
  /** @param {number} x @param {number} y */
  const at = (x, y) => field[Math.floor((y * 256) / 300) * 256 + Math.floor((x * 256) / 300)];
  assert.ok(at(150, 100) > 0 && at(150, 199.5) > 0 && at(101, 62) > 0);
  assert.ok(at(98, 100) < 0 && at(202, 100) < 0 && at(150, 58) < 0);
  assert.ok(field[255 * 256 + 128] < 0, 'beyond the picture');
});
