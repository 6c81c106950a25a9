// @ts-check
/** Formats of the page: both languages write the same, to the byte where a format is exact; what goes out comes in. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { read as readArchive } from '../../static/js/export/archive.js';
import { npy, write as writeNpz } from '../../static/js/export/arrays.js';
import { READERS, WRITERS, writeAll } from '../../static/js/export/formats.js';
import { feathered, sourceOf } from '../../static/js/export/edges.js';
import { cutOut, read as readMasks } from '../../static/js/export/masks.js';
import { matte } from '../../static/js/export/matte.js';
import { decodePng, encodePng } from '../../static/js/export/png.js';
import {
  crossingRings, fill, fillHoles, iou, keyhole, outline, removeIslands, simplify, simplifyTogether, trace,
} from '../../static/js/export/polygons.js';
import {
  compressCounts, cropRuns, decodeRuns, decompressCounts, encodeRuns, placeCrop, windowOf,
} from '../../static/js/export/runs.js';
import { checkSession, checkText } from '../../static/js/export/session.js';
import { intoLayers } from '../../static/js/export/shapes.js';
import { objectPath } from '../../static/js/export/svg.js';
import { encodeText, stem } from '../../static/js/export/text.js';
import { createWork } from '../../static/js/export/work.js';
import { read as readYolo, readNames } from '../../static/js/export/yolo.js';
import { randomFrom } from './helpers.mjs';

/** @import { MaskObject, Session } from '../../static/js/export/session.js' */

const vectors = JSON.parse(await readFile(new URL('../vectors/formats.json', import.meta.url), 'utf8'));
/** @type {Session} */
const session = { picture: vectors.session.picture, objects: vectors.session.objects };
const { picture } = session;

const bytes = (/** @type {string} */ base64) => Uint8Array.from(Buffer.from(base64, 'base64'));
const texts = (/** @type {Record<string, Uint8Array>} */ files) => (
  Object.fromEntries(Object.entries(files).map(([name, data]) => [name, Buffer.from(data).toString()])));
const only = (/** @type {Record<string, Uint8Array>} */ files) => Object.values(files)[0];
const random = randomFrom(5);

/** A ring whose neighbours lie together, on whole pixels: many are equally near. @param {number} x @param {number} y */
function wander(x, y) {
  return Array.from({ length: 3 + Math.floor(random() * 200) }, () => {
    [x, y] = [x + Math.floor(random() * 3) - 1, y + Math.floor(random() * 3) - 1];
    return [x, y];
  });
}

/** A mask of noise of some density. @param {number} width @param {number} height @param {number} density */
function noise(width, height, density) {
  const data = Uint8Array.from({ length: width * height }, () => (random() < density ? 1 : 0));
  return { x: 0, y: 0, width, height, data };
}

// --- the same as Python -------------------------------------------------------------------------------------------

for (const [format, files] of Object.entries(vectors.texts)) {
  test(`${format} is written byte for byte as Python writes it`, async () => {
    const [name, exact] = format.split(' ');
    const plain = session.objects.filter(({ label }) => ['flower', 'border', '- wedge'].includes(label));
    const shown = name === 'labelme' ? { picture, objects: plain } : session;
    const written = await WRITERS[name](shown, exact ? { tolerance: 0 } : {});
    const text = Object.entries(texts(written)).filter(([path]) => !path.endsWith('.png'));
    assert.deepEqual(Object.fromEntries(text), files);
  });
}

test('arithmetic on masks gives the same numbers', () => {
  session.objects.forEach(({ mask }, index) => {
    const crop = cropRuns(mask);
    const expected = vectors.arithmetic[index];
    const rings = trace(crop);
    const found = outline(crop);
    assert.deepEqual(rings.map((ring) => [...ring]), expected.traced);
    assert.deepEqual(rings.map((ring) => [...simplify(ring, 1).ring]), expected.simplified);
    assert.deepEqual(found.polygons.map((polygon) => polygon.map((ring) => [...ring])), expected.outline);
    assert.equal(found.error, expected.error);
    assert.deepEqual(encodeRuns(fillHoles(crop, 5), crop.width, crop.height).counts, expected['without holes']);
    assert.deepEqual(encodeRuns(removeIslands(crop, 5), crop.width, crop.height).counts, expected['without islands']);
    assert.deepEqual(feathered(crop, 2.5), bytes(vectors.feathered[index]));
  });
});

test('arrays are the same bytes', async () => {
  const { ids } = await intoLayers(session.objects, picture, 65535);
  assert.deepEqual(npy('<u2', [ids.length, picture.height, picture.width], ids), bytes(vectors.npy['ids.npy']));
});

test('text arrays are the same bytes', async () => {
  const zip = Buffer.from(only(await writeNpz(session)));
  const at = zip.indexOf('labels.npy') + 'labels.npy'.length;
  assert.deepEqual(Uint8Array.from(inflateRawSync(zip.subarray(at))), bytes(vectors.npy['labels.npy']));
});

test('indexed pictures that Python wrote come in as the objects', async () => {
  const [first, ...more] = Object.values(vectors.indexed).map(bytes);
  const found = await readMasks(first, picture, more);
  const same = (/** @type {MaskObject} */ { label, mask, colour, visible }) => ({ label, mask, colour, visible });
  assert.deepEqual(found.objects.map(same), session.objects.map(same));
});

test('mattes are the same to one level of 255', () => {
  const [colours, mask] = [bytes(vectors.matte.image), decodeRuns(session.objects[0].mask)];
  const data = new Uint8Array(4 * mask.length).fill(255);
  colours.forEach((value, i) => { data[4 * Math.floor(i / 3) + (i % 3)] = value; });
  const image = { width: picture.width, height: picture.height, data };
  const logits = Float32Array.from(new Int8Array(bytes(vectors.matte.logits).buffer));
  [null, logits].forEach((given, index) => {
    const expected = bytes(vectors.matte.alphas[index]);
    matte(image, mask, 4, given).forEach((alpha, i) => {
      const apart = Math.abs(Math.floor(255 * alpha + 0.5) - expected[i]);
      assert.ok(apart <= 1, `pixel ${i}: ${alpha * 255}, not ${expected[i]}`);
    });
    assert.ok(expected.some((value) => value > 60 && value < 200), 'the vectors have soft edges');
  });
  assert.throws(() => matte(image, mask, 0), /radius is 0/);
  assert.throws(() => matte(image, mask.subarray(1)), /57 x 41/);
});

// --- round trips ----------------------------------------------------------------------------------------------------

test('any mask survives its run lengths, its crop and compression', () => {
  for (let i = 0; i < 200; i += 1) {
    const crop = noise(1 + Math.floor(random() * 9), 1 + Math.floor(random() * 9), random());
    const runs = encodeRuns(crop.data, crop.width, crop.height);
    assert.deepEqual(decodeRuns(runs), crop.data);
    assert.deepEqual(placeCrop(cropRuns(runs), runs.size), runs);
    assert.deepEqual(decompressCounts(compressCounts(runs.counts)), runs.counts);
    const { width, height } = windowOf(runs);
    assert.equal(width * height === 0, !crop.data.includes(1));
  }
});

test('a bridge joins the first of the nearest points of two rings', () => {
  for (let i = 0; i < 40; i += 1) {
    const [one, other] = [wander(0, 0), wander(Math.floor(random() * 60) - 30, Math.floor(random() * 60) - 30)];
    const apart = one.flatMap(([x, y]) => other.map(([u, v]) => (x - u) ** 2 + (y - v) ** 2));
    const least = apart.indexOf(apart.reduce((a, b) => Math.min(a, b)));
    const [here, there] = [Math.floor(least / other.length), least % other.length];
    const joined = [...one.slice(0, here + 1), ...other.slice(there), ...other.slice(0, there + 1), ...one.slice(here)];
    assert.deepEqual([...keyhole([one, other].map((ring) => Float64Array.from(ring.flat())))], joined.flat());
  }
});

test('filling traced rings gives the mask, and simplified rings do not cross', () => {
  for (let i = 0; i < 100; i += 1) {
    const crop = noise(2 + Math.floor(random() * 12), 2 + Math.floor(random() * 12), random());
    assert.deepEqual(fill(trace(crop), crop.width, crop.height), crop.data);
    assert.equal(crossingRings(simplifyTogether(trace(crop), 1).rings).size, 0);
    const found = fill(outline(crop).polygons.flat(), crop.width, crop.height);
    assert.ok(iou(found, crop.data) >= 0.997);
  }
});

for (const [format, least] of /** @type {[string, number][]} */ ([
  ['session', 1], ['coco', 1], ['coco-polygons', 0.995], ['labelme', 0.995],
])) {
  test(`${format} comes in again as it went out`, async () => {
    const found = await READERS[format.split('-')[0]](only(await WRITERS[format](session)), picture);
    assert.deepEqual(found.objects.map(({ label }) => label), session.objects.map(({ label }) => label));
    found.objects.forEach(({ mask }, i) => {
      const value = iou(decodeRuns(mask), decodeRuns(session.objects[i].mask));
      assert.ok(value >= least, `${session.objects[i].label}: ${value}`);
    });
  });
}

test('YOLO comes in again with its names', async () => {
  const files = await WRITERS.yolo(session, { tolerance: 0 });
  const names = readNames(files['data.yaml']);
  const found = await readYolo(files['labels/IMG 01.small.txt'], picture, names);
  assert.deepEqual(found.objects.map(({ label }) => label), session.objects.map(({ label }) => label));
  for (const index of [0, 3, 4, 5, 6]) assert.deepEqual(found.objects[index].mask, session.objects[index].mask);
  assert.deepEqual(readNames(encodeText("names: ['a', \"b\\n\", c d]\n")), ['a', 'b\n', 'c d']);
  assert.deepEqual(readNames(encodeText('names:\n- a\n- b\nnc: 2\n')), ['a', 'b']);
});

test('a zip with every format gives the session back', async () => {
  const zip = only(await writeAll([session]));
  assert.deepEqual(await readArchive(zip, picture), session);
});

test('a cut-out is the picture inside and nothing outside', async () => {
  const data = new Uint8Array(4 * picture.width * picture.height).fill(255);
  const image = { width: picture.width, height: picture.height, data };
  const [flower] = session.objects;
  const whole = await decodePng(await cutOut(sourceOf(image), flower, { trimmed: false }));
  assert.deepEqual(Uint8Array.from(whole.values, (alpha) => alpha / 255), decodeRuns(flower.mask));
  const { width, height } = await decodePng(await cutOut(sourceOf(image), flower, { feather: 3 }));
  const window = windowOf(flower.mask);
  assert.deepEqual([width, height], [window.width, window.height]);
});

test('PNG files of any width come back', async () => {
  for (const width of [1, 2, 7, 64, 1000]) {
    const file = await encodePng({ width, height: 3 }, 'grey', (y, row) => {
      row.forEach((_, x) => { row[x] = x * 7 + y * 31; });
    });
    const { values } = await decodePng(file);
    const expected = Uint16Array.from(values, (_, i) => ((i % width) * 7 + Math.floor(i / width) * 31) % 256);
    assert.equal(values.length, 3 * width);
    assert.deepEqual(values, expected);
  }
});

test('a curve keeps its promise: its error is below the tolerance, and more of it needs fewer points', () => {
  for (const item of session.objects) {
    let before = Infinity;
    for (const tolerance of [0.35, 1, 3]) {
      const { error, points, d } = objectPath(item, tolerance);
      const isKept = error <= tolerance && points <= before && !d.includes('NaN');
      assert.ok(isKept, `${item.label}: ${error} of ${tolerance}`);
      before = points;
    }
    assert.ok(objectPath(item).error <= 1);
  }
});

// --- bad input ----------------------------------------------------------------------------------------------------

/** A COCO file with one annotation changed. @param {object} changes */
async function coco(changes) {
  const document = JSON.parse(Buffer.from(only(await WRITERS.coco(session))).toString());
  Object.assign(document.annotations[1], changes);
  return encodeText(JSON.stringify(document));
}

test('a bad annotation is named, and nothing is imported', async () => {
  for (const [changes, message] of /** @type {[object, RegExp][]} */ ([
    [{ segmentation: [[500, 500, 600, 500, 600, 600]] }, /far outside of the picture of 57 x 41/],
    [{ segmentation: [[60, 1, 70, 1, 70, 6]] }, /covers no pixel of the picture/],
    [{ segmentation: [[1, 1, 5, 5, 2]] }, /three points/],
    [{ segmentation: [] }, /empty/],
    [{ segmentation: { size: [41, 56], counts: [41 * 56] } }, /mask is 56 x 41, the picture 57 x 41/],
    [{ segmentation: { size: [41, 57], counts: [9] } }, /2337 pixels/],
    [{ segmentation: { size: [41, 57], counts: 'PPP' } }, /cut off/],
    [{ segmentation: { size: [41, 57] } }, /'counts' is missing/],
    [{ segmentation: null }, /not what it should be/],
    [{ category_id: 99 }, /category 99 is not listed/],
    [{ score: 'good' }, /score 'good'/],
  ])) {
    await assert.rejects(READERS.coco(await coco(changes), picture), (error) => (
      error instanceof RangeError && message.test(error.message) && error.message.includes('annotation 2')));
  }
});

test('files that break off, or are of another picture, are refused', async () => {
  for (const format of ['session', 'coco', 'labelme']) {
    const data = only(await WRITERS[format](session));
    await assert.rejects(READERS[format](data.subarray(0, data.length / 2), picture), /not complete JSON/);
    const other = { name: 'other.png', width: 3, height: 4 };
    await assert.rejects(READERS[format](data, other), /57 x 41 pixels, but 'other.png' has 3 x 4/);
  }
  const zip = only(await writeAll([session], ['coco']));
  await assert.rejects(READERS.zip(zip.subarray(0, zip.length - 30), picture), /zip/);
  const file = Object.values(vectors.indexed).map(bytes)[0];
  await assert.rejects(READERS.png(file.subarray(0, file.length - 20), picture), /breaks off/);
  await assert.rejects(READERS.png(encodeText('GIF89a'), picture), /not a PNG/);
  const lines = encodeText('0 0.1 0.1 0.5 0.1 0.5 0.5\n0 0.1 2 0.5 0.1 0.5 0.5');
  await assert.rejects(readYolo(lines, picture), /line 2: .*0 to 1/);
});

test('labels that files cannot hold are refused, others are not', () => {
  for (const label of ['', 'a\nb', 'a\0', '\ud800', 'x'.repeat(201), null]) {
    assert.throws(() => checkText(label, 'a label'), /a label/);
  }
  for (const label of ['🎯', 'ü <&>"', 'x'.repeat(200)]) checkText(label, 'a label');
  /** @type {[number, number]} */
  const size = [41, 57];
  const empty = { ...session.objects[0], mask: { size, counts: [41 * 57] } };
  assert.throws(() => checkSession({ picture, objects: [session.objects[1], empty] }), /object 2 .*covers no pixel/);
  const names = ['a/b\\cat.small.jpg', '.hidden', 'a<b>:"c".png', '...', 'ü 目.webp'];
  assert.deepEqual(names.map(stem), ['cat.small', 'hidden', 'a_b___c_', 'picture', 'ü 目']);
});

test('ten thousand objects go out and come in', async () => {
  const many = { name: 'tiles.png', width: 300, height: 300 };
  const tile = Uint8Array.of(1, 1, 1, 1, 1, 1, 1, 1, 1);
  const objects = Array.from({ length: 10_000 }, (_, n) => ({
    ...session.objects[0], label: `label ${n}`, prompts: null,
    mask: placeCrop({ x: 3 * (n % 100), y: 3 * Math.floor(n / 100), width: 3, height: 3, data: tile }, [300, 300]),
  }));
  const found = await READERS.coco(only(await WRITERS.coco({ picture: many, objects })), many);
  assert.deepEqual(found.objects, objects);
  await assert.rejects(WRITERS.voc({ picture: many, objects }), /254 objects in a picture, these are 10000/);
});

// --- long work ----------------------------------------------------------------------------------------------------

test('long work reports its progress in order, lets others run, and ends when cancelled', async (t) => {
  let clock = 0;
  t.mock.method(performance, 'now', () => (clock += 20)); // every step takes long, on any machine
  const isInside = (/** @type {number} */ x, /** @type {number} */ y) => (x - 75) ** 2 + (y - 50) ** 2 < 1600;
  const data = Uint8Array.from({ length: 15_000 }, (_, i) => (isInside(i % 150, i / 150) ? 1 : 0));
  const item = { ...session.objects[0], mask: encodeRuns(data, 150, 100) };
  const task = { picture: { name: 'large.png', width: 150, height: 100 }, objects: Array.from({ length: 12 }, () => item) };
  /** @type {number[]} */
  const shares = [];
  let turns = 0;
  const onProgress = (/** @type {number} */ share) => {
    assert.equal(turns, shares.push(share) - 1, 'others have had their turn since');
    setTimeout(() => { turns += 1; });
  };
  await WRITERS.masks(task, {}, createWork({ onProgress }));
  assert.ok(shares.length > 2 && shares.every((share, i) => share <= 1 && share >= (shares[i - 1] ?? 0)));

  const cancel = new AbortController();
  const work = createWork({ signal: cancel.signal, onProgress: () => cancel.abort() });
  await assert.rejects(writeAll([task], undefined, {}, work), { name: 'AbortError' });
});
