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
import { choice, flag, type Options } from '../option-rows.js';
import { byteSize, grouped } from '../output.js';
import { json, reading, readingOf } from '../shared-options.js';

const convertOptions = {
  key: reading.key,
  dtype: choice<FloatDtype>('<name>', 'store floating point values as this; default: as they are', [
    'float32',
    'float16',
    'bfloat16',
  ]),
  force: flag('replace a file that is there already'),
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
async function convert(
  context: Context,
  from: string,
  to: string,
  options: Options<typeof convertOptions>,
): Promise<void> {
  const { output } = context;
  const ending = /\.([^./\\]+)$/.exec(to)?.[1]?.toLowerCase() ?? '';
  const layout = Object.hasOwn(formats, ending) ? formats[ending] : undefined;
  if (layout === undefined)
    throw new UsageError(`${to}: the ending says which format to write: .safetensors, .pth, .pt or .npz`);
  await checkNewFile(to, options.force ?? false);

  const started = performance.now();
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
    ['<in>', 'weight file (.pth, .pt, .safetensors, .npz, .npy), or the folder of a sharded model'],
    ['<out>', 'file to write; its ending says the format: .safetensors, .pth, .pt or .npz'],
  ],
  options: convertOptions,
  run: ({ context, options }, from: string, to: string) => convert(context, from, to, options),
});
