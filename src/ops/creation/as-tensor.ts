import { optionReader } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { tensor, type CreationOptions, type TensorData } from './creation.js';

/** What `asTensor` takes beside the data. */
export type AsTensorOptions = Pick<CreationOptions, 'dtype' | 'device'>;

const readAsTensor = optionReader<AsTensorOptions>('asTensor', { dtype: undefined, device: undefined });

/**
 * `torch.as_tensor`: a tensor as it is, or converted to `dtype` on the tape; host values as of {@link
 * tensor}, which copies them.
 */
export function asTensor(data: Tensor | TensorData, ...args: [options?: AsTensorOptions]): Tensor {
  const { dtype } = readAsTensor(args);
  if (!isTensor(data)) return tensor(data, { ...(dtype !== undefined && { dtype }) });
  return dtype === undefined ? data : to(data, dtype);
}
