/** `torch.profiler`: where the time of a model goes. */
export {
  Profile,
  profile,
  recordFunction,
  type LayerRow,
  type ProfileOptions,
  type TableOptions,
} from './nn/tools/profiler.js';
