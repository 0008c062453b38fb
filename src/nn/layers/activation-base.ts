import { optionReader, requireNumber, type Trailing } from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { Layer } from '../base/module.js';

export interface InplaceOptions {
  /** Write the result over the input, which is returned. Default false. */
  inplace?: boolean;
}

export type InplaceArgs = Trailing<[inplace: boolean], InplaceOptions>;

/** A layer around a function. */
export abstract class Activation extends Layer {
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

type Numbers = Readonly<Record<string, number>>;
type Values<T extends Numbers> = { readonly [K in keyof T]: number };

/** @internal A layer's numbers, each by position or by name. @throws Error for what is no number */
export const readNumbers = <T extends Numbers>(
  layer: string,
  defaults: T,
  args: readonly unknown[],
): Values<T> => readWith(layer, defaults, {}, args);

/** @internal The same of an activation, in which `inplace` follows them. */
export const readActivation = <T extends Numbers>(
  layer: string,
  defaults: T,
  args: readonly unknown[],
): Values<T> & { readonly inplace: boolean } => readWith(layer, defaults, { inplace: false }, args);

function readWith<T extends Numbers, F extends Readonly<Record<string, boolean>>>(
  layer: string,
  numbers: T,
  flags: F,
  args: readonly unknown[],
): Values<T> & F {
  const all: Readonly<Record<string, number | boolean>> = { ...numbers, ...flags };
  const read = optionReader(layer, all, ...Object.keys(all))(args);
  for (const name of Object.keys(numbers)) requireNumber(`${layer}: ${name}`, read[name]);
  return read as Values<T> & F;
}
