import { GradScaler } from '../amp/grad-scaler.js';
import { AveragedModel, getEmaMultiAvgFn } from '../optim/swa-utils.js';
import type { Tensor } from '../tensor/tensor.js';
import { requireLoader, requireMethods } from './checks.js';
import { evaluate, evaluating, type Evaluation, type EvaluateOptions } from './evaluate.js';
import { LazyFit, type Fit, type TrainEvent } from './events.js';
import type { Keeper, Kept, ResumableFolder, TrainingFolder, TrainingState } from './keeper.js';
import {
  disposeBatch,
  noBatches,
  ownsBatches,
  passOf,
  tooShort,
  type Loader,
  type TrainBatch,
} from './loader.js';
import {
  aFolder,
  checkFit,
  checkOptions,
  checkStage,
  checkTrained,
  type FitOptions,
  type TrainerOptions,
} from './options.js';
import { Pass } from './pass.js';
import { atStart, isBetter, noSums, type EpochReport, type FitResult, type Progress } from './progress.js';
import {
  agreed,
  innerOf,
  joined,
  OtherRankEndedError,
  ranksOf,
  shareBuffers,
  spreadRandom,
  type Ranks,
  type Word,
} from './ranks.js';
import { checkWatch, metricFor, scheduleOf } from './schedule.js';
import { shownTraining } from './shown.js';
import { entriesOf, progressOf, restoreState, seedOf, stateOf, type Training } from './state.js';
import { trainStep, update, type StepRecipe, type StepResult, type Trainable } from './step.js';

/**
 * Trains a model, with everything around the step: validation, the best epoch, schedules, early stopping,
 * averages, mixed precision, and a state from which it goes on to the same bits.
 *
 * ```ts
 * const trainer = new Trainer({ model, optimizer });
 * for await (const event of trainer.fit(trainLoader, { epochs: 5, validation: valLoader }))
 *   if (event.type === 'epoch') console.log(event.report.validationAccuracy);
 * ```
 *
 * The optimizer's groups should be there from the start, those of parameters that are frozen at first too
 * (they are passed over until they have gradients): its state is put back into the groups that it was saved
 * from.
 */
export class Trainer<O = Tensor> implements Kept {
  private readonly training: Training<Trainable<O>>;
  /** Null where this process trains alone. */
  private readonly ranks: Ranks | null;
  private readonly recipe: StepRecipe<O>;
  private progress = atStart;
  private underway: { readonly pass: Pass; readonly progress: () => Promise<Progress> } | null = null;
  private running = false;
  /** The folder that the state was taken from, and nothing has happened since. */
  private resumedFrom: TrainingFolder | null = null;
  private seed: number | null = null;

  /** @throws Error for unknown options, and for such as do not go together */
  constructor(private readonly options: TrainerOptions<O>) {
    checkOptions(options);
    const { optimizer, scheduler = null, ema = null, amp = false, changing = null } = options;
    const model = innerOf(options.model);
    this.ranks = ranksOf(options.model, options.ranks);
    const average =
      typeof ema === 'number' ? new AveragedModel(model, { multiAvgFn: getEmaMultiAvgFn(ema) }) : ema;
    const schedule = scheduler === null || 'per' in scheduler ? scheduler : scheduleOf(scheduler);
    this.training = {
      model,
      // Rounding may change an average of equal numbers.
      changing: average === null ? changing : null,
      average,
      optimizer,
      scaler: options.scaler ?? (amp ? new GradScaler() : null),
      schedule,
      earlyStopping: options.earlyStopping ?? null,
    };
    const { loss, labelSmoothing, classWeights, mix, clipGradNorm } = options;
    this.recipe = {
      ...{ loss, labelSmoothing, classWeights, mix, clipGradNorm, scaler: this.training.scaler },
      afterStep: () => {
        average?.updateParameters(model);
        if (schedule?.per === 'batch') schedule.step(NaN);
      },
    };
  }

  /** What is trained by what, and how far it has come. */
  toString(): string {
    return shownTraining(this.training, this.options.scheduler, this.history.length, this.best?.epoch);
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** The model; of a DistributedDataParallel what it wraps. */
  get model(): Trainable<O> {
    return this.training.model;
  }

  /** What is validated and saved as weights: the model, or its moving average. */
  get saved(): Trainable<O> {
    return this.training.average?.module ?? this.training.model;
  }

  /**
   * A part of the model, or the same part of its average where there is one.
   *
   * @throws Error where it is not a part of the model
   */
  savedPart(part: Trainable<O>): Trainable<O> {
    if (this.training.average === null) return part;
    if (part === this.model) return this.saved;
    const found = this.model.namedModules().find(([, module]) => module === part);
    if (found === undefined)
      throw new Error(
        'Trainer: what is trained is not a part of the model, so its average is not known; say what is `validated`',
      );
    return this.saved.getSubmodule(found[0]) as Trainable<O>;
  }

  /** Keys of the state of `saved` that training may change. */
  get savedKeys(): ReadonlySet<string> {
    const { changing, model } = this.training;
    if (changing !== null) return changing;
    const state = model.stateDict();
    for (const tensor of state.values()) tensor.dispose();
    return new Set(state.keys());
  }

  /** The scaler of mixed precision. */
  get scaler(): GradScaler | null {
    return this.training.scaler;
  }

  /** The epochs that are done. */
  get history(): readonly EpochReport[] {
    return this.progress.epochs;
  }

  /** The best epoch so far. */
  get best(): EpochReport | null {
    return this.progress.epochs[this.progress.bestEpoch - 1] ?? null;
  }

  /**
   * Trains until `epochs` are done, early stopping ends it, or the signal does; goes on where an earlier
   * `fit`, `loadStateDict` or `resume` left it. Nothing happens before it is awaited, or its events are asked
   * for.
   *
   * @param train its passes are numbered by the Trainer where it has an `epoch` and a `startBatch`
   */
  fit(train: Loader, options: FitOptions): Fit {
    requireLoader('Trainer.fit', train);
    checkFit(options);
    const { schedule, earlyStopping } = this.training;
    checkWatch(this.options.watch, [schedule, earlyStopping], (options.validation ?? null) !== null);
    return new LazyFit(() => this.run(train, options), options);
  }

  /**
   * Measures what is validated: the model, or its moving average. With several ranks each gives the loader of
   * its part, and all get the measures of the whole.
   *
   * @param options.loss default: as in the validation
   */
  evaluate(loader: Loader, options: EvaluateOptions<O> = {}): Promise<Evaluation> {
    const { validationLoss: loss = this.options.loss, metrics } = this.options;
    return evaluate(this.saved, loader, { loss, metrics, ranks: this.ranks, ...options });
  }

  /**
   * One step on a batch, as `fit` makes it, for a loop of your own; it is in no history, and the schedule is
   * stepped where it steps per batch. Modes and the batch are yours.
   */
  trainStep(batch: TrainBatch): Promise<StepResult> {
    return trainStep(this.options.model, this.options.optimizer, batch, this.recipe);
  }

  /**
   * Everything that is needed to go on to the same bits, also in the middle of an epoch: weights, optimizer,
   * schedule, scaler, average, early stopping, random numbers, place and history. For `saveTorch`; the
   * tensors are handles of their own. Ask for it between two events, not while one is awaited; with several
   * ranks on all of them.
   */
  async stateDict(): Promise<TrainingState> {
    return this.stateAt(this.underway === null ? this.progress : await this.underway.progress());
  }

  /** The state at a place of it, between two steps: what `stateDict` gives without waiting. */
  stateAt(progress: Progress): TrainingState {
    return stateOf(this.training, progress, this.seed);
  }

  /**
   * Puts the training into a saved state; the next `fit` goes on from there.
   *
   * @param state what `stateDict` gave, or `loadValue` of its file
   * @throws Error (a rejection) for the state of a training with other options, or of another model or
   *   optimizer; then nothing has changed
   */
  async loadStateDict(state: unknown): Promise<void> {
    await this.restore(state, null);
  }

  private async restore(state: unknown, weights: ReadonlyMap<string, unknown> | null): Promise<void> {
    if (this.running) throw new Error('Trainer.loadStateDict: the training is under way; end it first');
    const entries = entriesOf(state);
    const progress = progressOf(entries);
    await restoreState(entries, this.training, weights);
    this.progress = progress;
    this.seed = seedOf(entries);
    this.resumedFrom = null;
  }

  /**
   * Takes the training up from a folder (`RunFolder` of `kindling/train/node`).
   *
   * @param folder with several ranks rank 0's, from which all are told; the others may give null
   * @returns whether there was something to take up
   */
  async resume(folder: ResumableFolder | null): Promise<boolean> {
    const { ranks } = this;
    const reads = ranks === null || ranks.rank === 0;
    if (reads) requireMethods('Trainer.resume: the folder', folder, ['load', 'keep'], aFolder);
    const own = reads ? ((await folder?.load()) ?? null) : null;
    const found = ranks === null ? own : ((await ranks.broadcastState(own)) as typeof own);
    if (found === null) return false;
    await this.restore(found.state, found.weights);
    this.resumedFrom = folder;
    return true;
  }

  private async *run(train: Loader, options: FitOptions): AsyncGenerator<TrainEvent, FitResult> {
    if (this.running) throw new Error('Trainer.fit: the training is under way already');
    this.running = true;
    try {
      const { ranks } = this;
      const keeper = (ranks?.rank ?? 0) === 0 ? (options.folder?.keep(this) ?? null) : null;
      const { earlyStopping } = this.training;
      const stopped = earlyStopping !== null && earlyStopping.numBadEpochs >= earlyStopping.patience;
      const done = this.progress.epochs.length;
      this.progress = { ...this.progress, finished: done >= options.epochs || (done > 0 && stopped) };
      await this.seedOrder(train);
      if (ranks !== null) await spreadRandom(ranks);
      const resumed = keeper !== null && options.folder === this.resumedFrom;
      this.resumedFrom = null;
      await keeper?.start(this.progress, resumed);
      let interrupted = !this.progress.finished && (await this.oneIsAborted(options.signal));
      if (!this.progress.finished) {
        yield { type: 'start', progress: this.progress };
        while (!this.progress.finished && !interrupted)
          interrupted = yield* this.epoch(train, options, keeper);
      }
      const result = { ...this.progress, interrupted };
      if (interrupted) await keeper?.interrupted(result);
      yield { type: 'end', result };
      return result;
    } finally {
      this.running = false;
    }
  }

  /** @returns whether it was ended from outside */
  private async *epoch(
    loader: Loader,
    options: FitOptions,
    keeper: Keeper | null,
  ): AsyncGenerator<TrainEvent, boolean> {
    const before = this.progress;
    const { optimizer } = this.training;
    const epoch = before.epochs.length + 1;
    const started = performance.now() - 1000 * before.seconds;
    const seconds = (): number => (performance.now() - started) / 1000;
    const { trainMode = (model) => model.train() } = this.options;
    trainMode(this.options.model, epoch);
    const stage = checkStage(await this.options.onEpochStart?.(epoch));
    checkTrained(optimizer, epoch);
    const { model = this.options.model, train = loader, validation = options.validation ?? null } = stage;
    // The last group is the head.
    const lr = before.lr ?? optimizer.paramGroups.at(-1)?.lr ?? 0;

    const pass = new Pass(epoch, train.length ?? null, before.sums, options.stepEvery ?? null);
    const sums = yield* this.pass(pass, model, train, { epoch, before, seconds, lr }, options, keeper);
    if (sums === null) return true;
    if (sums.batches === 0) throw noBatches('Trainer.fit', epoch);

    let checked: Evaluation | null = null;
    if (validation !== null) {
      checked = yield* this.validate(
        stage.validated ?? this.savedPart(innerOf(model)),
        validation,
        epoch,
        options.signal,
      );
      if (checked === null) return true;
    }
    const report: EpochReport = {
      epoch,
      loss: sums.loss / sums.count,
      trainAccuracy: sums.correct === null ? null : sums.correct / sums.count,
      validationAccuracy: checked === null ? null : checked.accuracy,
      validationLoss: checked === null ? null : checked.loss,
      lr,
      seconds: (await this.ranks?.broadcastObject(seconds())) ?? seconds(),
      ...(checked !== null && this.options.metrics !== undefined && { metrics: checked.metrics }),
    };
    const { improved, stopped } = this.close(report, options.epochs);
    if (improved) await keeper?.best(report);
    await keeper?.epoch(report, this.progress);
    const { progress } = this;
    yield { type: 'epoch', report, sums, validation: checked, improved, stopped, progress };
    if (improved) yield { type: 'best', report };
    return false;
  }

  private async oneIsAborted(signal: AbortSignal | undefined): Promise<boolean> {
    const own = signal?.aborted === true;
    const all = (await this.ranks?.allGatherObject(own)) ?? [own];
    return all.includes(true);
  }

  /** The order of the batches is the one that the state was saved with, or rank 0's. */
  private async seedOrder(train: Loader): Promise<void> {
    const seeded = typeof train.loadState === 'function' && typeof train.seed === 'number';
    const own = seeded ? (this.seed ?? train.seed ?? null) : null;
    const seed = this.ranks === null ? own : await this.ranks.broadcastObject(own);
    if (seeded && seed !== null && seed !== train.seed) train.loadState?.({ seed, epoch: 0, batch: 0 });
    this.seed = seed;
  }

  /** Trains to the end of the epoch. @returns null where it was ended from outside */
  private async *pass(
    pass: Pass,
    model: Trainable<O>,
    train: Loader,
    at: { readonly epoch: number; before: Progress; seconds: () => number; readonly lr: number },
    { signal }: FitOptions,
    keeper: Keeper | null,
  ): AsyncGenerator<TrainEvent, Progress['sums'] | null> {
    const { epoch, before, seconds, lr } = at;
    const { optimizer } = this.training;
    const { accumulate = 1 } = this.options;
    const { ranks } = this;
    const progress = async (joint = true): Promise<Progress> => {
      const own = { sums: await pass.settled(), seconds: seconds() };
      const all = ranks === null || !joint ? null : await ranks.allGatherObject(own);
      const { seconds: spent } = all?.[0] ?? own;
      const sums =
        all === null
          ? own.sums
          : joined(
              before.sums,
              all.map((each) => each.sums),
            );
      return { ...before, sums, seconds: spent, lr };
    };
    const from = before.sums.batches;
    if (pass.batches !== null && from > pass.batches)
      throw tooShort('Trainer.fit', epoch, from, pass.batches);
    this.underway = { pass, progress };
    const own = ownsBatches(train);
    const aborted = (): boolean => signal?.aborted === true;
    // Said before the step and heard after it: nothing waits for it but what waits for the step before.
    const say = (more: boolean): Promise<Word[]> | null => {
      const said = ranks?.allGatherObject({ more, stop: aborted(), save: keeper?.due?.() === true }) ?? null;
      said?.catch(() => undefined);
      return said;
    };
    let interrupted = false;
    let [held, last] = [0, from];
    let ended: 'well' | 'badly' | null = null;
    try {
      yield { type: 'epochStart', epoch, done: from, batches: pass.batches };
      if (pass.batches === null || from < pass.batches) {
        for await (const { batch, done, weight } of passOf('Trainer.fit', train, epoch, from)) {
          if (ranks === null && held === 0 && aborted()) {
            interrupted = true;
            if (own) disposeBatch(batch);
            break;
          }
          const said = say(true);
          const part = {
            of: accumulate,
            first: held === 0,
            last: held + 1 === accumulate,
            ...(weight !== 1 && { weight }),
          };
          const recipe = { ...this.recipe, place: { epoch, batch: done }, part };
          const rates = optimizer.paramGroups.map((group) => group.lr);
          const step = {
            ...(await trainStep(model, optimizer, batch, recipe)),
            ...{ batch: done, rates, weight },
          };
          if (own) disposeBatch(batch);
          held = part.last ? 0 : held + 1;
          const word = said === null ? null : agreed(await said, 'Trainer.fit', epoch, last);
          last = done;
          if (held > 0) {
            pass.hold(step);
            continue;
          }
          await pass.add(step);
          yield* pass.events(false);
          interrupted = word?.stop ?? aborted();
          if (interrupted) break;
          if (word === null) await keeper?.batch(progress);
          else if (word.save) {
            const reached = await progress();
            await keeper?.batch(() => Promise.resolve(reached));
          }
        }
        if (ranks !== null && !interrupted)
          agreed(await (say(false) as Promise<Word[]>), 'Trainer.fit', epoch, last);
        // The last step of an epoch may be of fewer batches.
        if (held > 0) await update(optimizer, this.recipe, accumulate / held);
        held = 0;
      }
      await pass.settled();
      yield* pass.events(true);
      shareBuffers(model, this.training.average?.module ?? null);
      ended = 'well';
    } catch (error) {
      ended = 'badly';
      throw error;
    } finally {
      this.underway = null;
      // Batches without their step are done again.
      pass.drop(held);
      // Also where the consumer of the events has left its loop. After an error no other rank joins in.
      const reached = progress(ended !== 'badly');
      this.progress = ended === 'well' ? await reached : await reached.catch(() => before);
    }
    return interrupted ? null : this.progress.sums;
  }

  private async *validate(
    model: Trainable<O>,
    loader: Loader,
    epoch: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<TrainEvent, Evaluation | null> {
    const { validationLoss: loss = this.options.loss, metrics } = this.options;
    const checking = evaluating(model, loader, { loss, metrics, signal, ranks: this.ranks });
    yield { type: 'validationStep', epoch, count: 0, correct: 0 };
    try {
      for (;;) {
        const next = await checking.next();
        if (next.done === true) return next.value;
        yield { type: 'validationStep', epoch, ...next.value };
      }
    } catch (error) {
      if (error instanceof OtherRankEndedError) return null;
      if (signal?.aborted === true && error === signal.reason) return null;
      throw error;
    } finally {
      await checking.return(undefined as never);
    }
  }

  /** Ends an epoch: schedule, best, early stopping, history. */
  private close(report: EpochReport, epochs: number): { improved: boolean; stopped: boolean } {
    const { schedule, earlyStopping } = this.training;
    const { watch, better = isBetter } = this.options;
    const metric = (mode: 'min' | 'max' | null): number =>
      mode === null ? NaN : metricFor(watch, mode, report);
    const [forSchedule, forStopping] = [metric(schedule?.mode ?? null), metric(earlyStopping?.mode ?? null)];
    if (schedule?.per === 'epoch') schedule.step(forSchedule);
    const best = this.best;
    const improved = best === null || better(report, best);
    const stopped = earlyStopping?.step(forStopping) ?? false;
    this.progress = {
      epochs: [...this.progress.epochs, report],
      sums: noSums,
      seconds: 0,
      lr: null,
      bestEpoch: improved ? report.epoch : this.progress.bestEpoch,
      finished: report.epoch >= epochs || stopped,
    };
    return { improved, stopped };
  }
}
