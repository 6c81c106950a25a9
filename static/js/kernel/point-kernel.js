// @ts-check
/**
 * The mask decoder's `point` on a WebAssembly kernel: the same function as the `point` graph, in half its time.
 *
 * Cells, the n rows of the picture, are never projected for a prompt, and never written out. Layer normalisation
 * centres a row, divides it by its deviation and weighs its channels; the first and the last step are linear. So at any
 * time a cell is a scaled image of the picture's cell, plus a few coefficients times rows made from tokens:
 *
 *     cells = s * X + F O + c       X (n x C) of the picture, s (n), F (n x m), O (m x C), c (C) of the model
 *
 * 1. Any projection W of the cells is s * (X W) + F (O W) + c W: X W once per picture, O W for m rows; per prompt only
 *    the product with F is left, with m numbers a cell instead of C.
 * 2. Scores need no projection: what tokens ask goes through O W too, and F meets m rows of scores.
 * 3. F holds the shares that a cell takes of the tokens' offers. They sum to 1 in every head, so the last token's
 *    follow from the others': each block adds heads * (tokens - 1) + 1 columns, 49 of them for a click with 8 heads.
 * 4. A row's deviation comes from |s X + F O|^2 = s^2 |X|^2 + 2 s (X O^T) F + F (O O^T) F^T. Offers are values times
 *    the output projection, so X O^T is the picture's product with that projection, made once, times values.
 * 5. Upscaling takes 32 cells at a time through all its steps, so that their pixels never leave the cache.
 *
 * Step 4 grows with the square of the points, so many points are the graph's: `MOST_POINTS`. `sam/graphs/hover.py` has the
 * graph's algebra and all figures.
 */

/** @import { TensorFile } from '../server/protocol.js' */
/** @import { Block, Linear, View } from './weights.js' */
import { createMemory } from './memory.js';
import { MASKS, encodePosition, readShape, readWeights } from './weights.js';

/** @typedef {{logits: Float32Array<ArrayBuffer>, iou: Float32Array<ArrayBuffer>}} Answer */
/** @typedef {{k: number, v: number}} Seen addresses of what a view makes of the picture */

/**
 * Kernels that share a picture's rows among them; each computes the tokens for itself. `exchange` gives everybody
 * everybody's numbers, in the same order.
 * @typedef {{rank: number, size: number, exchange: (values: Float32Array) => Float32Array[]}} Team
 */

/**
 * @typedef {object} PointKernel
 * @property {import('./weights.js').Shape} shape
 * @property {(cells: Float32Array) => void} prepare all cells x C: the embedding, projected, with the dense prompt
 * @property {(coords: Float32Array, labels: Float32Array) => Answer} point x, y in pixels of the prompt frame; the
 *   logits of this kernel's rows
 */

/** @type {Team} */
const ALONE = { rank: 0, size: 1, exchange: (values) => [values] };

/** Padding and box corners count. Up to here the kernel is the faster one. */
export const MOST_POINTS = 24;

const OWN_TOKENS = 1 + MASKS; // the IoU token, then one for each mask
const PADDING = -1;
const NOTHING = -1e30; // a score that softmax does not see, and that stays a number when it is scaled
const EPS = 1e-5;
const EPS_2D = 1e-6;
const CHUNK = 32; // cells

/**
 * @param {WebAssembly.Instance} instance of static/kernels/decoder.ts
 * @param {TensorFile} file the decoder's weights
 * @returns {PointKernel}
 */
export function createPointKernel({ exports }, file, team = ALONE) {
  const kernel = /** @type {any} */ (exports);
  const memory = createMemory(kernel.memory);
  const shape = readShape(JSON.parse(file.metadata.config), team);
  const weights = readWeights(kernel, memory, file, shape);
  const { width, inner, heads, headDepth, cells: n } = shape;
  const [row, innerRow] = [width * 4, inner * 4];
  const scaleOfScores = 1 / Math.sqrt(headDepth);

  // --- the picture ------------------------------------------------------------------------------------------------

  const picture = {
    blocks: weights.blocks.map(({ views, likenesses }) => ({
      k: roomFor(views.k),
      v: roomFor(views.v),
      q: roomFor(views.q),
      squares: memory.reserve(n),
      likenesses: likenesses.map(roomFor),
    })),
    final: { k: roomFor(weights.final.views.k), v: roomFor(weights.final.views.v) },
    upscaled: roomFor(weights.upscaling.first),
  };
  const floor = memory.mark();

  /** @param {Linear} of */
  function roomFor({ outputs }) {
    return memory.reserve((n * bytesOf(outputs)) / 4);
  }

  /** @param {Float32Array} cells */
  function prepare(cells) {
    memory.release(floor);
    const before = shape.firstRow * shape.columns * width;
    const x = memory.put(cells.subarray(before, before + n * width));
    weights.blocks.forEach(({ views, likenesses, norms }, index) => {
      const seen = picture.blocks[index];
      // Before the first block nothing will be scaled, so the rest can be added at once.
      for (const name of /** @type {const} */ (['k', 'v', 'q'])) see(x, views[name], seen[name], index === 0);
      kernel.centre(x, row, n, width, weights.ones);
      memory.numbers(seen.squares, n).fill(0);
      kernel.dotRows(x, row, x, row, n, width, seen.squares);
      likenesses.forEach((likeness, of) => see(x, likeness, seen.likenesses[of]));
      kernel.centre(x, row, n, width, norms[3].weight);
    });
    see(x, weights.final.views.k, picture.final.k);
    see(x, weights.final.views.v, picture.final.v);
    see(x, weights.upscaling.first, picture.upscaled);
  }

  /**
   * @param {number} x
   * @param {Linear | View} view
   * @param {number} out
   */
  function see(x, view, out, complete = false) {
    const { panels, outputs } = view;
    const [start, stride] = complete && 'rest' in view ? [view.rest, view.restStride] : [weights.zeros, 0];
    kernel.multiply(x, row, panels, start, stride, out, bytesOf(outputs), n, outputs, width);
  }

  // --- a prompt ---------------------------------------------------------------------------------------------------

  /**
   * @param {Float32Array} coords
   * @param {Float32Array} labels
   * @returns {Answer}
   */
  function point(coords, labels) {
    memory.release(floor);
    const state = startingState(OWN_TOKENS + labels.length);
    const { tokens, prompts, padded, count } = state;
    memory.numbers(prompts, count * width).set(embed(coords, labels));
    memory.numbers(tokens, count * width).set(memory.numbers(prompts, count * width));
    weights.blocks.forEach((block, index) => {
      lookAtEachOther(block, state, index === 0);
      look(block.look, block.views, picture.blocks[index], state);
      normalize(tokens, padded, block.norms[1]);
      think(block, state);
      absorb(block, index, state);
    });
    look(weights.final.look, weights.final.views, picture.final, state);
    normalize(tokens, padded, weights.final.norm);
    return { logits: paint(state), iou: memory.numbers(perceive(weights.iouHead, tokens), MASKS).slice() };
  }

  /** @typedef {ReturnType<typeof startingState>} State */

  /**
   * Tokens, and the cells as s, F and O: `scales`, `shares` (n x used, `stride` bytes a row) and `offers` (used x C).
   * Rows of tokens are padded to eights; those beyond `count` stay finite and are never read.
   * @param {number} count of tokens
   */
  function startingState(count) {
    const padded = Math.ceil(count / 8) * 8;
    const most = shape.blocks * (heads * (count - 1) + 1) + padded;
    return {
      count,
      padded,
      prompts: memory.zeros(padded * width),
      tokens: memory.zeros(padded * width),
      scores: memory.reserve(n * heads * padded),
      scales: memory.put(new Float32Array(n).fill(1)),
      shares: memory.reserve(n * most),
      stride: most * 4,
      offers: memory.reserve(most * width),
      used: 0,
      /** @type {{column: number, values: number}[]} by block: where its shares begin, and what its tokens gave */
      given: [],
    };
  }

  /**
   * @param {Float32Array} coords
   * @param {Float32Array} labels
   * @returns {Float32Array} tokens x C
   */
  function embed(coords, labels) {
    const [height, across] = shape.inputHw;
    const rows = new Float32Array((OWN_TOKENS + labels.length) * width);
    rows.set(weights.ownTokens);
    labels.forEach((label, index) => {
      const token = rows.subarray((OWN_TOKENS + index) * width, (OWN_TOKENS + index + 1) * width);
      const [x, y] = [coords[2 * index] + 0.5, coords[2 * index + 1] + 0.5];
      if (label === PADDING) token.set(weights.padding);
      else encodePosition(weights.gaussian, x / across, y / height, token);
      weights.pointKinds[label]?.forEach((value, i) => (token[i] += value));
    });
    return rows;
  }

  /**
   * Self-attention; in the first block the tokens are the prompts themselves, and nothing is added.
   * @param {Block} block
   * @param {State} state
   * @param {boolean} first
   */
  function lookAtEachOther({ self, norms }, { tokens, prompts, padded, count }, first) {
    const located = first ? tokens : sum(tokens, prompts, padded * width);
    const [q, k, v] = [apply(self.q, located, padded), apply(self.k, located, padded), apply(self.v, tokens, padded)];
    const seen = memory.zeros(padded * width);
    kernel.attend(q, k, v, row, count, heads, width / heads, seen, memory.reserve(count));
    const answer = apply(self.out, seen, padded);
    if (first) memory.numbers(tokens, padded * width).set(memory.numbers(answer, padded * width));
    else kernel.add(tokens, answer, padded * width);
    normalize(tokens, padded, norms[0]);
  }

  /**
   * @param {Block} block
   * @param {State} state
   */
  function think({ mlp, norms }, { tokens, padded }) {
    const hidden = apply(mlp.first, tokens, padded);
    kernel.relu(hidden, padded * mlp.first.outputs);
    kernel.add(tokens, apply(mlp.second, hidden, padded), padded * width);
    normalize(tokens, padded, norms[2]);
  }

  /**
   * Tokens look at the cells.
   * @param {{q: Linear, out: Linear}} by
   * @param {{k: View, v: View}} views
   * @param {Seen} seen
   * @param {State} state
   */
  function look({ q, out }, views, seen, state) {
    const { tokens, prompts, padded, scores } = state;
    const across = heads * padded;
    const asked = packHeads(apply(q, sum(tokens, prompts, padded * width), padded), padded);
    const [most, totals] = [memory.put(new Float32Array(across).fill(-Infinity)), memory.zeros(across)];
    const score = scoring(views.k, seen.k, asked, weights.zeros, state);
    eachChunk((first, size) => {
      score(first, size, scores + first * across * 4);
      kernel.raise(scores + first * across * 4, across * 4, size, across, most);
    });
    const answer = memory.zeros(padded * inner);
    const project = projecting(views.v, seen.v, state);
    eachChunk((first, size) => {
      const rows = scores + first * across * 4;
      kernel.exponentiate(rows, across * 4, size, across, scaleOfScores, most, totals);
      kernel.weigh(rows, across * 4, project(first, size), innerRow, size, heads, padded, headDepth, answer, innerRow);
    });
    const part = new Float32Array(2 * across + padded * inner);
    part.set(memory.numbers(most, across));
    part.set(memory.numbers(totals, across), across);
    part.set(memory.numbers(answer, padded * inner), 2 * across);
    const parts = team.exchange(part);
    memory.numbers(answer, padded * inner).set(meanOf(parts, padded));
    kernel.add(tokens, apply(out, answer, padded), padded * width);
  }

  /**
   * What tokens see of all parts of the picture, each weighed as the largest of all scores would have it.
   * @param {Float32Array[]} parts the largest score of every column, the sum of its exponentials, what was seen by them
   * @param {number} padded
   */
  function meanOf(parts, padded) {
    const across = heads * padded;
    const mean = new Float32Array(padded * inner);
    for (let column = 0; column < across; column += 1) {
      const most = Math.max(...parts.map((part) => part[column]));
      const shares = parts.map((part) => Math.exp((part[column] - most) * scaleOfScores));
      const total = parts.reduce((sum, part, i) => sum + shares[i] * part[across + column], 0);
      const [head, token] = [Math.floor(column / padded), column % padded];
      const start = token * inner + head * headDepth;
      for (let c = start; c < start + headDepth; c += 1) {
        mean[c] = parts.reduce((sum, part, i) => sum + shares[i] * part[2 * across + c], 0) / total;
      }
    }
    return mean;
  }

  /**
   * Cells take from the tokens, and are normalised.
   * @param {Block} block
   * @param {number} index
   * @param {State} state
   */
  function absorb({ absorb: by, views, norms }, index, state) {
    const { tokens, prompts, count, padded, scores, scales, shares, stride, used } = state;
    const { q, squares, likenesses } = picture.blocks[index];
    const asked = packHeads(apply(by.k, sum(tokens, prompts, padded * width), padded), padded);
    const absent = memory.put(new Float32Array(padded).fill(NOTHING).fill(0, 0, count));
    const score = scoring(views.q, q, asked, absent, state);
    offer(by, index, state);
    const square = squaring(state);
    const deviations = memory.put(memory.numbers(squares, n).slice());
    kernel.scale(deviations, scales, n);
    kernel.scale(deviations, scales, n);
    eachChunk((first, size) => {
      const [rows, out] = [shares + first * stride, deviations + first * 4];
      score(first, size, scores);
      const [scoreRow, column] = [heads * padded * 4, rows + used * 4];
      kernel.softmaxGroups(scores, scoreRow, size, heads, padded, count, scaleOfScores, column, stride);
      state.given.forEach(({ column, values }, of) => {
        const [taken, like, bytes] = [rows + column * 4, likenesses[of], bytesOf(inner + 1)];
        const ofChunk = like + first * bytes;
        kernel.dotTaken(
          taken,
          stride,
          ofChunk,
          bytes,
          values,
          count - 1,
          heads,
          headDepth,
          scales + first * 4,
          size,
          out,
        );
      });
      square(rows, size, out);
      kernel.invertDeviations(out, size, width, EPS);
      kernel.scaleRows(rows, stride, size, state.used, out);
    });
    kernel.scale(scales, deviations, n);
    kernel.centre(state.offers, row, state.used, width, norms[3].weight);
  }

  /**
   * New rows of O, all centred: what every head gives of every token but the last, less what it gives of the last one;
   * then, for all heads together, what the last one gives, with c.
   * @param {Block['absorb']} by
   * @param {number} index
   * @param {State} state
   */
  function offer({ v, out, offers: byHead }, index, state) {
    const { tokens, count, padded, offers, used } = state;
    const others = count - 1;
    const values = apply(v, tokens, padded);
    const common = apply(out, values + others * innerRow, 4);
    if (index) kernel.add(common, weights.blocks[index - 1].norms[3].bias, width);
    const [all, last] = [memory.numbers(values, others * inner), memory.numbers(values + others * innerRow, inner)];
    all.forEach((value, i) => (all[i] = value - last[i % inner]));
    byHead.forEach(({ panels }, head) => {
      const [from, to] = [values + head * headDepth * 4, offers + (used + head * others) * row];
      kernel.multiply(from, innerRow, panels, weights.zeros, 0, to, row, padded, width, headDepth);
    });
    state.given.push({ column: used, values });
    state.used = used + heads * others + 1;
    memory.numbers(offers + (state.used - 1) * row, width).set(memory.numbers(common, width));
    kernel.centre(offers, row, state.used, width, weights.ones);
  }

  /**
   * F (O O^T) F^T of single rows. O O^T is symmetric, so its upper half, doubled, is enough: a panel of its columns
   * needs no rows below its own.
   * @param {State} state
   * @returns {(rows: number, size: number, out: number) => void} adds to `out`
   */
  function squaring({ offers, used, stride }) {
    const padded = Math.ceil(used / 8) * 8;
    const transposed = memory.reserve(padded * width);
    kernel.pack(offers, row, width, used, true, transposed);
    const gram = memory.reserve(padded * padded);
    const zeros = memory.zeros(padded);
    kernel.multiply(offers, row, transposed, zeros, 0, gram, padded * 4, padded, padded, width);
    const values = memory.numbers(gram, padded * padded);
    for (let i = 0; i < used; i += 1) {
      for (let j = 0; j < used; j += 1) values[i * padded + j] *= i < j ? 2 : Number(i === j);
    }
    const panels = memory.reserve(used * padded);
    kernel.pack(gram, padded * 4, used, used, false, panels);
    const product = memory.reserve(CHUNK * padded);
    return (rows, size, out) => {
      for (let j = 0; j < padded; j += 8) {
        const [panel, to] = [panels + j * used * 4, product + j * 4];
        kernel.multiply(rows, stride, panel, weights.zeros, 0, to, padded * 4, size, 8, Math.min(used, j + 8));
      }
      kernel.dotRows(rows, stride, product, padded * 4, size, used, out);
    };
  }

  /**
   * @param {State} state
   * @returns {Float32Array<ArrayBuffer>} logits, masks x 4 own rows x 4 columns
   */
  function paint(state) {
    const { first: grow, norm: between, second } = weights.upscaling;
    const [channels, quarter] = [second.outputs / 4, grow.outputs / 4];
    const answers = weights.hypernetworks.map((layers, i) => perceive(layers, state.tokens + (1 + i) * row));
    const brushes = memory.put(answers.flatMap((at) => [...memory.numbers(at, channels)]));
    const project = projecting(grow, picture.upscaled, state);
    const pixels = memory.reserve(CHUNK * 4 * second.outputs);
    const out = memory.reserve(MASKS * 16 * n);
    eachChunk((first, size) => {
      const quarters = project(first, size);
      kernel.normalizeGelu(quarters, size * 4, quarter, between.weight, between.bias, EPS_2D);
      const [bytes, rows] = [second.outputs * 4, size * 4];
      kernel.multiply(
        quarters,
        quarter * 4,
        second.panels,
        second.bias,
        0,
        pixels,
        bytes,
        rows,
        second.outputs,
        quarter,
      );
      kernel.paint(pixels, first, size, channels, brushes, shape.columns, shape.ownRows, out);
    });
    return memory.numbers(out, MASKS * 16 * n).slice();
  }

  // --- projections of the cells as they are now ---------------------------------------------------------------------

  /**
   * @param {View} view
   * @param {number} seen
   * @param {State} state
   * @returns {(first: number, size: number) => number} the address of a chunk's rows, `view.outputs` numbers each
   */
  function projecting(view, seen, state) {
    const { outputs, rest, restStride } = view;
    const bytes = outputs * 4;
    if (state.used === 0) return (first) => seen + first * bytes;
    const { shares, stride, scales, used } = state;
    const panels = packRows(ofOffers(view, state), outputs, used);
    const out = memory.reserve(CHUNK * outputs);
    return (first, size) => {
      const [f, x, start] = [shares + first * stride, seen + first * bytes, rest + first * restStride];
      const s = scales + first * 4;
      kernel.multiplyScaled(f, stride, panels, s, x, bytes, start, restStride, out, bytes, size, outputs, used);
      return out;
    };
  }

  /**
   * @param {View} view
   * @param {number} seen
   * @param {number} asked by the tokens, head by head, packed
   * @param {number} start of every head's scores
   * @param {State} state
   * @returns {(first: number, size: number, out: number) => void} a chunk's rows of heads * padded scores
   */
  function scoring(view, seen, asked, start, state) {
    const { shares, stride, scales, used, padded } = state;
    /** @param {number} rows @param {number} from @param {number} size @param {number} out */
    const score = (rows, from, size, out) =>
      kernel.score(rows, innerRow, asked, from, size, heads, padded, headDepth, out);
    if (used === 0) return (first, size, out) => score(seen + first * innerRow, start, size, out);
    const across = heads * padded;
    const count = Math.ceil(used / 4) * 4;
    const scored = memory.reserve(count * across);
    score(ofOffers(view, state), weights.zeros, count, scored);
    const panels = packRows(scored, across, used);
    const rows = memory.reserve(CHUNK * inner);
    return (first, size, out) => {
      const [x, rest] = [seen + first * innerRow, view.rest + first * view.restStride];
      kernel.scaleAdd(x, innerRow, scales + first * 4, rest, view.restStride, rows, innerRow, size, inner);
      score(rows, start, size, out);
      kernel.multiply(shares + first * stride, stride, panels, out, across * 4, out, across * 4, size, across, used);
    };
  }

  /** O W. @param {View} view @param {State} state */
  function ofOffers({ panels, outputs }, { offers, used }) {
    const count = Math.ceil(used / 4) * 4;
    const out = memory.reserve(count * outputs);
    kernel.multiply(offers, row, panels, weights.zeros, 0, out, outputs * 4, count, outputs, width);
    return out;
  }

  /** @param {number} rows @param {number} columns @param {number} count */
  function packRows(rows, columns, count) {
    const panels = memory.reserve(count * columns);
    kernel.pack(rows, columns * 4, count, columns, false, panels);
    return panels;
  }

  /** Token rows (padded x D) as the right side of `score`. @param {number} tokens @param {number} padded */
  function packHeads(tokens, padded) {
    const panels = memory.reserve(padded * inner);
    for (let column = 0; column < inner; column += headDepth) {
      const [from, to] = [tokens + column * 4, panels + padded * column * 4];
      kernel.pack(from, innerRow, headDepth, padded, true, to);
    }
    return panels;
  }

  /** @param {(first: number, size: number) => void} visit */
  function eachChunk(visit) {
    for (let first = 0; first < n; first += CHUNK) visit(first, Math.min(CHUNK, n - first));
  }

  // --- rows of tokens ---------------------------------------------------------------------------------------------

  /** @param {Linear} of @param {number} x @param {number} rows a multiple of 4 */
  function apply({ panels, bias, inputs, outputs }, x, rows) {
    const bytes = bytesOf(outputs);
    const out = memory.reserve((rows * bytes) / 4);
    kernel.multiply(x, inputs * 4, panels, bias, 0, out, bytes, rows, outputs, inputs);
    return out;
  }

  /**
   * A perceptron's answer to the row at `x`; the three rows behind it are computed with it, and left.
   * @param {Linear[]} layers
   * @param {number} x
   */
  function perceive(layers, x) {
    return layers.reduce((input, layer, index) => {
      const out = apply(layer, input, 4);
      if (index + 1 < layers.length) kernel.relu(out, 4 * layer.outputs);
      return out;
    }, x);
  }

  /** @param {number} x @param {number} y @param {number} count */
  function sum(x, y, count) {
    const out = memory.reserve(count);
    memory.numbers(out, count).set(memory.numbers(x, count));
    kernel.add(out, y, count);
    return out;
  }

  /** @param {number} tokens @param {number} rows @param {{weight: number, bias: number}} by */
  function normalize(tokens, rows, by) {
    kernel.normalize(tokens, row, rows, width, by.weight, by.bias, EPS);
  }

  return { shape, prepare, point };
}

/** Columns are computed in eights, so rows have room for them. @param {number} columns */
function bytesOf(columns) {
  return Math.ceil(columns / 8) * 32;
}
