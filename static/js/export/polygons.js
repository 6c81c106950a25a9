// @ts-check
/**
 * Masks as polygons and back: rings along the pixels' edges, simplified within a stated error, and filled again.
 *
 * sam/polygons.py is its twin, to the last bit, and says why. A ring is flat: x, y, x, y, ... in picture pixels, closed
 * without repeating its first point. Outer rings run clockwise on the screen, holes the other way.
 */

/** @import { Crop } from './runs.js' */

/** @typedef {Float64Array} Ring */
/** @typedef {{polygons: Ring[][], error: number}} Outline each polygon an outer ring and its holes; error in pixels */
/** @typedef {'edges' | 'pixels'} Frame */

export const TOLERANCES = [1, 0.75, 0.6, 0.5, 0.35, 0];
export const LEAST_IOU = 0.997;
const INSET = 0.25;
/** Points of a ring that are compared together, or passed over together, when the nearest are looked for. */
const RUN = 64;

/** Directions: right, down, left, up; and the pixels to the right and left hand of an edge that starts at a corner. */
const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]];
const RIGHT_HAND = [[0, 0], [-1, 0], [-1, -1], [0, -1]];
const LEFT_HAND = [[0, -1], [0, 0], [-1, 0], [-1, -1]];

/**
 * Rings around a mask and its holes, exact, each from its topmost, then leftmost point on, and sorted by that.
 * @param {Crop} crop whose place is left out of account
 * @returns {Ring[]}
 */
export function trace({ data, width, height }) {
  const wide = width + 2;
  const padded = new Uint8Array(wide * (height + 2));
  for (let y = 0; y < height; y += 1) padded.set(data.subarray(y * width, (y + 1) * width), (y + 1) * wide + 1);
  const seen = new Uint8Array(padded.length);
  /** @type {Ring[]} */
  const rings = [];
  for (let at = wide; at < padded.length - wide; at += 1) {
    if (padded[at] === 0 || padded[at - wide] === 1 || seen[at] === 1) continue;
    rings.push(...split(follow(padded, seen, wide, (at % wide) - 1, Math.floor(at / wide) - 1)).map(fromTop));
  }
  return rings.sort((a, b) => a[1] - b[1] || a[0] - b[0]);
}

/**
 * Corners of one ring, from the corner above and left of a pixel.
 * @param {Uint8Array} padded
 * @param {Uint8Array} seen marks pixels whose upper side was passed
 * @param {number} wide
 * @param {number} startX
 * @param {number} startY
 */
function follow(padded, seen, wide, startX, startY) {
  const right = RIGHT_HAND.map(([dx, dy]) => (dy + 1) * wide + dx + 1);
  const left = LEFT_HAND.map(([dx, dy]) => (dy + 1) * wide + dx + 1);
  /** @type {number[]} */
  const points = [];
  let [x, y, direction, before] = [startX, startY, 0, 3];
  do {
    if (direction !== before) points.push(x, y);
    if (direction === 0) seen[(y + 1) * wide + x + 1] = 1;
    x += STEPS[direction][0];
    y += STEPS[direction][1];
    before = direction;
    direction = (direction + 1) % 4; // where two pixels touch at a corner, stay with the first
    while (!(padded[y * wide + x + right[direction]] === 1 && padded[y * wide + x + left[direction]] === 0)) {
      direction = (direction + 3) % 4;
    }
  } while (x !== startX || y !== startY || direction !== 0);
  return points;
}

/**
 * Simple rings of one that meets itself in points.
 * @param {number[]} points
 * @returns {number[][]}
 */
function split(points) {
  /** @type {number[][]} */
  const simple = [];
  /** @type {number[]} */
  const path = [];
  /** @type {Map<string, number>} */
  const places = new Map();
  for (let i = 0; i < points.length; i += 2) {
    const key = `${points[i]},${points[i + 1]}`;
    const place = places.get(key);
    if (place !== undefined) {
      const loop = path.splice(place);
      for (let j = 0; j < loop.length; j += 2) places.delete(`${loop[j]},${loop[j + 1]}`);
      simple.push(loop);
    }
    places.set(key, path.length);
    path.push(points[i], points[i + 1]);
  }
  return [...simple, path];
}

/** @param {number[]} points @returns {Ring} */
function fromTop(points) {
  let first = 0;
  for (let i = 2; i < points.length; i += 2) {
    if (points[i + 1] < points[first + 1] || (points[i + 1] === points[first + 1] && points[i] < points[first])) {
      first = i;
    }
  }
  return Float64Array.from([...points.slice(first), ...points.slice(0, first)]);
}

/** Pixels inside, negative for a hole. @param {Ring} ring */
export function ringArea(ring) {
  let twice = 0;
  for (let i = 0; i < ring.length; i += 2) {
    const next = (i + 2) % ring.length;
    twice += ring[i] * ring[next + 1] - ring[next] * ring[i + 1];
  }
  return twice / 2;
}

/**
 * Traced rings as polygons: every outer ring with its holes.
 * @param {Ring[]} rings
 * @returns {Ring[][]}
 */
export function group(rings) {
  const polygons = rings.filter((ring) => ringArea(ring) > 0).map((ring) => [ring]);
  const bySize = polygons.map((polygon) => ({ polygon, area: ringArea(polygon[0]) })).sort((a, b) => a.area - b.area);
  for (const hole of rings) {
    if (ringArea(hole) >= 0) continue;
    const [x, y] = [hole[0] + 0.5, hole[1] - 0.5]; // above a hole's topmost edge is mask
    bySize.find(({ polygon }) => contains(polygon[0], x, y))?.polygon.push(hole);
  }
  return polygons;
}

/**
 * Whether a point off the ring lies inside it.
 * @param {Ring} ring
 * @param {number} x
 * @param {number} y
 */
export function contains(ring, x, y) {
  let inside = false;
  for (let i = 0; i < ring.length; i += 2) {
    const [ax, ay, bx, by] = edgeAt(ring, i);
    if (ay > y !== by > y && ax + ((y - ay) * (bx - ax)) / (by - ay) > x) inside = !inside;
  }
  return inside;
}

/** @param {Ring} ring @param {number} i */
function edgeAt(ring, i) {
  const next = (i + 2) % ring.length;
  return [ring[i], ring[i + 1], ring[next], ring[next + 1]];
}

/**
 * Pixels whose centres outer rings wind around; exact for traced rings.
 * @param {readonly Ring[]} rings
 * @param {number} width
 * @param {number} height
 * @returns {Uint8Array} 0 or 1, row by row
 */
export function fill(rings, width, height) {
  const winding = new Int32Array((width + 1) * height);
  for (const ring of rings) addCrossings(winding, ring, width, height);
  return summed(winding, width, height, (value) => value > 0);
}

/**
 * Pixels whose centres lie inside one ring of any kind.
 * @param {Ring} ring
 * @param {number} width
 * @param {number} height
 * @returns {Uint8Array} 0 or 1, row by row
 */
export function fillEvenOdd(ring, width, height) {
  const winding = new Int32Array((width + 1) * height);
  addCrossings(winding, ring, width, height);
  return summed(winding, width, height, (value) => value % 2 !== 0);
}

/**
 * @param {Int32Array} winding
 * @param {number} width
 * @param {number} height
 * @param {(value: number) => boolean} covers
 */
function summed(winding, width, height, covers) {
  const mask = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0, sum = 0; x < width; x += 1, at += 1) {
      sum += winding[y * (width + 1) + x];
      mask[at] = covers(sum) ? 1 : 0;
    }
  }
  return mask;
}

/**
 * @param {Int32Array} winding
 * @param {Ring} ring
 * @param {number} width
 * @param {number} height
 */
function addCrossings(winding, ring, width, height) {
  for (let i = 0; i < ring.length; i += 2) {
    let [ax, ay, bx, by] = edgeAt(ring, i);
    const down = ay < by;
    if (!down) [ax, ay, bx, by] = [bx, by, ax, ay];
    const slope = (bx - ax) / (by === ay ? 1 : by - ay);
    const last = Math.min(Math.max(Math.ceil(by - 0.5), 0), height);
    for (let y = Math.min(Math.max(Math.ceil(ay - 0.5), 0), height); y < last; y += 1) {
      const x = Math.min(Math.max(Math.ceil(ax + (y + 0.5 - ay) * slope - 0.5), 0), width);
      winding[y * (width + 1) + x] += down ? -1 : 1;
    }
  }
}

/**
 * One ring as OpenCV and Pillow draw it: fractions dropped, pixels inside and those under the outline.
 * @param {Ring} ring
 * @param {number} width
 * @param {number} height
 * @returns {Uint8Array} 0 or 1, row by row
 */
export function draw(ring, width, height) {
  const pixels = ring.map(Math.floor);
  const drawn = fillEvenOdd(pixels.map((value) => value + 0.5), width, height);
  for (let i = 0; i < pixels.length; i += 2) {
    const [ax, ay, bx, by] = edgeAt(pixels, i);
    const steps = Math.max(Math.abs(bx - ax), Math.abs(by - ay), 1);
    for (let step = 0; step < steps; step += 1) {
      const part = step / steps;
      const [x, y] = [Math.floor(ax + (bx - ax) * part + 0.5), Math.floor(ay + (by - ay) * part + 0.5)];
      if (x >= 0 && x < width && y >= 0 && y < height) drawn[y * width + x] = 1;
    }
  }
  return drawn;
}

/**
 * A traced ring, moved into the mask's pixels beside it.
 * @param {Ring} ring
 * @returns {Ring}
 */
export function throughPixels(ring) {
  /** @type {number[]} */
  const points = [];
  for (let i = 0; i < ring.length; i += 2) {
    const [ax, ay, bx, by] = edgeAt(ring, i);
    const [dx, dy] = [Math.sign(bx - ax), Math.sign(by - ay)];
    const [inX, inY] = [(dx - dy) / 2 - (0.5 - INSET), (dy + dx) / 2 - (0.5 - INSET)];
    points.push(ax + inX, ay + inY, bx - dx + inX, by - dy + inY);
  }
  const kept = points.filter((_, i) => {
    const at = i - (i % 2);
    const before = (at + points.length - 2) % points.length;
    return points[at] !== points[before] || points[at + 1] !== points[before + 1];
  });
  return Float64Array.from(kept.length > 0 ? kept : points.slice(0, 2));
}

/**
 * A traced ring through the middles of its pixels' sides; corners between two sides of 3 pixels and more stay.
 * @param {Ring} ring
 * @returns {Ring}
 */
export function smooth(ring) {
  /** @type {number[]} */
  const points = [];
  const lengthAt = (/** @type {number} */ i) => {
    const [ax, ay, bx, by] = edgeAt(ring, (i + ring.length) % ring.length);
    return Math.max(Math.abs(bx - ax), Math.abs(by - ay));
  };
  for (let i = 0; i < ring.length; i += 2) {
    const [ax, ay, bx, by] = edgeAt(ring, i);
    const [dx, dy] = [Math.sign(bx - ax), Math.sign(by - ay)];
    if (lengthAt(i) >= 3 && lengthAt(i - 2) >= 3) points.push(ax, ay);
    points.push(ax + dx / 2, ay + dy / 2);
    if (lengthAt(i) > 1) points.push(bx - dx / 2, by - dy / 2);
  }
  return Float64Array.from(points);
}

/**
 * As `simplify`, from the smoothed ring; the traced one itself where the tolerance is 0.
 * @param {Ring} ring
 * @param {number} tolerance
 */
function simplifyTraced(ring, tolerance) {
  if (tolerance <= 0) return { ring, error: 0 };
  const simple = simplify(smooth(ring), tolerance);
  return ringArea(simple.ring) * ringArea(ring) > 0 ? simple : { ring, error: 0 };
}

/**
 * A closed ring with fewer of its points, and the distance of the furthest dropped one from its edge (Ramer 1972,
 * Douglas and Peucker 1973). A ring that would fall flat stays as it is.
 * @param {Ring} ring
 * @param {number} tolerance
 * @returns {{ring: Ring, error: number}}
 */
export function simplify(ring, tolerance) {
  const length = ring.length / 2;
  if (length < 4 || tolerance <= 0) return { ring, error: 0 };
  const kept = new Uint8Array(length);
  const furthest = worstBetween(ring, 0, 0, 1, length).at;
  kept[0] = kept[furthest] = 1;
  const stack = [[0, furthest], [furthest, length]];
  let error = 0;
  for (let next = stack.pop(); next; next = stack.pop()) {
    const [start, end] = next;
    if (end - start < 2) continue;
    const worst = worstBetween(ring, start, end % length, start + 1, end);
    if (worst.distance > tolerance * tolerance) {
      kept[worst.at] = 1;
      stack.push([start, worst.at], [worst.at, end]);
    } else error = Math.max(error, worst.distance);
  }
  const simple = ring.filter((_, i) => kept[i >> 1] === 1);
  const isFlat = simple.length < 6 || ringArea(simple) * ringArea(ring) <= 0;
  return isFlat ? { ring, error: 0 } : { ring: simple, error: Math.sqrt(error) };
}

/**
 * The point that is furthest from a segment, and its squared distance.
 * @param {Ring} ring
 * @param {number} start of the segment
 * @param {number} end of the segment
 * @param {number} from the first point
 * @param {number} to the one after the last
 */
function worstBetween(ring, start, end, from, to) {
  const [ax, ay] = [ring[2 * start], ring[2 * start + 1]];
  const [dx, dy] = [ring[2 * end] - ax, ring[2 * end + 1] - ay];
  const length = dx * dx + dy * dy;
  let [at, distance] = [from, -1];
  for (let i = from; i < to; i += 1) {
    let [x, y] = [ring[2 * i] - ax, ring[2 * i + 1] - ay];
    const along = length > 0 ? Math.min(Math.max((x * dx + y * dy) / length, 0), 1) : 0;
    x -= along * dx;
    y -= along * dy;
    const found = x * x + y * y;
    if (found > distance) [at, distance] = [i, found];
  }
  return { at, distance };
}

/**
 * Traced rings of one mask, smoothed and simplified; those that would cross themselves or others by less.
 * @param {Ring[]} rings
 * @param {number} tolerance
 */
export function simplifyTogether(rings, tolerance) {
  if (tolerance === 0) return { rings, error: 0 };
  const tolerances = rings.map(() => tolerance);
  const found = rings.map((ring) => simplifyTraced(ring, tolerance));
  for (;;) {
    const conflicts = crossingRings(found.map(({ ring }) => ring));
    if ([...conflicts].every((index) => tolerances[index] === 0)) break;
    for (const index of conflicts) {
      tolerances[index] = tolerances[index] > 0.5 ? tolerances[index] / 2 : 0;
      found[index] = simplifyTraced(rings[index], tolerances[index]);
    }
  }
  return { rings: found.map(({ ring }) => ring), error: Math.max(0, ...found.map(({ error }) => error)) };
}

/**
 * Rings with an edge that crosses or touches another, but for points that edges share as their ends.
 * @param {Ring[]} rings
 * @returns {Set<number>} indices
 */
export function crossingRings(rings) {
  const edges = rings.flatMap((ring, owner) => Array.from({ length: ring.length / 2 }, (_, i) => (
    { owner, edge: edgeAt(ring, 2 * i) })));
  const axis = spread(edges, 0) >= spread(edges, 1) ? 0 : 1;
  const low = (/** @type {{edge: number[]}} */ { edge }) => Math.min(edge[axis], edge[axis + 2]);
  edges.sort((a, b) => low(a) - low(b));
  /** @type {Set<number>} */
  const found = new Set();
  edges.forEach(({ owner, edge }, one) => {
    const reach = Math.max(edge[axis], edge[axis + 2]);
    for (let other = one + 1; other < edges.length && low(edges[other]) <= reach; other += 1) {
      if (meet(edge, edges[other].edge)) found.add(owner).add(edges[other].owner);
    }
  });
  return found;
}

/** @param {{edge: number[]}[]} edges @param {number} axis */
function spread(edges, axis) {
  let [low, high] = [Infinity, -Infinity];
  for (const { edge } of edges) [low, high] = [Math.min(low, edge[axis]), Math.max(high, edge[axis])];
  return high - low;
}

/**
 * Whether two edges meet elsewhere than in an end of both.
 * @param {number[]} one
 * @param {number[]} other
 */
function meet([ax, ay, bx, by], [cx, cy, dx, dy]) {
  const sides = [
    side(ax, ay, bx, by, cx, cy), side(ax, ay, bx, by, dx, dy),
    side(cx, cy, dx, dy, ax, ay), side(cx, cy, dx, dy, bx, by),
  ];
  if (sides[0] * sides[1] < 0 && sides[2] * sides[3] < 0) return true;
  return (sides[0] === 0 && between(cx, cy, ax, ay, bx, by)) || (sides[1] === 0 && between(dx, dy, ax, ay, bx, by)) ||
    (sides[2] === 0 && between(ax, ay, cx, cy, dx, dy)) || (sides[3] === 0 && between(bx, by, cx, cy, dx, dy)) ||
    (ax === dx && ay === dy && bx === cx && by === cy) || (ax === cx && ay === cy && bx === dx && by === dy);
}

/** @param {number} ax @param {number} ay @param {number} bx @param {number} by @param {number} x @param {number} y */
function side(ax, ay, bx, by, x, y) {
  return Math.sign((bx - ax) * (y - ay) - (by - ay) * (x - ax));
}

/** @param {number} x @param {number} y @param {number} ax @param {number} ay @param {number} bx @param {number} by */
function between(x, y, ax, ay, bx, by) {
  return (x - ax) * (x - bx) + (y - ay) * (y - by) < 0;
}

/**
 * The polygons of a mask, within a tolerance in pixels, 0 for the exact ones; by default the largest of `TOLERANCES`
 * that leaves an IoU of `LEAST_IOU`.
 * @param {Crop} crop
 * @param {number | null} [tolerance]
 * @param {Frame} [frame]
 * @returns {Outline} in pixels from the crop's corner
 */
export function outline(crop, tolerance = null, frame = 'edges') {
  checkTolerance(tolerance);
  const polygons = group(trace(crop));
  const simplified = frame === 'edges' ? onEdges : inPixels;
  const painted = frame === 'edges' ? paint : paintPixels;
  for (const allowed of tolerance === null ? TOLERANCES : [tolerance]) {
    const found = simplified(polygons, allowed);
    if (tolerance !== null || allowed === 0 || iou(painted(found, crop), crop.data) >= LEAST_IOU) return found;
  }
  throw new Error('TOLERANCES ends with 0');
}

/** @param {number | null} tolerance */
export function checkTolerance(tolerance) {
  if (tolerance === null || (tolerance >= 0 && tolerance < Infinity)) return;
  throw new RangeError(`the tolerance is ${tolerance} pixels; give 0 or more, or none to have it chosen`);
}

/** @param {Ring[][]} polygons @param {number} tolerance @returns {Outline} */
function onEdges(polygons, tolerance) {
  const { rings, error } = simplifyTogether(polygons.flat(), tolerance);
  let next = 0;
  return { polygons: polygons.map((polygon) => polygon.map(() => rings[next++])), error };
}

/** @param {Ring[][]} polygons @param {number} tolerance @returns {Outline} */
function inPixels(polygons, tolerance) {
  let furthest = 0;
  const found = polygons.map((polygon) => polygon.map((traced) => {
    const { ring, error } = simplify(throughPixels(traced), tolerance);
    furthest = Math.max(furthest, error);
    return ring;
  }));
  return { polygons: found, error: furthest };
}

/** @param {Outline} found @param {{width: number, height: number}} size */
function paint({ polygons }, { width, height }) {
  return fill(polygons.flat(), width, height);
}

/** @param {Outline} found @param {{width: number, height: number}} size */
function paintPixels({ polygons }, { width, height }) {
  const mask = new Uint8Array(width * height);
  for (const polygon of polygons) {
    draw(keyhole(polygon), width, height).forEach((value, i) => { mask[i] |= value; });
  }
  return mask;
}

/**
 * Intersection over union; 1 where both are empty.
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function iou(one, other) {
  let [both, either] = [0, 0];
  for (let i = 0; i < one.length; i += 1) {
    both += one[i] & other[i];
    either += one[i] | other[i];
  }
  return either === 0 ? 1 : both / either;
}

/**
 * One ring of several, joined by bridges that are passed both ways, between their nearest points.
 * @param {readonly Ring[]} rings
 * @returns {Ring}
 */
export function keyhole(rings) {
  let joined = rings[0];
  for (const ring of rings.slice(1)) {
    const [here, there] = nearest(joined, ring);
    const longer = new Float64Array(joined.length + ring.length + 4);
    longer.set(joined.subarray(0, here + 2));
    longer.set(ring.subarray(there), here + 2);
    longer.set(ring.subarray(0, there + 2), here + 2 + ring.length - there);
    longer.set(joined.subarray(here), here + 4 + ring.length);
    joined = longer;
  }
  return joined;
}

/**
 * Where two rings are nearest to each other: where the points begin, of equals the first in `one`, then in `other`.
 * Neighbours on a ring lie together, so runs of them are passed over where the box around them is too far away.
 * @param {Ring} one @param {Ring} other
 */
function nearest(one, other) {
  let [here, there, distance] = [0, 0, Infinity];
  const runs = boxesOfRuns(one);
  for (const part of boxesOfRuns(other)) {
    for (const run of runs) {
      if (gap(run, part) > distance) continue;
      for (let i = run.start; i < run.end; i += 2) {
        for (let j = part.start; j < part.end; j += 2) {
          const [dx, dy] = [one[i] - other[j], one[i + 1] - other[j + 1]];
          const apart = dx * dx + dy * dy;
          if (apart < distance || (apart === distance && (i < here || (i === here && j < there)))) {
            [here, there, distance] = [i, j, apart];
          }
        }
      }
    }
  }
  return [here, there];
}

/** @param {Ring} ring */
function boxesOfRuns(ring) {
  return Array.from({ length: Math.ceil(ring.length / 2 / RUN) }, (_, run) => {
    const [start, end] = [2 * RUN * run, Math.min(2 * RUN * (run + 1), ring.length)];
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = start; i < end; i += 2) {
      [left, right] = [Math.min(left, ring[i]), Math.max(right, ring[i])];
      [top, bottom] = [Math.min(top, ring[i + 1]), Math.max(bottom, ring[i + 1])];
    }
    return { start, end, left, top, right, bottom };
  });
}

/**
 * The square of the distance between two boxes.
 * @param {ReturnType<typeof boxesOfRuns>[0]} one @param {ReturnType<typeof boxesOfRuns>[0]} other
 */
function gap(one, other) {
  const dx = Math.max(0, one.left - other.right, other.left - one.right);
  const dy = Math.max(0, one.top - other.bottom, other.top - one.bottom);
  return dx * dx + dy * dy;
}

/**
 * The mask without its holes of up to `largest` pixels; what lies in them counts.
 * @param {Crop} crop
 * @param {number} [largest]
 * @returns {Uint8Array}
 */
export function fillHoles(crop, largest = Infinity) {
  const rings = trace(crop).filter((ring) => !(ringArea(ring) < 0 && -ringArea(ring) <= largest));
  return fill(rings, crop.width, crop.height);
}

/**
 * The mask without its parts of up to `largest` pixels, their holes counted in.
 * @param {Crop} crop
 * @param {number} largest
 * @returns {Uint8Array}
 */
export function removeIslands(crop, largest) {
  const rings = trace(crop).filter((ring) => !(ringArea(ring) > 0 && ringArea(ring) <= largest));
  return fill(rings, crop.width, crop.height);
}
