/**
 * The loops of the mask decoder that are worth a kernel: products of matrices, softmax, normalisation, upscaling.
 *
 * AssemblyScript, compiled twice: with relaxed SIMD, whose fused multiply-add doubles the products per instruction, and
 * without it. `static/js/kernel/point-kernel.js` decides what is multiplied with what; nothing here knows the model.
 *
 * All numbers are float32; pointers and strides are bytes; matrices are rows of numbers, `stride` from row to row.
 * A matrix on the right of a product is packed: panels of 8 columns, in each the rows one after another, zeros beyond
 * the last column, so that the innermost loop reads it from front to back.
 */

const ROW_BLOCK: i32 = 32; // rows of the left matrix that stay in the first cache while all panels pass by

// --- products ---------------------------------------------------------------------------------------------------

// @ts-ignore: decorators belong to AssemblyScript
@inline
function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Pack `source` (rows x columns), or its transpose where `source` is (columns x rows). */
export function pack(source: usize, stride: usize, rows: i32, columns: i32, transposed: bool, target: usize): void {
  for (let j = 0; j < columns; j += 8) {
    for (let i = 0; i < rows; i++) {
      for (let c = j; c < j + 8; c++, target += 4) {
        const from = transposed
          ? source + <usize>c * stride + <usize>(i << 2)
          : source + <usize>i * stride + <usize>(c << 2);
        store<f32>(target, c < columns ? load<f32>(from) : 0);
      }
    }
  }
}

/** out (m x n) = start + a (m x k) . b (packed, k x n), as `multiplyScaled` where no row is scaled. */
export function multiply(
  a: usize,
  aStride: usize,
  b: usize,
  start: usize,
  startStride: usize,
  out: usize,
  outStride: usize,
  m: i32,
  n: i32,
  k: i32,
): void {
  multiplyScaled(a, aStride, b, 0, 0, 0, start, startStride, out, outStride, m, n, k);
}

/**
 * out (m x n) = scale of its row * x + start + a (m x k) . b (packed, k x n); without x where `scales` is 0. m is a
 * multiple of 4, columns are computed in eights. `startStride` 0 repeats one row, a bias; `start` may be `out` itself.
 */
export function multiplyScaled(
  a: usize,
  aStride: usize,
  b: usize,
  scales: usize,
  x: usize,
  xStride: usize,
  start: usize,
  startStride: usize,
  out: usize,
  outStride: usize,
  m: i32,
  n: i32,
  k: i32,
): void {
  const panelBytes = (<usize>k) << 5,
    depth = (<usize>k) << 2;
  for (let block = 0; block < m; block += ROW_BLOCK) {
    const last = min(m, block + ROW_BLOCK);
    for (let j = 0; j < n; j += 8) {
      const panel = b + <usize>(j >> 3) * panelBytes,
        column = (<usize>j) << 2;
      for (let i = block; i < last; i += 4) {
        const a0 = a + <usize>i * aStride,
          a1 = a0 + aStride,
          a2 = a1 + aStride,
          a3 = a2 + aStride;
        let from = start + <usize>i * startStride + column;
        let c00 = v128.load(from),
          c01 = v128.load(from, 16);
        from += startStride;
        let c10 = v128.load(from),
          c11 = v128.load(from, 16);
        from += startStride;
        let c20 = v128.load(from),
          c21 = v128.load(from, 16);
        from += startStride;
        let c30 = v128.load(from),
          c31 = v128.load(from, 16);
        if (scales) {
          let s = scales + <usize>(i << 2),
            at = x + <usize>i * xStride + column;
          let factor = v128.load32_splat(s);
          c00 = madd(factor, v128.load(at), c00);
          c01 = madd(factor, v128.load(at, 16), c01);
          factor = v128.load32_splat(s, 4);
          at += xStride;
          c10 = madd(factor, v128.load(at), c10);
          c11 = madd(factor, v128.load(at, 16), c11);
          factor = v128.load32_splat(s, 8);
          at += xStride;
          c20 = madd(factor, v128.load(at), c20);
          c21 = madd(factor, v128.load(at, 16), c21);
          factor = v128.load32_splat(s, 12);
          at += xStride;
          c30 = madd(factor, v128.load(at), c30);
          c31 = madd(factor, v128.load(at, 16), c31);
        }
        let row = panel;
        for (let p: usize = 0; p < depth; p += 4, row += 32) {
          const b0 = v128.load(row),
            b1 = v128.load(row, 16);
          let value = v128.load32_splat(a0 + p);
          c00 = madd(value, b0, c00);
          c01 = madd(value, b1, c01);
          value = v128.load32_splat(a1 + p);
          c10 = madd(value, b0, c10);
          c11 = madd(value, b1, c11);
          value = v128.load32_splat(a2 + p);
          c20 = madd(value, b0, c20);
          c21 = madd(value, b1, c21);
          value = v128.load32_splat(a3 + p);
          c30 = madd(value, b0, c30);
          c31 = madd(value, b1, c31);
        }
        let to = out + <usize>i * outStride + column;
        v128.store(to, c00);
        v128.store(to, c01, 16);
        to += outStride;
        v128.store(to, c10);
        v128.store(to, c11, 16);
        to += outStride;
        v128.store(to, c20);
        v128.store(to, c21, 16);
        to += outStride;
        v128.store(to, c30);
        v128.store(to, c31, 16);
      }
    }
  }
}

/** out (rows x columns) = scale of its row * x + y; `yStride` 0 repeats one row. Columns are a multiple of 4. */
export function scaleAdd(
  x: usize,
  xStride: usize,
  scale: usize,
  y: usize,
  yStride: usize,
  out: usize,
  outStride: usize,
  rows: i32,
  columns: i32,
): void {
  const width = (<usize>columns) << 2;
  for (let i = 0; i < rows; i++) {
    const s = v128.load32_splat(scale + <usize>(i << 2));
    for (let c: usize = 0; c < width; c += 16) v128.store(out + c, madd(s, v128.load(x + c), v128.load(y + c)));
    x += xStride;
    y += yStride;
    out += outStride;
  }
}

// --- functions of one number ------------------------------------------------------------------------------------

/**
 * e^x for x <= 0: 2^n times a polynomial on [-1/2, 1/2], fitted to a relative error of 2e-9. It ends at e^-80, so that
 * no product with it is denormal, which costs a hundred times as much.
 */
// @ts-ignore
@inline
function exp(x: v128): v128 {
  const t = f32x4.mul(f32x4.max(x, f32x4.splat(-80)), f32x4.splat(1.4426950408889634));
  const n = f32x4.nearest(t);
  const f = f32x4.sub(t, n);
  let p = madd(f, f32x4.splat(0.00015345810970757157), f32x4.splat(0.0013399932067841291));
  p = madd(f, p, f32x4.splat(0.009618489071726799));
  p = madd(f, p, f32x4.splat(0.05550328642129898));
  p = madd(f, p, f32x4.splat(0.24022646248340607));
  p = madd(f, p, f32x4.splat(0.6931471824645996));
  p = madd(f, p, f32x4.splat(1));
  return i32x4.add(p, i32x4.shl(i32x4.trunc_sat_f32x4_s(n), 23));
}

/**
 * GELU: x (1/2 + erf(x / sqrt 2) / 2), where the second term is z P(z^2) / Q(z^2) with z = x within -5.65 and 5.65, the
 * limits of single precision; fitted to an error of 1e-8.
 */
// @ts-ignore
@inline
function gelu(x: v128): v128 {
  const limit = f32x4.splat(5.656854152679443);
  const z = f32x4.max(f32x4.min(x, limit), f32x4.neg(limit));
  const u = f32x4.mul(z, z);
  let p = madd(u, f32x4.splat(2.181898040021224e-8), f32x4.splat(6.36489949101815e-6));
  p = madd(u, p, f32x4.splat(0.0001769392256392166));
  p = madd(u, p, f32x4.splat(0.004725910257548094));
  p = madd(u, p, f32x4.splat(0.03469236567616463));
  p = madd(u, p, f32x4.splat(0.3989422023296356));
  let q = madd(u, f32x4.splat(1.1712781997630373e-6), f32x4.splat(7.602301775477827e-5));
  q = madd(u, q, f32x4.splat(0.001930560334585607));
  q = madd(u, q, f32x4.splat(0.029119178652763367));
  q = madd(u, q, f32x4.splat(0.25362643599510193));
  q = madd(u, q, f32x4.splat(1.0));
  return f32x4.mul(x, f32x4.add(f32x4.splat(0.5), f32x4.div(f32x4.mul(z, p), q)));
}

/** The sum of the four numbers, in each place. */
// @ts-ignore
@inline
function sums(x: v128): v128 {
  const pairs = f32x4.add(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return f32x4.add(pairs, v128.shuffle<f32>(pairs, pairs, 1, 0, 3, 2));
}

// @ts-ignore
@inline
function sum(x: v128): f32 {
  return f32x4.extract_lane(sums(x), 0);
}

/** The largest of the four numbers, in each place. */
// @ts-ignore
@inline
function largest(x: v128): v128 {
  const pairs = f32x4.max(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return f32x4.max(pairs, v128.shuffle<f32>(pairs, pairs, 1, 0, 3, 2));
}

// --- attention --------------------------------------------------------------------------------------------------

/** most = max(most, every row of x): the largest of every column so far; columns are a multiple of 4. */
export function raise(x: usize, stride: usize, rows: i32, columns: i32, most: usize): void {
  for (let i = 0; i < rows; i++, x += stride) {
    for (let c: usize = 0; c < (<usize>columns) << 2; c += 16)
      v128.store(most + c, f32x4.max(v128.load(most + c), v128.load(x + c)));
  }
}

/** x = e^(scale (x - most of its column)), added to the columns' `sums`: softmax down the columns, a chunk of rows. */
export function exponentiate(
  x: usize,
  stride: usize,
  rows: i32,
  columns: i32,
  scale: f32,
  most: usize,
  sums: usize,
): void {
  const factor = f32x4.splat(scale);
  for (let i = 0; i < rows; i++, x += stride) {
    for (let c: usize = 0; c < (<usize>columns) << 2; c += 16) {
      const value = exp(f32x4.mul(f32x4.sub(v128.load(x + c), v128.load(most + c)), factor));
      v128.store(x + c, value);
      v128.store(sums + c, f32x4.add(v128.load(sums + c), value));
    }
  }
}

/**
 * For every head: out (size x depth) += transpose of its p (rows x size) . its v (rows x depth). Heads lie side by side
 * in all three; depth is a multiple of 16, size of 2.
 */
export function weigh(
  p: usize,
  pStride: usize,
  v: usize,
  vStride: usize,
  rows: i32,
  heads: i32,
  size: i32,
  depth: i32,
  out: usize,
  outStride: usize,
): void {
  for (let c = 0; c < heads * depth; c += 16) {
    const weights = p + <usize>(((c / depth) * size) << 2),
      column = (<usize>c) << 2;
    for (let i = 0; i < size; i += 2) {
      let to = out + <usize>i * outStride + column;
      let c00 = v128.load(to),
        c01 = v128.load(to, 16),
        c02 = v128.load(to, 32),
        c03 = v128.load(to, 48);
      const next = to + outStride;
      let c10 = v128.load(next),
        c11 = v128.load(next, 16),
        c12 = v128.load(next, 32),
        c13 = v128.load(next, 48);
      let from = weights + <usize>(i << 2),
        row = v + column;
      for (let n = 0; n < rows; n++, from += pStride, row += vStride) {
        const v0 = v128.load(row),
          v1 = v128.load(row, 16),
          v2 = v128.load(row, 32),
          v3 = v128.load(row, 48);
        let x = v128.load32_splat(from);
        c00 = madd(x, v0, c00);
        c01 = madd(x, v1, c01);
        c02 = madd(x, v2, c02);
        c03 = madd(x, v3, c03);
        x = v128.load32_splat(from, 4);
        c10 = madd(x, v0, c10);
        c11 = madd(x, v1, c11);
        c12 = madd(x, v2, c12);
        c13 = madd(x, v3, c13);
      }
      v128.store(to, c00);
      v128.store(to, c01, 16);
      v128.store(to, c02, 32);
      v128.store(to, c03, 48);
      v128.store(next, c10);
      v128.store(next, c11, 16);
      v128.store(next, c12, 32);
      v128.store(next, c13, 48);
    }
  }
}

/**
 * For every head: out (rows x size) = start + its views (rows x depth) . its panels (packed, depth x size), where size
 * is a multiple of 8. Heads lie side by side in views and out, one after another in panels.
 */
export function score(
  views: usize,
  viewsStride: usize,
  panels: usize,
  start: usize,
  rows: i32,
  heads: i32,
  size: i32,
  depth: i32,
  out: usize,
): void {
  const stride = (<usize>(heads * size)) << 2;
  for (let head = 0; head < heads; head++) {
    const from = views + <usize>((head * depth) << 2),
      to = out + <usize>((head * size) << 2);
    multiply(from, viewsStride, panels + <usize>((head * depth * size) << 2), start, 0, to, stride, rows, size, depth);
  }
}

/**
 * Softmax of every row's `groups` groups of `size` numbers (a multiple of 4), of which the first `used` count. Of these
 * all but the last go side by side to `out`: the last is 1 less the others. Behind them goes a 1; up to `size - used`
 * numbers more are overwritten.
 */
export function softmaxGroups(
  x: usize,
  stride: usize,
  rows: i32,
  groups: i32,
  size: i32,
  used: i32,
  scale: f32,
  out: usize,
  outStride: usize,
): void {
  const width = (<usize>size) << 2,
    factor = f32x4.splat(scale);
  for (let i = 0; i < rows; i++, x += stride, out += outStride) {
    let group = x,
      to = out;
    for (let g = 0; g < groups; g++, group += width, to += (<usize>(used - 1)) << 2) {
      let most = v128.load(group);
      for (let c: usize = 16; c < width; c += 16) most = f32x4.max(most, v128.load(group + c));
      const level = largest(most);
      let total = f32x4.splat(0);
      for (let c: usize = 0; c < width; c += 16) {
        const value = exp(f32x4.mul(f32x4.sub(v128.load(group + c), level), factor));
        v128.store(group + c, value);
        total = f32x4.add(total, value);
      }
      const share = f32x4.div(f32x4.splat(1), sums(total));
      for (let c: usize = 0; c < width; c += 16) v128.store(to + c, f32x4.mul(v128.load(group + c), share));
    }
    store<f32>(to, 1);
  }
}

/** Attention among the first `count` rows of q, k and v (each heads * depth wide): the few tokens with each other. */
export function attend(
  q: usize,
  k: usize,
  v: usize,
  stride: usize,
  count: i32,
  heads: i32,
  depth: i32,
  out: usize,
  scores: usize,
): void {
  const scale = <f32>(1 / Math.sqrt(depth)),
    width = (<usize>depth) << 2;
  for (let h: usize = 0; h < <usize>heads * width; h += width) {
    for (let i: usize = 0; i < <usize>count; i++) {
      let most: f32 = -Infinity;
      for (let j: usize = 0; j < <usize>count; j++) {
        let dot = f32x4.splat(0);
        for (let c = h; c < h + width; c += 16)
          dot = madd(v128.load(q + i * stride + c), v128.load(k + j * stride + c), dot);
        const score = sum(dot) * scale;
        most = max(most, score);
        store<f32>(scores + (j << 2), score);
      }
      let total: f32 = 0;
      for (let j: usize = 0; j < <usize>count; j++) {
        const value = f32x4.extract_lane(exp(f32x4.splat(load<f32>(scores + (j << 2)) - most)), 0);
        total += value;
        store<f32>(scores + (j << 2), value);
      }
      for (let c = h; c < h + width; c += 16) {
        let mean = f32x4.splat(0);
        for (let j: usize = 0; j < <usize>count; j++) {
          mean = madd(v128.load32_splat(scores + (j << 2)), v128.load(v + j * stride + c), mean);
        }
        v128.store(out + i * stride + c, f32x4.div(mean, f32x4.splat(total)));
      }
    }
  }
}

// --- rows -------------------------------------------------------------------------------------------------------

/** Layer normalisation of every row, in place. */
export function normalize(
  x: usize,
  stride: usize,
  rows: i32,
  columns: i32,
  weight: usize,
  bias: usize,
  eps: f32,
): void {
  const width = (<usize>columns) << 2;
  for (let i = 0; i < rows; i++, x += stride) {
    let total = f32x4.splat(0);
    for (let c: usize = 0; c < width; c += 16) total = f32x4.add(total, v128.load(x + c));
    const mean = f32x4.splat(sum(total) / <f32>columns);
    let squares = f32x4.splat(0);
    for (let c: usize = 0; c < width; c += 16) {
      const centred = f32x4.sub(v128.load(x + c), mean);
      squares = madd(centred, centred, squares);
    }
    const factor = f32x4.splat(1 / Mathf.sqrt(sum(squares) / <f32>columns + eps));
    for (let c: usize = 0; c < width; c += 16) {
      const unit = f32x4.mul(f32x4.sub(v128.load(x + c), mean), factor);
      v128.store(x + c, madd(unit, v128.load(weight + c), v128.load(bias + c)));
    }
  }
}

/** Every row less its mean, times `weight`, in place: what layer normalisation does to a term of a sum. */
export function centre(x: usize, stride: usize, rows: i32, columns: i32, weight: usize): void {
  const width = (<usize>columns) << 2;
  for (let i = 0; i < rows; i++, x += stride) {
    let total = f32x4.splat(0);
    for (let c: usize = 0; c < width; c += 16) total = f32x4.add(total, v128.load(x + c));
    const mean = f32x4.splat(sum(total) / <f32>columns);
    for (let c: usize = 0; c < width; c += 16) {
      v128.store(x + c, f32x4.mul(f32x4.sub(v128.load(x + c), mean), v128.load(weight + c)));
    }
  }
}

/** Row i times scale[i], in place; columns are computed in fours. */
export function scaleRows(x: usize, stride: usize, rows: i32, columns: i32, scale: usize): void {
  for (let i = 0; i < rows; i++, x += stride, scale += 4) {
    const factor = v128.load32_splat(scale);
    for (let c: usize = 0; c < (<usize>columns) << 2; c += 16) v128.store(x + c, f32x4.mul(v128.load(x + c), factor));
  }
}

/** out += the dot product of every row of x with the same row of y. */
export function dotRows(x: usize, xStride: usize, y: usize, yStride: usize, rows: i32, columns: i32, out: usize): void {
  const width = (<usize>columns) << 2,
    even = (<usize>(columns & ~3)) << 2;
  for (let i = 0; i < rows; i++, x += xStride, y += yStride, out += 4) {
    let dot = f32x4.splat(0);
    for (let c: usize = 0; c < even; c += 16) dot = madd(v128.load(x + c), v128.load(y + c), dot);
    let total = sum(dot);
    for (let c = even; c < width; c += 4) total += load<f32>(x + c) * load<f32>(y + c);
    store<f32>(out, load<f32>(out) + total);
  }
}

/**
 * out += twice scale * (y . what a cell takes from the tokens). It takes f[head * others + t] of token t's values, head
 * by head, and f[heads * others] of the last token's; the last of y's numbers goes with the latter alone.
 */
export function dotTaken(
  f: usize,
  fStride: usize,
  y: usize,
  yStride: usize,
  values: usize,
  others: i32,
  heads: i32,
  depth: i32,
  scales: usize,
  rows: i32,
  out: usize,
): void {
  const width = (<usize>depth) << 2,
    valuesStride = width * heads,
    step = (<usize>others) << 2,
    last = step * heads;
  for (let i = 0; i < rows; i++, f += fStride, y += yStride, out += 4) {
    const common = v128.load32_splat(f + last);
    let dot = f32x4.splat(0);
    for (let head: usize = 0, shares = f; head < valuesStride; head += width, shares += step) {
      for (let c = head; c < head + width; c += 16) {
        let value = values + c;
        let taken = f32x4.splat(0);
        for (let share = shares; share < shares + step; share += 4, value += valuesStride) {
          taken = madd(v128.load32_splat(share), v128.load(value), taken);
        }
        dot = madd(madd(common, v128.load(value), taken), v128.load(y + c), dot);
      }
    }
    const total = sum(dot) + load<f32>(f + last) * load<f32>(y + valuesStride);
    const scale: f32 = scales ? load<f32>(scales + <usize>(i << 2)) : 1;
    store<f32>(out, load<f32>(out) + 2 * scale * total);
  }
}

/** squares = 1 / sqrt(squares / columns + eps): from sums of squares to what normalisation multiplies with. */
export function invertDeviations(squares: usize, rows: i32, columns: i32, eps: f32): void {
  for (let i = 0; i < rows; i++, squares += 4) {
    store<f32>(squares, 1 / Mathf.sqrt(max(load<f32>(squares), 0) / <f32>columns + eps));
  }
}

/** x += y, x *= y, x = max(x, 0): `count` numbers, a multiple of 4, in place. */
export function add(x: usize, y: usize, count: i32): void {
  for (let c: usize = 0; c < (<usize>count) << 2; c += 16)
    v128.store(x + c, f32x4.add(v128.load(x + c), v128.load(y + c)));
}

export function scale(x: usize, y: usize, count: i32): void {
  for (let c: usize = 0; c < (<usize>count) << 2; c += 16)
    v128.store(x + c, f32x4.mul(v128.load(x + c), v128.load(y + c)));
}

export function relu(x: usize, count: i32): void {
  for (let c: usize = 0; c < (<usize>count) << 2; c += 16)
    v128.store(x + c, f32x4.max(v128.load(x + c), f32x4.splat(0)));
}

// --- upscaling --------------------------------------------------------------------------------------------------

/** Layer normalisation and GELU of every row, in place. */
export function normalizeGelu(x: usize, rows: i32, columns: i32, weight: usize, bias: usize, eps: f32): void {
  const width = (<usize>columns) << 2;
  normalize(x, width, rows, columns, weight, bias, eps);
  for (let at = x, end = x + <usize>rows * width; at < end; at += 16) v128.store(at, gelu(v128.load(at)));
}

/**
 * The last step for `cells` cells, from cell `first` on: GELU of their 16 pixels each (pixels: cells * 16 x channels),
 * weighed by four masks' `weights` (4 x channels), put into place in `out` (4 x 4 height x 4 width).
 */
export function paint(
  pixels: usize,
  first: i32,
  cells: i32,
  channels: i32,
  weights: usize,
  width: i32,
  height: i32,
  out: usize,
): void {
  const bytes = (<usize>channels) << 2,
    plane = (<usize>(width * height * 16)) << 2;
  for (let cell = first; cell < first + cells; cell++) {
    const corner = ((cell / width) * 16 * width + (cell % width) * 4) << 2;
    for (let k = 0; k < 16; k++, pixels += bytes) {
      let m0 = f32x4.splat(0),
        m1 = m0,
        m2 = m0,
        m3 = m0;
      for (let c: usize = 0, w = weights; c < bytes; c += 16, w += 16) {
        const value = gelu(v128.load(pixels + c));
        m0 = madd(value, v128.load(w), m0);
        m1 = madd(value, v128.load(w + bytes), m1);
        m2 = madd(value, v128.load(w + 2 * bytes), m2);
        m3 = madd(value, v128.load(w + 3 * bytes), m3);
      }
      // k counts quarters of quarters: its bits are y, x of the quarter, then y, x within it.
      const y = ((k >> 2) & 2) | ((k >> 1) & 1),
        x = ((k >> 1) & 2) | (k & 1);
      const to = out + <usize>(corner + ((y * 4 * width + x) << 2));
      store<f32>(to, sum(m0));
      store<f32>(to + plane, sum(m1));
      store<f32>(to + 2 * plane, sum(m2));
      store<f32>(to + 3 * plane, sum(m3));
    }
  }
}
