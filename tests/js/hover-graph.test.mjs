// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHoverGraph, createPointGraph, sessionOptions } from '../../static/js/decoding/hover-graph.js';

const EMBEDDING = new Float32Array(1);
const ANSWER = { low_res_logits: Float32Array.of(1), iou_predictions: Float32Array.of(2) };

/** As much of ONNX Runtime as a graph uses; tensors know when they are disposed. */
class FakeTensor {
  disposed = false;
  /** @param {string} type @param {Float32Array} data @param {number[]} dims */
  constructor(type, data, dims) {
    Object.assign(this, { type, dims });
    this.data = data;
  }
  dispose() {
    this.disposed = true;
  }
}

/** @param {string[]} inputNames @param {Record<string, Float32Array>} outputs */
function fakeSession(inputNames, outputs) {
  /** @typedef {Record<string, FakeTensor>} Tensors */
  /** @type {{inputs: Tensors, fetches: string[] | undefined, given: Tensors}[]} */
  const runs = [];
  return {
    runs,
    inputNames,
    outputNames: Object.keys(outputs),
    /** @param {Record<string, FakeTensor>} inputs @param {string[]} [fetches] */
    async run(inputs, fetches) {
      const tensors = Object.entries(outputs).map(([name, data]) => [name, new FakeTensor('', data, [])]);
      const given = Object.fromEntries(tensors);
      runs.push({ inputs, fetches, given });
      return given;
    },
  };
}

function fakePair(needed = ['cells', 'keys']) {
  const tensors = { cells: Float32Array.of(1), keys: Float32Array.of(2), spare: Float32Array.of(3) };
  const prepare = fakeSession(['image_embeddings'], tensors);
  const masked = fakeSession(['image_embeddings', 'mask_input'], tensors);
  const point = fakeSession(['point_coords', 'point_labels', ...needed], ANSWER);
  const ort = /** @type {any} */ ({ Tensor: FakeTensor });
  const open = () => {
    const parts = { prepare, prepareWithMask: async () => masked, point: createPointGraph(ort, /** @type {any} */ (point)) };
    return createHoverGraph(ort, /** @type {any} */ (parts));
  };
  return { prepare, masked, point, open };
}

test('prepared tensors reach the point graph by name, as they are', async () => {
  const { prepare, point, open } = fakePair();
  const graph = open();
  await graph.prepare(EMBEDDING);
  await graph.point(new Float32Array(4), new Float32Array(2));
  await graph.point(new Float32Array(4), new Float32Array(2));
  assert.equal(prepare.runs.length, 1);
  for (const { inputs } of point.runs) {
    assert.deepEqual(Object.keys(inputs).sort(), ['cells', 'keys', 'point_coords', 'point_labels']);
    assert.equal(inputs.cells, prepare.runs[0].given.cells);
  }
});

test('only the logits and the predicted IoU are read', async () => {
  const { point, open } = fakePair();
  const graph = open();
  await graph.prepare(EMBEDDING);
  const { logits, iou } = await graph.point(new Float32Array(4), new Float32Array(2));
  assert.deepEqual(point.runs[0].fetches, ['low_res_logits', 'iou_predictions']);
  assert.deepEqual([[...logits], [...iou]], [[1], [2]]);
  assert.ok(Object.values(point.runs[0].given).every(({ disposed }) => disposed));
});

test('on WebGPU what is prepared stays on the adapter, and what is answered comes back', () => {
  assert.equal(sessionOptions('webgpu', true).preferredOutputLocation, 'gpu-buffer');
  assert.equal(sessionOptions('webgpu', false).preferredOutputLocation, undefined);
  assert.equal(sessionOptions('wasm', true).preferredOutputLocation, undefined);
});

test('a fed-back mask prepares the picture anew and frees what was prepared before', async () => {
  const { prepare, masked, point, open } = fakePair();
  const graph = open();
  await graph.prepare(EMBEDDING);
  await graph.prepareWithMask(EMBEDDING, new Float32Array(256 * 256));
  assert.ok(Object.values(prepare.runs[0].given).every(({ disposed }) => disposed));
  await graph.point(new Float32Array(4), new Float32Array(2));
  assert.equal(point.runs[0].inputs.keys, masked.runs[0].given.keys);
});

test('graphs that do not fit each other are refused by the tensor\'s name', () => {
  assert.throws(fakePair(['cells', 'queries']).open, /no prepared tensor named queries/);
});

test('a point before its picture is refused', async () => {
  await assert.rejects(fakePair().open().point(new Float32Array(4), new Float32Array(2)), /before it got a picture/);
});
