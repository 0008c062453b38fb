/** `kindling/distributed`: training by several processes, as `torch.distributed`, over MPI. Node only. */
export { DistributedError, type GroupInfo, type InitOptions, type Traffic } from './group.js';
export type { ReduceOp } from './mpi.js';
export {
  allGather,
  allGatherObject,
  allReduce,
  barrier,
  broadcast,
  broadcastObject,
  reduceScatter,
  type Ranks,
  type ReduceOptions,
} from './collectives.js';
export { close, getLocalRank, getRank, getWorldSize, init, isInitialized, traffic } from './process.js';
export { DistributedDataParallel, type DataParallelOptions } from './data-parallel.js';
export {
  allreduceHook,
  bf16CompressHook,
  fp16CompressHook,
  GradBucket,
  GradFuture,
  type CommHook,
} from './comm-hooks.js';
export type { HalfType } from './half.js';
export type { JoinOptions } from './join.js';
export {
  DistributedSampler,
  UnrepeatedDistributedSampler,
  type DistributedSamplerOptions,
} from './sampler.js';
export { ZeroRedundancyOptimizer, type OptimizerClass, type ZeroOptions } from './zero.js';
export { SyncBatchNorm } from './sync-batch-norm.js';
