import { readOptions } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Module } from '../base/module.js';

export interface InplaceOptions {
  /** Accepted for PyTorch's sake and printed; results and memory are the same either way. */
  inplace?: boolean;
}

/** A layer around a function without numbers of its own. */
export abstract class Activation extends Module {
  readonly inplace: boolean;

  constructor(options: InplaceOptions = {}) {
    const { inplace } = readOptions<Required<InplaceOptions>>(new.target.name, { inplace: false }, options);
    super();
    this.inplace = inplace;
  }

  abstract override forward(x: Tensor): Tensor;

  override extraRepr(): string {
    return this.inplace ? 'inplace=True' : '';
  }
}

/** @internal */
export function requireDim(layer: string, dim: number): void {
  if (!Number.isInteger(dim))
    throw new Error(`${layer}: give the dim to normalise over, e.g. new ${layer}(1)`);
}
