import type { Telltale } from './declaration.js';

const firstConv = (stage: number, block: number): string => `layer${stage}.${block}.conv1.weight`;
const insideBlock = 'layer1.0.conv2.weight';
/** Bottlenecks have a third convolution. */
const lastOfBottleneck = 'layer1.0.conv3.weight';
/** The stem is one convolution, `conv1.weight`; timm has three there. */
const otherStem = 'conv1.0.weight';

/**
 * How a ResNet is told: by its blocks in each stage.
 *
 * @param channels output and input channels (of a group) of the first bottleneck's 3x3 convolution; none for
 * basic blocks
 */
export function residualStages(blocks: readonly number[], channels?: readonly [number, number]): Telltale {
  const there = blocks.flatMap((count, i) =>
    Array.from({ length: count }, (_, block) => firstConv(i + 1, block)),
  );
  const beyond = [...blocks.map((count, i) => firstConv(i + 1, count)), firstConv(blocks.length + 1, 0)];
  return channels === undefined
    ? { has: there, lacks: [...beyond, otherStem, lastOfBottleneck] }
    : {
        has: [...there, lastOfBottleneck],
        lacks: [...beyond, otherStem],
        shapes: { [insideBlock]: [...channels, 3, 3] },
      };
}

/** What is said of ResNets that are none of ours. */
export const otherResNets: readonly Telltale[] = [
  { name: 'a ResNet of timm with another stem', has: [otherStem, firstConv(1, 0)] },
  {
    has: [firstConv(1, 0)],
    name: (tensors) => {
      const blocks: number[] = [];
      for (let stage = 1; tensors.has(firstConv(stage, 0)); stage++) {
        let count = 1;
        while (tensors.has(firstConv(stage, count))) count++;
        blocks.push(count);
      }
      const [width = 0, perGroup = 0] = tensors.get(insideBlock)?.shape ?? [];
      if (tensors.has(lastOfBottleneck) && width !== perGroup) return 'a ResNeXt';
      if (tensors.has(lastOfBottleneck) && width > 64) return 'a wide ResNet';
      return `a ResNet of ${blocks.join(', ')} blocks`;
    },
  },
];
