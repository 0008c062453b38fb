import { isTensor } from '../../tensor/tensor.js';

/** @internal From plain JavaScript anything may come. @throws Error, naming `op`, unless all are tensors */
export function checkTensors(op: string, ...given: readonly unknown[]): void {
  for (const x of given) if (!isTensor(x)) throw new Error(`${op}: expected a tensor, got ${String(x)}`);
}
