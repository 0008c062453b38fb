import { optionReader, type Trailing } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';

export interface OutputSizeOptions {
  /** The size that the result has: its last dims, or all of them. Default: the layer's own. */
  outputSize?: readonly number[] | null;
}

/** What follows the inputs of a layer of which several results have one input. */
export type OutputSizeArgs = Trailing<[outputSize: readonly number[] | null], OutputSizeOptions>;

/**
 * @internal The last `dims` of the size that a call of `layer` was given, null without one.
 * @throws Error unless it is of integers, `dims` of them or as many as `x` has dims
 */
export function outputSizeOf(
  layer: string,
  dims: number,
  x: Tensor,
  args: readonly unknown[],
): readonly number[] | null {
  if (args.length === 0) return null;
  const { outputSize } = optionReader<Required<OutputSizeOptions>>(
    layer,
    { outputSize: null },
    'outputSize',
  )(args);
  if (outputSize === null || !isTensor(x)) return null;
  const isList = Array.isArray(outputSize) && outputSize.every((size) => Number.isInteger(size));
  if (isList && (outputSize.length === dims || outputSize.length === x.ndim)) return outputSize.slice(-dims);
  throw new Error(
    `${layer}: for an input of shape ${showShape(x.shape)} outputSize must be ${dims} or ${x.ndim} integers, got ${Array.isArray(outputSize) ? `[${outputSize.join(', ')}]` : String(outputSize)}`,
  );
}
