import {
  loadCheckpoint,
  type Checkpoint,
  type CheckpointSource,
  type LoadCheckpointOptions,
} from '../formats/checkpoint.js';
import { CheckpointError } from '../formats/errors.js';
import { download, type DownloadOptions } from '../formats/hub/index.js';
import type { Module } from '../nn/index.js';
import { showShape, type Shape } from '../tensor/shape.js';
import type { ModelDeclaration, ModelOptions } from './declaration.js';
import { sameShape, stateShapes, underModelKeys, whyForeign } from './file-match.js';
import { headKeys } from './head.js';
import { loadWeights } from './load-weights.js';
import { getWeight, isEntryName, WeightsEntry } from './manifest.js';

/**
 * What may be given as `weights`: the name of a published file (`IMAGENET1K_V2`, `DEFAULT`,
 * `ResNet50_Weights.IMAGENET1K_V2`) or its entry, a URL, a path (Node), bytes, a Blob, or an opened
 * checkpoint. A string is a name when it is in capitals; write `./NAME` for such a file.
 */
export type WeightsSource = CheckpointSource | Checkpoint | URL | WeightsEntry;

/** What a pretrained model was made of. */
export interface PretrainedReport {
  /** The published file's entry, when there is one. */
  readonly entry: WeightsEntry | null;
  readonly checkpoint: Checkpoint;
  /** The model has them, the file does not; they are at their initial values. */
  readonly missingKeys: readonly string[];
  /** The file has them, the model does not. */
  readonly unexpectedKeys: readonly string[];
  /**
   * Both have them with different shapes, which only heads may (`strict: false`); they are at their initial
   * values.
   */
  readonly misshapenKeys: readonly string[];
}

/** Where files come from and how. */
export type WeightsDownload = Pick<
  DownloadOptions,
  'cacheDir' | 'onProgress' | 'onMessage' | 'signal' | 'fetch' | 'retries' | 'stallTimeout' | 'sha256Prefix'
>;

export interface PretrainedOptions
  extends WeightsDownload, Pick<LoadCheckpointOptions, 'key' | 'stripPrefix'> {
  weights: WeightsSource;
  /**
   * Default true: everything in the file must fit, and nothing may be missing. With false a head of another
   * number of classes, and what the file has not, keep their initial values; `onLoad` lists them.
   */
  strict?: boolean;
  /** Called once the weights are in. */
  onLoad?: (report: PretrainedReport) => void;
}

/** @internal Makes a model, finds its weights, and loads them. */
export async function buildPretrained<M extends Module, O extends ModelOptions>(
  { name, construct, pretrained: defaults }: ModelDeclaration<M, O>,
  options: O,
  pretrained: PretrainedOptions,
): Promise<M> {
  const { entry, checkpoint } = await openWeights(name, pretrained);
  const own = modelOptions(options);
  const fromEntry = entry === null ? {} : { numClasses: entry.record.numClasses, ...entry.record.options };
  const model = construct({ ...defaults, ...fromEntry, ...own });
  try {
    const keys = await fillModel(model, name, checkpoint, {
      numClasses: own.numClasses,
      strict: pretrained.strict,
    });
    pretrained.onLoad?.({ entry, checkpoint, ...keys });
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * Finds and opens a model's weights: looks the name up, downloads unless the file is in the cache.
 *
 * @throws Error listing the model's entries, DownloadError, or CheckpointError
 */
export async function openWeights(
  modelName: string,
  { weights, key, stripPrefix, ...rest }: PretrainedOptions,
): Promise<{ entry: WeightsEntry | null; checkpoint: Checkpoint }> {
  const reading: LoadCheckpointOptions = {
    ...(key !== undefined && { key }),
    ...(stripPrefix !== undefined && { stripPrefix }),
  };
  if (typeof weights === 'object' && 'tensors' in weights) return { entry: null, checkpoint: weights };
  const entry = await entryOf(modelName, weights);
  if (entry !== null) {
    const source = await download({ ...downloadOptions(rest), ...entry.file });
    return { entry, checkpoint: await loadCheckpoint(source, { name: entry.toString(), ...reading }) };
  }
  const url = urlOf(weights);
  if (url !== null) {
    const source = await download({ ...downloadOptions(rest), url });
    return { entry: null, checkpoint: await loadCheckpoint(source, { name: url, ...reading }) };
  }
  return { entry: null, checkpoint: await loadCheckpoint(weights as CheckpointSource, reading) };
}

async function entryOf(modelName: string, weights: WeightsSource): Promise<WeightsEntry | null> {
  if (typeof weights === 'string') return isEntryName(weights) ? getWeight(weights, modelName) : null;
  if (!(weights instanceof WeightsEntry)) return null;
  if (weights.model === modelName) return weights;
  throw new Error(`models: ${weights.toString()} is for ${weights.model}, not for ${modelName}`);
}

function urlOf(weights: WeightsSource): string | null {
  const text = weights instanceof URL ? weights.href : weights;
  if (typeof text !== 'string' || !/^https?:/i.test(text)) return null;
  return text;
}

function downloadOptions(options: Partial<PretrainedOptions>): WeightsDownload {
  const { cacheDir, onProgress, onMessage, signal, fetch, retries, stallTimeout, sha256Prefix } = options;
  return { cacheDir, onProgress, onMessage, signal, fetch, retries, stallTimeout, sha256Prefix };
}

/** The model's options alone. */
function modelOptions<O extends ModelOptions>(options: O): O {
  const own = { ...options } as Record<string, unknown>;
  const loading: Record<keyof PretrainedOptions, true> = {
    weights: true,
    strict: true,
    onLoad: true,
    key: true,
    stripPrefix: true,
    cacheDir: true,
    onProgress: true,
    onMessage: true,
    signal: true,
    fetch: true,
    retries: true,
    stallTimeout: true,
    sha256Prefix: true,
  };
  for (const name of Object.keys(loading)) delete own[name];
  return own as unknown as O;
}

/**
 * @internal Loads a weight file into a model whose heads may be of other classes than the file's, where
 * `strict` is false.
 *
 * @param numClasses what the model was asked for, for the message
 * @throws CheckpointError for another model's file, which it recognises
 */
export async function fillModel(
  model: Module,
  modelName: string,
  checkpoint: Checkpoint,
  { numClasses, strict = true }: { numClasses?: number | undefined; strict?: boolean | undefined } = {},
): Promise<Omit<PretrainedReport, 'entry' | 'checkpoint'>> {
  const shapes = stateShapes(model);
  const heads = headKeys(model);
  const { tensors, dropped } = underModelKeys(model, checkpoint.tensors);

  const foreign = await whyForeign(modelName, tensors, shapes, heads);
  if (foreign !== null) throw new CheckpointError(`${checkpoint.name}: ${foreign}`);

  const misshapenKeys = [...heads].filter((key) => {
    const [wanted, given] = [shapes.get(key), tensors.get(key)?.shape];
    return wanted !== undefined && given !== undefined && !sameShape(wanted, given);
  });
  const [first] = misshapenKeys;
  if (first !== undefined && strict) {
    const [wanted, given] = [shapes.get(first) ?? [], tensors.get(first)?.shape ?? []];
    throw new CheckpointError(`${checkpoint.name}: ${headProblem(first, wanted, given, numClasses)}`);
  }
  for (const key of misshapenKeys) tensors.delete(key);
  const loaded = await loadWeights(model, { ...checkpoint, tensors }, { strict });
  return {
    missingKeys: loaded.missingKeys.filter((key) => !misshapenKeys.includes(key)),
    unexpectedKeys: [...loaded.unexpectedKeys, ...dropped],
    misshapenKeys,
  };
}

function headProblem(key: string, wanted: Shape, given: Shape, numClasses: number | undefined): string {
  const head = key.slice(0, key.lastIndexOf('.'));
  const [classes = 0] = wanted;
  const [inFile = 0] = given;
  const what = `its ${key} is ${showShape(given)}, for ${inFile} classes, but the model has ${classes}`;
  if (numClasses === undefined)
    return `${what}, as numClasses was not given; pass numClasses: ${inFile} to take the head '${head}' from the file`;
  return (
    `${what}; pass strict: false to leave the head '${head}' at its initial values, ` +
    `or leave out numClasses and call replaceHead(model, ${classes}) afterwards`
  );
}
