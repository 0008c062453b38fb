import { optionReader } from './options.js';
import { isChannelsLast, isContiguous, type Shape } from './shape.js';

const readFormat = optionReader('isContiguous', { memoryFormat: 'contiguous' }, 'memoryFormat');

/**
 * @internal What `isContiguous` asks of a tensor with these arguments.
 * @throws Error for a memory format that is not known
 */
export function formatCheck(args: readonly unknown[]): (shape: Shape, strides: readonly number[]) => boolean {
  const { memoryFormat } = readFormat(args);
  if (memoryFormat === 'contiguous') return isContiguous;
  if (memoryFormat === 'channelsLast') return isChannelsLast;
  throw new Error(
    `isContiguous: memory format must be 'contiguous' or 'channelsLast', got '${String(memoryFormat)}'`,
  );
}
