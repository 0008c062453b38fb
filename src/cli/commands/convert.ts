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
  type ReadLimits,
} from '../../formats/index.js';
import { checkInterrupted, interruptionOf, type Context } from '../context.js';
import { UsageError } from '../errors.js';
import { checkNewFile } from '../files.js';
import { byteSize, grouped } from '../output.js';

export interface ConvertOptions {
  /** Keys that lead to the state dict. */
  readonly key?: readonly string[];
  readonly dtype?: FloatDtype;
  readonly force?: boolean;
  readonly limit?: ReadLimits;
  readonly verify?: boolean;
}

export const floatDtypes = ['float32', 'float16', 'bfloat16'] as const;

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
export async function convert(
  context: Context,
  from: string,
  to: string,
  options: ConvertOptions,
): Promise<void> {
  const { output } = context;
  const ending = /\.([^./\\]+)$/.exec(to)?.[1]?.toLowerCase() ?? '';
  const layout = Object.hasOwn(formats, ending) ? formats[ending] : undefined;
  if (layout === undefined)
    throw new UsageError(`${to}: the ending says which format to write: .safetensors, .pth, .pt or .npz`);
  await checkNewFile(to, options.force ?? false);

  const started = performance.now();
  const { key, limit: limits = {}, verify = true } = options;
  // The keys as they are: taking a prefix off is for loading into a model.
  const checkpoint = await loadCheckpoint(from, {
    stripPrefix: false,
    limits,
    verify,
    ...(key !== undefined && { key }),
  });
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
