import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { RGBImage } from '../../src/data/host.js';
import * as T from '../../src/data/transforms.js';
import {
  type AugmentOp,
  applyAugmentOp,
  augmentationSpace,
  randAugmentLimits,
} from '../../src/data/transforms/augment-ops.js';

interface Case {
  picture: string;
  call: [op: string, ...args: unknown[]];
  size: [width: number, height: number];
  sha256: string;
}

const golden = JSON.parse(readFileSync(new URL('fixtures/transforms.json', import.meta.url), 'utf8')) as {
  cases: Case[];
  blurs: { size: [number, number]; sigma: number; data: number[] }[];
  randAugment: Record<AugmentOp, number[]>;
  trivialAugment: Record<AugmentOp, number[]>;
};

function draw(width: number, height: number, value: (x: number, y: number, c: number) => number): RGBImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) data[i++] = value(x, y, c);
  }
  return { width, height, data };
}

/** The formulas of fixtures/make_transforms.py. */
const pictures: Record<string, RGBImage> = {
  weave: draw(23, 17, (x, y, c) => (x * 37 + y * 59 + c * 101 + x * y * c * 7) % 256),
  square: draw(
    64,
    48,
    (x, y, c) => 30 + x + Math.floor((y * (c + 1)) / 2) + (x > 20 && x < 40 && y > 10 && y < 30 ? 60 : 0),
  ),
  noise: draw(64, 64, (x, y, c) => {
    let h = Math.imul((y * 64 + x) * 3 + c, 0x9e3779b1) >>> 0;
    h = Math.imul(h ^ (h >>> 15), 0x85ebca6b) >>> 0;
    return ((h ^ (h >>> 13)) >>> 8) & 255;
  }),
};

/** Calls come from JSON, so their arguments are as Python wrote them. */
const ops: Record<string, (image: RGBImage, ...args: never[]) => RGBImage> = {
  ...(T as object),
  augment: applyAugmentOp,
};

describe('against torchvision, pixel for pixel', () => {
  it.each(golden.cases)('$call of $picture', ({ picture, call: [op, ...args], size, sha256 }) => {
    const out = ops[op]!(pictures[picture]!, ...(args as never[]));
    expect([out.width, out.height]).toEqual(size);
    expect(createHash('sha256').update(out.data).digest('hex').slice(0, 24)).toBe(sha256);
  });

  it.each(golden.blurs)('gaussianBlur $size within one grey level', ({ size, sigma, data }) => {
    const out = T.gaussianBlur(pictures['weave']!, size, [sigma, sigma]).data;
    const differences = data.map((value, i) => Math.abs(value - out[i]!));
    expect(Math.max(...differences)).toBeLessThanOrEqual(1);
    expect(differences.filter((difference) => difference > 0).length).toBeLessThanOrEqual(2);
  });

  it.each([
    ['RandAugment', golden.randAugment, randAugmentLimits({ width: 64, height: 48 }, 31)],
    ['TrivialAugmentWide', golden.trivialAugment, T.TrivialAugmentWide.limits(31)],
  ] as const)("%s's magnitudes", (_, expected, limits) => {
    const space = augmentationSpace(limits);
    expect([...space.keys()]).toEqual(Object.keys(expected));
    for (const [op, { at }] of space) {
      const values = at === null ? [0] : Array.from({ length: 31 }, (_, i) => at(i));
      expect(values.length).toBe(expected[op].length);
      values.forEach((value, i) => {
        expect(Math.abs(value - expected[op][i]!)).toBeLessThanOrEqual(1.2e-7 * Math.abs(value));
      });
    }
  });
});
