/** Whether a weight file is a model's, and what it is otherwise. */

import type { HostTensor } from '../formats/index.js';
import type { Module } from '../nn/index.js';
import { renameKeys } from '../nn/module.js';
import { showShape, type Shape } from '../tensor/shape.js';
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

/** The file's tensors under the model's keys, and the file's keys that the model has no use for (auxiliary heads). */
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

export const sameShape = (a: Shape, b: Shape): boolean =>
  (a.length === b.length && a.every((length, i) => length === b[i])) ||
  // A counter is a scalar, which old files hold as one element.
  (a.length === 0 && b.length === 1 && b[0] === 1);

/**
 * Why these tensors are another model's than `modelName`, or null when they are not: when a tensor that both have differs
 * in shape (heads aside), or when they share less than half of their keys.
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

/** What the tensors are weights of, by the number of parameters, or by the keys. */
async function recognise(tensors: Tensors): Promise<string | null> {
  let parameters = 0;
  for (const [key, { size }] of tensors) if (!statistics.test(key)) parameters += size;
  // Without the manifest the keys must do.
  const all = await weights().catch(() => []);
  const exact = [
    ...new Set(all.filter(({ record }) => record.numParams === parameters).map(({ model }) => model)),
  ];
  if (exact.length > 0) return exact.join(' or ');
  return families.find(([, ...keys]) => keys.every((key) => tensors.has(key)))?.[0] ?? resnetOf(tensors);
}

/** Keys that only this family has, first match first. */
const families: readonly (readonly [name: string, ...keys: string[]])[] = [
  ['an EfficientNet', 'features.1.0.block.1.fc1.weight', 'features.8.0.weight'],
  ['a MobileNetV2', 'features.18.0.weight', 'features.1.conv.0.0.weight'],
  ['a MobileNetV3', 'features.0.0.weight', 'features.1.block.0.0.weight', 'classifier.3.weight'],
  ['a ConvNeXt', 'features.1.0.layer_scale'],
  ['a DenseNet', 'features.conv0.weight'],
  ['a SqueezeNet', 'features.3.squeeze.weight'],
  ['a VGG with batch norm', 'features.1.running_mean', 'classifier.6.weight'],
  ['AlexNet', 'features.10.weight', 'classifier.6.weight', 'features.3.weight', 'features.6.weight'],
  ['a VGG', 'features.0.weight', 'classifier.6.weight'],
  ['GoogLeNet', 'inception3a.branch1.conv.weight'],
  ['Inception v3', 'Mixed_5b.branch1x1.conv.weight'],
  ['a vision transformer', 'encoder.pos_embedding'],
  ['a RegNet', 'stem.0.weight', 'trunk_output.block1.block1-0.proj.0.weight'],
  ['a ShuffleNetV2', 'stage2.0.branch1.0.weight'],
  ['an MNASNet', 'layers.8.0.layers.0.weight'],
  ['a ResNet of timm with another stem', 'conv1.0.weight', 'layer1.0.conv1.weight'],
];

const depths: Readonly<Record<string, string>> = {
  'basic 2,2,2,2': 'resnet18',
  'basic 3,4,6,3': 'resnet34',
  'bottleneck 3,4,6,3': 'resnet50',
  'bottleneck 3,4,23,3': 'resnet101',
  'bottleneck 3,8,36,3': 'resnet152',
  'basic 3,3,3': 'cifar_resnet20',
  'basic 5,5,5': 'cifar_resnet32',
  'basic 7,7,7': 'cifar_resnet44',
  'basic 9,9,9': 'cifar_resnet56',
  'basic 18,18,18': 'cifar_resnet110',
};

/** A ResNet of any number of classes, by its blocks per stage. */
function resnetOf(tensors: Tensors): string | null {
  const blocks: number[] = [];
  for (let stage = 1; tensors.has(`layer${stage}.0.conv1.weight`); stage++) {
    let count = 1;
    while (tensors.has(`layer${stage}.${count}.conv1.weight`)) count++;
    blocks.push(count);
  }
  if (blocks.length === 0) return null;
  const kind = tensors.has('layer1.0.conv3.weight') ? 'bottleneck' : 'basic';
  const name = depths[`${kind} ${blocks.join(',')}`];
  const [width = 0, perGroup = 0] = tensors.get('layer1.0.conv2.weight')?.shape ?? [];
  if (kind === 'bottleneck' && width !== perGroup) return 'a ResNeXt';
  if (kind === 'bottleneck' && width > 64) return 'a wide ResNet';
  return name ?? `a ResNet of ${blocks.join(', ')} blocks`;
}
