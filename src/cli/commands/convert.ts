import {
  layoutNpz,
  layoutSafetensors,
  layoutTorch,
  loadCheckpoint,
  readAll,
  writeFileAtomically,
  type FileLayout,
  type FloatDtype,
  type HostTensor,
} from '../../formats/index.js';
import { defineCommand } from '../command.js';
import { checkInterrupted, interruptionOf, type Context } from '../context.js';
import { UsageError } from '../errors.js';
import { checkNewFile } from '../files.js';
import { choice, text, type Options } from '../option-rows.js';
import { byteSize, grouped } from '../output.js';
import {
  force,
  json,
  model,
  operand,
  reading,
  readingOf,
  weights,
  weightsOperand,
} from '../shared-options.js';
import { weightsPath } from '../weights-file.js';

const convertOptions = {
  weights,
  model,
  out: text('<file>', 'file to write; its ending says the format: .safetensors, .pth, .pt or .npz'),
  key: reading.key,
  dtype: choice<FloatDtype>('<name>', 'store floating point values as this; default: as they are', [
    'float32',
    'float16',
    'bfloat16',
  ]),
  force,
  limit: reading.limit,
  verify: reading.verify,
  json,
};

type Metadata = Readonly<Record<string, string>>;

/** What each ending means: a format, and whether it has a place for strings beside the tensors. */
const formats: Readonly<
  Record<string, (tensors: ReadonlyMap<string, HostTensor>, metadata: Metadata) => FileLayout>
> = {
  safetensors: (tensors, metadata) => layoutSafetensors(tensors, { metadata: { format: 'pt', ...metadata } }),
  pth: (tensors) => layoutTorch(tensors),
  pt: (tensors) => layoutTorch(tensors),
  npz: (tensors) => layoutNpz(tensors),
};

/** `kindling convert`: the tensors of any weight file in another format, under the same keys. */
async function convert(context: Context, options: Options<typeof convertOptions>): Promise<void> {
  const { output } = context;
  const { weights: spec = '', out: to = '' } = options;
  const ending = /\.([^./\\]+)$/.exec(to)?.[1]?.toLowerCase() ?? '';
  const layout = Object.hasOwn(formats, ending) ? formats[ending] : undefined;
  if (layout === undefined)
    throw new UsageError(`${to}: the ending says which format to write: .safetensors, .pth, .pt or .npz`);
  await checkNewFile(to, options.force ?? false);

  const started = performance.now();
  const { path: from } = await weightsPath(context, options.model, spec);
  // The keys as they are: taking a prefix off is for loading into a model.
  const checkpoint = await loadCheckpoint(from, { stripPrefix: false, ...readingOf(options) });
  const metadata: Record<string, string> = {};
  const leftOut: string[] = [];
  for (const [name, value] of checkpoint.extra) {
    if (ending === 'safetensors' && typeof value === 'string') metadata[name] = value;
    else leftOut.push(name);
  }
  const tensors = readAll(checkpoint.tensors, options.dtype);
  const file = layout(tensors, metadata);
  const chunks = async function* () {
    for await (const chunk of file.chunks()) {
      checkInterrupted(context);
      yield chunk;
    }
  };
  // From here on there is a temporary file to put away.
  checkInterrupted(context);
  try {
    await writeFileAtomically(to, chunks(), () => file.patches?.() ?? []);
  } catch (error) {
    throw context.signal.aborted ? interruptionOf(context.signal) : error;
  }
  const seconds = (performance.now() - started) / 1000;
  output.line(
    `${to}: ${grouped(tensors.size)} tensors of ${from} (${checkpoint.container}), ${byteSize(file.size)}, ${seconds.toFixed(1)} s`,
  );
  if (leftOut.length > 0) output.line(`left out, for they are no tensors: ${leftOut.join(', ')}`);
  output.document({
    from,
    to,
    container: checkpoint.container,
    key: checkpoint.key,
    tensors: tensors.size,
    bytes: file.size,
    dtype: options.dtype ?? null,
    leftOut,
    seconds: Number(seconds.toFixed(3)),
  });
}

export const convertCommand = defineCommand({
  name: 'convert',
  help: 'write the tensors of a weight file in another format, under the same keys',
  operands: [
    weightsOperand('<weights>'),
    operand('<out>', 'file to write; its ending says the format: .safetensors, .pth, .pt or .npz'),
  ],
  options: convertOptions,
  examples: [
    ['kindling convert resnet50.pth resnet50.safetensors'],
    ['kindling convert run weights.pth', 'the best weights of a run, for PyTorch'],
    ['kindling convert model.pth half.safetensors --dtype float16 --force'],
  ],
  run: ({ context, options }) => convert(context, options),
});
