import { GradScaler } from '../../amp/index.js';
import { tensor, type Tensor } from '../../index.js';
import { cutmix, mixup, Random } from '../../data/index.js';
import { EarlyStopping, swaUtils } from '../../optim/index.js';
import type { TensorModule } from '../../nn/index.js';
import { shortList, type LabelledImages, type Samples } from '../classes.js';
import type { Context } from '../context.js';
import { trunkFeatures } from '../features.js';
import {
  atStart,
  fit,
  type EpochReport,
  type FitResult,
  type Progress,
  type Stage,
} from '../training-loop.js';
import { cardMetadata, type ModelCard } from '../model-card.js';
import { makeOptimizer } from '../optimizers.js';
import { grouped } from '../output.js';
import { makeSchedule } from '../schedules.js';
import { evaluate, inferenceBatch, type Evaluation, type Mix } from '../training.js';
import type { TrainingData } from './data.js';
import { enterEpoch, rateGroups, trunkStandsStill, type TrainedModel } from './what-is-trained.js';
import type { Plan } from './plan.js';
import type { RunFolder } from './run-folder.js';
import { loadBest, restore, Saver, type RunState, type Training } from './state.js';

/** Numbers of the random streams that are neither the loader's orders (0) nor its samples (1). */
const mixStream = 2;

/** One training, from its start or from where it was stopped. */
export class Session {
  private readonly training: Training;
  private features: { train: Samples; validation: Samples | null } | null = null;
  private classWeights: Tensor | null = null;

  constructor(
    private readonly context: Context,
    private readonly plan: Plan,
    private readonly trained: TrainedModel,
    private readonly data: TrainingData,
    private readonly run: RunFolder | null,
  ) {
    const optimizer = makeOptimizer(rateGroups(plan, trained), plan);
    const batches = Math.ceil(data.train.dataset.length / plan.batchSize);
    const { model, changing } = trained;
    const average =
      plan.ema === null
        ? null
        : new swaUtils.AveragedModel(model, { multiAvgFn: swaUtils.getEmaMultiAvgFn(plan.ema) });
    this.training = {
      model,
      // Rounding may change an average of equal numbers.
      changing: average === null ? changing : new Set(model.stateDict().keys()),
      saved: average?.module ?? model,
      average,
      optimizer,
      scaler: plan.amp ? new GradScaler() : null,
      schedule: makeSchedule(optimizer, plan, { epochs: plan.epochs, batches }),
      earlyStopping: plan.earlyStop === null ? null : new EarlyStopping(plan.earlyStop),
    };
  }

  /**
   * The run's folder holds a state that could be read, or was written: after an error there is something to
   * go on from.
   */
  hasGoodState = false;

  /**
   * Trains to the end, or to an interruption. With a run folder the state is saved at the start, after
   * epochs, and when it is interrupted.
   *
   * @param state a run's own, to go on from
   */
  async train(state: RunState | null): Promise<FitResult> {
    const { context, plan, trained, data, run, training } = this;
    const from = state === null ? atStart : state.progress;
    const saver = run === null ? null : new Saver(run, training, (epochs) => this.metadata(epochs));
    if (state !== null) {
      await restore(state, training);
      this.hasGoodState = true;
      await run?.writeHistory(from.epochs);
    } else {
      await saver?.save(from);
      this.hasGoodState = saver !== null;
    }
    if (from.finished) return { ...from, interrupted: false };

    this.classWeights = plan.classWeights === 'balanced' ? balanced(data.train) : null;
    if (this.mayCache(from.epochs.length + 1)) await this.cacheFeatures();
    const result = await fit(context, {
      stage: (epoch) => this.stage(epoch),
      optimizer: training.optimizer,
      scaler: training.scaler,
      schedule: training.schedule,
      earlyStopping: training.earlyStopping,
      epochs: plan.epochs,
      batchSize: plan.batchSize,
      validationBatch: inferenceBatch(plan.input.size),
      seed: plan.seed,
      from,
      labelSmoothing: plan.labelSmoothing,
      classWeights: this.classWeights,
      clipGradNorm: plan.clipGradNorm ?? undefined,
      afterStep:
        training.average === null ? undefined : () => training.average?.updateParameters(trained.model),
      mix: mixOf(plan, data.train.classes.length),
      onBest: async () => saver?.keepBest(),
      onEpoch: async (progress) => {
        const report = progress.epochs.at(-1);
        if (run === null || saver === null || report === undefined) return;
        await run.appendHistory(report);
        if (progress.finished || saver.isDue) await saver.save(progress);
      },
      // Long epochs are saved in the middle too; what is lost to a kill is minutes at most.
      onBatch: async (progress) => {
        if (saver !== null && saver.age > savedWithinEpoch) await saver.save(await progress());
      },
    });
    if (result.interrupted) await saver?.save(result);
    return result;
  }

  /** The best epoch's weights on the validation data; null where there are none. */
  async evaluateBest(run: RunFolder, { bestEpoch }: Progress): Promise<Evaluation | null> {
    const { context, data, training } = this;
    if (data.validation === null || bestEpoch === 0) return null;
    await loadBest(run, training.saved);
    const { model, validated = model, validation } = this.stage(bestEpoch);
    validated.eval();
    return evaluate(context, validated, validation ?? data.validation, {
      batchSize: inferenceBatch(this.plan.input.size),
      label: 'report',
    });
  }

  private stage(epoch: number): Stage {
    const { plan, trained, data, features } = this;
    const trainMode = (): void => enterEpoch(plan, trained, epoch);
    const { average, saved } = this.training;
    if (features === null || !trunkStandsStill(plan, trained, epoch))
      return {
        model: trained.model,
        validated: saved,
        train: data.train,
        validation: data.validation,
        trainMode,
      };
    const { layer, path } = trained.head;
    const model = layer as TensorModule;
    const validated = average === null ? model : (average.module.getSubmodule(path) as TensorModule);
    return { model, validated, ...features, trainMode };
  }

  /** Whether some epoch from `first` on sees nothing of the images but what the still trunk makes of them. */
  private mayCache(first: number): boolean {
    const { plan, trained } = this;
    return (
      plan.featureCache &&
      plan.augment === 'none' &&
      plan.mixup === null &&
      plan.cutmix === null &&
      trunkStandsStill(plan, trained, first)
    );
  }

  private async cacheFeatures(): Promise<void> {
    const { context, plan, trained, data } = this;
    trained.model.eval();
    const batchSize = inferenceBatch(plan.input.size);
    const run = (images: LabelledImages, label: string, amp = false): Promise<Samples | null> =>
      trunkFeatures(context, trained.model, trained.head, images, { batchSize, label, amp });
    const train = await run(data.train, 'frozen layers', plan.amp);
    if (train === null) return;
    const validation =
      data.validation === null ? null : await run(data.validation, 'frozen layers, validation');
    if (data.validation !== null && validation === null) return;
    this.features = { train, validation };
    context.output.line('the frozen layers have run once; their output is reused in every epoch');
  }

  /** What is stored beside the weights, so that eval and predict know how to use them. */
  metadata(epochs: readonly EpochReport[]): Record<string, string> {
    const { plan, data } = this;
    const card: ModelCard = {
      model: plan.model,
      classes: data.train.classes,
      ...(plan.classMap === null ? {} : { classMap: plan.classMap }),
      input: plan.input,
      ...(plan.modelOptions === null ? {} : { options: plan.modelOptions }),
    };
    const { seed, optimizer, batchSize, schedule } = plan;
    return {
      ...cardMetadata(card),
      training: JSON.stringify({ seed, optimizer, batchSize, schedule, epochs }),
    };
  }

  get model(): TensorModule {
    return this.training.saved;
  }

  /** Parameters that are ever trained. */
  get trainableCount(): number {
    return [...this.trained.since.keys()].reduce((count, parameter) => count + parameter.numel(), 0);
  }

  /** What is trained, in a few lines. */
  describe(from: string): void {
    const { plan, trained, data } = this;
    const { output } = this.context;
    const { train, validation } = data;
    const all = trained.model.parameters().reduce((n, parameter) => n + parameter.numel(), 0);
    output.line(`${plan.model}${from}`);
    output.line(`classes ${shortList(train.classes)}`);
    output.line(
      `images ${grouped(train.dataset.length)} of ${train.name}` +
        (validation === null
          ? ''
          : `, validation ${grouped(validation.dataset.length)} of ${validation.name}`),
    );
    output.line(`training ${grouped(this.trainableCount)} of ${grouped(all)} parameters`);
  }
}

/** Seconds after which a state is saved in the middle of an epoch. */
const savedWithinEpoch = 120;

/** Factors that make every class weigh the same in sum, 1 on average (scikit-learn's `balanced`). */
function balanced({ labels, classes }: LabelledImages): Tensor {
  const counts = new Float64Array(classes.length);
  for (const label of labels) counts[label]!++;
  const weights = Float32Array.from(counts, (count) => labels.length / (classes.length * Math.max(count, 1)));
  return tensor(weights).keep();
}

/** Mixup, cutmix, or for each batch one of the two. */
function mixOf({ mixup: blend, cutmix: paste, seed }: Plan, numClasses: number): Mix | undefined {
  if (blend === null && paste === null) return undefined;
  return ({ inputs, targets }, epoch, batch) => {
    const random = new Random(seed, mixStream, epoch, batch);
    const pasted = paste !== null && (blend === null || random.chance(0.5));
    const make = pasted ? cutmix : mixup;
    const alpha = (pasted ? paste : blend) ?? 1;
    const [mixedInputs, mixedTargets] = make(inputs, targets, { alpha, numClasses, random });
    return { inputs: mixedInputs, targets: mixedTargets };
  };
}
