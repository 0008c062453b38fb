import { stat } from 'node:fs/promises';
import { init, zeros } from '../../index.js';
import { saveOnnx } from '../../onnx/save.js';
import { defineCommand } from '../command.js';
import { checkInterrupted, type Context } from '../context.js';
import { UsageError } from '../errors.js';
import { checkNewFile } from '../files.js';
import * as read from '../option-readers.js';
import { flag, value, type Options } from '../option-rows.js';
import { byteSize } from '../output.js';
import { trainedModel } from '../shared-options.js';
import { classNames, makeTrained, openTrained } from '../trained.js';

const exportOptions = {
  ...trainedModel,
  size: value('<pixels>', "height and width of the images; default: the weights' own", read.positiveInteger),
  batch: value('<n>', 'images at once, always as many; default: any number', read.positiveInteger),
  opset: value('<version>', "of ONNX's operators, 17 to 21", read.positiveInteger, 17),
  force: flag('replace a file that is there already'),
};

/**
 * `kindling export`: a trained model with its weights as an ONNX file. What the images must look like, and
 * the names of the classes, stand in its metadata.
 */
async function exportModel(
  context: Context,
  spec: string,
  to: string,
  options: Options<typeof exportOptions>,
): Promise<void> {
  const { output } = context;
  if (!to.toLowerCase().endsWith('.onnx'))
    throw new UsageError(`${to}: an ONNX file's name ends in .onnx; kindling convert writes weight files`);
  await checkNewFile(to, options.force ?? false);
  const trained = await openTrained(context, spec, options);
  await init();
  const { model, outputs } = await makeTrained(trained, options.numClasses);
  const names = await classNames(trained, outputs);
  const { mean, std, resize, size: crop, interpolation = 'bilinear' } = trained.input;
  const size = options.size ?? crop;
  checkInterrupted(context);
  const shape = [options.batch ?? 1, 3, size, size];
  await saveOnnx(model, zeros(shape), to, {
    outputNames: ['logits'],
    dynamicBatch: options.batch === undefined,
    opsetVersion: options.opset,
    metadata: {
      model: trained.modelName,
      input: JSON.stringify({ resize, size, mean, std, interpolation }),
      ...(names.length > 0 && { classes: JSON.stringify(names) }),
    },
  });
  const { size: bytes } = await stat(to);
  const [batch, ...image] = shape;
  const images = [options.batch === undefined ? 'batch' : batch, ...image].join(' x ');
  output.line(`${to}: ${trained.modelName}, ${byteSize(bytes)}, opset ${options.opset}`);
  output.line(`input (float32, ${images}) -> logits (${outputs} classes)`);
  output.document({
    model: trained.modelName,
    weights: spec,
    to,
    bytes,
    opset: options.opset,
    input: { name: 'input', shape: [options.batch ?? null, ...image] },
    output: { name: 'logits', classes: outputs },
  });
}

export const exportCommand = defineCommand({
  name: 'export',
  help: 'write a trained model as an ONNX file',
  operands: [
    ['<run>', "a run's folder, a weight file, a URL, or a published name such as IMAGENET1K_V2"],
    ['<out>', 'file to write; its name ends in .onnx'],
  ],
  options: exportOptions,
  run: ({ context, options }, run: string, to: string) => exportModel(context, run, to, options),
});
