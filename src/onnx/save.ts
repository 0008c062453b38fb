import { noMore } from '../tensor/options.js';
import { checkPath } from '../formats/device-tensor.js';
import { writeFileAtomically } from '../formats/node-files.js';
import type { Module } from '../nn/base/module.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ExportOnnxOptions } from './export.js';

/**
 * `torch.onnx.export` into a file: what `exportOnnx` of `kindling/onnx` gives, written beside `path` and
 * renamed into place, so that a model which cannot be exported leaves the file that was there.
 *
 * @throws Error as `exportOnnx` does, and where the file cannot be written
 */
export async function saveOnnx(
  model: Module,
  exampleInputs: Tensor | readonly Tensor[],
  path: string,
  options: ExportOnnxOptions = {},
): Promise<void> {
  noMore('saveOnnx', arguments, 4);
  checkPath('saveOnnx(model, exampleInputs, path)', path);
  const { exportOnnx } = await import('./export.js');
  await writeFileAtomically(path, [await exportOnnx(model, exampleInputs, options)]);
}
