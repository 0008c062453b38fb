import type { Elem, Epilogue, WeightLayout } from '../base/plan.js';

/**
 * A convolution of `x` [n, h, w, cIn] (channels-last storage) with a weight [cOut, cIn / groups, kernelH,
 * kernelW] into `y` [n, outH, outW, cOut]. Padding below and to the right is whatever the output size
 * implies.
 */
export interface Conv2dProblem {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly cIn: number;
  readonly cOut: number;
  readonly kernelH: number;
  readonly kernelW: number;
  readonly outH: number;
  readonly outW: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly dilationH: number;
  readonly dilationW: number;
  readonly groups: number;
  /** Applied to the result: y in the forward pass, dx in the input gradient. */
  readonly epilogue?: Epilogue;
  readonly elem?: Elem;
  /** Of the weight, and of its gradient. Default row-major ('oihw'). */
  readonly weights?: WeightLayout;
  /**
   * The weight changes from call to call (training), so that a copy of it serves only once. Default false.
   */
  readonly freshWeights?: boolean;
  /** `'direct'` keeps to kernels whose error is that of a plain sum; default: the fastest. */
  readonly algorithm?: 'auto' | 'direct';
}

const positive = [
  ...(['n', 'h', 'w', 'cIn', 'cOut', 'kernelH', 'kernelW', 'outH', 'outW'] as const),
  ...(['strideH', 'strideW', 'dilationH', 'dilationW', 'groups'] as const),
];

/** @throws RangeError for sizes that are not positive integers or groups that do not divide the channels. */
export function validate(op: string, p: Conv2dProblem): void {
  for (const name of positive) {
    if (!Number.isInteger(p[name]) || p[name] < 1)
      throw new RangeError(`${op}: ${name} must be a positive integer, got ${p[name]}`);
  }
  const { cIn, cOut, groups } = p;
  if (cIn % groups !== 0 || cOut % groups !== 0) {
    throw new RangeError(`${op}: groups (${groups}) must divide cIn (${cIn}) and cOut (${cOut})`);
  }
}

/** A 1x1 convolution that reads every pixel once is a matrix product over pixels. */
export const isPointwise = (p: Conv2dProblem): boolean =>
  p.kernelH === 1 &&
  p.kernelW === 1 &&
  p.strideH === 1 &&
  p.strideW === 1 &&
  p.padTop === 0 &&
  p.padLeft === 0 &&
  p.outH === p.h &&
  p.outW === p.w &&
  p.groups === 1;

export const isDepthwise = (p: Conv2dProblem): boolean => p.groups > 1 && p.groups === p.cIn;
