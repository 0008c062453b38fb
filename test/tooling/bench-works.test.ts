/** The descriptions that the libraries of `npm run bench:peers` share. */
import { describe, expect, it } from 'vitest';
import type { NetworkWork, SequenceWork } from '../../bench/work-list.mjs';
import {
  parametersOf,
  runNetwork,
  runTransformerLayer,
  sequenceParameters,
  sizeOf,
  type Ops,
  type Parameter,
} from '../../bench/works.mjs';

/** Operations on nothing that note which parameters they are given. */
function recording(): { ops: Ops<null>; used: Set<string> } {
  const used = new Set<string>();
  const note = (...names: string[]): null => {
    for (const name of names) used.add(name);
    return null;
  };
  const plain = (): null => null;
  const weight = (_: null, name: string): null => note(`${name}.weight`);
  const both = (_: null, name: string): null => note(`${name}.weight`, `${name}.bias`);
  const itself = (_: null, name: string): null => note(name);
  const ops: Ops<null> = {
    conv: weight,
    depthwise: weight,
    batchNorm: both,
    relu: plain,
    relu6: plain,
    gelu: plain,
    add: plain,
    maxPool: plain,
    padShortcut: plain,
    averagePool: plain,
    linear: both,
    project: both,
    layerNorm: both,
    attention: (_x, _memory, { weight, bias }) => note(weight, bias),
    patches: both,
    prepend: itself,
    addParameter: itself,
    firstStep: plain,
    share: plain,
  };
  return { ops, used };
}

const namesOf = (parameters: readonly Parameter[]): string[] => parameters.map(({ name }) => name).sort();

describe('the networks that every library runs', () => {
  /** Parameters in all, as torchvision and Hugging Face's GPT-2 tell them. */
  const counts: Record<NetworkWork['network'], number> = {
    'cifar-resnet20': 269_722,
    resnet18: 11_689_512,
    'mobilenet-v2': 3_504_872,
    'vit-b16': 86_567_656,
    'gpt-block': 7_087_872,
  };

  for (const [network, count] of Object.entries(counts) as [NetworkWork['network'], number][]) {
    it(`use every parameter of ${network}, and no other`, () => {
      const { ops, used } = recording();
      runNetwork({ op: 'forward', network, input: [] }, ops, null);
      expect([...used].sort()).toEqual(namesOf(parametersOf({ network })));
    });

    it(`have as many numbers in ${network} as elsewhere`, () => {
      expect(parametersOf({ network }).reduce((sum, { shape }) => sum + sizeOf(shape), 0)).toBe(count);
    });
  }

  for (const layer of ['encoder', 'decoder'] as const) {
    it(`use every parameter of the ${layer} layer, and no other`, () => {
      const work: SequenceWork = { op: 'sequence', layer, input: [1, 8, 16], width: 32 };
      const { ops, used } = recording();
      runTransformerLayer(work, ops, null, null);
      expect([...used].sort()).toEqual(namesOf(sequenceParameters(work)));
    });
  }
});
