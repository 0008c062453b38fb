/** What needs a file system: import it from `kindling/node`, beside the core. */
export * from './data/node/index.js';
export { saveSafetensors, saveTorch, writeFileAtomically } from './formats/index.js';
export { fileSource } from './formats/node-files.js';
export { saveWeights, type SaveWeightsOptions } from './models/index.js';
export { saveOnnx, type SaveOnnxOptions } from './onnx/save.js';
