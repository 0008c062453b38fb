import { noMore } from '../tensor/options.js';
import { findHead, findHeads } from '../models/head.js';
import type { Module, Parameter, TensorModule } from '../nn/index.js';

/** From an epoch on, these parameters are trained as well. */
export interface ThawStage {
  /** From 1. */
  readonly epoch: number;
  /** Beginnings of parameter names, or `trunk` for all but the head. */
  readonly names: readonly string[];
}

export interface UnfreezingOptions {
  /** What is not trained at first: `trunk` (all but the head), or beginnings of names. Default: `trunk`. */
  readonly freeze?: readonly string[] | undefined;
  /** What is trained later. Default: nothing. */
  readonly at?: readonly ThawStage[] | undefined;
  /**
   * The mode of the frozen part. `auto`, the default: training mode where something is trained, evaluation
   * mode for the rest, whose running statistics so stand still; `eval`: evaluation mode for all but the head;
   * `train`: training mode for all, as in PyTorch.
   */
  readonly mode?: 'auto' | 'eval' | 'train' | undefined;
}

/** No parameter has a name that was given. */
export class NoSuchParametersError extends Error {
  override readonly name = 'NoSuchParametersError';
  /** @param parts names of the model's children */
  constructor(
    readonly option: 'freeze' | 'at',
    readonly given: string,
    readonly parts: readonly string[],
  ) {
    super(
      `Unfreezing: ${option} '${given}': the model has no parameters of that name; its parts are ${parts.join(', ')}`,
    );
  }
}

/** Everything is frozen. */
export class NothingToTrainError extends Error {
  override readonly name = 'NothingToTrainError';
  constructor() {
    super('Unfreezing: nothing is left to train');
  }
}

/**
 * What of a classifier is trained in which epoch:
 *
 * ```ts
 * const stages = new Unfreezing(model, { freeze: ['trunk'], at: [{ epoch: 5, names: ['layer4'] }] });
 * const optimizer = new SGD(stages.parameters, { lr: 0.01 });
 * new Trainer({ model, optimizer, changing: stages.changing, onEpochStart: (epoch) => stages.enter(epoch) });
 * ```
 */
export class Unfreezing {
  /** For each parameter that is ever trained, the epoch in which that begins; in the model's order. */
  readonly since: ReadonlyMap<Parameter, number>;
  /** Keys of the state dict that training may change; the others keep the bytes they start with. */
  readonly changing: ReadonlySet<string>;
  private readonly mode: 'auto' | 'eval' | 'train';

  /** @throws NoSuchParametersError; NothingToTrainError; Error where the model has no head */
  constructor(
    readonly model: TensorModule,
    { freeze = ['trunk'], at = [], mode = 'auto' }: UnfreezingOptions = {},
  ) {
    noMore(new.target.name, arguments, 2);
    this.mode = mode;
    const named = model.namedParameters();
    const frozen = new Set(freeze.flatMap((name) => parametersNamed(model, name, 'freeze')));
    const since = new Map<Parameter, number>();
    for (const [, parameter] of named) if (!frozen.has(parameter)) since.set(parameter, 1);
    for (const { epoch, names } of at) {
      for (const parameter of names.flatMap((name) => parametersNamed(model, name, 'at')))
        since.set(parameter, Math.min(epoch, since.get(parameter) ?? epoch));
    }
    if (since.size === 0) throw new NothingToTrainError();
    // A model's own order, which the optimizer's state goes by.
    this.since = new Map(
      named.flatMap(([, parameter]) => {
        const epoch = since.get(parameter);
        return epoch === undefined ? [] : [[parameter, epoch] as const];
      }),
    );
    this.changing = this.changingKeys();
  }

  /** All that is ever trained. */
  get parameters(): Parameter[] {
    return [...this.since.keys()];
  }

  /** Whether nothing but the head is trained in an epoch, and the rest gives the same output each time. */
  trunkStandsStill(epoch: number): boolean {
    if (this.mode === 'train') return false;
    const head = headParameters(this.model);
    return [...this.since].every(([parameter, first]) => head.has(parameter) || first > epoch);
  }

  /** Freezes and unfreezes for an epoch, and puts every module into the mode that it is trained in. */
  enter(epoch: number): void {
    const { model, mode, since } = this;
    for (const parameter of model.parameters())
      parameter.requiresGrad = (since.get(parameter) ?? Infinity) <= epoch;
    if (mode === 'train') model.train();
    else if (mode === 'eval' || this.trunkStandsStill(epoch)) {
      model.eval();
      findHead(model).layer.train();
    } else trainUnfrozen(model);
  }

  private changingKeys(): Set<string> {
    const { model, mode, since } = this;
    const keys = new Set<string>();
    for (const [path, module] of model.namedModules()) {
      const prefix = path === '' ? '' : `${path}.`;
      const own = module.namedParameters('', false);
      for (const [name, parameter] of own) if (since.has(parameter)) keys.add(prefix + name);
      // Running statistics stand still in evaluation mode.
      const moving =
        mode === 'train' || own.length === 0 || own.some(([, parameter]) => since.has(parameter));
      if (moving)
        for (const [name] of module.namedBuffers('')) if (!name.includes('.')) keys.add(prefix + name);
    }
    return keys;
  }
}

/**
 * The parameters whose names begin so; `trunk` and `all` are all but the head's.
 *
 * @throws NoSuchParametersError
 */
export function parametersNamed(model: Module, name: string, option: 'freeze' | 'at'): Parameter[] {
  const named = model.namedParameters();
  if (name === 'trunk' || name === 'all') {
    const head = headParameters(model);
    return named.map(([, parameter]) => parameter).filter((parameter) => !head.has(parameter));
  }
  const found = named.filter(([key]) => key === name || key.startsWith(`${name}.`));
  if (found.length === 0) {
    const parts = model.namedChildren().map(([child]) => child);
    throw new NoSuchParametersError(option, name, parts);
  }
  return found.map(([, parameter]) => parameter);
}

/** Of the head, and of the heads that serve training alone. */
export const headParameters = (model: Module): Set<Parameter> =>
  new Set(findHeads(model).flatMap(({ layer }) => layer.parameters()));

/**
 * Training mode for modules with something to train, evaluation mode for frozen ones; those without
 * parameters (dropout) go with their parent.
 */
export function trainUnfrozen(module: Module, parent = true): void {
  noMore('trainUnfrozen', arguments, 2);
  const parameters = module.parameters();
  const training = parameters.length === 0 ? parent : parameters.some(({ requiresGrad }) => requiresGrad);
  module.training = training;
  for (const child of module.children()) trainUnfrozen(child, training);
}
