import { existsSync } from 'node:fs';
import { type DownloadOptions, type DownloadProgress } from '../formats/hub/index.js';
import { downloadFile } from '../formats/hub/node-download.js';
import { getWeight, list, weights, type WeightsEntry } from '../models/index.js';
import { isEntryName } from '../models/manifest.js';
import { interruptionOf, type Context } from './context.js';
import { CliError } from './errors.js';
import { meant } from './near-names.js';
import { byteSize, type Progress } from './output.js';

/** A weight file at hand. */
export interface ResolvedWeights {
  readonly path: string;
  /** The published file it is: its input recipe, class names and model; null for a file of the user's. */
  readonly entry: WeightsEntry | null;
}

/**
 * What `--weights` says, as a file: a path as it is; a URL, or published weights, downloaded into the cache,
 * with a bar on a terminal, unless they are there. Published weights are `MODEL` (its DEFAULT), `MODEL:NAME`,
 * or `NAME` with a model.
 *
 * @param model the model's name; without it only full names (`ResNet50_Weights.DEFAULT`) can be looked up
 * @throws CliError when there is no such file or entry
 */
export async function resolveWeights(
  model: string | undefined,
  spec: string,
  context: Context,
): Promise<ResolvedWeights> {
  if (/^https?:\/\//i.test(spec)) return { path: await fetchFile({ url: spec }, context), entry: null };
  if (existsSync(spec)) return { path: spec, entry: null };
  const entry = await publishedEntry(model, spec);
  return { path: await fetchFile(entry.file, context), entry };
}

/**
 * @param model what `--model` says
 * @throws CliError when there is no such entry, or it is another model's
 */
export async function publishedEntry(model: string | undefined, spec: string): Promise<WeightsEntry> {
  const [, own, name = 'DEFAULT'] = /^(\w+)(?::(\w+))?$/.exec(spec) ?? [];
  if (own !== undefined && (spec.includes(':') || list().includes(own))) {
    await entriesOf(own);
    if (model !== undefined && model !== own)
      throw new CliError(`${spec}: are weights of ${own}, but --model is ${model}`);
    return findEntry(own, name);
  }
  if (!isEntryName(spec)) throw new CliError(`${spec}: no such file${await suggestion(model, spec)}`);
  return findEntry(model, spec);
}

/** An entry by the model's and its own name; errors are for the command line. */
export async function findEntry(model: string | undefined, name: string): Promise<WeightsEntry> {
  if (model === undefined && !name.includes('.'))
    throw new CliError(`--weights ${name}: of which model? Add --model`);
  try {
    return await getWeight(name, model);
  } catch (cause) {
    throw new CliError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** Models that have published weights, in the order of the manifest. */
export async function modelsWithWeights(): Promise<string[]> {
  const known = new Set(list());
  return [...new Set((await weights()).map(({ model }) => model))].filter((model) => known.has(model));
}

/** @throws CliError with close names unless the model has published weights */
export async function entriesOf(model: string): Promise<WeightsEntry[]> {
  const entries = await weights(model);
  if (entries.length > 0) return entries;
  const models = await modelsWithWeights();
  const hint = meant(model, models);
  const problem = list().includes(model) ? 'has no published weights' : 'there is no such model';
  throw new CliError(
    `${model}: ${problem}; ${hint ? `${hint} ` : ''}kindling weights lists all that there are`,
  );
}

async function suggestion(model: string | undefined, spec: string): Promise<string> {
  const names = model === undefined ? [] : (await weights(model)).map(({ name }) => name);
  if (names.length > 0) return `; published weights of ${model}: ${names.join(', ')}`;
  const hint = /^\w+$/.test(spec) ? meant(spec, await modelsWithWeights()) : '';
  return hint === '' ? '' : `, and no model with published weights; ${hint}`;
}

/** Downloads into the cache with a progress bar. */
export async function fetchFile(
  file: Pick<DownloadOptions, 'url' | 'sha256Prefix' | 'size'>,
  { output, signal }: Context,
): Promise<string> {
  const name = new URL(file.url).pathname.split('/').at(-1) ?? '';
  let bar: Progress | null = null;
  let shown = 0;
  // The bar counts MiB; a download that starts over moves it back.
  const show = ({ received, total }: DownloadProgress): void => {
    if (total === null) return;
    bar ??= output.progress(`${name}, MiB`, Math.ceil(total / 2 ** 20));
    const mebibytes = Math.floor(received / 2 ** 20);
    if (mebibytes !== shown) bar.advance(mebibytes - shown);
    shown = mebibytes;
  };
  try {
    return await downloadFile({
      ...file,
      signal,
      onMessage: (message) => output.warn(message),
      onProgress: show,
    });
  } catch (error) {
    if (signal.aborted) throw interruptionOf(signal);
    throw error;
  } finally {
    (bar as Progress | null)?.stop();
  }
}

/** `97.8 MiB`, or `?` */
export const sizeText = (entry: WeightsEntry): string =>
  entry.fileBytes === null ? '?' : byteSize(entry.fileBytes);
