/**
 * Draws one labelled shape into a small colour image: a textured, lit shape of random place, size, rotation
 * and colours, on a textured background, among scraps that mean nothing.
 */

import type { Random } from '../random.js';
import type { Outline } from './outlines.js';

type Colour = readonly [red: number, green: number, blue: number];

/** A number in 0 ... 1 for each place; coordinates run from -1 to 1 across the image. */
type Field = (x: number, y: number) => number;

const clamp01 = (value: number): number => (value < 0 ? 0 : value > 1 ? 1 : value);
const fraction = (value: number): number => value - Math.floor(value);

/** A uniformly random direction without sine and cosine, whose last bit differs between platforms. */
function direction(random: Random): readonly [cos: number, sin: number] {
  for (;;) {
    const x = random.uniform(-1, 1);
    const y = random.uniform(-1, 1);
    const square = x * x + y * y;
    if (square > 0.01 && square <= 1) {
      const length = Math.sqrt(square);
      return [x / length, y / length];
    }
  }
}

/** A random direction within about 40 degrees of upright. */
function tilt(random: Random): readonly [cos: number, sin: number] {
  for (;;) {
    const [cos, sin] = direction(random);
    if (cos > 0.77) return [cos, sin];
  }
}

function randomColour(random: Random): Colour {
  return [random.float(), random.float(), random.float()];
}

/** Squared distance of two colours that the eye and the network can tell apart at a glance. */
const contrast = 0.5;

function squaredDistance(a: Colour, b: Colour): number {
  const red = a[0] - b[0];
  const green = a[1] - b[1];
  const blue = a[2] - b[2];
  return red * red + green * green + blue * blue;
}

/** A colour that stands out from all of `others`, or the best of a few tries. */
function contrastingColour(random: Random, others: readonly Colour[]): Colour {
  let best = randomColour(random);
  let bestDistance = -1;
  for (let attempt = 0; attempt < 12; attempt++) {
    const colour = randomColour(random);
    const distance = Math.min(...others.map((other) => squaredDistance(colour, other)));
    if (distance >= contrast) return colour;
    if (distance > bestDistance) {
      best = colour;
      bestDistance = distance;
    }
  }
  return best;
}

/** A colour within `spread` of another in each channel. */
function nearbyColour(random: Random, colour: Colour, spread: number): Colour {
  return [
    clamp01(colour[0] + random.uniform(-spread, spread)),
    clamp01(colour[1] + random.uniform(-spread, spread)),
    clamp01(colour[2] + random.uniform(-spread, spread)),
  ];
}

/** Smooth random bumps: values on a lattice, blended by 3t^2 - 2t^3. */
function valueNoise(random: Random): Field {
  const cells = 3 + random.integer(5);
  const side = cells + 1;
  const lattice = Float64Array.from({ length: side * side }, () => random.float());
  return (x, y) => {
    const u = clamp01((x + 1) / 2) * (cells - 1e-6);
    const v = clamp01((y + 1) / 2) * (cells - 1e-6);
    const column = Math.floor(u);
    const row = Math.floor(v);
    const s = u - column;
    const t = v - row;
    const a = s * s * (3 - 2 * s);
    const b = t * t * (3 - 2 * t);
    const at = row * side + column;
    const top = lattice[at]! + (lattice[at + 1]! - lattice[at]!) * a;
    const bottom = lattice[at + side]! + (lattice[at + side + 1]! - lattice[at + side]!) * a;
    return top + (bottom - top) * b;
  };
}

/** Textures by name; each draws its random parameters and gives the share of the second colour. */
const textures: Record<string, (random: Random) => Field> = {
  solid: () => () => 0,
  gradient(random) {
    const [cos, sin] = direction(random);
    return (x, y) => clamp01(0.5 + 0.6 * (x * cos + y * sin));
  },
  stripes(random) {
    const [cos, sin] = direction(random);
    const frequency = random.uniform(1.6, 3.4);
    const phase = random.float();
    // A clipped triangle wave: stripes with edges about a pixel soft.
    return (x, y) =>
      clamp01(0.5 + 3 * (Math.abs(fraction((x * cos + y * sin) * frequency + phase) - 0.5) - 0.25) * 2);
  },
  checker(random) {
    const [cos, sin] = direction(random);
    const frequency = random.uniform(1.2, 2.4);
    return (x, y) => {
      const u = Math.floor((x * cos + y * sin) * frequency + 64);
      const v = Math.floor((y * cos - x * sin) * frequency + 64);
      return (u + v) % 2;
    };
  },
  dots(random) {
    const frequency = random.uniform(1.5, 2.6);
    const radius = random.uniform(0.25, 0.38);
    const shiftX = random.float();
    const shiftY = random.float();
    return (x, y) => {
      const u = fraction(x * frequency + shiftX) - 0.5;
      const v = fraction(y * frequency + shiftY) - 0.5;
      return clamp01((radius - Math.sqrt(u * u + v * v)) * 6 + 0.5);
    };
  },
  noise: valueNoise,
};

/** The names of the textures a shape or a background can have. */
const textureNames: readonly string[] = Object.keys(textures);

/**
 * Something small that is not the shape: a bar or a blob, with the square of its reach for a quick rejection.
 */
interface Scrap {
  readonly ax: number;
  readonly ay: number;
  readonly dx: number;
  readonly dy: number;
  readonly inverse: number;
  readonly radius: number;
  readonly colour: Colour;
}

function scrap(random: Random, pixel: number): Scrap {
  const [cos, sin] = direction(random);
  const length = random.chance(0.5) ? 0 : random.uniform(0.15, 0.6);
  const dx = cos * length;
  const dy = sin * length;
  return {
    ax: random.uniform(-1, 1),
    ay: random.uniform(-1, 1),
    dx,
    dy,
    inverse: length === 0 ? 0 : 1 / (length * length),
    radius: pixel * random.uniform(0.5, 1.5),
    colour: randomColour(random),
  };
}

function scrapCoverage(
  { ax, ay, dx, dy, inverse, radius }: Scrap,
  x: number,
  y: number,
  pixel: number,
): number {
  const px = x - ax;
  const py = y - ay;
  const t = clamp01((px * dx + py * dy) * inverse);
  const ox = px - dx * t;
  const oy = py - dy * t;
  const square = ox * ox + oy * oy;
  const reach = radius + pixel;
  if (square > reach * reach) return 0;
  return clamp01(0.5 + (radius - Math.sqrt(square)) / pixel);
}

/** Lays `colour` over `ink` with the given cover, 0 to 1. */
function paint(ink: Float64Array, colour: ArrayLike<number>, cover: number): void {
  if (cover === 0) return;
  for (let channel = 0; channel < 3; channel++) ink[channel]! += (colour[channel]! - ink[channel]!) * cover;
}

/**
 * Draws one image.
 * @param outline the shape
 * @param random the image's own stream; all that varies comes from it
 * @param size pixels along each side
 * @param out receives 3 * size * size bytes in planes (channel, row, column)
 */
export function renderShape(outline: Outline, random: Random, size: number, out: Uint8Array): void {
  const pixel = 2 / size;

  const backFirst = randomColour(random);
  const backSecond = nearbyColour(random, backFirst, 0.18);
  const backField = textures[random.pick(textureNames)]!(random);
  const fillFirst = contrastingColour(random, [backFirst, backSecond]);
  const fillTexture = textures[random.pick(textureNames)]!;
  const fillSecond = nearbyColour(random, fillFirst, 0.35);
  const fillField = fillTexture(random);

  const scale = random.uniform(0.5, 0.8);
  const stretch = random.uniform(0.88, 1.14);
  const [cos, sin] = tilt(random);
  const room = Math.max(1.02 - scale, 0.1);
  const centreX = random.uniform(-room, room);
  const centreY = random.uniform(-room, room);

  const behind = Array.from({ length: random.integer(4) }, () => scrap(random, pixel));
  const before = Array.from({ length: random.chance(0.3) ? 1 : 0 }, () => scrap(random, pixel));

  const [lightX, lightY] = direction(random);
  const lightSlope = random.uniform(0, 0.3);
  const lightLevel = random.uniform(0.8, 1.1);
  const grain = random.uniform(0, 0.05);

  const toLocalX = 1 / (scale * stretch);
  const toLocalY = stretch / scale;
  const localPixels = scale / pixel;
  const area = size * size;

  const ink = new Float64Array(3);
  const fill = new Float64Array(3);
  for (let row = 0, at = 0; row < size; row++) {
    const y = (row + 0.5) * pixel - 1;
    for (let column = 0; column < size; column++, at++) {
      const x = (column + 0.5) * pixel - 1;
      ink.set(backFirst);
      paint(ink, backSecond, backField(x, y));
      for (const piece of behind) paint(ink, piece.colour, scrapCoverage(piece, x, y, pixel));

      const offX = x - centreX;
      const offY = y - centreY;
      const localX = (offX * cos + offY * sin) * toLocalX;
      const localY = (offY * cos - offX * sin) * toLocalY;
      // No outline reaches past the square root of two.
      if (localX * localX + localY * localY < 2) {
        const cover = clamp01(0.5 - outline(localX, localY) * localPixels);
        if (cover > 0) {
          fill.set(fillFirst);
          paint(fill, fillSecond, fillField(localX, localY));
          paint(ink, fill, cover);
        }
      }
      for (const piece of before) paint(ink, piece.colour, scrapCoverage(piece, x, y, pixel));

      const light = lightLevel + lightSlope * (x * lightX + y * lightY);
      const speckle = (random.float() - 0.5) * 2 * grain;
      for (let channel = 0; channel < 3; channel++) {
        out[channel * area + at] = Math.round(clamp01(ink[channel]! * light + speckle) * 255);
      }
    }
  }
}
