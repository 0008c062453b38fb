/**
 * Outlines of the shapes as signed distance functions: negative inside, about the distance to the edge near
 * it, in units where a shape reaches about 1 from its centre. Only + - * / and sqrt are used, which IEEE 754
 * rounds in one way only, so that images are the same bytes on every platform. Polygons: Inigo Quilez,
 * https://iquilezles.org/articles/distfunctions2d.
 */

/** Signed distance from (x, y) to the outline. */
export type Outline = (x: number, y: number) => number;

type Point = readonly [x: number, y: number];

function polygon(points: readonly Point[]): Outline {
  const n = points.length;
  const px = Float64Array.from(points, (point) => point[0]);
  const py = Float64Array.from(points, (point) => point[1]);
  const ex = px.map((value, i) => px[(i + n - 1) % n]! - value);
  const ey = py.map((value, i) => py[(i + n - 1) % n]! - value);
  const inverse = ex.map((value, i) => 1 / (value * value + ey[i]! * ey[i]!));
  return (x, y) => {
    let nearest = Infinity;
    let inside = false;
    for (let i = 0; i < n; i++) {
      const wx = x - px[i]!;
      const wy = y - py[i]!;
      const along = (wx * ex[i]! + wy * ey[i]!) * inverse[i]!;
      const t = along < 0 ? 0 : along > 1 ? 1 : along;
      const dx = wx - ex[i]! * t;
      const dy = wy - ey[i]! * t;
      const square = dx * dx + dy * dy;
      if (square < nearest) nearest = square;
      const above = wy >= 0;
      const belowOther = wy < ey[i]!;
      const side = ex[i]! * wy > ey[i]! * wx;
      if ((above && belowOther && side) || (!above && !belowOther && !side)) inside = !inside;
    }
    const distance = Math.sqrt(nearest);
    return inside ? -distance : distance;
  };
}

const circle =
  (cx: number, cy: number, radius: number): Outline =>
  (x, y) =>
    Math.sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy)) - radius;

const union =
  (...parts: readonly Outline[]): Outline =>
  (x, y) => {
    let distance = Infinity;
    for (const part of parts) distance = Math.min(distance, part(x, y));
    return distance;
  };

const difference =
  (whole: Outline, hole: Outline): Outline =>
  (x, y) =>
    Math.max(whole(x, y), -hole(x, y));

/** Cosine and sine of multiples of 36 degrees, from square roots. */
const cos36 = (1 + Math.sqrt(5)) / 4;
const cos72 = (Math.sqrt(5) - 1) / 4;
const sin36 = Math.sqrt(1 - cos36 * cos36);
const sin72 = Math.sqrt(1 - cos72 * cos72);
const sin60 = Math.sqrt(3) / 2;

/** Ten directions, 36 degrees apart, clockwise from the top. */
const tenths: readonly Point[] = [
  [0, -1],
  [sin36, -cos36],
  [sin72, -cos72],
  [sin72, cos72],
  [sin36, cos36],
  [0, 1],
  [-sin36, cos36],
  [-sin72, cos72],
  [-sin72, -cos72],
  [-sin36, -cos36],
];

const scaled = ([x, y]: Point, by: number): Point => [x * by, y * by];

/** Shapes for pretraining. */
export const baseOutlines = {
  circle: circle(0, 0, 0.85),
  square: polygon([
    [-0.75, -0.75],
    [0.75, -0.75],
    [0.75, 0.75],
    [-0.75, 0.75],
  ]),
  triangle: polygon([
    [0, -1.05],
    [1.05 * sin60, 0.525],
    [-1.05 * sin60, 0.525],
  ]),
  star: polygon(tenths.map((direction, i) => scaled(direction, i % 2 === 0 ? 1.1 : 0.45))),
  cross: polygon([
    [-0.3, -0.95],
    [0.3, -0.95],
    [0.3, -0.3],
    [0.95, -0.3],
    [0.95, 0.3],
    [0.3, 0.3],
    [0.3, 0.95],
    [-0.3, 0.95],
    [-0.3, 0.3],
    [-0.95, 0.3],
    [-0.95, -0.3],
    [-0.3, -0.3],
  ]),
  ring: difference(circle(0, 0, 0.95), circle(0, 0, 0.5)),
  heart: union(
    polygon([
      [0, -0.45],
      [0.8, 0.1],
      [0, 1],
      [-0.8, 0.1],
    ]),
    circle(-0.42, -0.28, 0.53),
    circle(0.42, -0.28, 0.53),
  ),
  arrow: polygon([
    [0, -1.05],
    [0.75, -0.2],
    [0.28, -0.2],
    [0.28, 0.95],
    [-0.28, 0.95],
    [-0.28, -0.2],
    [-0.75, -0.2],
  ]),
  crescent: difference(circle(0, 0, 0.98), circle(0.5, 0, 0.78)),
  hourglass: polygon([
    [-0.75, -0.95],
    [0.75, -0.95],
    [0.14, 0],
    [0.75, 0.95],
    [-0.75, 0.95],
    [-0.14, 0],
  ]),
} as const satisfies Record<string, Outline>;

/** Shapes that pretraining never shows. */
export const novelOutlines = {
  bolt: polygon([
    [0.3, -1.1],
    [-0.55, 0.15],
    [-0.05, 0.15],
    [-0.3, 1.1],
    [0.55, -0.2],
    [0.05, -0.2],
  ]),
  chevron: polygon([
    [-0.85, 0.15],
    [0, -0.75],
    [0.85, 0.15],
    [0.85, 0.75],
    [0, -0.1],
    [-0.85, 0.75],
  ]),
  drop: union(
    circle(0, 0.3, 0.65),
    polygon([
      [0, -1.1],
      [0.575, 0],
      [-0.575, 0],
    ]),
  ),
  flower: union(
    circle(0, 0, 0.45),
    ...tenths
      .filter((_, i) => i % 2 === 0)
      .map((direction) => {
        const [x, y] = scaled(direction, 0.62);
        return circle(x, y, 0.38);
      }),
  ),
  house: polygon([
    [0, -1],
    [0.85, -0.2],
    [0.6, -0.2],
    [0.6, 0.8],
    [-0.6, 0.8],
    [-0.6, -0.2],
    [-0.85, -0.2],
  ]),
} as const satisfies Record<string, Outline>;
