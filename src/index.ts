/**
 * All of kindling, as `import torch` gives all of PyTorch: ops are methods of Tensor too, rooms are
 * namespaces.
 */
import './ops/methods.js';

export * from './core.js';
export * from './profiler.js';
/** With the nuclear norm, which the core's lacks. */
export { norm } from './ops/linalg/torch.js';
/** `torch.linalg`. */
export * as linalg from './ops/linalg/index.js';
export * as autograd from './ops/autograd/torch.js';
export * as nn from './nn/index.js';
/** `torch.utils`. */
export * as utils from './nn/tools/checkpoint.js';
/** `torch.special`. */
export * as special from './ops/special.js';
export * as optim from './optim/index.js';
export { compile, type Compiled, type CompileCounts } from './nn/tools/compile.js';
/** `torch.amp`. */
export * as amp from './amp/index.js';
export { restore, snapshot, type Snapshot } from './optim/index.js';
export * as formats from './formats/index.js';
export * as models from './models/index.js';
export { loadCheckpoint } from './formats/index.js';
export { loadWeights, saveWeights } from './models/index.js';
export * as data from './data/index.js';
