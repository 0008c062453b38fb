import { existsSync } from 'node:fs';
import { type DownloadOptions, type DownloadProgress } from '../formats/hub/index.js';
import { downloadFile } from '../formats/hub/node-download.js';
import { getWeight, list, weights, type WeightsEntry } from '../models/index.js';
import { isEntryName } from '../models/manifest.js';
import { interruptionOf, type Context } from './context.js';
import { closeNames } from '../tensor/close-names.js';
import { CliError } from './errors.js';
import { byteSize, type Progress } from './output.js';

/** A weight file at hand. */
export interface ResolvedWeights {
  readonly path: string;
  /** The published file it is: its input recipe, class names and model; null for a file of the user's. */
  readonly entry: WeightsEntry | null;
}

/**
 * What `--weights` says, as a file: a path as it is; a URL, or the name of a published weight file,
 * downloaded into the cache, with a bar on a terminal, unless it is there.
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
  if (!isEntryName(spec)) throw new CliError(`${spec}: no such file${await suggestion(model)}`);
  const entry = await findEntry(model, spec);
  return { path: await fetchFile(entry.file, context), entry };
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
  const close = closeNames(model, models);
  const hint = close.length > 0 ? `did you mean ${close.map((name) => `'${name}'`).join(' or ')}?` : '';
  const problem = list().includes(model) ? 'has no published weights' : 'there is no such model';
  throw new CliError(`${model}: ${problem}; ${hint || `there are weights for ${models.join(', ')}`}`);
}

async function suggestion(model: string | undefined): Promise<string> {
  const names = model === undefined ? [] : (await weights(model)).map(({ name }) => name);
  return names.length === 0 ? '' : `; published weights of ${model}: ${names.join(', ')}`;
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
