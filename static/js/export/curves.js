// @ts-check
/**
 * Smooth outlines: cubic Bézier curves through a traced ring, as few as a stated error in pixels allows.
 *
 * sam/curves.py is its twin and names the source. A curve is flat: start, two handles, end, x and y each.
 */

/** @import { Ring } from './polygons.js' */
import { simplify, smooth } from './polygons.js';

/** @typedef {number[]} Curve */
/** @typedef {[x: number, y: number]} Vector */

const CORNER = Math.cos((50 * Math.PI) / 180);
const IMPROVEMENTS = 4;
const FAR = 9;
const REACH = 3;

/**
 * @param {Ring} ring traced
 * @param {number} tolerance in pixels, above 0
 * @returns {{curves: Curve[], error: number}}
 */
export function fitRing(ring, tolerance) {
  const points = dense(smooth(ring));
  const count = points.length / 2;
  const breaks = corners(points);
  const isRound = breaks.length <= 1;
  if (breaks.length === 0) breaks.push(0);
  /** @type {Curve[]} */
  const curves = [];
  let furthest = 0;
  breaks.forEach((start, index) => {
    const end = breaks[index + 1] ?? breaks[0] + count;
    const length = 2 * (end - start + 1);
    const stretch = Float64Array.from({ length }, (_, i) => points[(2 * start + i) % points.length]);
    for (const { curve, error } of fit(stretch, isRound ? tangentAt(points, start) : null, tolerance * tolerance)) {
      curves.push(curve);
      furthest = Math.max(furthest, error);
    }
  });
  return { curves, error: Math.sqrt(furthest) };
}

/**
 * Closed curves as a ring.
 * @param {readonly Curve[]} curves
 * @param {number} [steps] of each
 * @returns {Ring}
 */
export function flattenCurves(curves, steps = 12) {
  const ring = new Float64Array(2 * steps * curves.length);
  curves.forEach((curve, index) => {
    for (let step = 0; step < steps; step += 1) ring.set(pointAt(curve, step / steps), 2 * (index * steps + step));
  });
  return ring;
}

/** @param {Curve} curve @param {number} t @returns {Vector} */
function pointAt([ax, ay, bx, by, cx, cy, dx, dy], t) {
  const s = 1 - t;
  const [a, b, c, d] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
  return [a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy];
}

/** Points no more than one pixel apart. @param {Ring} ring @returns {Ring} */
function dense(ring) {
  /** @type {number[]} */
  const points = [];
  for (let i = 0; i < ring.length; i += 2) {
    const [x, y] = [ring[i], ring[i + 1]];
    const [dx, dy] = [ring[(i + 2) % ring.length] - x, ring[(i + 3) % ring.length] - y];
    const pieces = Math.max(Math.ceil(Math.sqrt(dx * dx + dy * dy) - 1e-9), 1);
    for (let piece = 0; piece < pieces; piece += 1) points.push(x + dx * (piece / pieces), y + dy * (piece / pieces));
  }
  return Float64Array.from(points);
}

/** Indices of points where the ring turns sharply, in order. @param {Ring} points */
function corners(points) {
  const simple = simplify(points, 0.75).ring;
  const sharp = new Set();
  for (let i = 0; i < simple.length; i += 2) {
    const [before, after] = [(i + simple.length - 2) % simple.length, (i + 2) % simple.length];
    const [ax, ay] = [simple[i] - simple[before], simple[i + 1] - simple[before + 1]];
    const [bx, by] = [simple[after] - simple[i], simple[after + 1] - simple[i + 1]];
    const lengths = Math.sqrt((ax * ax + ay * ay) * (bx * bx + by * by));
    if (ax * bx + ay * by < CORNER * lengths) sharp.add(`${simple[i]},${simple[i + 1]}`);
  }
  const indices = Array.from({ length: points.length / 2 }, (_, i) => i);
  return indices.filter((i) => sharp.has(`${points[2 * i]},${points[2 * i + 1]}`));
}

/** Direction of travel at a point of a closed ring. @param {Ring} points @param {number} index */
function tangentAt(points, index) {
  const count = points.length / 2;
  return direction(points, (index - REACH + count * REACH) % count, (index + REACH) % count);
}

/** @param {Ring} points @param {number} from @param {number} to @returns {Vector} of length 1, or 0 */
function direction(points, from, to) {
  const [x, y] = [points[2 * to] - points[2 * from], points[2 * to + 1] - points[2 * from + 1]];
  const length = Math.sqrt(x * x + y * y);
  return length > 0 ? [x / length, y / length] : [0, 0];
}

/** @param {Vector} vector @returns {Vector} */
function opposite([x, y]) {
  return [-x, -y];
}

/**
 * Curves along points, in order, with their squared errors.
 * @param {Ring} points
 * @param {Vector | null} through the direction at both ends, if known
 * @param {number} most
 */
function fit(points, through, most) {
  const last = points.length / 2 - 1;
  const start = through ?? direction(points, 0, Math.min(REACH, last));
  const end = through ? opposite(through) : direction(points, last, Math.max(last - REACH, 0));
  const found = [];
  const stack = [{ first: 0, final: last, start, end }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const { first, final } = next;
    const { curve, error, worst } = fitOne(points.subarray(2 * first, 2 * final + 2), next.start, next.end, most);
    if (error <= most) {
      found.push({ curve, error });
      continue;
    }
    const middle = first + worst;
    const along = direction(points, Math.max(middle - REACH, first), Math.min(middle + REACH, final));
    stack.push({ first: middle, final, start: along, end: next.end });
    stack.push({ first, final: middle, start: next.start, end: opposite(along) });
  }
  return found;
}

/**
 * The best curve found along points, its squared error, and the point where that is, which is never an end.
 * @param {Ring} points
 * @param {Vector} start
 * @param {Vector} end
 * @param {number} most
 */
function fitOne(points, start, end, most) {
  const [ax, ay, bx, by] = [points[0], points[1], points[points.length - 2], points[points.length - 1]];
  const [stepX, stepY] = [(bx - ax) / 3, (by - ay) / 3];
  const straight = [ax, ay, ax + stepX, ay + stepY, bx - stepX, by - stepY, bx, by];
  if (points.length <= 4) return { curve: straight, error: 0, worst: 0 };
  const t = chordParameters(points);
  let best = { curve: straight, ...errorOf(points, straight, t) };
  for (let attempt = 0; attempt <= IMPROVEMENTS && best.error > most; attempt += 1) {
    const curve = leastSquares(points, t, start, end);
    const found = errorOf(points, curve, t);
    if (found.error < best.error) best = { curve, ...found };
    if (found.error > FAR * most) break;
    improve(points, curve, t);
  }
  return best;
}

/** Shares of the way along points, 0 to 1. @param {Ring} points */
function chordParameters(points) {
  const t = new Float64Array(points.length / 2);
  for (let i = 1; i < t.length; i += 1) {
    const [x, y] = [points[2 * i] - points[2 * i - 2], points[2 * i + 1] - points[2 * i - 1]];
    t[i] = t[i - 1] + Math.sqrt(x * x + y * y);
  }
  return t.map((value) => value / t[t.length - 1]);
}

/** @param {Ring} points @param {Curve} curve @param {Float64Array} t */
function errorOf(points, curve, t) {
  let [error, worst] = [-1, 0];
  for (let i = 1; i < t.length - 1; i += 1) {
    const [x, y] = pointAt(curve, t[i]);
    const found = (x - points[2 * i]) ** 2 + (y - points[2 * i + 1]) ** 2;
    if (found > error) [error, worst] = [found, i];
  }
  return { error, worst };
}

/**
 * The curve with these directions at its ends that lies nearest to points at parameters t.
 * @param {Ring} points
 * @param {Float64Array} t
 * @param {Vector} start
 * @param {Vector} end
 * @returns {Curve}
 */
function leastSquares(points, t, [ux, uy], [vx, vy]) {
  const [ax, ay, bx, by] = [points[0], points[1], points[points.length - 2], points[points.length - 1]];
  let [aa, ab, bb, ra, rb] = [0, 0, 0, 0, 0];
  t.forEach((at, i) => {
    const s = 1 - at;
    const [ahead, back] = [3 * s * s * at, 3 * s * at * at];
    const [near, far] = [s * s * s + ahead, back + at * at * at];
    const [x, y] = [points[2 * i] - (near * ax + far * bx), points[2 * i + 1] - (near * ay + far * by)];
    aa += ahead * ahead * (ux * ux + uy * uy);
    ab += ahead * back * (ux * vx + uy * vy);
    bb += back * back * (vx * vx + vy * vy);
    ra += ahead * (x * ux + y * uy);
    rb += back * (x * vx + y * vy);
  });
  const determinant = Math.max(aa * bb - ab * ab, 1e-12);
  const chord = Math.sqrt((bx - ax) ** 2 + (by - ay) ** 2);
  let [first, last] = [(ra * bb - rb * ab) / determinant, (rb * aa - ra * ab) / determinant];
  const isWild = Math.min(first, last) < 1e-3 * chord || Math.max(first, last) > 3 * t.length;
  if (isWild) first = last = chord / 3; // handles that point backwards or fly off make loops
  return [ax, ay, ax + first * ux, ay + first * uy, bx + last * vx, by + last * vy, bx, by];
}

/**
 * One Newton step of every parameter towards its point's foot on the curve, in place.
 * @param {Ring} points
 * @param {Curve} curve
 * @param {Float64Array} t
 */
function improve(points, curve, t) {
  const once = [0, 1, 2, 3, 4, 5].map((i) => 3 * (curve[i + 2] - curve[i]));
  const twice = [0, 1, 2, 3].map((i) => 2 * (once[i + 2] - once[i]));
  for (let i = 1; i < t.length - 1; i += 1) {
    const [u, s] = [t[i], 1 - t[i]];
    const [x, y] = pointAt(curve, u);
    const [awayX, awayY] = [x - points[2 * i], y - points[2 * i + 1]];
    const speedX = s * s * once[0] + 2 * s * u * once[2] + u * u * once[4];
    const speedY = s * s * once[1] + 2 * s * u * once[3] + u * u * once[5];
    const [bendX, bendY] = [s * twice[0] + u * twice[2], s * twice[1] + u * twice[3]];
    const slope = speedX * speedX + speedY * speedY + awayX * bendX + awayY * bendY;
    if (slope > 1e-12) t[i] = Math.min(Math.max(u - (awayX * speedX + awayY * speedY) / slope, 0), 1);
  }
}
