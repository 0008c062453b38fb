/** `torch.utils.tensorboard`: what TensorBoard shows of a training. `kindling/tensorboard`. */
export { SummaryEncoder, type EncoderOptions, type ImageOptions, type RecordSink } from './encoder.js';
export type { DataFormat } from './image.js';
export { SummaryWriter, type SummaryWriterOptions } from './summary-writer.js';
export type { HparamValue } from './types.js';
