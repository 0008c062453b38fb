import { EarlyStopping } from '../../optim/index.js';
import type { TensorModule } from '../../nn/index.js';
import { balancedClassWeights, mixing, Trainer, type Stage } from '../../train/index.js';
import { SampleLoader, type Turn } from '../batches.js';
import { shortList, type LabelledImages, type Samples } from '../classes.js';
import { interruptionOf, type Context } from '../context.js';
import { trunkFeatures } from '../features.js';
import { fit, type EpochReport, type FitResult, type Progress } from '../training-loop.js';
import { cardMetadata, type ModelCard } from '../model-card.js';
import { isLead, shareSkipped, type CommandRanks } from '../ranks.js';
import { makeOptimizer } from '../optimizers.js';
import { grouped } from '../output.js';
import { makeSchedule } from '../schedules.js';
import { evaluate, inferenceBatch, type Evaluation } from '../training.js';
import type { TrainingData } from './data.js';
import { trainedParts, type TrainedParts } from './trained-parts.js';
import { rateGroups, type TrainedModel } from './what-is-trained.js';
import type { Plan } from './plan.js';
import type { RunFolder } from './run-folder.js';
import type { RunState } from './state.js';

type Averaging = ReturnType<CommandRanks['parallel']>;

const ranksOf = ({ ranks }: Context): { readonly ranks?: number } =>
  ranks === null ? {} : { ranks: ranks.worldSize };

/** Tries which images can be read, where that has to be known before the ranks share batches. */
async function tryAll(context: Context, images: LabelledImages, batchSize: number): Promise<void> {
  const { ranks, signal } = context;
  if (ranks === null || images.skipped === undefined) return;
  for await (const batch of new SampleLoader(images, { batchSize, ranks })) {
    for (const tensor of batch) tensor.dispose();
    if (signal.aborted) throw interruptionOf(signal);
  }
  await shareSkipped(context, images);
}

/** One training, from its start or from where it was stopped. */
export class Session {
  private readonly trainer: Trainer;
  private features: { train: Samples; validation: Samples | null } | null = null;
  /** What of the model is averaged over the ranks now. */
  private averaged: { readonly model: TensorModule; readonly keys: string; readonly by: Averaging } | null =
    null;
  private turn: Turn | null = null;

  constructor(
    private readonly context: Context,
    private readonly plan: Plan,
    private readonly trained: TrainedModel,
    private readonly data: TrainingData,
    private readonly run: RunFolder | null,
  ) {
    const optimizer = makeOptimizer(rateGroups(plan, trained), plan);
    const { ranks } = context;
    const batches = Math.ceil(data.train.dataset.length / (plan.batchSize * (ranks?.worldSize ?? 1)));
    const { labels, classes } = data.train;
    const { mixup, cutmix, seed } = plan;
    this.trainer = new Trainer({
      model: trained.model,
      optimizer,
      ranks,
      amp: plan.amp,
      ema: plan.ema,
      changing: trained.stages.changing,
      scheduler: makeSchedule(optimizer, plan, { epochs: plan.epochs, batches }),
      earlyStopping: plan.earlyStop === null ? null : new EarlyStopping(plan.earlyStop),
      watch: data.validation === null ? 'loss' : 'validationLoss',
      labelSmoothing: plan.labelSmoothing,
      classWeights: plan.classWeights === 'balanced' ? balancedClassWeights(labels, classes.length) : null,
      clipGradNorm: plan.clipGradNorm ?? undefined,
      mix:
        mixup === null && cutmix === null
          ? undefined
          : mixing({ mixup, cutmix, numClasses: classes.length, seed: seed + (ranks?.rank ?? 0) }),
      onEpochStart: (epoch) => {
        trained.stages.enter(epoch);
        const stage = this.stage(epoch);
        return ranks === null
          ? stage
          : { ...stage, model: this.average(ranks, stage?.model ?? trained.model) };
      },
    });
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
    const { context, plan, data, run, trainer } = this;
    const folder =
      run === null
        ? undefined
        : {
            keep: (training: Trainer) => run.keep(training, { metadata: (epochs) => this.metadata(epochs) }),
            // The model was made of the last weights.
            load: async () => state && { state: state.values, weights: null },
          };
    if (state !== null && run !== null && folder !== undefined) {
      this.turn = run.config.turn ?? null;
      await trainer.resume(folder);
      this.hasGoodState = true;
    }
    return fit(context, trainer, {
      train: this.loaderOf(data.train, trainer.history.length),
      validation: data.validation === null ? null : this.validationOf(data.validation),
      epochs: plan.epochs,
      patience: plan.earlyStop?.patience,
      folder,
      onStart: async () => {
        this.hasGoodState = run !== null;
        if (this.mayCache(trainer.history.length + 1)) await this.cacheFeatures();
        if (this.features === null) await tryAll(context, data.train, inferenceBatch(plan.input.size));
      },
    });
  }

  /** @param epoch that comes next, from 0 */
  private loaderOf(samples: Samples, epoch: number): SampleLoader {
    const { batchSize, seed } = this.plan;
    const loader = new SampleLoader(samples, { batchSize, seed, ranks: this.context.ranks, turn: this.turn });
    loader.epoch = epoch;
    return loader;
  }

  private validationOf(samples: Samples): SampleLoader {
    const { ranks } = this.context;
    return new SampleLoader(samples, { batchSize: inferenceBatch(this.plan.input.size), ranks });
  }

  /** The model with its gradients averaged over the ranks: made anew when other parameters are trained. */
  private average(ranks: CommandRanks, model: TensorModule): TensorModule {
    const trained = model.namedParameters().filter(([, parameter]) => parameter.requiresGrad);
    const keys = trained.map(([key]) => key).join();
    const before = this.averaged;
    if (before?.model === model && before.keys === keys) return before.by;
    before?.by.removeHooks();
    const { changing } = this.trained.stages;
    const broadcastBuffers = this.trained.model.namedBuffers().some(([key]) => changing.has(key));
    const by = ranks.parallel(model, { broadcastBuffers });
    this.averaged = { model, keys, by };
    return by;
  }

  /** The best epoch's weights on the validation data; null where there are none. */
  async evaluateBest(run: RunFolder, { bestEpoch }: Progress): Promise<Evaluation | null> {
    const { context, data, trainer } = this;
    if (data.validation === null || bestEpoch === 0) return null;
    if (isLead(context)) await run.loadBest(trainer.saved);
    context.ranks?.share(trainer.saved);
    const cached = this.stage(bestEpoch);
    const features = cached === undefined ? null : (this.features?.validation ?? null);
    const model = trainer.savedPart(cached?.model ?? trainer.model);
    return evaluate(context, model, features ?? data.validation, {
      batchSize: inferenceBatch(this.plan.input.size),
      label: 'report',
    });
  }

  /** The head alone, in epochs of which it sees nothing but the features that are there. */
  private stage(epoch: number): Stage | undefined {
    const { trained, features } = this;
    if (features === null || !trained.stages.trunkStandsStill(epoch)) return undefined;
    return {
      model: trained.head.layer as TensorModule,
      train: this.loaderOf(features.train, epoch - 1),
      validation: features.validation === null ? undefined : this.validationOf(features.validation),
    };
  }

  /** Whether some epoch from `first` on sees nothing of the images but what the still trunk makes of them. */
  private mayCache(first: number): boolean {
    const { plan, trained } = this;
    return (
      plan.featureCache &&
      plan.augment === 'none' &&
      plan.mixup === null &&
      plan.cutmix === null &&
      trained.stages.trunkStandsStill(first)
    );
  }

  private async cacheFeatures(): Promise<void> {
    const { context, plan, trained, data } = this;
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
      training: JSON.stringify({ seed, optimizer, batchSize, ...ranksOf(this.context), schedule, epochs }),
    };
  }

  get model(): TensorModule {
    return this.trainer.saved;
  }

  /** Parameters that are ever trained. */
  get trainableCount(): number {
    return this.trained.stages.parameters.reduce((count, parameter) => count + parameter.numel(), 0);
  }

  /** What was trained in which of so many epochs. */
  partsOver(epochs: number): TrainedParts {
    return trainedParts(this.trained, epochs);
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
    const { ranks } = this.context;
    if (ranks !== null)
      output.line(
        `${ranks.worldSize} ranks with batches of ${plan.batchSize} each: a step is made of ${ranks.worldSize * plan.batchSize} images`,
      );
    output.line(`training ${grouped(this.trainableCount)} of ${grouped(all)} parameters`);
  }
}
