import { defineCommand } from '../command.js';
import type { Context } from '../context.js';
import { UsageError } from '../errors.js';
import { grouped, table } from '../output.js';
import { json } from '../shared-options.js';
import { entriesOf, fetchFile, findEntry, modelsWithWeights, sizeText } from '../weights.js';
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
  output.line('* DEFAULT. kindling download MODEL[:WEIGHTS] fetches one; --weights takes the name too.');
}

/** By the publisher, on ImageNet-1K's validation or CIFAR-10's test images. */
function accuracyText({ record }: WeightsEntry): string {
  if (record.featuresOnly === true) return 'features only';
  return record.accuracy === undefined ? '' : record.accuracy.acc1.toFixed(2);
}

/**
 * `kindling download MODEL[:WEIGHTS]`: fetches a published weight file into the cache and says where it is.
 */
export async function fetchWeights(context: Context, what: string): Promise<void> {
  const { output } = context;
  const [model = '', name = 'DEFAULT', ...rest] = what.split(':');
  if (model === '' || name === '' || rest.length > 0)
    throw new UsageError(`${what}: say MODEL or MODEL:WEIGHTS, such as resnet50:IMAGENET1K_V2`);
  await entriesOf(model);
  const entry = await findEntry(model, name);
  const before = await entry.cached();
  const path = before ?? (await fetchFile(entry.file, context));
  output.document({ ...entry.record, path, downloaded: before === null });
  output.line(`${entry.toString()}: ${before === null ? 'downloaded' : 'was there already'}`);
  output.line(path);
}

export const weightsCommand = defineCommand({
  name: 'weights',
  help: 'list the published weight files, of all models or of one',
  operands: [['[model]']],
  options: { json },
  run: ({ context }, model: string | undefined) => listWeights(context, model),
});

export const downloadCommand = defineCommand({
  name: 'download',
  help: 'fetch a published weight file into the cache, so that --weights NAME works offline',
  operands: [['<model[:weights]>', 'e.g. resnet50 or resnet50:IMAGENET1K_V1']],
  options: { json },
  run: ({ context }, what: string) => fetchWeights(context, what),
});
