import type { Checkpoint } from '../../formats/index.js';
import { findHead, replaceHead, type Head } from '../../models/index.js';
import type { TensorModule } from '../../nn/index.js';
import {
  headParameters,
  NoSuchParametersError,
  NothingToTrainError,
  parametersNamed,
  Unfreezing,
} from '../../train/unfreezing.js';
import { shortList } from '../classes.js';
import { CliError } from '../errors.js';
import { builderOf, modelFromFile } from '../load-model.js';
import type { RateGroup } from '../optimizers.js';
import type { Plan } from './plan.js';

/** A model with what of it is trained, and when. */
export interface TrainedModel {
  readonly model: TensorModule;
  readonly head: Head;
  readonly stages: Unfreezing;
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
  return { model, head, stages: stagesOf(plan, model, head) };
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

function stagesOf(plan: Plan, model: TensorModule, head: Head): Unfreezing {
  const { freeze, unfreezeAt: at, trunkMode: mode } = plan;
  try {
    const frozen = new Set(freeze.flatMap((name) => parametersNamed(model, name, 'freeze')));
    if (plan.head === 'new' && head.layer.parameters().some((parameter) => frozen.has(parameter)))
      throw new CliError(`--freeze: '${head.path}' is the new head, which has to be trained`);
    return new Unfreezing(model, { freeze, at, mode });
  } catch (error) {
    throw inOptions(plan, error);
  }
}

/** What is wrong with the names of parameters. */
function inOptions(plan: Plan, error: unknown): unknown {
  if (error instanceof NoSuchParametersError) {
    const option = error.option === 'freeze' ? '--freeze' : '--unfreeze-at';
    return new CliError(
      `${option} '${error.given}': ${plan.model} has no parameters of that name; its parts are ${shortList(error.parts)}`,
      { cause: error },
    );
  }
  return error instanceof NothingToTrainError ? new CliError('--freeze: nothing is left to train') : error;
}

/** The optimizer's groups: all that is ever trained, the head apart where it has a rate of its own. */
export function rateGroups(plan: Plan, { model, stages }: TrainedModel): RateGroup[] {
  const all = stages.parameters;
  const { lr, headLr } = plan;
  if (headLr === null) return [{ params: all, lr }];
  const ofHead = headParameters(model);
  if (!all.some((parameter) => ofHead.has(parameter)))
    throw new CliError(
      '--head-lr: the head is not trained; leave the option out, or the head out of --freeze',
    );
  return [
    { params: all.filter((parameter) => !ofHead.has(parameter)), lr },
    { params: all.filter((parameter) => ofHead.has(parameter)), lr: headLr },
  ].filter(({ params }) => params.length > 0);
}
