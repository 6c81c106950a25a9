// @ts-check
/**
 * The mask decoder's `point` on a WebAssembly kernel: the same function as the `point` graph, a few times faster.
 *
 * Exact algebra. Cells (rows of the picture, n x C) are never projected for a prompt. Layer normalisation centres a
 * row, divides it by its deviation and weighs its channels; the first and the last step are linear, so after every
 * block a cell is still a scaled linear image of the picture's cell plus a few coefficients times token rows:
 *
 *     cells = s * (X A) + F O + c      X picture (n x C), A (C x C) fixed, s (n), F (n x m), O (m x C), c (C)
 *
 * Any projection W of the cells is then s * (X A W) + F (O W) + c W: X A W once per picture, O W for a few rows, and
 * per prompt only the product with F, m numbers a cell instead of C. F holds what each cell takes from the tokens; its
 * shares sum to 1 in every head, so the last token's follow from the others', and every block adds
 * heads * (tokens - 1) + 1 columns. `sam/hover.py` has the graph's algebra; the names of the weights are Meta's.
 */

/** @import { TensorFile } from './protocol.js' */
import { toFloat32 } from './protocol.js';

/** @typedef {{logits: Float32Array<ArrayBuffer>, iou: Float32Array<ArrayBuffer>}} Answer */
/** @typedef {{prepare: (cells: Float32Array) => void, point: (coords: Float32Array, labels: Float32Array) => Answer, bytes: () => number}} PointKernel */
/** @typedef {{panels: number, bias: number, inputs: number, outputs: number}} Linear a packed weight and its bias */
/** @typedef {{outputs: number, ofPicture: Linear, ofTokens: number, rest: number, restStride: number}} Consumer a projection of cells */
/** @typedef {{k: number, v: number, q: number}} Views projections of the picture's cells, n x inner width each */

const MASKS = 4;
const OWN_TOKENS = 1 + MASKS; // the IoU token, then one for each mask
const PADDING = -1;
const NOTHING = -1e30; // a score that softmax does not see, and that stays a number when it is scaled
const EPS = 1e-5;
const EPS_2D = 1e-6;
const PAGE = 65_536;
const CHUNK = 32; // cells that are upscaled together, so that their pixels stay in the cache

/**
 * @param {WebAssembly.Instance} instance of static/kernels/decoder.ts
 * @param {TensorFile} file the decoder's weights
 * @returns {PointKernel}
 */
export function createPointKernel({ exports }, { metadata, tensors }) {
  const kernel = /** @type {any} */ (exports);
  const shape = readShape(JSON.parse(metadata.config));
  const { width, inner, heads, cells: n, side } = shape;
  const row = width * 4;
  const innerRow = inner * 4;
  const depth = inner / heads;

  // --- memory: weights, then the picture's projections, then what one prompt needs, from `floor` on ---------------

  let top = PAGE;

  /** @param {number} count of float32 @returns {number} its address */
  function reserve(count) {
    const at = top;
    top += (count * 4 + 63) & ~63;
    const missing = top - kernel.memory.buffer.byteLength;
    if (missing > 0) kernel.memory.grow(Math.ceil(missing / PAGE));
    return at;
  }

  /** @param {number} at @param {number} count @returns {Float32Array<ArrayBuffer>} valid until memory grows */
  const numbers = (at, count) => new Float32Array(kernel.memory.buffer, at, count);

  /** @param {Float32Array} values */
  function put(values) {
    const at = reserve(values.length);
    numbers(at, values.length).set(values);
    return at;
  }

  /** @param {number} count */
  function zeros(count) {
    const at = reserve(count);
    numbers(at, count).fill(0);
    return at;
  }

  // --- weights ----------------------------------------------------------------------------------------------------

  /** @param {string} name */
  function weight(name) {
    const tensor = tensors[name];
    if (!tensor) throw new Error(`The kernel's weights hold no tensor named ${name}.`);
    return toFloat32(tensor);
  }

  /** @param {string} name */
  const parameter = (name) => put(weight(name));

  /**
   * Pack a weight (outputs x inputs) for `x . transpose of weight + bias`.
   * @param {Float32Array} values
   * @param {Float32Array} bias
   * @returns {Linear}
   */
  function packed(values, bias) {
    const outputs = bias.length;
    const inputs = values.length / outputs;
    const panels = reserve(Math.ceil(outputs / 8) * 8 * inputs);
    const mark = top;
    kernel.pack(put(values), inputs * 4, inputs, outputs, true, panels);
    top = mark;
    const padded = new Float32Array(Math.ceil(outputs / 8) * 8);
    padded.set(bias);
    return { panels, bias: put(padded), inputs, outputs };
  }

  /** @param {string} name */
  const linear = (name) => packed(weight(`${name}.weight`), weight(`${name}.bias`));

  /** @param {string} name */
  const norm = (name) => ({ weight: parameter(`${name}.weight`), bias: parameter(`${name}.bias`) });

  /** @param {string} name @param {number} layers */
  const perceptron = (name, layers) => Array.from({ length: layers }, (_, i) => linear(`${name}.layers.${i}`));

  const transformer = 'mask_decoder.transformer';
  const norms4 = Array.from({ length: shape.depth }, (_, i) => ({
    weight: weight(`${transformer}.layers.${i}.norm4.weight`),
    bias: weight(`${transformer}.layers.${i}.norm4.bias`),
  }));
  const none = put(new Float32Array(Math.max(width, shape.grown, shape.mlp) + 8));
  const positions = gridPositions();

  /**
   * One projection of the cells as they are before block `block`: W itself for token rows, A W for the picture, and
   * what neither changes, c W + bias, for all cells alike or, where their positions are seen too, for each.
   * @param {string} name of a linear layer
   * @param {number} block
   * @param {boolean} located
   */
  function consumer(name, block, located) {
    const [values, bias] = [weight(`${name}.weight`), weight(`${name}.bias`)];
    return consume(values, bias, block, located);
  }

  /** @param {Float32Array} values @param {Float32Array} bias @param {number} block @param {boolean} located */
  function consume(values, bias, block, located) {
    const outputs = bias.length;
    const constant = bias.slice();
    if (block > 0) addProduct(constant, values, norms4[block - 1].bias);
    const ofPicture = packed(foldNorms(values, norms4.slice(0, block), width), constant);
    if (!located) return { outputs, ofPicture, ofTokens: packed(values, bias).panels, rest: ofPicture.bias, restStride: 0 };
    const plain = packed(values, constant);
    const rest = reserve(n * outputs);
    kernel.multiply(positions, row, plain.panels, plain.bias, 0, rest, outputs * 4, n, outputs, width);
    return { outputs, ofPicture, ofTokens: plain.panels, rest, restStride: outputs * 4 };
  }

  /** @param {number} index */
  function readBlock(index) {
    const at = `${transformer}.layers.${index}`;
    const [look, absorb] = [`${at}.cross_attn_token_to_image`, `${at}.cross_attn_image_to_token`];
    return {
      self: attention(`${at}.self_attn`),
      look: { q: linear(`${look}.q_proj`), out: linear(`${look}.out_proj`) },
      absorb: { k: linear(`${absorb}.k_proj`), v: linear(`${absorb}.v_proj`), out: linear(`${absorb}.out_proj`), offers: offers(`${absorb}.out_proj`) },
      seen: {
        k: consumer(`${look}.k_proj`, index, true),
        v: consumer(`${look}.v_proj`, index, false),
        q: consumer(`${absorb}.q_proj`, index, true),
      },
      mlp: [linear(`${at}.mlp.lin1`), linear(`${at}.mlp.lin2`)],
      norm1: norm(`${at}.norm1`),
      norm2: norm(`${at}.norm2`),
      norm3: norm(`${at}.norm3`),
      norm4: norm(`${at}.norm4`),
    };
  }

  /** @param {string} name */
  function attention(name) {
    const [q, k, v, out] = ['q_proj', 'k_proj', 'v_proj', 'out_proj'].map((part) => linear(`${name}.${part}`));
    return { q, k, v, out };
  }

  /** What each head gives of a token's values: the output projection by heads, without its bias. @param {string} name */
  function offers(name) {
    const values = weight(`${name}.weight`);
    const unbiased = new Float32Array(width);
    return Array.from({ length: heads }, (_, head) => {
      const part = new Float32Array(width * depth);
      for (let i = 0; i < width; i += 1) part.set(values.subarray(i * inner + head * depth, i * inner + (head + 1) * depth), i * depth);
      return packed(part, unbiased);
    });
  }

  const points = {
    own: [...weight('mask_decoder.iou_token.weight'), ...weight('mask_decoder.mask_tokens.weight')],
    kinds: Array.from({ length: 4 }, (_, i) => weight(`prompt_encoder.point_embeddings.${i}.weight`)),
    padding: weight('prompt_encoder.not_a_point_embed.weight'),
  };
  const blocks = Array.from({ length: shape.depth }, (_, i) => readBlock(i));
  const last = `${transformer}.final_attn_token_to_image`;
  const final = {
    look: { q: linear(`${last}.q_proj`), out: linear(`${last}.out_proj`) },
    seen: { k: consumer(`${last}.k_proj`, shape.depth, true), v: consumer(`${last}.v_proj`, shape.depth, false) },
    norm: norm(`${transformer}.norm_final_attn`),
  };
  const growing = growth('mask_decoder.output_upscaling.0');
  const upscaling = {
    grow: consume(growing.values, growing.bias, shape.depth, false),
    norm: norm('mask_decoder.output_upscaling.1'),
    growAgain: packedGrowth('mask_decoder.output_upscaling.3'),
  };
  const hypernetworks = Array.from({ length: MASKS }, (_, i) => perceptron(`mask_decoder.output_hypernetworks_mlps.${i}`, 3));
  const iouHead = perceptron('mask_decoder.iou_prediction_head', shape.iouDepth);

  /** A transposed convolution of kernel and stride 2 as a product: its weight (quarters * C' x C) and bias. @param {string} name */
  function growth(name) {
    const values = weight(`${name}.weight`); // C x C' x 2 x 2
    const bias = weight(`${name}.bias`);
    const outputs = bias.length;
    const inputs = values.length / (4 * outputs);
    const turned = new Float32Array(values.length);
    for (let i = 0; i < inputs; i += 1) {
      for (let o = 0; o < outputs; o += 1) {
        for (let quarter = 0; quarter < 4; quarter += 1) {
          turned[(quarter * outputs + o) * inputs + i] = values[(i * outputs + o) * 4 + quarter];
        }
      }
    }
    return { values: turned, bias: Float32Array.from({ length: 4 * outputs }, (_, i) => bias[i % outputs]) };
  }

  /** @param {string} name */
  function packedGrowth(name) {
    const { values, bias } = growth(name);
    return packed(values, bias);
  }

  // --- the picture ------------------------------------------------------------------------------------------------

  const picture = {
    cells: reserve(n * width),
    blocks: blocks.map(({ seen }) => /** @type {Views} */ ({ k: room(seen.k), v: room(seen.v), q: room(seen.q) })),
    final: { k: room(final.seen.k), v: room(final.seen.v) },
    grown: room(upscaling.grow),
  };
  const floor = top;

  /** @param {{outputs: number}} of */
  function room({ outputs }) {
    return reserve(n * outputs);
  }

  /** @param {Float32Array} values n x C: the embedding, projected, with the dense prompt */
  function prepare(values) {
    numbers(picture.cells, n * width).set(values);
    blocks.forEach(({ seen }, index) => {
      const views = picture.blocks[index];
      for (const name of /** @type {const} */ (['k', 'v', 'q'])) see(seen[name], views[name], index === 0);
    });
    see(final.seen.k, picture.final.k, false);
    see(final.seen.v, picture.final.v, false);
    see(upscaling.grow, picture.grown, false);
  }

  /**
   * Before the first block nothing but the picture is seen, so the projection is complete; later the rest is added
   * after scaling.
   * @param {Consumer} of
   * @param {number} out
   * @param {boolean} complete
   */
  function see({ outputs, ofPicture, rest, restStride }, out, complete) {
    const [start, stride] = complete ? [rest, restStride] : [none, 0];
    kernel.multiply(picture.cells, row, ofPicture.panels, start, stride, out, outputs * 4, n, outputs, width);
  }

  // --- a prompt ---------------------------------------------------------------------------------------------------

  /** @param {Float32Array} coords x, y in pixels of the prompt frame @param {Float32Array} labels */
  function point(coords, labels) {
    top = floor;
    const count = OWN_TOKENS + labels.length;
    const rows = Math.ceil(count / 8) * 8; // rows beyond the tokens stay finite and are never read
    const prompts = zeros(rows * width);
    numbers(prompts, count * width).set(embed(coords, labels));
    const tokens = zeros(rows * width);
    numbers(tokens, count * width).set(numbers(prompts, count * width));
    const state = startingState(count, rows);

    blocks.forEach((block, index) => {
      lookAtEachOther(block, index === 0, tokens, prompts, state);
      lookAtCells(block.look, block.seen, picture.blocks[index], tokens, prompts, state);
      normalizeTokens(tokens, rows, block.norm2);
      const [hidden, out] = block.mlp;
      const between = apply(hidden, tokens, rows);
      kernel.relu(between, rows * hidden.outputs);
      kernel.add(tokens, apply(out, between, rows), rows * width);
      normalizeTokens(tokens, rows, block.norm3);
      absorb(block, picture.blocks[index].q, tokens, prompts, state);
    });
    lookAtCells(final.look, final.seen, picture.final, tokens, prompts, state);
    normalizeTokens(tokens, rows, final.norm);
    return { logits: paintMasks(tokens, state), iou: numbers(think(iouHead, tokens), MASKS).slice() };
  }

  /** @param {Float32Array} coords @param {Float32Array} labels */
  function embed(coords, labels) {
    const { gaussian, inputHw } = shape;
    const rows = new Float32Array((OWN_TOKENS + labels.length) * width);
    rows.set(points.own);
    labels.forEach((label, index) => {
      const place = rows.subarray((OWN_TOKENS + index) * width, (OWN_TOKENS + index + 1) * width);
      if (label === PADDING) place.set(points.padding);
      else encodePosition(gaussian, (coords[2 * index] + 0.5) / inputHw[1], (coords[2 * index + 1] + 0.5) / inputHw[0], place);
      points.kinds[label]?.forEach((value, i) => (place[i] += value));
    });
    return rows;
  }

  /** @typedef {ReturnType<typeof startingState>} State */

  /**
   * `coefficients` F (n x used), `rows` O (used x C) and `scale` s of the formula above, and `cells` written out, for
   * their deviation alone.
   * @param {number} count of tokens
   * @param {number} padded
   */
  function startingState(count, padded) {
    const most = shape.depth * (heads * (count - 1) + 1);
    return {
      count, padded, used: 0, block: 0,
      stride: (most + padded) * 4,
      coefficients: reserve(n * (most + padded)),
      rows: reserve((most + padded) * width),
      scale: reserve(n),
      cells: reserve(n * width),
      deviations: reserve(n),
      scores: reserve(n * heads * padded),
    };
  }

  /** @param {ReturnType<typeof readBlock>} block @param {boolean} first @param {number} tokens @param {number} prompts @param {State} state */
  function lookAtEachOther({ self, norm1 }, first, tokens, prompts, { count, padded }) {
    const located = first ? tokens : sumOf(tokens, prompts, padded * width);
    const [q, k, v] = [apply(self.q, located, padded), apply(self.k, located, padded), apply(self.v, tokens, padded)];
    const seen = zeros(padded * width);
    kernel.attend(q, k, v, row, count, heads, width / heads, seen, reserve(count));
    const answer = apply(self.out, seen, padded);
    if (first) numbers(tokens, padded * width).set(numbers(answer, padded * width));
    else kernel.add(tokens, answer, padded * width);
    normalizeTokens(tokens, padded, norm1);
  }

  /**
   * @param {{q: Linear, out: Linear}} look
   * @param {{k: Consumer, v: Consumer}} seen
   * @param {{k: number, v: number}} views of the picture
   * @param {number} tokens
   * @param {number} prompts
   * @param {State} state
   */
  function lookAtCells(look, seen, views, tokens, prompts, state) {
    const { padded, scores } = state;
    const across = heads * padded;
    const q = apply(look.q, sumOf(tokens, prompts, padded * width), padded);
    const scoresOf = scoring(seen.k, views.k, packHeads(q, padded), none, state);
    eachChunk((first, size) => scoresOf(first, size, scores + first * across * 4));
    const sums = reserve(across);
    kernel.softmaxDown(scores, across * 4, n, across, 1 / Math.sqrt(depth), sums);
    const answer = zeros(padded * inner);
    const valuesOf = project(seen.v, views.v, state);
    eachChunk((first, size) => {
      kernel.weigh(scores + first * across * 4, across * 4, valuesOf(first, size), innerRow, size, heads, padded, depth, answer, innerRow);
    });
    const [values, totals] = [numbers(answer, padded * inner), numbers(sums, across)];
    for (let t = 0; t < padded; t += 1) {
      for (let c = 0; c < inner; c += 1) values[t * inner + c] /= totals[Math.floor(c / depth) * padded + t];
    }
    kernel.add(tokens, apply(look.out, answer, padded), padded * width);
  }

  /** Token rows (padded x inner) as the right side of `score`. @param {number} tokens @param {number} padded */
  function packHeads(tokens, padded) {
    const panels = reserve(padded * inner);
    for (let c = 0; c < inner; c += depth) kernel.pack(tokens + c * 4, innerRow, depth, padded, true, panels + padded * c * 4);
    return panels;
  }

  /**
   * Cells take from the tokens: the state after the block.
   * @param {ReturnType<typeof readBlock>} block
   * @param {number} views of the picture
   * @param {number} tokens
   * @param {number} prompts
   * @param {State} state
   */
  function absorb({ absorb: by, norm4, seen }, views, tokens, prompts, state) {
    const { count, padded, stride, coefficients, rows, used, scores, cells, deviations } = state;
    const k = packHeads(apply(by.k, sumOf(tokens, prompts, padded * width), padded), padded);
    const absent = reserve(padded);
    numbers(absent, padded).fill(NOTHING).fill(0, 0, count);
    const added = offer(by, apply(by.v, tokens, padded), state);
    const panels = reserve(added * width);
    kernel.pack(rows + used * row, row, added, width, false, panels);
    const before = state.block ? cells : picture.cells;
    const scoresOf = scoring(seen.q, views, k, absent, state);
    eachChunk((first, size) => {
      const shares = coefficients + first * stride + used * 4;
      const chunk = cells + first * row;
      scoresOf(first, size, scores);
      kernel.softmaxGroups(scores, heads * padded * 4, size, heads, padded, count, 1 / Math.sqrt(depth), shares, stride);
      kernel.multiply(shares, stride, panels, before + first * row, row, chunk, row, size, width, added);
      kernel.normalize(chunk, row, size, width, norm4.weight, norm4.bias, EPS, deviations + first * 4);
      kernel.scaleRows(coefficients + first * stride, stride, size, used + added, deviations + first * 4);
    });
    advance(state, used + added, norm4.weight);
  }

  /**
   * New rows of O: what every head gives of every token but the last, less what it gives of the last one; then, for
   * all heads together, what the last one gives.
   * @param {{out: Linear, offers: Linear[]}} by
   * @param {number} values of the tokens
   * @param {State} state
   * @returns {number} how many
   */
  function offer({ out, offers }, values, { count, padded, rows, used }) {
    const common = apply(out, values + (count - 1) * innerRow, 4);
    const [all, others] = [numbers(values, count * inner), count - 1];
    const last = all.slice(others * inner);
    for (let i = 0; i < others * inner; i += 1) all[i] -= last[i % inner];
    offers.forEach(({ panels }, head) => {
      const to = rows + (used + head * others) * row;
      kernel.multiply(values + head * depth * 4, innerRow, panels, none, 0, to, row, padded, width, depth);
    });
    const added = heads * others;
    numbers(rows + (used + added) * row, width).set(numbers(common, width));
    return added + 1;
  }

  /** Carry F, O and s through the normalisation that the cells went through. @param {State} state @param {number} used @param {number} gain */
  function advance(state, used, gain) {
    const { rows, scale, deviations } = state;
    if (state.block) {
      kernel.scale(scale, deviations, n);
      kernel.add(rows + (used - 1) * row, put(norms4[state.block - 1].bias), width); // c joins the row that all cells share
    } else numbers(scale, n).set(numbers(deviations, n));
    state.used = used;
    kernel.centre(rows, row, used, width, gain);
    state.block += 1;
  }

  /**
   * A projection of the cells as they are now, a chunk at a time so that it stays in the cache.
   * @param {Consumer} of
   * @param {number} ofPicture
   * @param {State} state
   * @returns {(first: number, size: number) => number} the address of the chunk's rows, `of.outputs` numbers each
   */
  function project(of, ofPicture, state) {
    const { outputs, rest, restStride } = of;
    const bytes = outputs * 4;
    if (state.block === 0) return (first) => ofPicture + first * bytes;
    const panels = ofRows(of, state);
    const { coefficients, stride, scale, used } = state;
    const out = reserve(CHUNK * outputs);
    return (first, size) => {
      const [f, x] = [coefficients + first * stride, ofPicture + first * bytes];
      const [s, start] = [scale + first * 4, rest + first * restStride];
      kernel.multiplyScaled(f, stride, panels, s, x, bytes, start, restStride, out, bytes, size, outputs, used);
      return out;
    };
  }

  /**
   * How projected cells score against token rows, head by head; what tokens gave to cells is scored as m rows, so that
   * it never is projected for a cell.
   * @param {Consumer} of
   * @param {number} ofPicture
   * @param {number} panels of the token rows
   * @param {number} start of every head's scores
   * @param {State} state
   * @returns {(first: number, size: number, out: number) => void} rows of heads * padded scores
   */
  function scoring({ ofTokens, rest, restStride }, ofPicture, panels, start, { block, coefficients, rows, scale, stride, used, padded }) {
    const across = heads * padded;
    if (block === 0) return (first, size, out) => kernel.score(ofPicture + first * innerRow, innerRow, panels, start, size, heads, padded, depth, out);
    const count = Math.ceil(used / 4) * 4;
    const [given, scored] = [reserve(count * inner), reserve(count * across)];
    kernel.multiply(rows, row, ofTokens, none, 0, given, innerRow, count, inner, width);
    kernel.score(given, innerRow, panels, none, count, heads, padded, depth, scored);
    const scoredPanels = reserve(used * across);
    kernel.pack(scored, across * 4, used, across, false, scoredPanels);
    const views = reserve(CHUNK * inner);
    return (first, size, out) => {
      kernel.scaleAdd(ofPicture + first * innerRow, innerRow, scale + first * 4, rest + first * restStride, restStride, views, innerRow, size, inner);
      kernel.score(views, innerRow, panels, start, size, heads, padded, depth, out);
      kernel.multiply(coefficients + first * stride, stride, scoredPanels, out, across * 4, out, across * 4, size, across, used);
    };
  }

  /** @param {(first: number, size: number) => void} visit */
  function eachChunk(visit) {
    for (let first = 0; first < n; first += CHUNK) visit(first, Math.min(CHUNK, n - first));
  }

  /** O W, packed. @param {Consumer} of @param {State} state */
  function ofRows({ outputs, ofTokens }, { rows, used }) {
    const padded = Math.ceil(used / 4) * 4;
    const product = reserve(padded * outputs);
    kernel.multiply(rows, row, ofTokens, none, 0, product, outputs * 4, padded, outputs, width);
    const panels = reserve(used * outputs);
    kernel.pack(product, outputs * 4, used, outputs, false, panels);
    return panels;
  }

  /** @param {number} tokens @param {State} state */
  function paintMasks(tokens, state) {
    const { grow, norm: between, growAgain } = upscaling;
    const channels = growAgain.outputs / 4;
    const weights = put(Float32Array.from(hypernetworks.flatMap((mlp, i) => [...numbers(think(mlp, tokens + (1 + i) * row), channels)])));
    const quarter = grow.outputs / 4;
    const pixels = reserve(CHUNK * 4 * growAgain.outputs);
    const out = reserve(MASKS * 16 * n);
    const quartersOf = project(grow, picture.grown, state);
    eachChunk((first, size) => {
      const quarters = quartersOf(first, size);
      kernel.normalizeGelu(quarters, size * 4, quarter, between.weight, between.bias, EPS_2D);
      kernel.multiply(quarters, quarter * 4, growAgain.panels, growAgain.bias, 0, pixels, growAgain.outputs * 4, size * 4, growAgain.outputs, quarter);
      kernel.paint(pixels, first, size, channels, weights, side.width, side.height, out);
    });
    return numbers(out, MASKS * 16 * n).slice();
  }

  // --- small parts ------------------------------------------------------------------------------------------------

  /** @param {Linear} of @param {number} x @param {number} rows a multiple of 4 */
  function apply({ panels, bias, inputs, outputs }, x, rows) {
    const stride = Math.ceil(outputs / 8) * 32;
    const out = reserve((rows * stride) / 4);
    kernel.multiply(x, inputs * 4, panels, bias, 0, out, stride, rows, outputs, inputs);
    return out;
  }

  /** The answer of a perceptron to the row at `x`; the rows behind it are computed and left. @param {Linear[]} layers @param {number} x */
  function think(layers, x) {
    return layers.reduce((input, layer, index) => {
      const out = apply(layer, input, 4);
      if (index + 1 < layers.length) kernel.relu(out, 4 * layer.outputs);
      return out;
    }, x);
  }

  /** @param {number} x @param {number} y @param {number} count */
  function sumOf(x, y, count) {
    const out = reserve(count);
    numbers(out, count).set(numbers(x, count));
    kernel.add(out, y, count);
    return out;
  }

  /** @param {number} tokens @param {number} rows @param {{weight: number, bias: number}} by */
  function normalizeTokens(tokens, rows, by) {
    kernel.normalize(tokens, row, rows, width, by.weight, by.bias, EPS, 0);
  }

  /** The positions of all cells, n x C. */
  function gridPositions() {
    const values = new Float32Array(n * width);
    shape.gaussian = weight('prompt_encoder.pe_layer.positional_encoding_gaussian_matrix');
    for (let cell = 0; cell < n; cell += 1) {
      const [x, y] = [(cell % side.width) + 0.5, Math.floor(cell / side.width) + 0.5];
      encodePosition(shape.gaussian, x / side.width, y / side.height, values.subarray(cell * width, (cell + 1) * width));
    }
    return put(values);
  }

  return { prepare, point, bytes: () => kernel.memory.buffer.byteLength };
}

/**
 * Random Fourier features of a position in [0, 1]: sines, then cosines.
 * @param {Float32Array} gaussian 2 x half
 * @param {number} x
 * @param {number} y
 * @param {Float32Array} out 2 * half
 */
function encodePosition(gaussian, x, y, out) {
  const half = gaussian.length / 2;
  for (let i = 0; i < half; i += 1) {
    const phase = 2 * Math.PI * ((2 * x - 1) * gaussian[i] + (2 * y - 1) * gaussian[half + i]);
    out[i] = Math.sin(phase);
    out[half + i] = Math.cos(phase);
  }
}

/**
 * A W for the transposed weight (outputs x C): each normalisation, the last one first, weighs channels and centres.
 * @param {Float32Array} values
 * @param {readonly {weight: Float32Array}[]} norms
 * @param {number} width
 */
function foldNorms(values, norms, width) {
  const folded = Float64Array.from(values);
  for (const { weight } of [...norms].reverse()) {
    for (let start = 0; start < folded.length; start += width) {
      const line = folded.subarray(start, start + width);
      line.forEach((value, i) => (line[i] = value * weight[i]));
      const mean = line.reduce((total, value) => total + value) / width;
      line.forEach((value, i) => (line[i] = value - mean));
    }
  }
  return Float32Array.from(folded);
}

/** sums += W x. @param {Float32Array} sums @param {Float32Array} values sums.length x x.length @param {Float32Array} x */
function addProduct(sums, values, x) {
  for (let i = 0; i < sums.length; i += 1) {
    let total = 0;
    for (let c = 0; c < x.length; c += 1) total += values[i * x.length + c] * x[c];
    sums[i] += total;
  }
}

/** @param {any} config the model's, as stored with its weights */
function readShape({ image_encoder: encoder, mask_decoder: decoder }) {
  const width = decoder.width ?? encoder.out_chans;
  const inputHw = [encoder.img_size].flat().length === 2 ? encoder.img_size : [encoder.img_size, encoder.img_size];
  const stride = encoder.patch_size ?? 16;
  const side = { height: inputHw[0] / stride, width: inputHw[1] / stride };
  return {
    width, inner: width / 2, heads: decoder.num_heads, depth: decoder.depth, mlp: decoder.mlp_dim, iouDepth: decoder.iou_head_depth,
    grown: width, inputHw, side, cells: side.height * side.width, gaussian: new Float32Array(0),
  };
}
