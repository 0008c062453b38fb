import { stat } from 'node:fs/promises';
import { zeros } from '../../index.js';
import { saveOnnx } from '../../onnx/save.js';
import { defineCommand } from '../command.js';
import { checkInterrupted, type Context } from '../context.js';
import { UsageError } from '../errors.js';
import { checkNewFile } from '../files.js';
import * as read from '../option-readers.js';
import { flag, text, value, type Options } from '../option-rows.js';
import { byteSize } from '../output.js';
import { batchSize, force, operand, trainedModel, weightsOperand } from '../shared-options.js';
import { classNames, makeTrained, openTrained } from '../trained.js';

const exportOptions = {
  ...trainedModel,
  size: value('<pixels>', "height and width of the images; default: the weights' own", read.positiveInteger),
  batchSize: { ...batchSize, help: 'images at once, always as many; default: any number' },
  opset: value('<version>', "of ONNX's operators, 17 to 21", read.positiveInteger, 17),
  out: text('<file>', 'file to write; its name ends in .onnx'),
  externalData: flag('weights into a file beside it, <file>.data; models over 2 GB in any case'),
  force,
};

/**
 * `kindling export`: a trained model with its weights as an ONNX file. What the images must look like, and
 * the names of the classes, stand in its metadata.
 */
async function exportModel(context: Context, options: Options<typeof exportOptions>): Promise<void> {
  const { output } = context;
  const { out: to = '', batchSize: images } = options;
  if (!to.toLowerCase().endsWith('.onnx'))
    throw new UsageError(`${to}: an ONNX file's name ends in .onnx; kindling convert writes weight files`);
  // Whether there will be the second one is known when the model is.
  for (const path of [to, `${to}.data`]) await checkNewFile(path, options.force ?? false);
  const trained = await openTrained(context, options);
  await context.openDevice();
  const { model, outputs } = await makeTrained(trained, options.numClasses);
  const names = await classNames(trained, outputs);
  const { mean, std, resize, size: crop, interpolation = 'bilinear' } = trained.input;
  const size = options.size ?? crop;
  checkInterrupted(context);
  const shape = [images ?? 1, 3, size, size];
  const written = await saveOnnx(model, zeros(shape), to, {
    ...(options.externalData && { externalData: true }),
    outputNames: ['logits'],
    dynamicBatch: images === undefined,
    opsetVersion: options.opset,
    metadata: {
      model: trained.modelName,
      input: JSON.stringify({ resize, size, mean, std, interpolation }),
      ...(names.length > 0 && { classes: JSON.stringify(names) }),
    },
  });
  const [bytes = 0, dataBytes] = await Promise.all(written.map(async (path) => (await stat(path)).size));
  const [, ...image] = shape;
  const sizes = [images ?? 'batch', ...image].join(' x ');
  output.line(`${to}: ${trained.modelName}, ${byteSize(bytes)}, opset ${options.opset}`);
  if (dataBytes !== undefined)
    output.line(
      `${to}.data: the weights, ${byteSize(dataBytes)}; both files keep their names, in one folder`,
    );
  output.line(`input (float32, ${sizes}) -> logits (${outputs} classes)`);
  output.document({
    model: trained.modelName,
    weights: options.weights,
    to,
    bytes,
    ...(dataBytes !== undefined && { data: { to: `${to}.data`, bytes: dataBytes } }),
    opset: options.opset,
    input: { name: 'input', shape: [images ?? null, ...image] },
    output: { name: 'logits', classes: outputs },
  });
}

export const exportCommand = defineCommand({
  name: 'export',
  help: 'write a trained model as an ONNX file',
  operands: [
    weightsOperand('<weights>'),
    operand('<out>', 'file to write; its name ends in .onnx, as --out'),
  ],
  options: exportOptions,
  examples: [
    ['kindling export run model.onnx', 'a run of kindling finetune'],
    ['kindling export resnet50 resnet50.onnx --batch-size 8', 'published weights, 8 images at once'],
    ['kindling export --weights model.safetensors --model resnet18 --out model.onnx'],
  ],
  run: ({ context, options }) => exportModel(context, options),
});
