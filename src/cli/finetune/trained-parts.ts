import type { TrainedModel } from './what-is-trained.js';

/** A part of a model: how much of it is trained in each stage. */
export interface TrainedPart {
  readonly name: string;
  readonly parameters: number;
  /** For each stage, the share of the parameters that is trained. */
  readonly shares: readonly number[];
}

/** What was trained when: a stage begins where something more is. */
export interface TrainedParts {
  /** First epoch of each stage, from 1. */
  readonly stages: readonly number[];
  readonly parts: readonly TrainedPart[];
}

/** @param epochs that there were; stages after them are left out */
export function trainedParts({ model, stages: { since } }: TrainedModel, epochs: number): TrainedParts {
  const stages = [...new Set([1, ...since.values()])]
    .filter((epoch) => epoch <= epochs)
    .sort((a, b) => a - b);
  const parts = new Map<string, { count: number; trained: number[] }>();
  for (const [path, parameter] of model.namedParameters()) {
    const name = path.split('.')[0] ?? path;
    const part = parts.get(name) ?? { count: 0, trained: stages.map(() => 0) };
    parts.set(name, part);
    const size = parameter.numel();
    part.count += size;
    stages.forEach((from, i) => {
      if ((since.get(parameter) ?? Infinity) <= from) part.trained[i] = (part.trained[i] ?? 0) + size;
    });
  }
  return {
    stages,
    parts: [...parts].map(([name, { count, trained }]) => ({
      name,
      parameters: count,
      shares: trained.map((size) => size / count),
    })),
  };
}
