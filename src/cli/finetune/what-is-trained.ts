import type { Checkpoint } from '../../formats/index.js';
import { findHead, findHeads, replaceHead, type Head } from '../../models/index.js';
import type { Parameter, TensorModule } from '../../nn/index.js';
import { shortList } from '../classes.js';
import { CliError } from '../errors.js';
import { builderOf, modelFromFile } from '../load-model.js';
import type { RateGroup } from '../optimizers.js';
import type { Plan } from './plan.js';

/** A model with what of it is trained, and when. */
export interface TrainedModel {
  readonly model: TensorModule;
  readonly head: Head;
  /** For each parameter that is ever trained, the epoch (from 1) in which that begins. */
  readonly since: ReadonlyMap<Parameter, number>;
  /** Keys of the state dict that training may change; the others keep the bytes they start with. */
  readonly changing: ReadonlySet<string>;
}

/**
 * The model of a plan.
 *
 * @param fresh false where the checkpoint is a run's own, whose head is kept
 * @throws CliError for weights of another model, a head that cannot be kept, or names that the model has not
 */
export async function prepareModel(
  plan: Plan,
  checkpoint: Checkpoint | null,
  classes: number,
  fresh: boolean,
): Promise<TrainedModel> {
  const model =
    checkpoint === null
      ? builderOf(plan.model)({ numClasses: classes })
      : await modelFromFile(plan.model, checkpoint, { options: plan.modelOptions ?? {} });
  const head =
    fresh && checkpoint !== null && plan.head === 'new'
      ? replaceHead(model, classes)
      : keptHead(model, classes);
  const since = trainedSince(plan, model, head);
  return { model, head, since, changing: changingKeys(plan, model, since) };
}

function keptHead(model: TensorModule, classes: number): Head {
  const head = findHead(model);
  if (head.outFeatures !== classes) {
    throw new CliError(
      `--head keep: the head '${head.path}' has ${head.outFeatures} classes, but the data have ${classes}; use --head new`,
    );
  }
  return head;
}

/** Of the head, and of the heads that serve training alone. */
const headParametersOf = (model: TensorModule): Parameter[] =>
  findHeads(model).flatMap(({ layer }) => layer.parameters());

function trainedSince(plan: Plan, model: TensorModule, head: Head): Map<Parameter, number> {
  const headParameters = new Set<Parameter>(headParametersOf(model));
  const named = model.namedParameters();
  const matching = (option: string, name: string): Parameter[] => {
    if (name === 'trunk' || name === 'all')
      return named.map(([, parameter]) => parameter).filter((parameter) => !headParameters.has(parameter));
    const found = named.filter(([key]) => key === name || key.startsWith(`${name}.`));
    if (found.length === 0) {
      const children = model.namedChildren().map(([child]) => child);
      throw new CliError(
        `${option} '${name}': ${plan.model} has no parameters of that name; its parts are ${shortList(children)}`,
      );
    }
    return found.map(([, parameter]) => parameter);
  };
  const frozen = new Set(plan.freeze.flatMap((name) => matching('--freeze', name)));
  if (plan.head === 'new' && plan.freeze.length > 0) {
    const stuck = head.layer.parameters().some((parameter) => frozen.has(parameter));
    if (stuck) throw new CliError(`--freeze: '${head.path}' is the new head, which has to be trained`);
  }
  const since = new Map<Parameter, number>();
  for (const [, parameter] of named) if (!frozen.has(parameter)) since.set(parameter, 1);
  for (const { epoch, names } of plan.unfreezeAt) {
    for (const parameter of names.flatMap((name) => matching('--unfreeze-at', name)))
      if (!since.has(parameter)) since.set(parameter, epoch);
  }
  if (since.size === 0) throw new CliError('--freeze: nothing is left to train');
  // A model's own order, which the optimizer's state goes by.
  return new Map(named.flatMap(([, parameter]) => pairOf(since, parameter)));
}

function pairOf(since: ReadonlyMap<Parameter, number>, parameter: Parameter): [Parameter, number][] {
  const epoch = since.get(parameter);
  return epoch === undefined ? [] : [[parameter, epoch]];
}

function changingKeys(plan: Plan, model: TensorModule, since: ReadonlyMap<Parameter, number>): Set<string> {
  const keys = new Set<string>();
  for (const [path, module] of model.namedModules()) {
    const prefix = path === '' ? '' : `${path}.`;
    const own = module.namedParameters('', false);
    for (const [name, parameter] of own) if (since.has(parameter)) keys.add(prefix + name);
    // Running statistics stand still in evaluation mode.
    const moving =
      plan.trunkMode === 'train' || own.length === 0 || own.some(([, parameter]) => since.has(parameter));
    if (moving)
      for (const [name] of module.namedBuffers('')) if (!name.includes('.')) keys.add(prefix + name);
  }
  return keys;
}

/** Whether nothing but the head is trained in an epoch, and the rest gives the same output each time. */
export function trunkStandsStill(plan: Plan, { since, model }: TrainedModel, epoch: number): boolean {
  if (plan.trunkMode === 'train') return false;
  const headParameters = new Set<Parameter>(headParametersOf(model));
  return [...since].every(([parameter, first]) => headParameters.has(parameter) || first > epoch);
}

/** Freezes and unfreezes for an epoch, and puts every module into the mode that it is trained in. */
export function enterEpoch(plan: Plan, trained: TrainedModel, epoch: number): void {
  const { model, head, since } = trained;
  for (const parameter of model.parameters())
    parameter.requiresGrad = (since.get(parameter) ?? Infinity) <= epoch;
  if (plan.trunkMode === 'train') model.train();
  else if (plan.trunkMode === 'eval' || trunkStandsStill(plan, trained, epoch)) {
    model.eval();
    head.layer.train();
  } else trainWhatIsTrained(model);
}

/**
 * Training mode for modules with something to train; those without parameters (dropout) go with their parent.
 */
function trainWhatIsTrained(module: TensorModule, parent = true): void {
  const parameters = module.parameters();
  const training = parameters.length === 0 ? parent : parameters.some(({ requiresGrad }) => requiresGrad);
  module.training = training;
  for (const child of module.children()) trainWhatIsTrained(child, training);
}

/** The optimizer's groups: all that is ever trained, the head apart where it has a rate of its own. */
export function rateGroups(plan: Plan, { model, since }: TrainedModel): RateGroup[] {
  const all = [...since.keys()];
  const { lr, headLr } = plan;
  if (headLr === null) return [{ params: all, lr }];
  const headParameters = new Set<Parameter>(headParametersOf(model));
  if (!all.some((parameter) => headParameters.has(parameter)))
    throw new CliError(
      '--head-lr: the head is not trained; leave the option out, or the head out of --freeze',
    );
  return [
    { params: all.filter((parameter) => !headParameters.has(parameter)), lr },
    { params: all.filter((parameter) => headParameters.has(parameter)), lr: headLr },
  ].filter(({ params }) => params.length > 0);
}
