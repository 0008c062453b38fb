/** `torch.onnx`: models as ONNX files, for onnxruntime and what else reads them. */
export { exportOnnx, type DynamicAxes, type ExportOnnxOptions } from './export.js';
