import { isDeepStrictEqual } from 'node:util';
import { manualSeed, runtime } from '../../index.js';
import { loadCheckpoint, type Checkpoint } from '../../formats/index.js';
import { saveWeights } from '../../models/index.js';
import { BadImageError } from '../batches.js';
import { defineCommand, type Call } from '../command.js';
import { checkInterrupted, interruptionOf, type Context } from '../context.js';
import { CliError, UsageError } from '../errors.js';
import { checkNewFile, namesFolder } from '../files.js';
import type { FitResult } from '../training-loop.js';
import { givenOptions, type GivenOptions } from '../finetune/command-line.js';
import { digestOf, openData, skippedImages, warnSkipped, type TrainingData } from '../finetune/data.js';
import { prepareModel, type TrainedModel } from '../finetune/what-is-trained.js';
import { changedImages, extended, hasTrained, howToExtend } from '../finetune/going-on.js';
import { besideResume, finetuneOptions, type FinetuneOptions } from '../finetune/options.js';
import { checkOptions, planOf, type Plan } from '../finetune/plan.js';
import { writeReport } from '../finetune/report.js';
import { resumeCommand, RunFolder, type RunConfig } from '../finetune/run-folder.js';
import { lossIn, survivingLosses } from '../finetune/device-loss.js';
import { Session } from '../finetune/session.js';
import { readState, type RunState } from '../finetune/state.js';
import { builderOf } from '../load-model.js';
import { flagOf } from '../option-rows.js';
import { operand } from '../shared-options.js';
import { percent } from '../output.js';
import { isLead, oneFirst, sameOnAll } from '../ranks.js';
import { versions } from '../versions.js';
import { fileDigest, openNamedWeights } from '../weights-file.js';

/** `kindling finetune`: a new head on a trained model, or the training of a whole model. */
async function finetune({ context, options, given }: Call<typeof finetuneOptions>): Promise<void> {
  const began = performance.now();
  const dataPath = options.data;
  if (options.resume !== undefined) {
    refuseBesideResume(given, dataPath);
    return resume(context, options.resume, options, given);
  }
  if (dataPath === undefined)
    throw new UsageError('finetune: name the folder of the data, or a run with --resume');
  checkOptions(options, given);
  checkRanks(context, options.optimizer);
  const { out } = options;
  const { force = false } = options;
  const isFile = out !== undefined && !(await namesFolder(out));
  if (isFile && !/\.safetensors$/i.test(out))
    throw new UsageError(`--out: '${out}' must be a folder, or end in .safetensors`);
  if (isLead(context)) {
    if (isFile) await checkNewFile(out, force);
    else if (out !== undefined) await RunFolder.checkNew(out, force);
  }

  const { weights: named } = options;
  const weights =
    named === undefined
      ? null
      : await oneFirst(context, () => openNamedWeights(context, options.model, named));
  const card = weights?.card ?? {};
  const modelName = options.model ?? card.model;
  if (modelName === undefined) throw new UsageError('--model is missing');
  builderOf(modelName);
  const plan = planOf(dataPath, modelName, card, weights !== null, options);
  const data = await openData(context, plan, options.workers);
  await sameOnAll(context, 'images', digestOf(plan, data));
  await context.openDevice();
  const noDigest = weights === null || out === undefined || isFile || !isLead(context);
  const digest = noDigest ? null : await fileDigest(weights.path);
  const config = configOf(
    context,
    plan,
    data,
    digest === null ? null : { source: weights?.path ?? '', ...digest },
    givenOptions(options, given),
  );
  const makeFirst = (): Promise<TrainedModel> => start(context, plan, data, weights?.checkpoint ?? null);
  const prepared = await survivingLosses(context, null, makeFirst, makeFirst);
  const run = out === undefined || isFile ? null : await RunFolder.create(context, out, config);
  try {
    const session = new Session(context, plan, prepared, data, run);
    const from = weights === null ? ', from scratch' : ` with ${options.weights}`;
    session.describe(from);
    if (weights === null && plan.freeze.length > 0)
      context.output.warn(
        `--freeze ${plan.freeze.join(',')} without --weights: the frozen layers are random`,
      );
    const rest = { plan, data, config, run, file: isFile ? out : null, began };
    await survivingLosses(
      context,
      run,
      () => work(context, { ...rest, session, state: null }),
      async () => {
        const state = run === null ? null : await readState(run);
        const model =
          state === null || run === null ? await makeFirst() : await goOn(context, plan, data, run);
        await work(context, { ...rest, session: new Session(context, plan, model, data, run), state });
      },
    );
  } finally {
    await run?.close();
  }
}

/** A run goes on with the options it was started with. */
function refuseBesideResume(given: ReadonlySet<string>, dataPath: string | undefined): void {
  const surplus = Object.entries(finetuneOptions).find(
    ([name]) => given.has(name) && !(besideResume as readonly string[]).includes(name),
  );
  if (surplus === undefined) return;
  const what = surplus[0] === 'data' ? dataPath : flagOf(...surplus);
  throw new UsageError(`--resume takes everything from the run's config.json; leave out ${what}`);
}

/** `kindling finetune --resume RUN`: goes on to the weights that the run would have come to unbroken. */
async function resume(
  context: Context,
  path: string,
  options: FinetuneOptions,
  given: ReadonlySet<string>,
): Promise<void> {
  const began = performance.now();
  // From here on there is a lock to give back.
  checkInterrupted(context);
  const run = await RunFolder.open(context, path);
  try {
    const { weights } = run.config;
    checkRanks(context, run.config.plan.optimizer);
    const reachedBefore = await readState(run);
    const plan: Plan = {
      ...run.config.plan,
      ...(given.has('epochs') && { epochs: extended(run, reachedBefore, options.epochs) }),
      ...(given.has('onBadImage') && { onBadImage: options.onBadImage }),
    };
    const data = await dataOf(context, run, plan, options.workers);
    await sameOnAll(context, 'images', digestOf(plan, data));
    const ranks = ranksHere(context, run.config, reachedBefore);
    if (digestOf(plan, data) !== run.config.dataDigest) {
      if (hasTrained(reachedBefore)) throw changedImages(run, data);
      await run.begin({ ...run.config, ...ranks, plan, ...factsOf(plan, data) });
      context.output.line('the images have changed, and nothing was trained yet: the run begins with them');
    } else if (!isDeepStrictEqual({ ...run.config, ...ranks, plan }, run.config))
      await run.configure({ ...run.config, ...ranks, plan });
    await context.ranks?.barrier();
    await context.openDevice();
    const attempt = async (again: boolean): Promise<void> => {
      const reached = await readState(run);
      let model: TrainedModel;
      if (reached !== null) model = await goOn(context, plan, data, run);
      else {
        let checkpoint: Checkpoint | null = null;
        if (weights !== null) {
          const digest = await fileDigest(weights.source);
          if (digest.sha256 !== weights.sha256)
            throw new CliError(`${weights.source}: is not the file that ${path} was started with`);
          checkpoint = await loadCheckpoint(weights.source);
        }
        model = await start(context, plan, data, checkpoint);
      }
      const session = new Session(context, plan, model, data, run);
      if (!again) session.describe(`, ${path} resumed`);
      await work(context, {
        session,
        plan,
        data,
        config: run.config,
        run,
        file: null,
        state: reached,
        began,
      });
    };
    await survivingLosses(
      context,
      run,
      () => attempt(false),
      () => attempt(true),
    );
  } finally {
    await run.close();
  }
}

/** The images of a run, which may have begun when others were taken of the same folder. */
async function dataOf(context: Context, run: RunFolder, plan: Plan, workers: number): Promise<TrainingData> {
  const isOwn = (data: TrainingData): boolean => digestOf(plan, data) === run.config.dataDigest;
  const now = await openData(context, plan, workers);
  if (isOwn(now)) return now;
  const before = await openData(context, plan, workers, { asBefore: true }).catch(() => null);
  return before !== null && isOwn(before) ? before : now;
}

/** The model of a run that has a state, as its last checkpoint has it. */
const goOn = async (
  context: Context,
  plan: Plan,
  data: TrainingData,
  run: RunFolder,
): Promise<TrainedModel> => start(context, plan, data, await loadCheckpoint(run.file('last')), false);

async function start(
  context: Context,
  plan: Plan,
  data: TrainingData,
  checkpoint: Checkpoint | null,
  fresh = true,
): ReturnType<typeof prepareModel> {
  checkInterrupted(context);
  manualSeed(plan.seed);
  const trained = await prepareModel(plan, checkpoint, data.train.classes.length, fresh);
  // Adapters of different kinds may draw different numbers.
  context.ranks?.share(trained.model);
  return trained;
}

/** @throws UsageError for what cannot be shared among ranks */
function checkRanks({ ranks }: Context, optimizer: string): void {
  if (ranks !== null && optimizer === 'lbfgs')
    throw new UsageError(
      '--optimizer lbfgs looks at the loss itself, of which each rank knows its own part only; start it without mpirun',
    );
}

/** What a configuration says of the processes that take the run up, and of where they do. */
function ranksHere(
  { ranks }: Context,
  { ranks: before = 1, turn = null, plan }: RunConfig,
  state: RunState | null,
): Pick<RunConfig, 'ranks' | 'turn'> {
  const now = ranks?.worldSize ?? 1;
  if (now === before) return {};
  const epoch = state?.progress.epochs.length ?? 0;
  const batches = state?.progress.sums.batches ?? 0;
  const from = turn?.epoch === epoch ? turn : { batches: 0, samples: 0 };
  const samples = from.samples + (batches - from.batches) * before * plan.batchSize;
  return { ranks: now, turn: batches === 0 ? null : { epoch, batches, samples } };
}

interface Work {
  readonly session: Session;
  readonly plan: Plan;
  readonly data: TrainingData;
  readonly config: RunConfig;
  readonly run: RunFolder | null;
  readonly file: string | null;
  readonly state: RunState | null;
  /** When the command began, by `performance.now()`. */
  readonly began: number;
}

async function work(
  context: Context,
  { session, plan, data, config, run, file, state, began }: Work,
): Promise<void> {
  const { output } = context;
  const started = performance.now();
  let result: FitResult;
  try {
    result = await session.train(state);
  } catch (error) {
    if (run !== null && error instanceof BadImageError) throw goOnWithout(run, error);
    if (run !== null && session.hasGoodState && lossIn(error) === null)
      output.note(`the last checkpoint in ${run.path} is whole; go on with: ${resumeCommand(run.path)}`);
    throw error;
  }
  const nothingLeft = state !== null && state.progress.finished && run?.has('report') === true;
  if (nothingLeft) output.line(`the run was finished before; ${howToExtend(run, state)}`);
  const skipped = skippedImages([data.train, data.validation]);
  warnSkipped(context, skipped);
  if (file !== null && isLead(context))
    await saveWeights(session.model, file, { metadata: session.metadata(result.epochs) });
  if (run !== null && !result.interrupted && !nothingLeft) {
    const evaluation = await session.evaluateBest(run, result).catch((error: unknown) => {
      throw error instanceof BadImageError ? goOnWithout(run, error) : error;
    });
    const seconds = (performance.now() - began) / 1000;
    const parts = session.partsOver(result.epochs.length);
    if (isLead(context))
      await writeReport(run, {
        ...{ config, data, result, evaluation, skipped, parts, seconds },
        resumed: state !== null,
      });
  }
  const seconds = (performance.now() - started) / 1000;
  summary(context, {
    plan,
    data,
    result,
    seconds,
    out: run?.path ?? file,
    trainable: session.trainableCount,
    config,
  });
  if (!result.interrupted) return;
  if (run !== null) output.line(`go on with: ${resumeCommand(run.path)}`);
  throw interruptionOf(context.signal);
}

/** What to do about an image that cannot be read: a run's may not be deleted, as the order hangs on it. */
const goOnWithout = (run: RunFolder, error: BadImageError): CliError =>
  new CliError(
    `${error.reason}; put a good file in its place, or go on without it: ${resumeCommand(run.path)} --on-bad-image skip`,
    { cause: error },
  );

function configOf(
  { ranks }: Context,
  plan: Plan,
  data: TrainingData,
  weights: RunConfig['weights'],
  given: GivenOptions,
): RunConfig {
  const { vendor, architecture, device, description } = runtime().info;
  return {
    kind: 'kindling run',
    version: 1,
    created: new Date().toISOString(),
    plan,
    given,
    weights,
    ...factsOf(plan, data),
    versions: versions(),
    adapter: { vendor, architecture, device, description },
    ...(ranks !== null && { ranks: ranks.worldSize }),
  };
}

/** What a configuration says of the images. */
const factsOf = (plan: Plan, data: TrainingData): Pick<RunConfig, 'classes' | 'dataDigest' | 'images'> => ({
  classes: data.train.classes,
  dataDigest: digestOf(plan, data),
  images: {
    train: data.train.dataset.length,
    validation: data.validation?.dataset.length ?? null,
  },
});

interface Outcome {
  readonly plan: Plan;
  readonly data: TrainingData;
  readonly result: FitResult;
  readonly seconds: number;
  readonly out: string | null;
  readonly trainable: number;
  readonly config: RunConfig;
}

function summary({ output }: Context, outcome: Outcome): void {
  const { plan, data, result, seconds, out, trainable, config } = outcome;
  const { epochs, bestEpoch, interrupted } = result;
  const last = epochs.at(-1);
  const best = epochs[bestEpoch - 1];
  if (interrupted) output.line(`stopped in epoch ${epochs.length + 1} of ${plan.epochs}`);
  if (last !== undefined) {
    const part = last.validationAccuracy ?? last.trainAccuracy ?? 0;
    const what = last.validationAccuracy === null ? 'training' : 'validation';
    output.line(
      `${what} accuracy ${percent(part, 1)} after ${epochs.length} epochs, ${seconds.toFixed(1)} s in all`,
    );
    if (best !== undefined && best !== last && best.validationAccuracy !== null)
      output.line(`best: ${percent(best.validationAccuracy, 1)} after epoch ${best.epoch}`);
  }
  if (out !== null) output.line(`saved ${out}`);
  output.document({
    model: plan.model,
    weights: config.weights?.source ?? null,
    data: plan.train,
    classes: data.train.classes,
    trainableParameters: trainable,
    epochs,
    bestEpoch,
    ...(config.ranks !== undefined && { ranks: config.ranks }),
    validationAccuracy: last?.validationAccuracy ?? null,
    interrupted,
    seconds: Number(seconds.toFixed(3)),
    out,
  });
}

export const finetuneCommand = defineCommand({
  name: 'finetune',
  help: 'put a new head on a trained model and train it, or train a whole model',
  operands: [operand('[data]', 'the images, as --data')],
  options: finetuneOptions,
  examples: [
    ['kindling finetune photos --weights resnet18 --out run', 'a new head on published weights'],
    [
      'kindling finetune photos --val-split 0.2 --weights resnet50:IMAGENET1K_V2 --unfreeze-at 5:layer4 --out run',
    ],
    [
      "kindling finetune train.bin --model cifar_resnet20 --augment --map 'animal=cat,dog;vehicle=truck,ship'",
    ],
    ['kindling finetune --resume run --epochs 20', 'goes on, for 20 epochs in all'],
    ['mpirun -n 2 kindling finetune photos --weights resnet18 --out run', 'on two ranks, with MPI and koffi'],
  ],
  run: (call) => finetune(call),
});
