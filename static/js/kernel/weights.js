// @ts-check
/**
 * The decoder's weights as the kernel multiplies with them, read under Meta's names.
 *
 * Sizes: C channels of tokens and cells, D of attention between them (C / 2), n cells, all or a team member's part. A
 * weight is outputs x inputs, as in PyTorch, and is packed for `x . its transpose`.
 */

/** @import { TensorFile } from '../server/protocol.js' */
/** @import { Memory } from './memory.js' */
import { toFloat32 } from '../server/protocol.js';

/** @typedef {{panels: number, bias: number, inputs: number, outputs: number}} Linear */
/** @typedef {{weight: number, bias: number}} Norm addresses */

/**
 * A projection of the cells. `rest` is what all cells get besides: the bias, the projection of the bias that the last
 * normalisation added and, where positions are seen too, theirs: one row, or a row for each cell.
 * @typedef {Linear & {rest: number, restStride: number}} View
 */

/** @typedef {ReturnType<typeof readShape>} Shape */
/** @typedef {ReturnType<typeof readWeights>} Weights */
/** @typedef {Weights['blocks'][number]} Block */

export const MASKS = 4;
const TRANSFORMER = 'mask_decoder.transformer';

/**
 * @param {any} config the model's, as stored with its weights
 * @param {{rank: number, size: number}} part of the picture's rows that this kernel has
 * @throws {Error} for a decoder of a shape that the kernel does not know; the graph serves it
 */
export function readShape({ image_encoder: encoder, mask_decoder: decoder }, { rank, size }) {
  const inputHw = [encoder.img_size, encoder.img_size].flat().slice(0, 2);
  const [rows, columns] = inputHw.map((side) => side / (encoder.patch_size ?? 16));
  const [firstRow, endRow] = [rank, rank + 1].map((part) => Math.floor((rows * part) / size));
  const width = decoder.width ?? encoder.out_chans;
  const shape = {
    width, // C
    inner: width / 2, // D
    heads: decoder.num_heads,
    headDepth: width / 2 / decoder.num_heads,
    blocks: decoder.depth,
    iouLayers: decoder.iou_head_depth,
    inputHw,
    rows,
    columns,
    firstRow,
    ownRows: endRow - firstRow,
    cells: (endRow - firstRow) * columns, // n
  };
  const whole = [width / 32, shape.headDepth / 16, decoder.mlp_dim / 8, decoder.iou_head_hidden_dim / 8, shape.cells / 4];
  if (decoder.num_multimask_outputs !== MASKS - 1 || !whole.every(Number.isInteger))
    throw new Error(`The kernel does not know a decoder of the shape ${JSON.stringify(decoder)}.`);
  return shape;
}

/**
 * @param {any} kernel the exports of static/kernels/decoder.ts
 * @param {Memory} memory
 * @param {TensorFile} file
 * @param {Shape} shape
 */
export function readWeights(kernel, memory, { tensors }, shape) {
  const { width, inner, heads, headDepth, cells } = shape;

  /** @param {string} name */
  function tensor(name) {
    if (!tensors[name]) throw new Error(`The kernel's weights hold no tensor named ${name}.`);
    return toFloat32(tensors[name]);
  }

  /**
   * @param {Float32Array} values
   * @param {Float32Array} bias
   * @returns {Linear}
   */
  function pack(values, bias) {
    const outputs = bias.length;
    const inputs = values.length / outputs;
    const columns = Math.ceil(outputs / 8) * 8;
    const start = new Float32Array(columns);
    start.set(bias);
    const [panels, at] = [memory.reserve(columns * inputs), memory.put(start)];
    const mark = memory.mark();
    kernel.pack(memory.put(values), inputs * 4, inputs, outputs, true, panels);
    memory.release(mark);
    return { panels, bias: at, inputs, outputs };
  }

  /** @param {string} name */
  const linear = (name) => pack(tensor(`${name}.weight`), tensor(`${name}.bias`));

  /** @param {string} name @returns {Norm} */
  const norm = (name) => ({ weight: memory.put(tensor(`${name}.weight`)), bias: memory.put(tensor(`${name}.bias`)) });

  /** @param {string} name @param {number} layers */
  const perceptron = (name, layers) => Array.from({ length: layers }, (_, i) => linear(`${name}.layers.${i}`));

  /** @param {string} name */
  function attention(name) {
    const [q, k, v, out] = ['q_proj', 'k_proj', 'v_proj', 'out_proj'].map((part) => linear(`${name}.${part}`));
    return { q, k, v, out };
  }

  const gaussian = tensor('prompt_encoder.pe_layer.positional_encoding_gaussian_matrix');
  const positions = memory.put(gridPositions(gaussian, shape));
  const cellNorms = Array.from({ length: shape.blocks }, (_, i) => ({
    weight: tensor(`${TRANSFORMER}.layers.${i}.norm4.weight`),
    bias: tensor(`${TRANSFORMER}.layers.${i}.norm4.bias`),
  }));

  /**
   * @param {Float32Array} values
   * @param {Float32Array} bias
   * @param {number} index of the block before which the cells are seen
   * @returns {View}
   */
  function view(values, bias, index) {
    const rest = index ? plusProduct(bias, values, cellNorms[index - 1].bias) : bias;
    const packed = pack(values, rest);
    return { ...packed, rest: packed.bias, restStride: 0 };
  }

  /** @param {string} name @param {number} index */
  const plainView = (name, index) => view(tensor(`${name}.weight`), tensor(`${name}.bias`), index);

  /** @param {string} name @param {number} index @returns {View} */
  function locatedView(name, index) {
    const { rest: start, ...packed } = plainView(name, index);
    const bytes = packed.outputs * 4;
    const rest = memory.reserve(cells * packed.outputs);
    kernel.multiply(positions, width * 4, packed.panels, start, 0, rest, bytes, cells, packed.outputs, width);
    return { ...packed, rest, restStride: bytes };
  }

  /**
   * What each head gives of a token's values: the output projection, a head at a time, without its bias.
   * @param {string} name
   */
  function offers(name) {
    const values = tensor(`${name}.weight`); // C x D
    return Array.from({ length: heads }, (_, head) => {
      const part = Float32Array.from({ length: width * headDepth }, (_, i) => {
        return values[Math.floor(i / headDepth) * inner + head * headDepth + (i % headDepth)];
      });
      return pack(part, new Float32Array(width));
    });
  }

  /**
   * What cells would look at to find themselves in the offers of block `of`, carried on to block `index`: the columns
   * of the output projection, and behind them what every cell gets with the last token's offer.
   * @param {number} of
   * @param {number} index
   */
  function likeness(of, index) {
    const name = `${TRANSFORMER}.layers.${of}.cross_attn_image_to_token.out_proj`;
    const values = tensor(`${name}.weight`); // C x D
    const bias = tensor(`${name}.bias`);
    const lines = Float32Array.from({ length: (inner + 1) * width }, (_, i) => {
      const [line, channel] = [Math.floor(i / width), i % width];
      if (line < inner) return values[channel * inner + line];
      return bias[channel] + (of ? cellNorms[of - 1].bias[channel] : 0);
    });
    for (const { weight } of cellNorms.slice(of, index)) centreLines(lines, weight);
    return pack(lines, new Float32Array(inner + 1));
  }

  /** @param {number} index */
  function block(index) {
    const at = `${TRANSFORMER}.layers.${index}`;
    const [look, absorb] = [`${at}.cross_attn_token_to_image`, `${at}.cross_attn_image_to_token`];
    return {
      self: attention(`${at}.self_attn`),
      look: { q: linear(`${look}.q_proj`), out: linear(`${look}.out_proj`) },
      mlp: { first: linear(`${at}.mlp.lin1`), second: linear(`${at}.mlp.lin2`) },
      absorb: {
        k: linear(`${absorb}.k_proj`),
        v: linear(`${absorb}.v_proj`),
        out: linear(`${absorb}.out_proj`),
        offers: offers(`${absorb}.out_proj`),
      },
      views: {
        k: locatedView(`${look}.k_proj`, index),
        v: plainView(`${look}.v_proj`, index),
        q: locatedView(`${absorb}.q_proj`, index),
      },
      likenesses: Array.from({ length: index + 1 }, (_, of) => likeness(of, index)),
      norms: [1, 2, 3, 4].map((i) => norm(`${at}.norm${i}`)),
    };
  }

  /**
   * A transposed convolution of kernel and stride 2 is a product: C x C' x 2 x 2 -> (quarters * C') x C.
   * @param {string} name
   * @returns {[values: Float32Array, bias: Float32Array]}
   */
  function growth(name) {
    const [values, bias] = [tensor(`${name}.weight`), tensor(`${name}.bias`)];
    const outputs = bias.length;
    const inputs = values.length / (4 * outputs);
    const turned = Float32Array.from(values, (_, i) => {
      const [line, input] = [Math.floor(i / inputs), i % inputs];
      return values[(input * outputs + (line % outputs)) * 4 + Math.floor(line / outputs)];
    });
    return [turned, Float32Array.from({ length: 4 * outputs }, (_, i) => bias[i % outputs])];
  }

  const upscaling = 'mask_decoder.output_upscaling';
  const final = `${TRANSFORMER}.final_attn_token_to_image`;
  return {
    gaussian,
    ownTokens: [...tensor('mask_decoder.iou_token.weight'), ...tensor('mask_decoder.mask_tokens.weight')],
    pointKinds: Array.from({ length: 4 }, (_, i) => tensor(`prompt_encoder.point_embeddings.${i}.weight`)),
    padding: tensor('prompt_encoder.not_a_point_embed.weight'),
    blocks: Array.from({ length: shape.blocks }, (_, i) => block(i)),
    final: {
      look: { q: linear(`${final}.q_proj`), out: linear(`${final}.out_proj`) },
      views: { k: locatedView(`${final}.k_proj`, shape.blocks), v: plainView(`${final}.v_proj`, shape.blocks) },
      norm: norm(`${TRANSFORMER}.norm_final_attn`),
    },
    upscaling: {
      first: view(...growth(`${upscaling}.0`), shape.blocks),
      norm: norm(`${upscaling}.1`),
      second: pack(...growth(`${upscaling}.3`)),
    },
    hypernetworks: Array.from({ length: MASKS }, (_, i) =>
      perceptron(`mask_decoder.output_hypernetworks_mlps.${i}`, 3),
    ),
    iouHead: perceptron('mask_decoder.iou_prediction_head', shape.iouLayers),
    zeros: memory.zeros(4 * width + 8),
    ones: memory.put(new Float32Array(width).fill(1)),
  };
}

/**
 * Random Fourier features of a position in [0, 1]: sines, then cosines.
 * @param {Float32Array} gaussian 2 x half
 * @param {number} x
 * @param {number} y
 * @param {Float32Array} out 2 * half
 */
export function encodePosition(gaussian, x, y, out) {
  const half = gaussian.length / 2;
  for (let i = 0; i < half; i += 1) {
    const phase = 2 * Math.PI * ((2 * x - 1) * gaussian[i] + (2 * y - 1) * gaussian[half + i]);
    out[i] = Math.sin(phase);
    out[half + i] = Math.cos(phase);
  }
}

/**
 * The positions of the cells, n x C.
 * @param {Float32Array} gaussian
 * @param {Shape} shape
 */
function gridPositions(gaussian, { width, rows, columns, firstRow, cells }) {
  const values = new Float32Array(cells * width);
  for (let cell = 0; cell < cells; cell += 1) {
    const [x, y] = [(cell % columns) + 0.5, firstRow + Math.floor(cell / columns) + 0.5];
    encodePosition(gaussian, x / columns, y / rows, values.subarray(cell * width, (cell + 1) * width));
  }
  return values;
}

/**
 * bias + W x.
 * @param {Float32Array} bias
 * @param {Float32Array} values W, outputs x inputs
 * @param {Float32Array} x
 */
function plusProduct(bias, values, x) {
  return bias.map((start, i) => x.reduce((total, value, c) => total + value * values[i * x.length + c], start));
}

/**
 * Every line less its mean, times `weight`, in place.
 * @param {Float32Array} lines
 * @param {Float32Array} weight
 */
function centreLines(lines, weight) {
  const width = weight.length;
  for (let start = 0; start < lines.length; start += width) {
    const line = lines.subarray(start, start + width);
    const mean = line.reduce((total, value) => total + value, 0) / width;
    line.forEach((value, i) => (line[i] = (value - mean) * weight[i]));
  }
}
