import { checkPath } from '../formats/device-tensor.js';
import { writeFileAtomically, writeFilesAtomically } from '../formats/node-files.js';
import { noMore } from '../tensor/options.js';
import type { Module } from '../nn/base/module.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ExportOnnxOptions } from './export.js';

export interface SaveOnnxOptions extends ExportOnnxOptions {
  /**
   * Weights go into a file of their own beside the model's, as `external_data` of `torch.onnx.export` has it.
   * Default: where one file cannot hold them, from about 2 GB on.
   */
  externalData?: boolean;
}

/**
 * `torch.onnx.export` into a file: what `exportOnnx` of `kindling/onnx` gives, written beside `path` and
 * renamed into place, so that a model which cannot be exported leaves the file that was there.
 *
 * With `externalData` weights of 1 KiB and more are in `path` + `.data`
 * (https://onnx.ai/onnx/repo-docs/ExternalData.html), each read from the device as it is written. The model's
 * file names that one, so both keep their names and stay in one folder.
 *
 * @returns the paths of what was written, the model's first
 * @throws Error as `exportOnnx` does, with `externalData: false` for models of about 2 GB and more, and where
 *   a file cannot be written; then both files are as they were
 */
export async function saveOnnx(
  model: Module,
  exampleInputs: Tensor | readonly Tensor[],
  path: string,
  options: SaveOnnxOptions = {},
): Promise<readonly string[]> {
  noMore('saveOnnx', arguments, 4);
  checkPath('saveOnnx(model, exampleInputs, path)', path);
  const { exportOnnx, follow } = await import('./export.js');
  const { externalData, ...rest } = options;
  if (externalData !== undefined && typeof externalData !== 'boolean')
    throw new Error(`saveOnnx: externalData must be true or false, got ${String(externalData)}`);
  if (externalData === false) {
    await writeFileAtomically(path, [await exportOnnx(model, exampleInputs, rest)]);
    return [path];
  }
  const exported = follow(model, exampleInputs, rest);
  if (externalData !== true && !exported.isLarge) {
    await writeFileAtomically(path, [await exported.whole()]);
    return [path];
  }
  const dataPath = `${path}.data`;
  const { model: bytes, data } = await exported.apart(nameOf(dataPath));
  await writeFilesAtomically([
    { path: dataPath, chunks: data.chunks() },
    { path, chunks: [bytes] },
  ]);
  return [path, dataPath];
}

const nameOf = (path: string): string => process.getBuiltinModule('node:path').basename(path);
