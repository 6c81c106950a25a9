// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holds, sightOf, viewFor, windowAround, windowOf } from '../../static/js/masks/closer-views.js';
import { combine, covers, emptyField, isCut, paintLine, pictureBounds, pictureToCells, resampled } from '../../static/js/masks/fields.js';
import { createFrame, fitView, GRID, lensView, pictureToFrame } from '../../static/js/masks/geometry.js';
import { decodeRuns } from '../../static/js/export/runs.js';
import { SQUARES, gridOf, pieceOf, reachIn } from '../../static/js/drawing/layers.js';
import { fieldRuns } from '../../static/js/masks/pixels.js';
import { NO_PROMPTS, encodePrompts, withBox, withClick } from '../../static/js/masks/prompts.js';
import { fitFrame, randomFrom } from './helpers.mjs';

const SIZE = { width: 600, height: 400 };
const WHOLE = fitFrame(600, 400);
const random = randomFrom(3);

/** @param {number} x @param {number} y @param {number} [width] @param {number} [height] */
function viewAt(x, y, width = 256, height = 256) {
  const { original, resized, side } = fitFrame(width, height);
  return createFrame(original, resized, side, [x, y]);
}

/** A disc in the picture's pixels as a field. @param {import('../../static/js/masks/geometry.js').Frame} frame @param {number} x @param {number} y @param {number} radius */
function disc(frame, x, y, radius) {
  const at = pictureToCells([x, y], frame);
  return paintLine(emptyField(), at, at, (radius * frame.resized.width * GRID) / frame.original.width / frame.side, true);
}

test('views are those that the server picks', () => {
  /** @type {[[number, number], number, [number, number], number[]][]} */
  const picked = [ // by sam.large.pick_view
    [[600, 400], 90, [137, 291], [64, 256, 128, 128]],
    [[4000, 3000], 700, [116, 1596], [0, 1024, 1024, 1024]],
    [[4000, 3000], 700, [2488, 8], [2048, 0, 1024, 1024]],
    [[4000, 3000], 200, [1090, 2955], [1024, 2744, 256, 256]],
    [[4000, 3000], 300, [2421, 418], [2048, 256, 512, 512]],
    [[1300, 5000], 90, [62, 182], [0, 128, 128, 128]],
    [[1300, 5000], 700, [1108, 75], [276, 0, 1024, 1024]],
    [[1300, 5000], 90, [443, 3457], [384, 3392, 128, 128]],
    [[1300, 5000], 700, [1080, 1816], [276, 1536, 1024, 1024]],
  ];
  for (const [[width, height], side, at, window] of picked) {
    assert.deepEqual(windowAround({ width, height }, { side, middle: [0, 0] }, [at[0], at[1]]), window);
  }
});

test('a view that is hardly closer than all of the picture is not worth an encode', () => {
  assert.equal(windowAround(SIZE, { side: 300, middle: [0, 0] }, [300, 200]), null);
  assert.deepEqual(windowAround(SIZE, { side: 256, middle: [0, 0] }, [300, 200]), [128, 128, 256, 256]);
  assert.equal(windowAround({ width: 180, height: 90 }, { side: 20, middle: [0, 0] }, [9, 9]), null);
});

test('what is on the screen is what the lens shows of the picture', () => {
  const stage = { width: 800, height: 400 };
  assert.deepEqual(sightOf(fitView(SIZE, stage), SIZE, stage), { side: 600, middle: [300, 200] });
  const sight = sightOf(lensView(SIZE, stage, { scale: 4, middle: [550, 100] }), SIZE, stage);
  assert.deepEqual(sight, { side: 150, middle: [525, 100] });
});

test('the closest view that is no smaller than what is seen answers, if it has room around the prompts', () => {
  const [near, far] = [{ frame: viewAt(128, 128, 128, 128) }, { frame: viewAt(128, 128) }];
  const inside = withClick(NO_PROMPTS, [190, 190], 1);
  const sight = { side: 100, middle: /** @type {[number, number]} */ ([190, 190]) };
  assert.equal(viewFor([far, near], SIZE, sight, inside), near);
  assert.equal(viewFor([far, near], SIZE, { ...sight, side: 200 }, inside), far);
  assert.equal(viewFor([far, near], SIZE, { ...sight, side: 300 }, inside), null, 'zoomed out');
  assert.equal(viewFor([far, near], SIZE, sight, withClick(NO_PROMPTS, [250, 190], 1)), far, 'near the edge of the closer one');
  assert.equal(viewFor([far, near], SIZE, sight, withBox(inside, [180, 180, 370, 200])), null);
});

test('the picture\'s own border is no edge of a view', () => {
  const corner = viewAt(344, 144);
  assert.ok(holds(corner, withClick(NO_PROMPTS, [599, 399], 1), SIZE, 1 / 8));
  assert.ok(!holds(corner, withClick(NO_PROMPTS, [350, 399], 1), SIZE, 1 / 8));
  assert.ok(!isCut(disc(corner, 590, 390, 30), corner, SIZE));
  assert.ok(isCut(disc(corner, 350, 300, 30), corner, SIZE));
  assert.ok(!isCut(disc(corner, 450, 300, 30), corner, SIZE));
});

test('prompts of a view count from its corner', () => {
  const view = viewAt(128, 64);
  assert.deepEqual(pictureToFrame(view, [128 + 64, 64 + 32]), [256, 128]);
  assert.deepEqual([...encodePrompts(withBox(NO_PROMPTS, [128, 64, 384, 320]), view).coords], [0, 0, 1024, 1024]);
  assert.deepEqual(windowOf(view), [128, 64, 256, 256]);
});

test('a field lies at the same place in whatever view it is put', () => {
  for (let i = 0; i < 20; i += 1) {
    const view = viewAt(64 * Math.floor(5 * random()), 64 * Math.floor(2 * random()));
    const [x, y] = [view.origin[0] + 60 + 130 * random(), view.origin[1] + 60 + 130 * random()];
    const fine = disc(view, x, y, 25);
    const coarse = resampled(fine, view, WHOLE);
    const box = /** @type {readonly number[]} */ (pictureBounds(coarse, WHOLE));
    [x - 25, y - 25, x + 25, y + 25].forEach((side, at) => assert.ok(Math.abs(box[at] - side) <= 4, `${box} is not around ${x}, ${y}`));
    assert.ok(covers(coarse, WHOLE, [x, y]) && covers(fine, view, [x, y]) && !covers(coarse, WHOLE, [x + 33, y]));
    const again = /** @type {readonly number[]} */ (pictureBounds(resampled(coarse, WHOLE, view), view));
    box.forEach((side, at) => assert.ok(Math.abs(again[at] - side) <= 4));
  }
});

test('what a view did not see is outside, and the same view changes nothing', () => {
  const view = viewAt(128, 128);
  const full = new Float32Array(GRID * GRID).fill(5);
  const whole = resampled(full, view, WHOLE);
  assert.ok(covers(whole, WHOLE, [256, 256]) && !covers(whole, WHOLE, [100, 256]) && !covers(whole, WHOLE, [400, 256]));
  assert.equal(resampled(full, view, viewAt(128, 128)), full);
  assert.equal(resampled(full, view, WHOLE), whole, 'made once');
  assert.ok(covers(combine([whole, disc(WHOLE, 30, 30, 20)], 'unite'), WHOLE, [30, 30]));
});

test('the pixels of a view are the window\'s in the picture, at any border', () => {
  for (const [x, y, width, height] of [[128, 64, 256, 256], [0, 0, 256, 256], [344, 144, 256, 256], [0, 0, 600, 256], [100, 0, 256, 400], [0, 144, 600, 256]]) {
    const view = viewAt(x, y, width, height);
    for (const field of [new Float32Array(GRID * GRID).fill(1), disc(view, x + 90, y + 100, 40), disc(view, x, y, 60), emptyField()]) {
      const own = decodeRuns(fieldRuns(field, { ...view, origin: [0, 0] }));
      const runs = fieldRuns(field, view, SIZE);
      assert.ok(runs.counts.every((count, at) => count > 0 || at === 0), 'no empty run');
      const placed = decodeRuns(runs);
      placed.forEach((value, at) => {
        const [column, row] = [(at % 600) - x, Math.floor(at / 600) - y];
        const inside = column >= 0 && row >= 0 && column < width && row < height;
        if (value !== (inside ? own[row * width + column] : 0)) assert.fail(`${at % 600}, ${Math.floor(at / 600)} of ${[x, y, width, height]}`);
      });
    }
  }
});

test('every pixel of an object in a view finds it: its square names it, its piece has its value', () => {
  for (let i = 0; i < 12; i += 1) {
    const view = viewAt(64 * Math.floor(5 * random()), 64 * Math.floor(2 * random()));
    const [x, y] = [view.origin[0] + 256 * random(), view.origin[1] + 256 * random()];
    const field = disc(view, x, y, 10 + 60 * random());
    const region = { width: GRID, height: (GRID * 683) / 1024 };
    const reach = reachIn(field, view, SIZE, region);
    const { grid, columns, rows, values } = pieceOf(field, view, SIZE);
    const all = gridOf(view, SIZE);
    for (let at = 0; at < field.length; at += 1) {
      if (!(field[at] > 0)) continue;
      const [column, row] = [(at % GRID) + 0.5, Math.floor(at / GRID) + 0.5];
      const here = [(column - all[0]) / all[2], (row - all[1]) / all[3]];
      const square = (Math.floor(here[1] * region.height - 0.5) + 1) * SQUARES + Math.floor(here[0] * region.width - 0.5) + 1;
      assert.ok(reach[square] > 0);
      const [left, top] = [Math.floor(here[0] * grid[2] + grid[0] + 1e-6), Math.floor(here[1] * grid[3] + grid[1] + 1e-6)];
      assert.ok(left >= 0 && top >= 0 && left < columns && top < rows);
      assert.equal(values[top * columns + left], field[at]);
    }
  }
});
