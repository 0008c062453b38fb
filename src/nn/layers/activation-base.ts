import { optionReader, requireNumber, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Module } from '../base/module.js';

export interface InplaceOptions {
  /** Accepted for PyTorch's sake and printed; results and memory are the same either way. */
  inplace?: boolean;
}

export type InplaceArgs = Trailing<[inplace: boolean], InplaceOptions>;

/** A layer around a function. */
export abstract class Activation extends Module {
  readonly inplace: boolean;

  constructor(...args: InplaceArgs) {
    const { inplace } = optionReader(new.target.name, { inplace: false }, 'inplace')(args);
    super();
    this.inplace = inplace;
  }

  abstract override forward(x: Tensor): Tensor;

  override extraRepr(): string {
    return this.inplace ? 'inplace=True' : '';
  }
}

export type DimOnly = [dim: number] | [options: { dim: number }];

/** @internal The dim that `layer` normalises over, which must be given. */
export function readDim(layer: string, args: DimOnly): number {
  const { dim } = optionReader(layer, { dim: NaN }, 'dim')(args);
  if (!Number.isInteger(dim))
    throw new Error(`${layer}: give the dim to normalise over, e.g. new ${layer}(1)`);
  return dim;
}

/** @throws Error, naming the layer and the option, unless all values are numbers */
export function requireNumbers(layer: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) requireNumber(`${layer}: ${name}`, value);
}
