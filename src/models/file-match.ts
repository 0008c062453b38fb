/** Whether a weight file is a model's, and what it is otherwise. */

import type { HostTensor } from '../formats/index.js';
import type { Module } from '../nn/index.js';
import { renameKeys } from '../nn/base/module.js';
import { showShape, type Shape } from '../tensor/shape.js';
import { declared, type Telltale } from './declaration.js';
import { weights } from './manifest.js';

type Tensors = ReadonlyMap<string, HostTensor>;

/** Shapes of a model's state, by key. */
export function stateShapes(model: Module): Map<string, Shape> {
  return new Map(
    [...model.stateDict()].map(([key, tensor]) => {
      const { shape } = tensor;
      tensor.dispose();
      return [key, shape];
    }),
  );
}

/**
 * The file's tensors under the model's keys, and the file's keys that the model has no use for (auxiliary
 * heads).
 */
export function underModelKeys(
  model: Module,
  tensors: Tensors,
): { tensors: Map<string, HostTensor>; dropped: string[] } {
  const renamed = renameKeys(model, tensors);
  const used = new Set(renamed.values());
  return {
    tensors: renamed,
    dropped: [...tensors].filter(([, tensor]) => !used.has(tensor)).map(([key]) => key),
  };
}

const counter = /(^|\.)num_batches_tracked$/;
const statistics = /(^|\.)(running_mean|running_var|num_batches_tracked)$/;

/** Whether a key is of state that no gradient trains: batch norm's running statistics. */
export const isStatistic = (key: string): boolean => statistics.test(key);

export const sameShape = (a: Shape, b: Shape): boolean =>
  (a.length === b.length && a.every((length, i) => length === b[i])) ||
  // A counter is a scalar, which old files hold as one element.
  (a.length === 0 && b.length === 1 && b[0] === 1);

/**
 * Why these tensors are another model's than `modelName`, or null when they are not: when a tensor that both
 * have differs in shape (heads aside), or when they share less than half of their keys.
 */
export async function whyForeign(
  modelName: string,
  tensors: Tensors,
  model: ReadonlyMap<string, Shape>,
  headKeys: ReadonlySet<string>,
): Promise<string | null> {
  const wanted = [...model].filter(([key]) => !counter.test(key));
  const shared = wanted.filter(([key]) => tensors.has(key));
  const misshapen = shared.filter(
    ([key, shape]) => !headKeys.has(key) && !sameShape(shape, tensors.get(key)?.shape ?? []),
  );
  const given = [...tensors.keys()].filter((key) => !counter.test(key)).length;
  const few = shared.length * 2 < Math.max(wanted.length, given);
  if (misshapen.length === 0 && !few) return null;
  const [first] = misshapen;
  const what =
    first === undefined
      ? `it has ${shared.length} of the model's ${wanted.length} tensors, e.g. not '${wanted.find(([key]) => !tensors.has(key))?.[0] ?? ''}', and ${given - shared.length} others`
      : `${misshapen.length} of ${shared.length} tensors have another shape, e.g. ${first[0]} is ` +
        `${showShape(tensors.get(first[0])?.shape ?? [])} in the file and ${showShape(first[1])} in the model`;
  const guess = await recognise(tensors);
  const hint = guess === null || guess === modelName ? '' : `; it looks like ${guess}`;
  return `these are not the weights of ${modelName}: ${what}${hint}`;
}

/**
 * What the tensors are weights of, by the number of parameters, or by what the models declare of their keys.
 */
async function recognise(tensors: Tensors): Promise<string | null> {
  let parameters = 0;
  for (const [key, { size }] of tensors) if (!isStatistic(key)) parameters += size;
  // Without the manifest the keys must do.
  const all = await weights().catch(() => []);
  const exact = [
    ...new Set(all.filter(({ record }) => record.numParams === parameters).map(({ model }) => model)),
  ];
  if (exact.length > 0) return exact.join(' or ');
  const told = declared
    .flatMap(({ name, telltales = [] }) => telltales.map((telltale) => ({ name, ...telltale })))
    .filter((telltale) => fits(telltale, tensors))
    .sort((a, b) => b.has.length - a.has.length);
  const name = told[0]?.name ?? null;
  return typeof name === 'function' ? name(tensors) : name;
}

const fits = ({ has, lacks = [], shapes = {} }: Telltale, tensors: Tensors): boolean =>
  has.every((key) => tensors.has(key)) &&
  !lacks.some((key) => tensors.has(key)) &&
  Object.entries(shapes).every(([key, shape]) => sameShape(shape, tensors.get(key)?.shape ?? []));
