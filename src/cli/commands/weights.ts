import { defineCommand } from '../command.js';
import type { Context } from '../context.js';
import { UsageError } from '../errors.js';
import { grouped, table } from '../output.js';
import { json, model, modelOperand, operand, weights } from '../shared-options.js';
import { entriesOf, fetchFile, modelsWithWeights, publishedEntry, sizeText } from '../weights.js';
import type { WeightsEntry } from '../../models/index.js';

/** `kindling weights [MODEL]`: the published weight files, and which are on this machine. */
export async function listWeights({ output }: Context, model: string | undefined): Promise<void> {
  const models = model === undefined ? await modelsWithWeights() : [model];
  const entries = (await Promise.all(models.map(entriesOf))).flat();
  const paths = await Promise.all(entries.map((entry) => entry.cached()));
  output.document(
    entries.map((entry, i) => ({
      ...entry.record,
      cached: paths[i] ?? null,
    })),
  );
  if (output.json) return;
  const rows = entries.map((entry, i) => [
    entry.model,
    `${entry.name}${entry.isDefault ? ' *' : ''}`,
    accuracyText(entry),
    grouped(entry.record.numParams),
    sizeText(entry),
    paths[i] === null ? '' : 'cached',
  ]);
  for (const line of table([['model', 'weights', 'top-1 %', 'parameters', 'size', ''], ...rows], [2, 3, 4]))
    output.line(line);
  output.line();
  output.line('* DEFAULT. kindling download MODEL[:NAME] fetches one; --weights takes MODEL[:NAME] too.');
}

/** By the publisher, on ImageNet-1K's validation or CIFAR-10's test images. */
function accuracyText({ record }: WeightsEntry): string {
  if (record.featuresOnly === true) return 'features only';
  return record.accuracy === undefined ? '' : record.accuracy.acc1.toFixed(2);
}

/**
 * `kindling download MODEL[:NAME]`: fetches a published weight file into the cache and says where it is.
 */
export async function fetchWeights(
  context: Context,
  what: string | undefined,
  model?: string,
): Promise<void> {
  const { output } = context;
  if (what === undefined || !/^\w+([:.]\w+)?$/.test(what))
    throw new UsageError(`${what ?? 'download'}: say MODEL or MODEL:NAME, such as resnet50:IMAGENET1K_V2`);
  if (model === undefined && !/[:.]/.test(what)) await entriesOf(what);
  const entry = await publishedEntry(model, what);
  const before = await entry.cached();
  const path = before ?? (await fetchFile(entry.file, context));
  output.document({ ...entry.record, path, downloaded: before === null });
  output.line(`${entry.toString()}: ${before === null ? 'downloaded' : 'was there already'}`);
  output.line(path);
}

export const weightsCommand = defineCommand({
  name: 'weights',
  help: 'list the published weight files, of all models or of one',
  operands: [modelOperand],
  options: { model, json },
  examples: [['kindling weights'], ['kindling weights resnet50', 'of one model']],
  run: ({ context, options }) => listWeights(context, options.model),
});

export const downloadCommand = defineCommand({
  name: 'download',
  help: 'fetch a published weight file into the cache, so that --weights NAME works offline',
  operands: [operand('[weights]', 'e.g. resnet50 or resnet50:IMAGENET1K_V1, as --weights')],
  options: {
    weights: {
      ...weights,
      help: 'published ones: MODEL[:NAME] such as resnet50:IMAGENET1K_V2, or NAME with --model',
    },
    model,
    json,
  },
  examples: [
    ['kindling download resnet50'],
    ['kindling download resnet50:IMAGENET1K_V1'],
    ['kindling download --model resnet50 --weights IMAGENET1K_V1', 'the same'],
  ],
  run: ({ context, options }) => fetchWeights(context, options.weights ?? options.model, options.model),
});
